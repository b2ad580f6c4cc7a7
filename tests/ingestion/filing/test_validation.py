"""Validation tells every fault with its place, and a batch's rows do not depend on each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Table, digests
from libs.server import catalogue
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import validation
from tests.ingestion.consignments import consignment
from tests.support.filing_elements import uncovered

Change = Callable[[Consignment], object]


def check(*rows: Consignment) -> validation.Checked:
    return validation.check(Table.from_messages(rows, ConsignmentColumns, Consignment))


def found(*rows: Consignment) -> list[tuple[str, str]]:
    return [(each.reason, each.path) for errors in check(*rows).errors.values() for each in errors]


SPOILS: dict[str, tuple[Change, str, str]] = {
    "no reference": (lambda c: c.ClearField("local_reference"), "ELEMENT_MISSING", "local_reference"),
    "a long reference": (lambda c: setattr(c, "local_reference", "x" * 23), "TEXT_TOO_LONG", "local_reference"),
    "a line break": (lambda c: setattr(c.consignor, "name", "a\nb"), "TEXT_UNPRINTABLE", "consignor.name"),
    "no items": (lambda c: c.ClearField("items"), "ELEMENT_MISSING", "items"),
    "no description": (lambda c: c.items[0].ClearField("description"), "ELEMENT_MISSING", "items[0].description"),
    "an unknown country": (lambda c: setattr(c.items[0], "origin_country", "ZZ"), "COUNTRY_UNKNOWN", "items[0].origin_country"),
    "an unknown currency": (lambda c: setattr(c.items[0].price, "currency", "XXX"), "CURRENCY_UNKNOWN", "items[0].price.currency"),
    "no currency": (lambda c: c.items[0].price.ClearField("currency"), "CURRENCY_MISSING", "items[0].price.currency"),
    "a currency without a price": (lambda c: c.items[0].price.ClearField("minor"), "ELEMENT_MISSING", "items[0].price.minor"),
    "freight of no amount": (lambda c: setattr(c.freight, "currency", "EUR"), "ELEMENT_MISSING", "freight.minor"),
    "a code that left": (lambda c: setattr(c.items[0], "commodity_code", "851712"), "COMMODITY_CODE_WITHDRAWN", "items[0].commodity_code"),
    "a code with letters": (lambda c: setattr(c.items[0], "commodity_code", "6406AB"), "COMMODITY_CODE_MALFORMED", "items[0].commodity_code"),
    "a code of nowhere": (lambda c: setattr(c.items[0], "commodity_code", "990000"), "COMMODITY_CODE_UNKNOWN", "items[0].commodity_code"),
    "a wrong S10": (lambda c: setattr(c.house_document, "number", "RR123456789TR"), "S10_MALFORMED", "house_document.number"),
    "a wrong GTIN": (lambda c: setattr(c.items[0], "gtin", "4006381333932"), "GTIN_MALFORMED", "items[0].gtin"),
    "a wrong MRN": (lambda c: setattr(c, "returned_mrn", "22DK1V0QQK2S6J7TU2"), "MRN_MALFORMED", "returned_mrn"),
    "a wrong item number": (lambda c: setattr(c.items[0], "number", 7), "ITEM_NUMBER_WRONG", "items[0].number"),
    "an amendment of no version": (lambda c: setattr(c, "function", pb.MESSAGE_FUNCTION_AMEND), "ELEMENT_MISSING", "amended_version"),
    "a nature of nobody": (lambda c: setattr(c, "nature", 77), "CHOICE_UNKNOWN", "nature"),
    "no mass": (lambda c: c.ClearField("gross_mass_mg"), "ELEMENT_MISSING", "gross_mass_mg"),
    "mass zero": (lambda c: setattr(c, "gross_mass_mg", 0), "NUMBER_TOO_SMALL", "gross_mass_mg"),
    "too many receptacles": (lambda c: c.receptacles.extend(["A"] * 99), "LIST_TOO_LONG", "receptacles"),
    "a route through nowhere": (lambda c: c.transport.route_countries.append("QQ"), "COUNTRY_UNKNOWN", "transport.route_countries[2]"),
    "an empty receptacle": (lambda c: c.receptacles.append(""), "ELEMENT_MISSING", "receptacles[1]"),
    "a short procedure": (lambda c: setattr(c, "procedure", "40"), "CODE_MALFORMED", "procedure"),
    "a scheme twice": (lambda c: c.fiscal_references.add(scheme=1, number="IM2760000025"), "SCHEME_REPEATED", "fiscal_references"),
    "no scheme number": (lambda c: c.fiscal_references[0].ClearField("number"), "ELEMENT_MISSING", "fiscal_references[0].number"),
    "a time long ago": (lambda c: setattr(c.order.time, "seconds", 1), "TIME_OUT_OF_BOUNDS", "order.time"),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda name: name.replace(" ", "-"))
def test_a_fault_is_told_with_its_reason_and_path(spoil: str) -> None:
    change, reason, path = SPOILS[spoil]
    bad = consignment(1)
    change(bad)
    checked = check(consignment(0), bad, consignment(2))
    assert checked.refused.tolist() == [False, True, False]
    assert (reason, f"consignments[1].{path}") in [(each.reason, each.path) for each in checked.errors[1]]


@pytest.mark.parametrize(
    ("change", "reason", "path"),
    [
        (
            lambda c: setattr(c.fiscal_references[0], "number", "IM123"),
            "SCHEME_NUMBER_MALFORMED",
            "fiscal_references[0].number",
        ),
        (lambda c: setattr(c.items[0], "quantity_unit", "QQQ"), "UNIT_UNKNOWN", "items[0].quantity_unit"),
        (lambda c: c.items[0].imeis.append("1"), "IMEI_MALFORMED", "items[0].imeis[0]"),
    ],
)
def test_a_small_fault_is_a_warning_and_stops_nothing(change: Change, reason: str, path: str) -> None:
    bad = consignment(0)
    change(bad)
    checked = check(bad)
    assert not checked.refused.any()
    assert [(each.reason, each.path, each.warns) for each in checked.errors[0]] == [
        (reason, f"consignments[0].{path}", True)
    ]


@pytest.mark.parametrize(
    ("nature", "first_mrn", "document", "expected"),
    [
        (pb.NATURE_RETURN, "26DE32329000033OR6", "", []),
        (pb.NATURE_RETURN, "", "RR123456785TR", []),
        (pb.NATURE_RETURN, "", "", [("RETURN_WITHOUT_REFERENCE", "returned_mrn", True)]),
        (pb.NATURE_SALE, "", "", []),
        (pb.NATURE_SALE, "26DE32329000033OR6", "", [("RETURN_REFERENCE_UNUSED", "returned_mrn", True)]),
        (pb.NATURE_GIFT, "", "RR123456785TR", [("RETURN_REFERENCE_UNUSED", "returned_document.number", True)]),
        (pb.NATURE_RETURN, "27ITZXBZYUTJFLJXK5", "", [("RETURNED_MRN_IN_FUTURE", "returned_mrn", False)]),
    ],
)
def test_a_return_names_its_first_way_and_nothing_else_does(
    nature: pb.Nature, first_mrn: str, document: str, expected: list[tuple[str, str, bool]]
) -> None:
    row = consignment(0)
    row.nature, row.returned_mrn, row.returned_document.number = nature, first_mrn, document
    checked = validation.check(Table.from_messages([row], ConsignmentColumns, Consignment), latest_year=2026)
    told = [(each.reason, each.path, each.warns) for each in checked.errors.get(0, [])]
    assert told == [(reason, f"consignments[0].{path}", warns) for reason, path, warns in expected]
    for reason, _, _ in expected:
        assert catalogue.reason(reason).area == "ingestion"


def test_a_good_consignment_has_no_problem_and_what_follows_is_filled_in() -> None:
    rows = [consignment(0)]
    rows[0].ClearField("destination_country")
    checked = check(*rows)
    assert not checked.errors
    assert checked.table.strings("destination_country").tolist() == ["DE"]
    assert checked.table.child("items").ints("number").tolist() == [1]


def test_untidy_codes_and_texts_are_cleaned_before_they_are_checked() -> None:
    untidy = consignment(0)
    untidy.dispatch_country = " cn "
    untidy.house_document.number = "rr 123 456 785 tr"
    untidy.consignor.name = "  Meadow Lane Trading "
    tidy = consignment(0)
    tidy.house_document.number = "RR123456785TR"
    assert check(untidy).table.to_messages(Consignment) == check(tidy).table.to_messages(Consignment)


def test_a_personal_value_is_never_repeated() -> None:
    bad = consignment(0)
    bad.consignee.name = "secret\nname"
    bad.consignee.phone = "1" * 60
    assert [each.value for each in check(bad).errors[0]] == ["", ""]


def test_every_column_has_an_entry_and_every_reason_is_in_the_catalogue() -> None:
    assert uncovered() == []
    for _, reason, _ in SPOILS.values():
        assert catalogue.reason(reason).area == "ingestion"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([None, *SPOILS]), min_size=1, max_size=6))
def test_splitting_a_batch_changes_nothing(spoils: list[str | None]) -> None:
    rows = []
    for number, spoil in enumerate(spoils):
        made = consignment(number)
        if spoil is not None:
            SPOILS[spoil][0](made)
        rows.append(made)
    whole = check(*rows)
    assert whole.refused.tolist() == [spoil is not None for spoil in spoils]
    for place, row in enumerate(rows):
        alone = check(row)
        assert alone.refused[0] == whole.refused[place]
        told = [each.path.replace("consignments[0]", f"consignments[{place}]") for each in alone.errors.get(0, [])]
        assert told == [each.path for each in whole.errors.get(place, [])]
        assert alone.table.to_messages(Consignment) == whole.table.take(np.array([place])).to_messages(Consignment)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_that_are_a_consignment_get_an_answer(raw: bytes) -> None:
    made = consignment(0)
    try:
        made.MergeFromString(raw)
    except Exception:
        return
    checked = check(made)
    assert bool(checked.refused[0]) == any(not each.warns for each in checked.errors.get(0, []))


@pytest.mark.parametrize(
    ("filed", "code", "carrier_id"),
    [
        ("wings", "WINGS", "wings"),
        (" Wings ", "WINGS", "Wings"),
        ("WINGS", "WINGS", ""),
        ("DE123456789012345", "DE123456789012345", ""),
        # No certificate has an id with a blank.
        ("de 123", "DE123", ""),
        ("", "", ""),
    ],
)
def test_who_carries_stays_as_filed_beside_the_code_in_capitals(filed: str, code: str, carrier_id: str) -> None:
    row = consignment(1)
    row.carrier_identifier = filed
    table = check(row).table
    assert (table.strings("carrier_identifier")[0], table.strings("carrier_id")[0]) == (code, carrier_id)
    capitals = consignment(1)
    capitals.carrier_identifier = filed.upper()
    same = digests(table, exclude={validation.CARRIER_ID})
    assert same == digests(check(capitals).table), "the same filing in other letters is a repeat"
