"""What each element of a consignment may hold: one entry a column, so that nothing is stored that nobody checked.

Bounds and formats are those that the contract states beside the element. Source: WCO data model 3, UCC-DA annex B, ISO 3166-1 and 4217,
UN/ECE recommendations 20 and 21, UPU S10, GS1 General Specifications 7.9 (check digits).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from libs.columns import Kind, schema_of
from libs.customs import codes, ioss, mrn, s10, units
from luxor.consignment.v1 import consignment_pb2 as consignment
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns

AMOUNT_MAX = 10**12
"""Largest amount, minor units of its currency."""
MASS_MAX = 10**14
"""Largest mass, milligrams."""
QUANTITY_MAX = 10**12
"""Largest quantity, thousandths of its unit."""
TIME_MIN = 946_684_800_000_000
"""Earliest time: 2000-01-01 UTC, microseconds since 1970-01-01."""
TIME_MAX = 4_102_444_800_000_000
"""Latest time: 2100-01-01 UTC."""

Fault: TypeAlias = tuple[str, dict[str, object]] | None
"""A reason of the catalogue with its facts, or None where the value is good."""


@dataclass(frozen=True)
class Text:
    """A column of strings: its longest value, its cleaning and a further check of a value that is there."""

    longest: int
    code: bool = False
    """Codes and numbers lose blanks around them and are written in capitals; texts lose blanks around them only."""
    check: Callable[[str], Fault] | None = None
    warns: bool = False
    """Whether what `check` finds is a warning rather than an error."""


@dataclass(frozen=True)
class Number:
    """A column of whole numbers: its bounds, both included."""

    least: int
    most: int


@dataclass(frozen=True)
class Choice:
    """A column of an enum's numbers."""

    numbers: frozenset[int]


@dataclass(frozen=True)
class Truth:
    """A column of truth values: any."""


@dataclass(frozen=True)
class Several:
    """A column of lists: how many at most, and what each value may hold."""

    most: int
    each: Text | None = None
    """None for a child table, whose columns have entries of their own."""


Element: TypeAlias = Text | Number | Choice | Truth | Several


def _in(values: Collection[str], reason: str) -> Callable[[str], Fault]:
    return lambda value: None if value in values else (reason, {})


def _code(fault: Callable[[str], str]) -> Callable[[str], Fault]:
    """Check a code by the lists that all edges share."""

    def check(value: str) -> Fault:
        reason = fault(value)
        return (reason, {}) if reason else None

    return check


def _mrn(value: str) -> Fault:
    return None if mrn.is_valid(value) else ("MRN_MALFORMED", {})


def _gtin(value: str) -> Fault:
    if len(value) not in (8, 12, 13, 14) or not (value.isascii() and value.isdigit()):
        return "GTIN_MALFORMED", {}
    # GS1: weights 3 and 1 in turn from the right, sum modulo 10.
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(value[:-1])))
    return None if (10 - total % 10) % 10 == int(value[-1]) else ("GTIN_MALFORMED", {})


def _imei(value: str) -> Fault:
    if len(value) != 15 or not (value.isascii() and value.isdigit()):
        return "IMEI_MALFORMED", {}
    # Luhn, from the right: every second digit doubled, its digits added.
    total = 0
    for place, digit in enumerate(reversed(value)):
        doubled = int(digit) * 2 if place % 2 else int(digit)
        total += doubled - 9 if doubled > 9 else doubled
    return None if total % 10 == 0 else ("IMEI_MALFORMED", {})


def _digits(count: int) -> Callable[[str], Fault]:
    def check(value: str) -> Fault:
        good = len(value) == count and value.isascii() and value.isdigit()
        return None if good else ("CODE_MALFORMED", {"form": f"{count} digits"})

    return check


def _letters_and_digits(count: int) -> Callable[[str], Fault]:
    def check(value: str) -> Fault:
        good = len(value) == count and value.isascii() and value.isalnum()
        return None if good else ("CODE_MALFORMED", {"form": f"{count} letters and digits"})

    return check


def _hexadecimal(value: str) -> Fault:
    good = len(value) == 64 and all(character in "0123456789ABCDEF" for character in value)
    return None if good else ("CODE_MALFORMED", {"form": "64 hexadecimal digits"})


def _postal_or_any(value: str) -> Fault:
    """A document number that looks like an S10 identifier has to be one."""
    looks = len(value) == 13 and value[:2].isalpha() and value[2:11].isdigit() and value[11:].isalpha()
    return None if not looks or s10.is_valid(value) else ("S10_MALFORMED", {})


