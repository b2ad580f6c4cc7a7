"""Of a batch each fault has its own place, its value and the facts of its sentence; what is stored is cleaned and filled in row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import validation
from services.ingestion.filing.findings import ElementError
from tests.ingestion.consignments import consignment


def table_of(*rows: Consignment) -> Table:
    return Table.from_messages(rows, ConsignmentColumns, Consignment)


def check(*rows: Consignment) -> validation.Checked:
    return validation.check(table_of(*rows))


def of_items(number: int, count: int) -> Consignment:
    """Return a good consignment with so many items, none of them numbered."""
    row = consignment(number)
    row.items.extend([row.items[0]] * (count - 1))
    return row


def places(*rows: Consignment) -> list[tuple[int, str, str]]:
    """Return row, reason and path of every fault."""
    return [(row, each.reason, each.path) for row, found in check(*rows).errors.items() for each in found]


FAULTS: list[tuple[Callable[[Consignment], object], ElementError]] = [
    (lambda c: setattr(c, "incoterm_place", "x" * 36), ElementError("TEXT_TOO_LONG", "incoterm_place", "x" * 36,
        facts={"characters": 36, "characters_max": 35})),
    (lambda c: setattr(c.items[0], "brand", "a\nb"), ElementError("TEXT_UNPRINTABLE", "items[0].brand", "a\nb", facts={"characters_max": 70})),
    (lambda c: setattr(c, "gross_mass_mg", 0), ElementError("NUMBER_TOO_SMALL", "gross_mass_mg", "0", facts={"least": 1})),
    (lambda c: setattr(c.items[0].price, "minor", -1), ElementError("NUMBER_NEGATIVE", "items[0].price.minor", "-1", facts={"least": 0})),
    (lambda c: setattr(c, "gross_mass_mg", 10**14 + 1), ElementError("NUMBER_TOO_LARGE", "gross_mass_mg", str(10**14 + 1), facts={"most": 10**14})),
    (lambda c: setattr(c.order.time, "seconds", 1), ElementError("TIME_OUT_OF_BOUNDS", "order.time",
        facts={"earliest": "2000-01-01", "latest": "2100-01-01"})),
    (lambda c: setattr(c, "nature", 77), ElementError("CHOICE_UNKNOWN", "nature", "77")),
    (lambda c: c.receptacles.extend(["A"] * 99), ElementError("LIST_TOO_LONG", "receptacles", facts={"count": 100, "count_max": 99})),
    (lambda c: c.receptacles.append(""), ElementError("ELEMENT_MISSING", "receptacles[1]")),
    (lambda c: c.additional_procedures.append("F4"), ElementError("CODE_MALFORMED", "additional_procedures[1]", "F4",
        facts={"form": "3 letters and digits"})),
    (lambda c: c.items[0].imeis.extend(["490154203237518", "1"]), ElementError("IMEI_MALFORMED", "items[0].imeis[1]", "1", True)),
    (lambda c: setattr(c.packages[0], "type", "QQ"), ElementError("PACKAGE_TYPE_UNKNOWN", "packages[0].type", "QQ", True)),
    (lambda c: c.ClearField("local_reference"), ElementError("ELEMENT_MISSING", "local_reference")),
    (lambda c: c.ClearField("gross_mass_mg"), ElementError("ELEMENT_MISSING", "gross_mass_mg")),
    (lambda c: c.ClearField("items"), ElementError("ELEMENT_MISSING", "items")),
    (lambda c: c.items[0].ClearField("description"), ElementError("ELEMENT_MISSING", "items[0].description")),
    (lambda c: c.items[0].ClearField("price"), ElementError("ELEMENT_MISSING", "items[0].price.minor")),
    (lambda c: setattr(c.freight, "minor", 1), ElementError("CURRENCY_MISSING", "freight.currency")),
    (lambda c: setattr(c, "function", pb.MESSAGE_FUNCTION_AMEND), ElementError("ELEMENT_MISSING", "amended_version")),
    (lambda c: setattr(c.return_document, "number", "AWB-5"), ElementError("RETURN_DOCUMENT_UNUSED", "return_document.number", "AWB-5", True)),
    (lambda c: setattr(c.items[0], "number", 2), ElementError("ITEM_NUMBER_WRONG", "items[0].number", "2")),
    (lambda c: c.fiscal_references[0].ClearField("scheme"), ElementError("ELEMENT_MISSING", "fiscal_references[0].scheme")),
    (lambda c: c.fiscal_references[0].ClearField("number"), ElementError("ELEMENT_MISSING", "fiscal_references[0].number")),
    (lambda c: setattr(c.fiscal_references[0], "number", "IM1"), ElementError("SCHEME_NUMBER_MALFORMED", "fiscal_references[0].number", "IM1", True)),
    (lambda c: c.fiscal_references.append(c.fiscal_references[0]), ElementError("SCHEME_REPEATED", "fiscal_references")),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "problem"), FAULTS, ids=[f"{fault.reason}-{fault.path}" for _, fault in FAULTS])
def test_a_fault_has_its_value_and_the_facts_of_its_sentence(
    spoil: Callable[[Consignment], object], problem: ElementError
) -> None:
    bad = consignment(0)
    spoil(bad)
    checked = check(bad)
    expected = ElementError(
        problem.reason, f"consignments[0].{problem.path}", problem.value, problem.warns, problem.facts
    )
    assert checked.errors == {0: [expected]}
    assert checked.refused.tolist() == [not problem.warns]


def test_a_good_batch_has_no_fault_and_an_empty_one_neither() -> None:
    for rows in ([], [of_items(0, 3), of_items(1, 1), of_items(2, 2)]):
        checked = check(*rows)
        assert (checked.errors, checked.refused.tolist(), checked.table.rows) == ({}, [False] * len(rows), len(rows))


def test_faults_of_items_and_lists_are_placed_in_their_own_consignment() -> None:
    rows = [of_items(0, 3), of_items(1, 1), of_items(2, 2)]
    rows[0].items[2].origin_country = rows[2].items[1].origin_country = "ZZ"
    rows[1].items[0].ClearField("commodity_code")
    rows[2].items[0].price.ClearField("currency")
    rows[2].items[1].packages.add(count=1, type="CT")
    rows[2].items[1].packages.add(count=-1, type="CT")
    rows[0].transport.route_countries[:] = ["ZZ", "CN"]
    rows[2].transport.route_countries[:] = ["CN", "DE", "ZZ"]
    assert sorted(places(*rows)) == [
        (0, "COUNTRY_UNKNOWN", "consignments[0].items[2].origin_country"),
        (0, "COUNTRY_UNKNOWN", "consignments[0].transport.route_countries[0]"),
        (1, "ELEMENT_MISSING", "consignments[1].items[0].commodity_code"),
        (2, "COUNTRY_UNKNOWN", "consignments[2].items[1].origin_country"),
        (2, "COUNTRY_UNKNOWN", "consignments[2].transport.route_countries[2]"),
        (2, "CURRENCY_MISSING", "consignments[2].items[0].price.currency"),
        (2, "NUMBER_NEGATIVE", "consignments[2].items[1].packages[1].count"),
    ]


def test_items_are_numbered_from_one_in_each_consignment() -> None:
    rows = [of_items(number, 2) for number in range(3)]
    for row in rows:
        row.items[0].number, row.items[1].number = 1, 2
    assert places(*rows) == []
    rows[1].items[1].number, rows[2].items[0].number = 4, 3
    assert places(*rows) == [
        (1, "ITEM_NUMBER_WRONG", "consignments[1].items[1].number"),
        (2, "ITEM_NUMBER_WRONG", "consignments[2].items[0].number"),
    ]


def test_schemes_are_those_of_their_own_consignment() -> None:
    ioss, voec = {"scheme": pb.SCHEME_IOSS, "number": "IM2760000014"}, {"scheme": pb.SCHEME_VOEC, "number": "2000123"}
    rows = [consignment(number) for number in range(4)]
    for row, references in zip(rows, ([voec, ioss], [], [ioss], [ioss, voec, voec]), strict=True):
        del row.fiscal_references[:]
        for each in references:
            row.fiscal_references.add(**each)
    assert places(*rows) == [(3, "SCHEME_REPEATED", "consignments[3].fiscal_references")]
    rows[2].fiscal_references[0].number = ""
    assert places(*rows)[0] == (2, "ELEMENT_MISSING", "consignments[2].fiscal_references[0].number")


def test_errors_stand_before_warnings_and_consignments_in_their_order() -> None:
    rows = [consignment(number) for number in range(3)]
    for row in (rows[2], rows[0]):
        row.items[0].quantity_unit = "QQQ"
    rows[2].receptacles.append("")
    rows[2].ClearField("nature")
    rows[1].ClearField("nature")
    checked = check(*rows)
    assert list(checked.errors) == [0, 1, 2]
    assert [each.reason for each in checked.errors[2]] == ["ELEMENT_MISSING", "ELEMENT_MISSING", "UNIT_UNKNOWN"]
    assert checked.refused.tolist() == [False, True, True]


def test_without_any_item_nothing_is_missed_but_items() -> None:
    rows = [consignment(0), consignment(1)]
    for row in rows:
        row.ClearField("items")
    assert places(*rows) == [(number, "ELEMENT_MISSING", f"consignments[{number}].items") for number in (0, 1)]


def test_a_currency_without_an_amount_misses_the_amount_and_a_price_is_missed_once() -> None:
    row = consignment(0)
    for amount in (
        row.freight,
        row.insurance,
        row.clearance_fee,
        row.invoice_total,
        row.payment.amount,
        row.items[0].tax_charged,
    ):
        amount.currency = "EUR"
    row.items[0].price.ClearField("minor")
    names = (
        "freight",
        "insurance",
        "clearance_fee",
        "invoice_total",
        "payment.amount",
        "items[0].tax_charged",
        "items[0].price",
    )
    assert sorted(path for _, _, path in places(row)) == sorted(f"consignments[0].{name}.minor" for name in names)


CLEANED: list[tuple[Callable[[Any], object], Callable[[Any], Any], Any]] = [
    (lambda c: setattr(c, "local_reference", " Ref 1 "), lambda c: c.local_reference, "Ref 1"),
    (lambda c: setattr(c.consignor, "name", "\tMeadow Lane "), lambda c: c.consignor.name, "Meadow Lane"),
    (lambda c: setattr(c.consignor, "identifier", " de 12 "), lambda c: c.consignor.identifier, "DE12"),
    (lambda c: c.receptacles.__setitem__(0, " cn sha "), lambda c: list(c.receptacles), ["CNSHA"]),
    (lambda c: c.transport.route_countries.append(" tr"), lambda c: list(c.transport.route_countries), ["CN", "DE", "TR"]),
    (lambda c: setattr(c.items[0], "description", " Blue blouse "), lambda c: c.items[0].description, "Blue blouse"),
    (lambda c: setattr(c.items[0], "commodity_code", " 6206 30 "), lambda c: c.items[0].commodity_code, "620630"),
    (lambda c: c.items[0].imeis.append(" 49015420 3237518 "), lambda c: list(c.items[0].imeis), ["490154203237518"]),
    (lambda c: c.items[0].packages.add(count=1, type=" ct ", marks=" as addressed "),
        lambda c: (c.items[0].packages[0].type, c.items[0].packages[0].marks), ("CT", "as addressed")),
    (lambda c: setattr(c.fiscal_references[0], "number", " im 2760000014"), lambda c: c.fiscal_references[0].number, "IM2760000014"),
]  # fmt: skip


@pytest.mark.parametrize(("untidy", "read", "stored"), CLEANED)
def test_codes_lose_blanks_and_are_written_in_capitals_and_texts_lose_the_blanks_around_them(
    untidy: Callable[[Any], object], read: Callable[[Any], Any], stored: Any
) -> None:
    row = consignment(1)
    untidy(row)
    checked = check(consignment(0), row)
    assert not checked.errors
    assert read(checked.table.to_messages(Consignment)[1]) == stored


def test_a_text_of_blanks_alone_is_missing() -> None:
    row = consignment(0)
    row.consignee.name = row.items[0].description = row.fiscal_references[0].number = " \t "
    row.receptacles.append(" ")
    paths = ("consignee.name", "fiscal_references[0].number", "items[0].description", "receptacles[1]")
    assert sorted(places(row)) == [(0, "ELEMENT_MISSING", f"consignments[0].{path}") for path in paths]


def test_the_destination_is_the_consignee_s_country_only_where_none_is_filed() -> None:
    rows = [consignment(number) for number in range(3)]
    rows[0].destination_country, rows[2].destination_country = "FR", "AT"
    table = check(*rows).table
    assert table.strings("destination_country").tolist() == ["FR", "DE", "AT"]
    assert table.strings("consignee_address_country").tolist() == ["DE"] * 3
    rows[1].destination_country = "IT"
    assert check(*rows).table.strings("destination_country").tolist() == ["FR", "IT", "AT"]


def test_items_are_numbered_and_the_function_is_new_where_neither_is_filed() -> None:
    rows = [of_items(0, 2), of_items(1, 1), of_items(2, 3)]
    rows[2].items[1].number, rows[1].function = 2, pb.MESSAGE_FUNCTION_NEW
    table = check(*rows).table
    assert table.child("items").ints("number").tolist() == [1, 2, 1, 1, 2, 3]
    assert table.ints("function").tolist() == [pb.MESSAGE_FUNCTION_NEW] * 3
    assert table.child("items").strings("description").tolist() == [rows[0].items[0].description] * 6


def test_only_ids_that_capitals_change_are_stored_beside_the_code_of_who_carries() -> None:
    rows = [consignment(number) for number in range(3)]
    rows[0].carrier_identifier, rows[1].carrier_identifier = "wings", "WINGS"
    table = check(*rows).table
    assert table.strings("carrier_id").tolist() == ["wings", "", ""]
    assert table.strings("carrier_identifier").tolist() == ["WINGS", "WINGS", ""]
    assert "carrier_id" not in check(*rows[1:]).table.names


def test_columns_that_are_no_filer_s_are_neither_cleaned_nor_checked() -> None:
    ours: dict[str, Any] = {"filer": Strings.of([" own\n "] * 2), "version": Ints.of(np.array([-1, 10**9]))}
    checked = validation.check(table_of(consignment(0), consignment(1)).with_columns(ours))
    assert not checked.errors
    assert checked.table.strings("filer").tolist() == [" own\n "] * 2


@pytest.mark.parametrize(("errors", "warnings"), [(50, 50), (51, 50), (50, 51), (300, 120), (0, 51), (51, 0)])
def test_of_many_errors_of_a_consignment_the_first_are_described_and_the_others_counted(
    errors: int, warnings: int
) -> None:
    row = of_items(1, max(errors, warnings, 1))
    for place, item in enumerate(row.items):
        # Distinct and equal values, of columns and of lists.
        item.brand = "a\n" + str(place // 2) if place < errors else ""
        item.imeis.extend(["1"] * (place < warnings))
    checked = check(consignment(0), row, consignment(2))
    described = checked.errors.get(1, [])
    shown = min(errors, 50), min(warnings, 50)
    assert [each.path for each in described] == [
        *(f"consignments[1].items[{place}].brand" for place in range(shown[0])),
        *(f"consignments[1].items[{place}].imeis[0]" for place in range(shown[1])),
    ]
    assert [each.warns for each in described] == [False] * shown[0] + [True] * shown[1]
    assert sum(shown) + checked.left_out.get(1, 0) == errors + warnings
    assert checked.refused.tolist() == [False, errors > 0, False]
    assert set(checked.left_out) <= {1}
