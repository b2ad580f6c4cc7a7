"""What a filing that is declared for export needs, what it does not use, and when it is late."""

from __future__ import annotations

import pytest

from libs.columns import Table
from libs.customs.identifiers import mrn
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.law import included
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.filing import check_rules, validation
from services.ingestion.filing.amendment import Content, Versions, outcome_of
from tests.ingestion.amendments import AMEND
from tests.ingestion.consignments import clear, consignment, put

DAY = 20_788
"""2026-12-01 in days since 1970-01-01."""
NOON = DAY * MICROS_PER_DAY + MICROS_PER_DAY // 2


def export(number: int = 0) -> pb.Consignment:
    """Make a good export from Germany to the United States."""
    made = consignment(number)
    made.direction, made.dispatch_country, made.destination_country = pb.DIRECTION_EXPORT, "DE", "US"
    made.consignee.address.country = "US"
    made.consignee.address.postcode = "10969"
    made.ClearField("fiscal_references")
    return made


def check(*rows: pb.Consignment) -> validation.Checked:
    table = Table.from_messages(rows, ConsignmentColumns, pb.Consignment)
    return validation.check(table, rules=check_rules.included(), day=DAY, now=NOON)


def found(*rows: pb.Consignment) -> list[tuple[str, str, bool]]:
    return [(each.reason, each.path, each.warns) for errors in check(*rows).errors.values() for each in errors]


def test_an_export_with_its_data_set_is_accepted() -> None:
    assert found(export()) == []


@pytest.mark.parametrize("name", ["destination_country", "consignee.address.street", "procedure"])
def test_what_exports_may_omit(name: str) -> None:
    row = export()
    clear(row, name)
    assert found(row) == []


@pytest.mark.parametrize(
    ("cleared", "path"),
    [
        (["dispatch_country"], "dispatch_country"),
        (["nature"], "nature"),
        (["packages"], "packages"),
        (["gross_mass_mg"], "gross_mass_mg"),
        (["house_document"], "house_document.number"),
        (["consignor.name"], "consignor.name"),
        (["consignee.address.street", "consignee.address.city"], "consignee.address.street"),
        (["items[0].commodity_code"], "items[0].commodity_code"),
        (["items[0].price"], "items[0].price.minor"),
    ],
)
def test_an_export_is_refused_without_an_element_of_its_data_set(cleared: list[str], path: str) -> None:
    row = export()
    for name in cleared:
        clear(row, name)
    assert ("ELEMENT_MISSING", f"consignments[0].{path}", False) in found(row)
    assert check(row).refused.tolist() == [True]


def test_a_filing_without_nature_and_price_is_no_filing_before_loading_if_it_is_an_export() -> None:
    row = export()
    for name in ("nature", "items[0].price", "items[0].commodity_code"):
        clear(row, name)
    assert check(row).refused.tolist() == [True]


def test_documents_for_export_need_code_and_price() -> None:
    row = put(export(), "nature", pb.NATURE_DOCUMENT)
    clear(row, "items[0].commodity_code")
    assert ("ELEMENT_MISSING", "consignments[0].items[0].commodity_code", False) in found(row)


def test_elements_of_imports_are_warned_of_at_their_place() -> None:
    row = export()
    row.fiscal_references.add(scheme=pb.SCHEME_IOSS, number="IM2760000014")
    row.importer.name = "Somebody"
    row.items[0].preference = "300"
    assert {each for each in found(row) if each[0] == "IMPORT_ELEMENT_UNUSED"} == {
        ("IMPORT_ELEMENT_UNUSED", f"consignments[0].{path}", True)
        for path in ("fiscal_references", "importer.name", "items[0].preference")
    }
    assert not check(row).refused.any()
    assert not [each for each in found(consignment()) if each[0] == "IMPORT_ELEMENT_UNUSED"]


@pytest.mark.parametrize(("destination", "path"), [("DE", "destination_country"), ("", "consignee.address.country")])
def test_an_export_leaves_its_country(destination: str, path: str) -> None:
    row = export()
    row.destination_country = destination
    row.consignee.address.country = "DE"
    assert ("EXPORT_WITHIN_COUNTRY", f"consignments[0].{path}", False) in found(row)


def test_what_a_jurisdiction_of_imports_adds_concerns_no_export_to_it() -> None:
    row = export()
    row.dispatch_country, row.destination_country = "US", "DE"
    clear(row, "items[0].merchant_product_id")
    assert found(row) == []
    row.direction = pb.DIRECTION_IMPORT
    assert [each[0] for each in found(row)] == ["STAGE_ELEMENT_MISSING"]


@pytest.mark.parametrize(("mode", "minutes"), [("AIR", 30), ("POST", 30), ("SEA", 1440), ("ROAD", 60), ("RAIL", 120)])
def test_an_export_is_late_beyond_the_deadline_before_its_departure(mode: str, minutes: int) -> None:
    rows = [export(0), export(1)]
    for row, early in zip(rows, (0, 1), strict=True):
        row.transport.mode = pb.TransportMode.Value(f"TRANSPORT_MODE_{mode}")
        row.transport.departure_time.FromMicroseconds(NOON + minutes * 60_000_000 - early)
    assert check(*rows).late == {1}


def test_an_import_that_says_so_has_the_content_of_one_that_states_nothing() -> None:
    stated = consignment()
    stated.direction = pb.DIRECTION_IMPORT
    table = check(consignment(), stated, export(2)).table
    assert table.ints("direction").tolist() == [None, None, pb.DIRECTION_EXPORT]


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        (consignment(), export(), "direction"),
        (export(), consignment(), "direction"),
        (export(), put(export(), "dispatch_country", "FR"), "dispatch_country"),
        (export(), put(export(), "gross_mass_mg", 7), ""),
    ],
)
def test_an_amendment_changes_neither_direction_nor_the_country_that_decides(
    first: pb.Consignment, second: pb.Consignment, path: str
) -> None:
    # Both go to one country, so that nothing else refuses it.
    first.destination_country = second.destination_country = "US"
    put(put(second, "function", AMEND), "amended_version", 1)
    table = check(first, second).table
    outcome = outcome_of(Content(table, 1), Versions("REF-0", "M", "shop", 1, {1: Content(table, 0)}))
    assert (outcome.error.path.partition(".")[2] if outcome.error else "") == path
    assert outcome.error is None or outcome.error.reason == "ELEMENT_NEVER_AMENDED"


def test_the_data_set_names_no_element_twice() -> None:
    names = (*included().export.required, *included().export.unused)
    assert len(names) == len(set(names))


def test_the_letter_of_an_mrn_tells_exports_apart() -> None:
    text = str(mrn.Mrn(2026, "DE", 7, 335, 1, mrn.Procedure.EXPORT))
    assert mrn.is_export(text)
    assert not mrn.is_export(str(mrn.Mrn(2026, "DE", 7, 335, 1, mrn.Procedure.IMPORT)))