_COUNTRY = Text(2, code=True, check=_code(codes.country_fault))
_CURRENCY = Text(3, code=True, check=_code(codes.currency_fault))
_MRN = Text(18, code=True, check=_mrn)
_AMOUNT = Number(0, AMOUNT_MAX)
_TIME = Number(TIME_MIN, TIME_MAX)
_OFFICE = Text(8, code=True, check=_letters_and_digits(8))
_LOCODE = Text(5, code=True, check=_letters_and_digits(5))
_ADDITIONAL_PROCEDURES = Several(99, Text(3, code=True, check=_letters_and_digits(3)))
_ADDITIONAL_INFORMATION = Several(99, Text(5, code=True, check=_letters_and_digits(5)))


def _choice(enum: object) -> Choice:
    return Choice(frozenset(enum.values()))  # type: ignore[attr-defined]


def _party(prefix: str) -> Iterator[tuple[str, Element]]:
    yield f"{prefix}_name", Text(70)
    yield f"{prefix}_person_type", _choice(consignment.PersonType)
    yield f"{prefix}_identifier", Text(35, code=True)
    yield f"{prefix}_identifier_type", _choice(consignment.IdentifierType)
    yield f"{prefix}_address_street", Text(140)
    yield f"{prefix}_address_street_additional", Text(70)
    yield f"{prefix}_address_postcode", Text(17)
    yield f"{prefix}_address_city", Text(35)
    yield f"{prefix}_address_region", Text(35)
    yield f"{prefix}_address_country", _COUNTRY
    yield f"{prefix}_phone", Text(50)
    yield f"{prefix}_email", Text(256)


def _money(prefix: str) -> Iterator[tuple[str, Element]]:
    yield f"{prefix}_minor", _AMOUNT
    yield f"{prefix}_currency", _CURRENCY


def _document(prefix: str) -> Iterator[tuple[str, Element]]:
    yield f"{prefix}_number", Text(70, code=True, check=_postal_or_any)
    yield f"{prefix}_type", Text(4, code=True)


PARTIES = ("representative", "consignor", "consignee", "seller", "buyer", "declarant", "importer")

CONSIGNMENT: dict[str, Element] = {
    "local_reference": Text(22),
    "function": _choice(consignment.MessageFunction),
    "amended_mrn": _MRN,
    "amended_version": Number(1, 9_999),
    **{name: element for party in PARTIES for name, element in _party(party)},
    "representation": _choice(consignment.Representation),
    "transport_mode": _choice(consignment.TransportMode),
    "transport_service": _choice(consignment.TransportService),
    "transport_conveyance_reference": Text(17, code=True),
    "transport_departure_time": _TIME,
    "transport_arrival_time": _TIME,
    "transport_route_countries": Several(99, _COUNTRY),
    "transport_first_entry_office": _OFFICE,
    "transport_loading_place": _LOCODE,
    "transport_unloading_place": _LOCODE,
    **dict(_document("house_document")),
    **dict(_document("master_document")),
    "receptacles": Several(99, Text(35, code=True)),
    "split": Truth(),
    "previous_part_mrn": _MRN,
    "order_platform": Text(35),
    "order_number": Text(50),
    "order_time": _TIME,
    "order_part": Number(1, 9_999),
    "order_parts": Number(1, 9_999),
    "payment_reference": Text(60),
    "payment_payer": Text(70),
    **dict(_money("payment_amount")),
    "payment_provider": Text(35),
    "declarant_role": _choice(consignment.DeclarantRole),
    "fiscal_references": Several(99),
    "procedure": Text(4, code=True, check=_letters_and_digits(4)),
    "additional_procedures": _ADDITIONAL_PROCEDURES,
    "nature": _choice(consignment.Nature),
    "previous_documents": Several(99),
    "packages": Several(99),
    "gross_mass_mg": Number(1, MASS_MAX),
    "items": Several(999),
    "dispatch_country": _COUNTRY,
    "destination_country": _COUNTRY,
    **dict(_money("freight")),
    **dict(_money("insurance")),
    "prices_include_tax": Truth(),
    "incoterm": Text(3, code=True, check=_letters_and_digits(3)),
    "incoterm_place": Text(35),
    "supporting_documents": Several(99),
    "additional_information": _ADDITIONAL_INFORMATION,
    "payment_method": Text(3, code=True),
    "guarantees": Several(9),
    "goods_location": Text(35),
    "presentation_office": _OFFICE,
    **dict(_document("returned_document")),
    "returned_mrn": _MRN,
    "screenings": Several(9),
    "direct_shipment_place": _LOCODE,
    "direct_shipment_time": _TIME,
    "export_time": _TIME,
    **dict(_money("clearance_fee")),
    **dict(_money("invoice_total")),
    "carrier_identifier": Text(17, code=True),
    "unique_consignment_reference": Text(35, code=True),
}
"""The columns of a consignment."""

_DOCUMENT: dict[str, Element] = {
    "type": Text(8, code=True),
    "reference": Text(70),
    "item_number": Number(1, 99_999),
    "valid_until": _TIME,
}
_PACKAGES: dict[str, Element] = {
    "count": Number(0, 99_999_999),
    "type": Text(2, code=True, check=_in(units.PACKAGE_CODES, "PACKAGE_TYPE_UNKNOWN"), warns=True),
    "marks": Text(512),
}

