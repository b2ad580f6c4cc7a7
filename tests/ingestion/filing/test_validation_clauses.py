"""One case for each clause of every refusal, on both sides of every bound.

The bounds stand here once more, as figures: they are those of the WCO data model and of UCC-DA annex B that the contract
promises, and not what the code or the contract's options happen to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from libs.columns import Table
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import validation
from tests.ingestion.consignments import clear, consignment, put

PARTIES = ("representative", "consignor", "consignee", "seller", "buyer", "declarant", "importer")

TEXTS: dict[str, int] = {
    "local_reference": 22,
    "order.platform": 35,
    "order.number": 50,
    "payment.reference": 60,
    "payment.payer": 70,
    "payment.provider": 35,
    "house_document.number": 70,
    "house_document.type": 4,
    "master_document.number": 70,
    "returned_document.number": 70,
    "transport.conveyance_reference": 17,
    "incoterm_place": 35,
    "payment_method": 3,
    "goods_location": 35,
    "carrier_identifier": 17,
    "unique_consignment_reference": 35,
    "receptacles[0]": 35,
    "items[0].description": 512,
    "items[0].merchant_product_id": 70,
    "items[0].manufacturer_product_id": 70,
    "items[0].supplementary_unit": 4,
    "items[0].cas_number": 12,
    "items[0].listing_url": 2048,
    "items[0].picture_url": 2048,
    "items[0].manufacturer": 70,
    "items[0].brand": 70,
    "items[0].supporting_documents[0].type": 8,
    "items[0].supporting_documents[0].reference": 70,
    "items[0].packages[0].marks": 512,
    "previous_documents[0].type": 8,
    "supporting_documents[0].reference": 70,
    "packages[0].marks": 512,
    "fiscal_references[0].transaction_reference": 35,
    "guarantees[0].type": 1,
    "guarantees[0].reference": 35,
    "screenings[0].method": 3,
    "screenings[0].screener": 35,
    **{
        f"{party}.{name}": length
        for party in PARTIES
        for name, length in (("name", 70), ("identifier", 35), ("phone", 50), ("email", 256), ("address.street", 140),
                             ("address.street_additional", 70), ("address.postcode", 17), ("address.city", 35),
                             ("address.region", 35))
    },
}  # fmt: skip

NUMBERS: dict[str, tuple[int, int]] = {
    "amended_version": (1, 9_999),
    "gross_mass_mg": (1, 10**14),
    "order.part": (1, 9_999),
    "order.parts": (1, 9_999),
    "freight.minor": (0, 10**12),
    "insurance.minor": (0, 10**12),
    "clearance_fee.minor": (0, 10**12),
    "invoice_total.minor": (0, 10**12),
    "payment.amount.minor": (0, 10**12),
    "guarantees[0].amount.minor": (0, 10**12),
    "packages[0].count": (0, 99_999_999),
    "previous_documents[0].item_number": (1, 99_999),
    "items[0].price.minor": (0, 10**12),
    "items[0].tax_charged.minor": (0, 10**12),
    "items[0].quantity_milli": (1, 10**12),
    "items[0].supplementary_quantity_milli": (1, 10**12),
    "items[0].gross_mass_mg": (1, 10**14),
    "items[0].net_mass_mg": (1, 10**14),
    "items[0].tax_rate_ppm": (0, 2_000_000),
    "items[0].packages[0].count": (0, 99_999_999),
}

TIMES = (
    "transport.departure_time",
    "transport.arrival_time",
    "order.time",
    "direct_shipment_time",
    "export_time",
    "screenings[0].time",
    "previous_documents[0].valid_until",
    "items[0].supporting_documents[0].valid_until",
)

CHOICES: dict[str, int] = {
    "representation": 2,
    "transport.mode": 5,
    "transport.service": 3,
    "declarant_role": 4,
    "nature": 6,
    "consignor.person_type": 3,
    "buyer.identifier_type": 7,
    "fiscal_references[0].scheme": 12,
    "screenings[0].result": 3,
}

LISTS: dict[str, int] = {
    "transport.route_countries": 99,
    "receptacles": 99,
    "fiscal_references": 99,
    "additional_procedures": 99,
    "previous_documents": 99,
    "packages": 99,
    "items": 999,
    "supporting_documents": 99,
    "additional_information": 99,
    "guarantees": 9,
    "screenings": 9,
    "items[0].additional_procedures": 99,
    "items[0].supporting_documents": 99,
    "items[0].additional_information": 99,
    "items[0].packages": 99,
    "items[0].imeis": 999,
}
_ENTRIES: dict[str, Any] = {
    "route_countries": "CN",
    "receptacles": "R1",
    "additional_procedures": "F48",
    "additional_information": "00100",
    "imeis": "490154203237518",
}

REQUIRED = (
    "local_reference",
    "transport.mode",
    "transport.service",
    "house_document.number",
    "consignor.name",
    "consignor.address.country",
    "consignee.name",
    "consignee.address.street",
    "consignee.address.city",
    "consignee.address.country",
    "gross_mass_mg",
    "nature",
    "items",
    "items[0].description",
    "items[0].commodity_code",
    "items[0].price.minor",
)

MONEY = ("freight", "insurance", "clearance_fee", "invoice_total", "payment.amount", "items[0].tax_charged")

FORMS: dict[str, tuple[list[str], list[str], str]] = {
    "items[0].gtin": (
        ["96385074", "4006381333931", "036000291452", "10614141000415"],
        ["4006381333930", "96385075", "400638133393", "40063813339", "400638133393A", "٤٠٠٦٣٨١٣٣٣٩٣١"],
        "GTIN_MALFORMED",
    ),
    "house_document.number": (["RR123456785TR", "RR12345678TR", "AB1234567890"], ["RR123456784TR"], "S10_MALFORMED"),
    "returned_mrn": (["26DE32329000033OR6"], ["26DE32329000033OR7", "26DE32329000033OR"], "MRN_MALFORMED"),
    "previous_part_mrn": (["26DE32329000033OR6"], ["26DE32329000033OR5"], "MRN_MALFORMED"),
    "amended_mrn": (["26DE32329000033OR6"], ["26DE32329000033OR5"], "MRN_MALFORMED"),
    "procedure": (["4000", "42A1"], ["400", "40-0"], "CODE_MALFORMED"),
    "incoterm": (["DAP"], ["DA", "D.P"], "CODE_MALFORMED"),
    "presentation_office": (["DE003302"], ["DE00330", "DE00330-"], "CODE_MALFORMED"),
    "transport.first_entry_office": (["DE003302"], ["DE00330"], "CODE_MALFORMED"),
    "transport.loading_place": (["CNSZX"], ["CNSZ", "CNSZÄ"], "CODE_MALFORMED"),
    "transport.unloading_place": (["DEFRA"], ["DEFR"], "CODE_MALFORMED"),
    "direct_shipment_place": (["USLAX"], ["USLA"], "CODE_MALFORMED"),
    "items[0].preference": (["300"], ["30", "30A"], "CODE_MALFORMED"),
    "items[0].un_number": (["3481"], ["348", "348A"], "CODE_MALFORMED"),
    "items[0].picture_url": (
        ["https://a.example", "HTTPS://a.example:8443/p?q=1#f", "https://[2001:db8::1]/p", "https://müller.example/ä"],
        [
            "http://a.example/p",
            "https://",
            "https:///p",
            "https://user@a.example/p",
            "https://a.example\\@b.example",
            "https://a b.example",
            "https://a.example/a b",
            "javascript:alert(1)",
            "//a.example/p",
            "data:image/png;base64,AA",
            "a.example/p",
        ],
        "URL_MALFORMED",
    ),
    "items[0].picture_sha256": (["0f" * 32], ["0f" * 31, "0g" * 32], "CODE_MALFORMED"),
    "items[0].valuation_method": (["1", "6"], ["7", "0", "A"], "VALUATION_METHOD_UNKNOWN"),
    "items[0].commodity_code": (["620630", "62063000", "6206300010"], ["62063", "62063A"], "COMMODITY_CODE_MALFORMED"),
    "items[0].origin_country": (["CN"], ["ZZ"], "COUNTRY_UNKNOWN"),
    "dispatch_country": (["CN"], ["ZZ"], "COUNTRY_UNKNOWN"),
    "destination_country": (["DE"], ["ZZ"], "COUNTRY_UNKNOWN"),
    "consignee.address.country": (["DE"], ["ZZ"], "COUNTRY_UNKNOWN"),
    "items[0].price.currency": (["EUR"], ["EUX"], "CURRENCY_UNKNOWN"),
    "freight.currency": (["EUR"], ["EUX"], "CURRENCY_UNKNOWN"),
}


BEGINNINGS: dict[str, str] = {"items[0].picture_url": "https://a.example/"}
"""How a text begins that is of a form."""


def errors(row: Consignment) -> list[tuple[str, str]]:
    """Return reason and path of each fault that refuses a consignment."""
    checked = validation.check(Table.from_messages([row], ConsignmentColumns, Consignment))
    return [
        (each.reason, each.path.removeprefix("consignments[0]."))
        for each in checked.errors.get(0, [])
        if not each.warns
    ]


def good() -> Consignment:
    """Return a consignment with all that these tests change, in order."""
    row = consignment(0)
    row.additional_procedures[:] = ["F48"]
    return row


@pytest.mark.parametrize(("path", "longest"), TEXTS.items())
def test_a_text_may_be_as_long_as_its_bound_and_no_longer(path: str, longest: int) -> None:
    beginning = BEGINNINGS.get(path, "")
    assert errors(put(good(), path, beginning + "X" * (longest - len(beginning)))) == []
    assert errors(put(good(), path, beginning + "X" * (longest + 1 - len(beginning)))) == [("TEXT_TOO_LONG", path)]


@pytest.mark.parametrize("path", [path for path, longest in TEXTS.items() if longest > 2])
@pytest.mark.parametrize("character", ["\x00", "\n", "\x7f", "\x9f", "\u2028"])
def test_a_text_has_no_character_that_cannot_be_printed(path: str, character: str) -> None:
    # In the middle nothing is cleaned away, but for the blanks of a code.
    found = errors(put(good(), path, f"{BEGINNINGS.get(path, '')}A{character}B"))
    assert found == [("TEXT_UNPRINTABLE", path)] or (found == [] and character.isspace())


@pytest.mark.parametrize(("path", "bounds"), NUMBERS.items())
def test_a_number_lies_within_its_bounds_on_both_sides(path: str, bounds: tuple[int, int]) -> None:
    least, most = bounds
    assert errors(put(good(), path, least)) == []
    assert errors(put(good(), path, most)) == []
    below = "NUMBER_NEGATIVE" if least == 0 else "NUMBER_TOO_SMALL"
    assert errors(put(good(), path, least - 1)) == [(below, path)]
    assert errors(put(good(), path, most + 1)) == [("NUMBER_TOO_LARGE", path)]


@pytest.mark.parametrize("path", TIMES)
def test_a_time_lies_within_2000_and_2100_and_its_nanoseconds_are_such(path: str) -> None:
    first, last = 946_684_800, 4_102_444_800
    for seconds, nanos, fine in (
        (first, 0, True),
        (first - 1, 999_999_999, False),
        (last, 0, True),
        (last, 1_000, False),
        (last - 1, 999_999_999, True),
        (first, -1, False),
        (first, 10**9, False),
        (0, 0, False),
        (2**62, 0, False),
        (-(2**62), 0, False),
        (2**63 - 1, 2**31 - 1, False),
    ):
        row = good()
        put(row, f"{path}.seconds", seconds)
        put(row, f"{path}.nanos", nanos)
        assert errors(row) == ([] if fine else [("TIME_OUT_OF_BOUNDS", path)]), (seconds, nanos)


@pytest.mark.parametrize(("path", "last"), CHOICES.items())
def test_a_choice_is_one_that_the_contract_names(path: str, last: int) -> None:
    assert errors(put(good(), path, last)) == []
    for value in (last + 1, -1, 2**31 - 1):
        assert ("CHOICE_UNKNOWN", path) in errors(put(good(), path, value))


@pytest.mark.parametrize(("path", "most"), LISTS.items())
def test_a_list_has_as_many_entries_as_its_bound_and_no_more(path: str, most: int) -> None:
    for count in (most, most + 1):
        row, name = good(), path.rpartition(".")[2]
        parent: Any = (
            row.items[0] if path.startswith("items[0].") else row.transport if path.startswith("transport.") else row
        )
        entries = getattr(parent, name)
        first = _ENTRIES.get(name) or (entries[0] if len(entries) else type(entries.add())())
        del entries[:]
        entries.extend([first] * count)
        for entry in entries if name == "items" else ():
            entry.ClearField("number")
        found = [each for each in errors(row) if each[0] == "LIST_TOO_LONG"]
        assert found == ([] if count == most else [("LIST_TOO_LONG", path)])


@pytest.mark.parametrize("path", REQUIRED)
def test_what_is_required_is_missed(path: str) -> None:
    assert ("ELEMENT_MISSING", path) in errors(clear(good(), path))


@pytest.mark.parametrize("name", [*MONEY, "items[0].price"])
def test_an_amount_has_its_currency_and_a_currency_its_amount(name: str) -> None:
    whole = put(good(), f"{name}.minor", 5)
    assert errors(whole) == []
    assert errors(clear(put(good(), f"{name}.minor", 5), f"{name}.currency")) == [
        ("CURRENCY_MISSING", f"{name}.currency")
    ]
    assert errors(clear(put(good(), f"{name}.minor", 5), f"{name}.minor")) == [("ELEMENT_MISSING", f"{name}.minor")]


NEW, AMEND, INVALIDATE = pb.MESSAGE_FUNCTION_NEW, pb.MESSAGE_FUNCTION_AMEND, pb.MESSAGE_FUNCTION_INVALIDATE
NO_VERSION, NO_REFERENCE = ("ELEMENT_MISSING", "amended_version"), ("ELEMENT_MISSING", "local_reference")


@pytest.mark.parametrize("function", [pb.MESSAGE_FUNCTION_UNSPECIFIED, NEW, AMEND, INVALIDATE])
@pytest.mark.parametrize("named", ["", "reference", "mrn"])
@pytest.mark.parametrize("version", [None, 1])
def test_a_change_names_its_filing_and_the_version_that_it_replaces(
    function: pb.MessageFunction.ValueType, named: str, version: int | None
) -> None:
    row = put(good(), "function", function)
    if named != "reference":
        row.ClearField("local_reference")
    if named == "mrn":
        row.amended_mrn = "22ITZXBZYUTJFLJXK6"
    if version is not None:
        row.amended_version = version
    later = function in (AMEND, INVALIDATE)
    expected = [NO_VERSION] if later and version is None else []
    if named == "" or (named == "mrn" and not later):
        expected.append(NO_REFERENCE)
    assert sorted(errors(row)) == sorted(expected)


def test_an_invalidation_needs_nothing_else_and_an_amendment_all_that_a_filing_needs() -> None:
    row = Consignment(local_reference="R", function=INVALIDATE, amended_version=1)
    assert errors(row) == []
    row.return_document.number = "AWB-5"
    row.items.add(description="Belt")
    assert errors(row) == []
    row.function = AMEND
    missing = {path for reason, path in errors(row) if reason == "ELEMENT_MISSING"}
    assert missing >= {
        "transport.mode",
        "consignor.name",
        "gross_mass_mg",
        "items[0].commodity_code",
        "items[0].price.minor",
    }


def numbered(*numbers: int | None) -> Consignment:
    """Return a consignment whose items have these numbers."""
    row = good()
    for _ in numbers[1:]:
        row.items.add().CopyFrom(row.items[0])
    for item, number in zip(row.items, numbers, strict=True):
        item.ClearField("number")
        if number is not None:
            item.number = number
    return row


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ((1,), []),
        ((None, None), []),
        ((1, 2, 3), []),
        ((1, None, 3), []),
        ((0,), [0]),
        ((2,), [0]),
        ((1, 1), [1]),
        ((2, 1), [0, 1]),
        ((1, 3), [1]),
        ((None, 1), [1]),
    ],
)
def test_items_are_numbered_from_one_without_a_gap(numbers: tuple[int | None, ...], wrong: list[int]) -> None:
    found = {path for reason, path in errors(numbered(*numbers)) if reason == "ITEM_NUMBER_WRONG"}
    assert found == {f"items[{place}].number" for place in wrong}


def schemes(*entries: tuple[int, str]) -> Consignment:
    """Return a consignment with these fiscal references."""
    row = good()
    del row.fiscal_references[:]
    for scheme, number in entries:
        row.fiscal_references.add(scheme=scheme, number=number)  # type: ignore[arg-type]
    return row


@pytest.mark.parametrize("scheme", [each for each in pb.Scheme.values() if each])
def test_every_scheme_but_special_arrangements_has_a_number(scheme: int) -> None:
    missing = [] if scheme == pb.SCHEME_SPECIAL_ARRANGEMENTS else [("ELEMENT_MISSING", "fiscal_references[0].number")]
    assert errors(schemes((scheme, ""))) == missing
    assert errors(schemes((scheme, "IM2760000014"))) == []


def test_a_fiscal_reference_names_its_scheme() -> None:
    assert errors(schemes((0, "IM2760000014"))) == [("ELEMENT_MISSING", "fiscal_references[0].scheme")]


def test_a_scheme_stands_once_in_a_consignment_and_may_stand_in_several() -> None:
    ioss, voec = (pb.SCHEME_IOSS, "IM2760000014"), (pb.SCHEME_VOEC, "2000123")
    assert errors(schemes(ioss, voec)) == []
    assert errors(schemes(ioss, voec, ioss)) == [("SCHEME_REPEATED", "fiscal_references")]
    rows = [schemes(ioss), schemes(ioss), schemes(voec, ioss)]
    checked = validation.check(Table.from_messages(rows, ConsignmentColumns, Consignment))
    assert not checked.refused.any()


@pytest.mark.parametrize(
    ("scheme", "number", "warned"),
    [
        (pb.SCHEME_IOSS, "IM2760000014", False),
        (pb.SCHEME_IOSS, "IN2760000014", True),
        (pb.SCHEME_IOSS, "IM27600", True),
        (pb.SCHEME_VOEC, "IM27600", False),
        (pb.SCHEME_GST_LVG, "IM2760000015", False),
    ],
)
def test_the_form_of_an_ioss_number_is_a_warning_and_of_no_other_scheme(scheme: int, number: str, warned: bool) -> None:
    checked = validation.check(Table.from_messages([schemes((scheme, number))], ConsignmentColumns, Consignment))
    told = [(each.reason, each.warns) for each in checked.errors.get(0, [])]
    assert told == ([("SCHEME_NUMBER_MALFORMED", True)] if warned else [])


@pytest.mark.parametrize("path", FORMS)
def test_a_code_has_its_form(path: str) -> None:
    right, wrong, reason = FORMS[path]
    for value in right:
        assert errors(put(good(), path, value)) == [], value
    for value in wrong:
        assert errors(put(good(), path, value)) == [(reason, path)], value


def personal() -> Iterator[str]:
    """Yield the paths of personal texts."""
    yield "payment.payer"
    for party in PARTIES:
        for name in ("name", "identifier", "phone", "email", "address.street", "address.street_additional",
                     "address.postcode", "address.city", "address.region"):  # fmt: skip
            yield f"{party}.{name}"


@pytest.mark.parametrize("path", list(personal()))
def test_no_error_repeats_who_somebody_is(path: str) -> None:
    row = put(good(), path, "SECRET" * 60)
    (found,) = validation.check(Table.from_messages([row], ConsignmentColumns, Consignment)).errors[0]
    assert (found.reason, found.value) == ("TEXT_TOO_LONG", "")
    assert not any("SECRET" in str(fact) for fact in found.facts.values())


@pytest.mark.parametrize(
    ("path", "value"), [("consignor.address.country", "ZZ"), ("seller.person_type", 99), ("items[0].brand", "B" * 71)]
)
def test_an_error_repeats_what_names_nobody(path: str, value: Any) -> None:
    row = put(good(), path, value)
    (found,) = validation.check(Table.from_messages([row], ConsignmentColumns, Consignment)).errors[0]
    assert found.value == str(value)
