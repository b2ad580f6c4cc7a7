"""Tables with the columns of the data set H7: each column where it belongs, what is left out, and errors by their headers."""

import io
from typing import Any

import pytest

from libs.client.errors import LuxorError
from libs.client.filing.columns import columns
from libs.client.filing.declarations.tables import h7_columns, number_of, read_h7
from libs.client.filing.files import Read
from libs.client.row_errors import RowError
from tests.support.declarations import flat, table_of

BASE = {
    "12 09 000 000": "P-1", "18 05 001 000": "Woven cotton blouse", "18 09 056 000": "620630",
    "14 14 012 000": "EUR", "14 14 014 000": "19.99",
}  # fmt: skip


def table(*rows: dict[str, str]) -> list[Read | RowError]:
    """What a table of rows yields that are complete but for what each says."""
    return list(read_h7(io.BytesIO(table_of(rows, BASE).encode())))


def values(row: dict[str, str]) -> dict[str, Any]:
    [found] = table(row)
    assert isinstance(found, Read), found
    return flat(found.message)


def test_the_least_of_a_row() -> None:
    assert values({}) == {
        "local_reference": "P-1",
        "items[0].description": "Woven cotton blouse",
        "items[0].commodity_code": "620630",
        "items[0].price.minor": 1999,
        "items[0].price.currency": "EUR",
    }


@pytest.mark.parametrize(
    ("header", "cell", "expected"),
    [
        ("11 03 001 000", "1", {"items[0].number": 1}),
        ("11 10 001 000", "C07;F48", {"items[0].additional_procedures[0]": "C07", "items[0].additional_procedures[1]": "F48"}),
        ("12 01 001 000", "26DE1", {"previous_documents[0].reference": "26DE1"}),
        ("12 01 002 000", "N355", {"previous_documents[0].type": "N355"}),
        ("12 02 008 000", "00100", {"items[0].additional_information[0]": "00100"}),
        ("12 03 002 000", "N380", {"items[0].supporting_documents[0].type": "N380"}),
        ("12 05 001 000", "HAWB-1", {"house_document.number": "HAWB-1"}),
        ("12 05 002 000", "N703", {"house_document.type": "N703"}),
        ("12 08 000 000", "UCR-1", {"unique_consignment_reference": "UCR-1"}),
        ("13 01 016 000", "Meadow Lane", {"consignor.name": "Meadow Lane"}),
        ("13 01 018 020", "CN", {"consignor.address.country": "CN"}),
        ("13 04 016 000", "Erika", {"importer.name": "Erika", "consignee.name": "Erika"}),
        ("13 04 018 022", "Berlin", {"importer.address.city": "Berlin", "consignee.address.city": "Berlin"}),
        ("13 05 017 000", "DE1", {"declarant.identifier": "DE1", "declarant.identifier_type": "IDENTIFIER_TYPE_EORI"}),
        ("13 05 017 000", "12345", {"declarant.identifier": "12345"}),
        ("13 06 030 000", "3", {"representation": "REPRESENTATION_INDIRECT"}),
        ("13 16 031 000", "FR5", {"fiscal_references[0].scheme": "SCHEME_IOSS"}),
        ("13 16 034 000", "IM1", {"fiscal_references[0].number": "IM1"}),
        ("14 03 038 000", "E", {"payment_method": "E"}),
        ("16 15 036 000", "DEFRA", {"goods_location": "DEFRA"}),
        ("17 09 001 000", "DE003302", {"presentation_office": "DE003302"}),
        ("18 02 001 000", "2", {"items[0].supplementary_quantity_milli": 2000}),
        ("18 03 001 000", "0.5", {"gross_mass_mg": 500_000}),
        ("18 04 001 000", "0.42", {"items[0].gross_mass_mg": 420_000, "gross_mass_mg": 420_000}),
        ("18 06 003 000", "CT", {"items[0].packages[0].type": "CT"}),
        ("18 06 004 000", "1", {"items[0].packages[0].count": 1}),
        ("18 06 054 000", "M 1", {"items[0].packages[0].marks": "M 1"}),
        ("18 09 057 000", "00", {"items[0].commodity_code": "62063000"}),
        ("99 02 001 000", "1", {"guarantees[0].type": "1"}),
        ("nature", "SALE", {"nature": "NATURE_SALE"}),
        ("Transport_Mode", "AIR", {"transport.mode": "TRANSPORT_MODE_AIR"}),
    ],
)  # fmt: skip
def test_a_column_states_its_element(header: str, cell: str, expected: dict[str, Any]) -> None:
    assert values({header: cell}) == values({}) | expected


