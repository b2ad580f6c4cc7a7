"""Filings before the declaration need the minimum set alone; declarations are warned of what their jurisdiction adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from libs.columns import Table
from libs.customs.time import date_of_day
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import check_rules, validation
from services.ingestion.filing.check_rules import CheckRules
from tests.ingestion.consignments import clear, consignment, put

DAY = 20_788
"""2026-12-01 in days since 1970-01-01."""
EARLY = ("nature", "items[0].price", "items[0].commodity_code")


def check(*rows: Consignment, rules: CheckRules | None = None, day: int = DAY) -> validation.Checked:
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    return validation.check(table, rules=rules or check_rules.included(), day=day)


def early(*cleared: str, number: int = 0) -> Consignment:
    """Make a filing with the minimum set, without the elements at these paths."""
    made = consignment(number)
    for path in (*EARLY, *cleared):
        clear(made, path)
    return made


def errors(*rows: Consignment) -> list[tuple[str, str]]:
    return [(each.reason, each.path) for found in check(*rows).errors.values() for each in found if not each.warns]


def gaps(checked: validation.Checked, row: int) -> list[dict[str, Any]]:
    found = [each for each in checked.errors[row] if each.reason == "STAGE_INCOMPLETE"]
    assert all(each.warns and each.path == f"consignments[{row}]" for each in found)
    return [each.facts for each in found]


def test_the_minimum_set_alone_is_accepted_with_a_warning_for_each_later_stage() -> None:
    least = Consignment(local_reference="R-1", gross_mass_mg=500_000)
    least.transport.mode, least.transport.service = pb.TRANSPORT_MODE_AIR, pb.TRANSPORT_SERVICE_EXPRESS
    least.house_document.number = "H1"
    for party, country in ((least.consignor, "CN"), (least.consignee, "DE")):
        party.name, party.address.city, party.address.country = f"Party of {country}", "Somewhere", country
    least.packages.add(count=1)
    least.items.add(description="Ladies' woven cotton blouse")
    checked = check(consignment(0), least)
    assert checked.refused.tolist() == [False, False]
    assert 0 not in checked.errors
    before_arrival, simplified, full = gaps(checked, 1)
    assert before_arrival["stage"] == "entry summary declaration before arrival"
    assert simplified["stage"] == "simplified declaration"
    for name in ("nature", "items.commodity_code", "items.price_minor", "consignee_address_street"):
        assert name in simplified["elements"].split(", ")
        assert name in full["elements"].split(", ")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("local_reference", "local_reference"),
        ("transport.service", "transport.service"),
        ("house_document", "house_document.number"),
        ("consignor.name", "consignor.name"),
        ("consignor.address.country", "consignor.address.country"),
        ("consignee.name", "consignee.name"),
        ("consignee.address.country", "consignee.address.country"),
        ("gross_mass_mg", "gross_mass_mg"),
        ("packages", "packages"),
        ("packages[0].count", "packages"),
        ("items[0].description", "items[0].description"),
        ("items", "items"),
    ],
)
def test_each_element_of_the_minimum_set_is_required(path: str, error: str) -> None:
    wanted = [("ELEMENT_MISSING", f"consignments[0].{error}")]
    assert errors(early(path)) == wanted
    assert [each.reason for each in check(early(path)).errors[0]] == ["ELEMENT_MISSING"], "no stage of a refused filing"


def test_one_part_of_an_address_is_enough_before_the_declaration_and_not_in_it() -> None:
    for party, in_declaration in (("consignor", []), ("consignee", ["street"])):
        path = f"{party}.address.street"
        assert errors(early(path)) == []
        assert errors(early(path, f"{party}.address.city")) == [("ELEMENT_MISSING", f"consignments[0].{path}")]
        declared = errors(clear(consignment(0), path))
        assert declared == [("ELEMENT_MISSING", f"consignments[0].{path}")] * len(in_declaration)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda row: put(row, "transport.mode", pb.TRANSPORT_MODE_SEA), ["nature", "items[0].commodity_code", "items[0].price.minor"]),
        (lambda row: put(row, "nature", pb.NATURE_SALE), ["items[0].commodity_code", "items[0].price.minor"]),
        (lambda row: put(row, "items[0].price.minor", 5), ["nature", "items[0].commodity_code"]),
        (lambda row: put(row, "items[0].commodity_code", "620630"), []),
    ],
)  # fmt: skip
def test_what_states_a_nature_or_a_price_or_travels_by_sea_is_a_declaration(
    change: Callable[[Consignment], object], missing: list[str]
) -> None:
    row = early()
    change(row)
    assert errors(row) == [("ELEMENT_MISSING", f"consignments[0].{path}") for path in missing]


def test_a_code_that_is_stated_before_the_declaration_is_checked_as_in_it() -> None:
    row = put(early(), "items[0].commodity_code", "990000")
    assert errors(row) == [("COMMODITY_CODE_UNKNOWN", "consignments[0].items[0].commodity_code")]


def test_an_invalidation_is_no_filing_before_the_declaration() -> None:
    row = early()
    row.function, row.amended_version = pb.MESSAGE_FUNCTION_INVALIDATE, 1
    assert not check(row).errors


IDENTIFIER = "items[0].merchant_product_id"


@pytest.mark.parametrize(("day", "warned"), [(20_757, False), (20_758, True)])
def test_an_element_that_the_union_adds_is_warned_of_from_its_day_on(day: int, warned: bool) -> None:
    assert date_of_day(20_758).isoformat() == "2026-11-01"
    rows = [consignment(0), clear(consignment(1), IDENTIFIER), early(IDENTIFIER, number=2)]
    checked = check(*rows, day=day)
    found = [
        (row, each.reason, each.path, each.warns)
        for row, every in checked.errors.items()
        for each in every
        if each.reason != "STAGE_INCOMPLETE"
    ]
    assert found == [(1, "STAGE_ELEMENT_MISSING", f"consignments[1].{IDENTIFIER}", True)] * warned
    assert not checked.refused.any()


def test_each_item_that_lacks_an_added_element_is_named() -> None:
    row = consignment(1)
    row.items.add().CopyFrom(row.items[0])
    clear(row.items[1], "merchant_product_id")
    found = [(each.reason, each.path) for each in check(consignment(0), row).errors[1]]
    assert ("STAGE_ELEMENT_MISSING", "consignments[1].items[1].merchant_product_id") in found
    assert "items[0]" not in str(found)
