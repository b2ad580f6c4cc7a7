"""Every element has the form that the contract states beside it: codes are tidied, texts are not, and check digits are right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from stdnum import ean, imei

from libs.columns import Kind, Table, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_INVALIDATE, NATURE_RETURN, Consignment
from services.ingestion.filing import elements, findings, validation
from tests.ingestion.consignments import consignment, get, put
from tests.support.filing_elements import uncovered

MRN = "26DE32329000033OR6"
CODES: dict[str, str] = {
    "amended_mrn": MRN,
    "previous_part_mrn": MRN,
    "returned_mrn": MRN,
    "receptacles[0]": "CNSHAADEFRAAAUN10001001000010",
    "procedure": "42A1",
    "additional_procedures[0]": "F48",
    "additional_information[0]": "AB100",
    "dispatch_country": "CN",
    "destination_country": "DE",
    "incoterm": "DAP",
    "payment_method": "E1",
    "presentation_office": "DE00330A",
    "direct_shipment_place": "USLAX",
    "carrier_identifier": "DE123",
    "unique_consignment_reference": "UCR1",
    "transport.conveyance_reference": "LX0188",
    "transport.route_countries[0]": "CN",
    "transport.first_entry_office": "DE00330A",
    "transport.loading_place": "CNSZX",
    "transport.unloading_place": "DEFRA",
    "fiscal_references[0].number": "IM2760000014",
    "fiscal_references[0].transaction_reference": "EU123456789",
    "previous_documents[0].type": "N355",
    "supporting_documents[0].type": "N380",
    "packages[0].type": "CT",
    "guarantees[0].type": "A",
    "guarantees[0].reference": "26DE1",
    "screenings[0].method": "XRY",
    "items[0].commodity_code": "620630",
    "items[0].gtin": "4006381333931",
    "items[0].quantity_unit": "H87",
    "items[0].supplementary_unit": "NAR",
    "items[0].origin_country": "CN",
    "items[0].valuation_method": "1",
    "items[0].preference": "300",
    "items[0].additional_procedures[0]": "C07",
    "items[0].additional_information[0]": "AB100",
    "items[0].imeis[0]": "490154203237518",
    "items[0].cas_number": "64-17-5A",
    "items[0].un_number": "3481",
    "items[0].picture_sha256": "0F" * 32,
    "items[0].supporting_documents[0].type": "C400",
    "items[0].packages[0].type": "CT",
    **{f"{document}_document.number": "RR123456785TR" for document in ("house", "master", "returned", "return")},
    **{f"{document}_document.type": "N703" for document in ("house", "master", "returned", "return")},
    **{f"{party}.identifier": "DE12AB" for party in elements.PARTIES},
    **{f"{party}.address.country": "DE" for party in elements.PARTIES},
    **{
        f"{money}.currency": "EUR"
        for money in ("freight", "insurance", "clearance_fee", "invoice_total", "payment.amount", "guarantees[0].amount", "items[0].price",
                      "items[0].tax_charged")
    },
}  # fmt: skip
"""Codes and numbers, by the words of the contract; every other string is a text."""


def strings(message: Descriptor = Consignment.DESCRIPTOR, before: str = "") -> Iterator[str]:
    """Yield the path of every string of a consignment, of lists that of the first entry."""
    for field in message.fields:
        path = f"{before}{field.name}{'[0]' if field.is_repeated else ''}"
        if field.message_type is not None:
            yield from strings(field.message_type, f"{path}.")
        elif field.type == field.TYPE_STRING:
            yield path


TEXTS = [path for path in strings() if path not in CODES]


def good() -> Consignment:
    """Return a returned consignment without the scheme whose numbers have a form of their own."""
    row = consignment(0)
    row.nature, row.returned_mrn = NATURE_RETURN, MRN
    row.fiscal_references[0].scheme = 3  # type: ignore[assignment]
    return row


def check(row: Consignment) -> validation.Checked:
    if row.HasField("return_document"):
        # Of an invalidation alone.
        row.function, row.amended_version = MESSAGE_FUNCTION_INVALIDATE, 1
    return validation.check(Table.from_messages([row], ConsignmentColumns, Consignment))


def faults(row: Consignment) -> list[tuple[str, str]]:
    """Return reason and path of each fault, whether it refuses the consignment or not."""
    return [(each.reason, each.path.removeprefix("consignments[0].")) for each in check(row).errors.get(0, [])]


@pytest.mark.parametrize("path", CODES)
def test_a_code_loses_its_blanks_and_is_written_in_capitals(path: str) -> None:
    code = CODES[path]
    checked = check(put(good(), path, f" {code[:1]} {code[1:]} ".lower()))
    assert checked.errors == {}
    (row,) = checked.table.to_messages(Consignment)
    assert get(row, path) == code


@pytest.mark.parametrize("path", TEXTS)
def test_a_text_loses_the_blanks_around_it_alone(path: str) -> None:
    # An address has no blanks within it.
    text = "https://a.example/Ab" if path.endswith("picture_url") else "Ab c"
    checked = check(put(good(), path, f"  {text} "))
    assert checked.errors == {}
    (row,) = checked.table.to_messages(Consignment)
    assert get(row, path) == text


LETTERS_AND_DIGITS = {
    "additional_information[0]": 5, "additional_procedures[0]": 3, "direct_shipment_place": 5, "presentation_office": 8, "procedure": 4,
    "transport.first_entry_office": 8, "transport.loading_place": 5, "transport.unloading_place": 5, "items[0].additional_information[0]": 5,
    "items[0].additional_procedures[0]": 3,
}  # fmt: skip
FORMS = [
    *(
        (path, f"{count} letters and digits", CODES[path], ("-", "Ä", "٣", "."))
        for path, count in LETTERS_AND_DIGITS.items()
    ),
    ("incoterm", "3 letters", "DAP", ("1", "-", "Ä", "٣")),
    ("items[0].preference", "3 digits", "300", ("A", "-", "٣", "²")),
    ("items[0].un_number", "4 digits", "3481", ("A", "-", "٣", "²")),
    ("items[0].picture_sha256", "64 hexadecimal digits", "0123456789ABCDEF" * 4, ("G", "-", "٣", "/", ":", "@")),
]


@pytest.mark.parametrize(("path", "form", "right", "others"), FORMS)
def test_a_code_has_so_many_characters_of_its_alphabet(
    path: str, form: str, right: str, others: tuple[str, ...]
) -> None:
    assert faults(put(good(), path, right)) == []
    # Too short, and with one character of another alphabet at each end.
    for wrong in (
        right[:-1],
        right[1:],
        *(right[:-1] + each for each in others),
        *(each + right[1:] for each in others),
    ):
        (found,) = check(put(good(), path, wrong)).errors[0]
        assert (found.reason, found.path, found.facts, found.warns) == (
            "CODE_MALFORMED", f"consignments[0].{path}", {"form": form}, False,
        ), wrong  # fmt: skip


def test_an_imei_has_fifteen_digits_and_the_check_digit_of_luhn() -> None:
    numbers = [f"{start * 7_919_000_541 % 10**14:014}{digit}" for start in range(1, 60) for digit in range(10)]
    others = [
        "49015420323751",
        "49015420323751A",
        "49015420323751٨",
        "-90154203237518",
        "²90154203237518",
        "4901542032375",
    ]
    numbers += ["490154203237518", "352099001761481", "000000000000000", *others]
    wrong = [
        place
        for place, number in enumerate(numbers)
        if not (number.isascii() and number.isdigit() and len(number) == 15 and imei.is_valid(number))
    ]
    assert len(wrong) == 59 * 9 + len(others)
    # Of one consignment no more errors than these are described.
    for start in range(0, len(numbers), findings.ERRORS_MAX):
        row, some = good(), range(start, min(start + findings.ERRORS_MAX, len(numbers)))
        row.items[0].imeis.extend(numbers[place] for place in some)
        assert faults(row) == [
            ("IMEI_MALFORMED", f"items[0].imeis[{place - start}]") for place in some if place in wrong
        ]


def test_a_gtin_has_8_or_12_to_14_digits_and_the_check_digit_of_gs1() -> None:
    numbers = [
        f"{start * 7_919_000_541 % 10 ** (length - 1):0{length - 1}}{digit}"
        for length in range(6, 15) for start in range(1, 8) for digit in range(10)
    ]  # fmt: skip
    others = ["A6385074", "9638507A", "٩٦٣٨٥٠٧٤", "9638507²", "-6385074"]
    numbers += ["96385074", "036000291452", "4006381333931", "10614141000415", "00000000", *others]
    wrong = [
        place
        for place, number in enumerate(numbers)
        if not (number.isascii() and number.isdigit() and ean.is_valid(number))
    ]
    assert len(numbers) - len(wrong) == 4 * 7 + 5
    for start in range(0, len(numbers), findings.ERRORS_MAX):
        row, some = good(), range(start, min(start + findings.ERRORS_MAX, len(numbers)))
        row.items.extend([row.items[0]] * (len(some) - 1))
        for item, place in zip(row.items, some, strict=True):
            item.gtin = numbers[place]
        assert faults(row) == [("GTIN_MALFORMED", f"items[{place - start}].gtin") for place in some if place in wrong]


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        ("RR123456785TR", False),
        ("RR123456784TR", True),
        ("RR473124829DE", False),
        ("RR473124828DE", True),
        # Each differs in one place from what looks like an S10 identifier.
        ("1R123456784TR", False),
        ("R1123456784TR", False),
        ("RRA23456784TR", False),
        ("RR12345678ATR", False),
        ("RR1234567841R", False),
        ("RR123456784T1", False),
        ("RR123456784T", False),
        ("R123456784TR", False),
        ("RR12345678TR", False),
        ("RR1234567844TR", False),
        ("RR123456784TRA", False),
        ("RRR123456784TR", False),
    ],
)
@pytest.mark.parametrize("document", ["house_document", "master_document", "returned_document", "return_document"])
def test_a_document_number_that_looks_like_an_s10_identifier_is_one(document: str, number: str, wrong: bool) -> None:
    path = f"{document}.number"
    assert faults(put(good(), path, number)) == ([("S10_MALFORMED", path)] if wrong else [])


def test_a_wrong_code_is_told_tidied() -> None:
    (found,) = check(put(good(), "items[0].valuation_method", " a ")).errors[0]
    assert (found.reason, found.value) == ("VALUATION_METHOD_UNKNOWN", "A")


@pytest.mark.parametrize("method", range(10))
def test_methods_of_valuation_are_1_to_6(method: int) -> None:
    path = "items[0].valuation_method"
    expected = [] if 1 <= method <= 6 else [("VALUATION_METHOD_UNKNOWN", path)]
    assert faults(put(good(), path, str(method))) == expected


NUMBERS = ("_minor", "minor", "_mg", "_milli", "_ppm", "number", "count", "part", "parts", "version")
OF_KIND = {
    Kind.STRINGS: elements.Text,
    Kind.BOOLS: elements.Truth,
    Kind.STRING_LISTS: elements.Several,
    Kind.CHILD: elements.Several,
}


def test_every_column_is_checked_as_what_it_holds() -> None:
    schema = schema_of(ConsignmentColumns)
    entries = {
        name: (elements.CONSIGNMENT[name], kind)
        for name, kind in schema.columns.items()
        if name in elements.CONSIGNMENT
    }
    assert len(entries) == len(elements.CONSIGNMENT)
    for table, columns in elements.CHILDREN.items():
        below = schema.children.get(table) or schema.children["items"].children[table]
        assert set(columns) == set(below.columns)
        entries |= {f"{table}.{name}": (element, below.columns[name]) for name, element in columns.items()}
    for name, (element, kind) in entries.items():
        if kind is Kind.INTS:
            time, choice = name.endswith(("time", "valid_until")), not name.endswith(NUMBERS)
            expected = elements.Time if time else elements.Choice if choice else elements.Number
        else:
            expected = OF_KIND[kind]
        assert type(element) is expected, name
        if isinstance(element, elements.Several):
            assert (element.each is None) == (kind is Kind.CHILD), name
        if isinstance(element, elements.Text):
            assert element.bound.characters_max, name


def test_paths_are_those_of_the_contract() -> None:
    paths = elements.paths()
    assert set(paths) == set(elements.CONSIGNMENT)
    row = Consignment()
    for name, path in paths.items():
        assert path.replace(".", "_") == name
        get(row, path)
    assert paths["consignor_address_city"] == "consignor.address.city"
    assert paths["order_time"] == "order.time"
    assert paths["items"] == "items"


@pytest.mark.parametrize(
    ("table", "column", "missing"),
    [
        ("", "gross_mass_mg", ["gross_mass_mg"]),
        ("", "order_time", ["order_time"]),
        ("", "items", ["items"]),
        ("items", "gtin", ["items.gtin"]),
        ("packages", "marks", ["packages.marks"]),
    ],
)
def test_a_column_of_the_contract_that_no_element_covers_is_named(
    table: str, column: str, missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert uncovered() == []
    monkeypatch.delitem(elements.CHILDREN[table] if table else elements.CONSIGNMENT, column)
    assert uncovered() == missing