def test_the_three_parts_of_a_code_are_joined_in_their_order() -> None:
    assert values({"18 09 058 000": "10", "18 09 057 000": "00"})["items[0].commodity_code"] == "6206300010"


def test_transport_costs_have_their_currency() -> None:
    found = values({"14 15 014 000": "3.99", "14 15 012 000": "EUR"})
    assert (found["freight.minor"], found["freight.currency"]) == (399, "EUR")


def test_numbers_are_read_with_and_without_blanks_and_zeros() -> None:
    assert {number_of(each) for each in ("12 09 000 000", "12 09 001 000", "12 09", "1209", "1209000000")} == {"1209"}
    assert {number_of(each) for each in ("12 05 001 000", "1205001", "12 05 001")} == {"1205001"}
    assert number_of("12 05") == number_of("12 05 000 000") == "", "a group has no value of its own"
    assert [number_of(each) for each in ("98 01 001 000", "nature", "12-09", "")] == [""] * 4


def test_each_column_of_the_mapping_is_taken_or_explained() -> None:
    for number, column in h7_columns().items():
        assert number_of(number) == number
        assert column.name
        assert set(column.to) | set(column.eori) <= set(columns())
        assert column.to or column.note


def test_what_is_left_out_is_a_note_of_its_own_consignment() -> None:
    rows = [{"12 09 000 000": f"P-{number}", "12 12 001 000": "A" * (number % 2)} for number in range(4)]
    notes = [
        [(note.line, note.reference, note.element, note.value) for note in each.notes]
        for each in table(*rows)
        if isinstance(each, Read)
    ]
    assert notes == [[], [(3, "P-1", "12 12 001 000", "A")], [], [(5, "P-3", "12 12 001 000", "A")]]


@pytest.mark.parametrize(
    ("row", "element", "reason"),
    [
        ({"14 14 014 000": "19,99"}, "14 14 014 000", "AMOUNT_MALFORMED"),
        ({"13 16 031 000": "FR9"}, "13 16 031 000", "CHOICE_MISNAMED"),
        ({"18 09 056 000": "6206"}, "18 09 056 000", "CODE_MALFORMED"),
        ({"18 09 057 000": "0"}, "18 09 057 000", "CODE_MALFORMED"),
        ({"18 09 058 000": "1x"}, "18 09 058 000", "CODE_MALFORMED"),
        ({"nature": "LOAN"}, "nature", "CHOICE_MISNAMED"),
    ],
)
def test_an_error_names_the_header_of_the_file_and_refuses_its_whole_consignment(
    row: dict[str, str], element: str, reason: str
) -> None:
    # The second row of P-2 is not filed alone.
    first, refused = table({}, row | {"12 09 000 000": "P-2"}, {"12 09 000 000": "P-2"})
    assert isinstance(first, Read)
    assert isinstance(refused, RowError)
    assert (refused.line, refused.reference, refused.element, refused.reason) == (3, "P-2", element, reason)
    assert "item_" not in refused.sentence


def test_a_row_of_another_width_refuses_its_consignment() -> None:
    header = ",".join(BASE)
    rows = [",".join(BASE.values()), "P-2,too,few", ",".join(BASE.values()).replace("P-1", "P-2")]
    found = list(read_h7(io.BytesIO("\n".join([header, *rows]).encode())))
    assert [each.reason if isinstance(each, RowError) else "" for each in found] == ["", "ROW_WIDTH_WRONG"]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ("12 09 000 000,12 09 001 000", "COLUMN_REPEATED"),
        ("12 09 000 000,local_reference", "COLUMN_REPEATED"),
        ("nature,nature", "COLUMN_REPEATED"),
        ("98 01 001 000", "COLUMN_UNKNOWN"),
        ("12 05 000 000", "COLUMN_UNKNOWN"),
        ("12 09 000 000", "COLUMN_MISSING"),
        ("", "FILE_EMPTY"),
    ],
)
def test_a_header_that_cannot_be_used_refuses_the_file(headers: str, reason: str) -> None:
    with pytest.raises(LuxorError) as caught:
        list(read_h7(io.BytesIO(headers.encode())))
    assert caught.value.reason == reason


def test_errors_of_ingestion_name_the_header() -> None:
    [found] = table({"13 04 016 000": "Erika"})
    assert isinstance(found, Read)
    for path, header in (
        ("items[0].commodity_code", "18 09 056 000"),
        ("consignee.name", "13 04 016 000"),
        ("nature", "nature"),
    ):
        assert found.row_error("R", f"consignments[0].{path}", "", "", "").element == header