CHILDREN: dict[str, dict[str, Element]] = {
    "items": {
        "number": Number(1, 99_999),
        "description": Text(512),
        "commodity_code": Text(10, code=True, check=_code(codes.commodity_fault)),
        "merchant_product_id": Text(70),
        "manufacturer_product_id": Text(70),
        "gtin": Text(14, code=True, check=_gtin),
        "quantity_milli": Number(1, QUANTITY_MAX),
        "quantity_unit": Text(3, code=True, check=_in(units.UNIT_CODES, "UNIT_UNKNOWN"), warns=True),
        "supplementary_quantity_milli": Number(1, QUANTITY_MAX),
        "supplementary_unit": Text(4, code=True),
        "gross_mass_mg": Number(1, MASS_MAX),
        "net_mass_mg": Number(1, MASS_MAX),
        "origin_country": Text(2, code=True, check=_code(codes.origin_fault)),
        **dict(_money("price")),
        **dict(_money("tax_charged")),
        "tax_rate_ppm": Number(0, 2_000_000),
        "valuation_method": Text(1, code=True, check=_in("123456", "VALUATION_METHOD_UNKNOWN")),
        "preference": Text(3, code=True, check=_digits(3)),
        "additional_procedures": _ADDITIONAL_PROCEDURES,
        "supporting_documents": Several(99),
        "additional_information": _ADDITIONAL_INFORMATION,
        "packages": Several(99),
        "gift": Truth(),
        "imeis": Several(999, Text(15, code=True, check=_imei, warns=True)),
        "cas_number": Text(12, code=True),
        "un_number": Text(4, code=True, check=_digits(4)),
        "listing_url": Text(2048),
        "picture_url": Text(2048),
        "picture_sha256": Text(64, code=True, check=_hexadecimal),
        "manufacturer": Text(70),
        "brand": Text(70),
    },
    "fiscal_references": {
        "scheme": _choice(consignment.Scheme),
        "number": Text(35, code=True),
        "transaction_reference": Text(35, code=True),
    },
    "previous_documents": _DOCUMENT,
    "supporting_documents": _DOCUMENT,
    "packages": _PACKAGES,
    "guarantees": {"type": Text(1, code=True), "reference": Text(35, code=True), **dict(_money("amount"))},
    "screenings": {
        "method": Text(3, code=True),
        "result": _choice(consignment.ScreeningResult),
        "time": _TIME,
        "screener": Text(35),
    },
}
"""The columns of the tables below a consignment, by the name of the column that holds them."""

REQUIRED: tuple[str, ...] = (
    "local_reference",
    "transport_mode",
    "transport_service",
    "house_document_number",
    "consignor_name",
    "consignor_address_country",
    "consignee_name",
    "consignee_address_street",
    "consignee_address_city",
    "consignee_address_country",
    "gross_mass_mg",
    "nature",
)
"""What every consignment has, whatever its procedure (data elements marked m from pre-arrival on)."""

ITEMS_REQUIRED: tuple[str, ...] = ("description", "commodity_code", "price_minor")
"""What every item has."""

MONEY: tuple[str, ...] = ("payment_amount", "freight", "insurance", "clearance_fee", "invoice_total")
"""Amounts of a consignment; each that is there has a currency."""

ITEMS_MONEY: tuple[str, ...] = ("price", "tax_charged")
"""Amounts of an item."""


def ioss_fault(number: str) -> Fault:
    """Tell what is wrong with the form of an IOSS number, with or without a platform's reference behind it."""
    return None if ioss.is_valid(ioss.split(number)[0]) else ("SCHEME_NUMBER_MALFORMED", {})


def paths() -> dict[str, str]:
    """Give the path that a filer knows of each column: consignor_address_city is consignor.address.city."""
    found: dict[str, str] = {}
    _paths(consignment.Consignment.DESCRIPTOR, "", "", found)
    return found


def _paths(row: object, prefix: str, path: str, found: dict[str, str]) -> None:
    for field in row.fields:  # type: ignore[attr-defined]
        name, dotted = prefix + field.name, path + field.name
        nested = field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp"
        if nested and not field.is_repeated:
            _paths(field.message_type, name + "_", dotted + ".", found)
        else:
            found[name] = dotted


def uncovered() -> list[str]:
    """Name the columns of the contract that no entry here covers (a test asserts that there are none)."""
    schema = schema_of(ConsignmentColumns)
    envelope = {"mrn", "version", "filer", "accepted_at", "partition"}
    missing = [name for name in schema.columns if name not in CONSIGNMENT and name not in envelope]
    for name, child in schema.children.items():
        missing += [f"{name}.{column}" for column in child.columns if column not in CHILDREN[name]]
    missing += [name for name, kind in schema.columns.items() if kind is Kind.CHILD and name not in CHILDREN]
    return missing
