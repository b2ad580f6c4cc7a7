"""The valid values of each element of a consignment: one entry for each column, so that nothing is stored unchecked.

Bounds are those that the contract states beside the element; the forms of codes and numbers stand here. Source: WCO data model 3,
UCC-DA annex B, ISO 3166-1 and 4217, UN/ECE recommendations 20 and 21, UPU S10, GS1 General Specifications 7.9 (check digits).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from libs.bounds import Bound, bound_of
from libs.columns.schema import TIMESTAMP
from libs.customs import codes, units
from libs.customs.identifiers import ioss, mrn, s10
from libs.filing_stages.law import ITEMS, Stage, included
from luxor.consignment.v1 import consignment_pb2 as consignment

_HTTPS = re.compile(r"https://[^\s/?#@\\]+([/?#]\S*)?", re.IGNORECASE)

CheckError: TypeAlias = tuple[str, dict[str, Any]] | None
"""A reason of the catalogue with its facts, or None where the value is valid."""


@dataclass(frozen=True)
class Form:
    """How a text is cleaned, and what it is beyond its bounds."""

    code: bool = False
    """Codes and numbers lose blanks around them and are written in capitals; texts lose blanks around them only."""
    check: Callable[[str], CheckError] | None = None


@dataclass(frozen=True)
class Text:
    """A column of strings."""

    bound: Bound
    form: Form


@dataclass(frozen=True)
class Number:
    """A column of whole numbers."""

    bound: Bound


@dataclass(frozen=True)
class Time:
    """A column of instants, microseconds since 1970-01-01 UTC."""

    bound: Bound


@dataclass(frozen=True)
class Choice:
    """A column of an enum's numbers."""

    bound: Bound


@dataclass(frozen=True)
class Truth:
    """A column of truth values: any."""


@dataclass(frozen=True)
class Several:
    """A column of lists."""

    bound: Bound
    each: Text | None = None
    """None for a child table, whose columns have entries of their own."""


Element: TypeAlias = Text | Number | Time | Choice | Truth | Several


def _in(values: Collection[str], reason: str) -> Callable[[str], CheckError]:
    return lambda value: None if value in values else (reason, {})


def _code(check_code: Callable[[str], str]) -> Callable[[str], CheckError]:
    """Check a code by the lists that all edges share."""

    def check(value: str) -> CheckError:
        reason = check_code(value)
        return (reason, {}) if reason else None

    return check


def _mrn(value: str) -> CheckError:
    return None if mrn.is_valid(value) else ("MRN_MALFORMED", {})


def _gtin(value: str) -> CheckError:
    if len(value) not in (8, 12, 13, 14) or not (value.isascii() and value.isdigit()):
        return "GTIN_MALFORMED", {}
    # GS1: weights 3 and 1 in turn from the right, sum modulo 10.
    total = 3 * sum(map(int, value[-2::-2])) + sum(map(int, value[-3::-2]))
    return None if (10 - total % 10) % 10 == int(value[-1]) else ("GTIN_MALFORMED", {})


def _imei(value: str) -> CheckError:
    if len(value) != 15 or not (value.isascii() and value.isdigit()):
        return "IMEI_MALFORMED", {}
    # Luhn, from the right: every second digit doubled, its digits added.
    total = 0
    for place, digit in enumerate(reversed(value)):
        doubled = int(digit) * 2 if place % 2 else int(digit)
        total += doubled - 9 if doubled > 9 else doubled
    return None if total % 10 == 0 else ("IMEI_MALFORMED", {})


def _digits(count: int) -> Callable[[str], CheckError]:
    def check(value: str) -> CheckError:
        good = len(value) == count and value.isascii() and value.isdigit()
        return None if good else ("CODE_MALFORMED", {"form": f"{count} digits"})

    return check


def _letters(count: int) -> Callable[[str], CheckError]:
    def check(value: str) -> CheckError:
        good = len(value) == count and value.isascii() and value.isalpha()
        return None if good else ("CODE_MALFORMED", {"form": f"{count} letters"})

    return check


def _letters_and_digits(count: int) -> Callable[[str], CheckError]:
    def check(value: str) -> CheckError:
        good = len(value) == count and value.isascii() and value.isalnum()
        return None if good else ("CODE_MALFORMED", {"form": f"{count} letters and digits"})

    return check


def _hexadecimal(value: str) -> CheckError:
    good = len(value) == 64 and all(character in "0123456789ABCDEF" for character in value)
    return None if good else ("CODE_MALFORMED", {"form": "64 hexadecimal digits"})


def _picture(value: str) -> CheckError:
    """An address that officers may open: https with a host, without a user, blanks and control characters."""
    good = _HTTPS.fullmatch(value) is not None
    return None if good else ("URL_MALFORMED", {"form": "https:// with a host, without a user and blanks"})


def _postal_or_any(value: str) -> CheckError:
    """A document number that looks like an S10 identifier has to be one."""
    return None if not s10.resembles(value) or s10.is_valid(value) else ("S10_MALFORMED", {})


_CODE = Form(code=True)
_COUNTRY = Form(code=True, check=_code(codes.country_error))
_MRN = Form(code=True, check=_mrn)
_OFFICE = Form(code=True, check=_letters_and_digits(8))
_LOCODE = Form(code=True, check=_letters_and_digits(5))

FORMS: dict[str, Form] = {
    "Address.country": _COUNTRY,
    "Consignment.additional_information": Form(code=True, check=_letters_and_digits(5)),
    "Consignment.additional_procedures": Form(code=True, check=_letters_and_digits(3)),
    "Consignment.amended_mrn": _MRN,
    "Consignment.carrier_identifier": _CODE,
    "Consignment.destination_country": _COUNTRY,
    "Consignment.direct_shipment_place": _LOCODE,
    "Consignment.dispatch_country": _COUNTRY,
    "Consignment.incoterm": Form(code=True, check=_letters(3)),
    "Consignment.payment_method": _CODE,
    "Consignment.presentation_office": _OFFICE,
    "Consignment.previous_part_mrn": _MRN,
    "Consignment.procedure": Form(code=True, check=_letters_and_digits(4)),
    "Consignment.receptacles": _CODE,
    "Consignment.returned_mrn": _MRN,
    "Consignment.unique_consignment_reference": _CODE,
    "Document.type": _CODE,
    "FiscalReference.number": _CODE,
    "FiscalReference.transaction_reference": _CODE,
    "Guarantee.reference": _CODE,
    "Guarantee.type": _CODE,
    "Item.additional_information": Form(code=True, check=_letters_and_digits(5)),
    "Item.additional_procedures": Form(code=True, check=_letters_and_digits(3)),
    "Item.cas_number": _CODE,
    "Item.commodity_code": Form(code=True, check=_code(codes.commodity_error)),
    "Item.gtin": Form(code=True, check=_gtin),
    "Item.imeis": Form(code=True, check=_imei),
    "Item.origin_country": Form(code=True, check=_code(codes.origin_error)),
    "Item.picture_url": Form(check=_picture),
    "Item.picture_sha256": Form(code=True, check=_hexadecimal),
    "Item.preference": Form(code=True, check=_digits(3)),
    "Item.quantity_unit": Form(code=True, check=_in(units.UNIT_CODES, "UNIT_UNKNOWN")),
    "Item.supplementary_unit": _CODE,
    "Item.un_number": Form(code=True, check=_digits(4)),
    "Item.valuation_method": Form(code=True, check=_in("123456", "VALUATION_METHOD_UNKNOWN")),
    "Money.currency": Form(code=True, check=_code(codes.currency_error)),
    "Packages.type": Form(code=True, check=_in(units.PACKAGE_CODES, "PACKAGE_TYPE_UNKNOWN")),
    "Party.identifier": _CODE,
    "Screening.method": _CODE,
    "Transport.conveyance_reference": _CODE,
    "Transport.first_entry_office": _OFFICE,
    "Transport.loading_place": _LOCODE,
    "Transport.route_countries": _COUNTRY,
    "Transport.unloading_place": _LOCODE,
    "TransportDocument.number": Form(code=True, check=_postal_or_any),
    "TransportDocument.type": _CODE,
}
"""The forms of texts, by message and field; a field that is not here is a plain text."""


def _columns(row: Descriptor, prefix: str = "") -> Iterator[tuple[str, Element]]:
    """Yield the columns of a row message: a leaf is named by its path, a list of messages is a child table."""
    for field in row.fields:
        name = prefix + field.name
        nested = field.message_type
        if nested is not None and not field.is_repeated and nested.full_name != TIMESTAMP:
            yield from _columns(nested, name + "_")
        else:
            yield name, _element(field)


def _element(field: FieldDescriptor) -> Element:
    bound = bound_of(field)
    _, message, name = field.full_name.rsplit(".", 2)
    text = Text(bound, FORMS.get(f"{message}.{name}", Form()))
    if field.is_repeated:
        return Several(bound, None if field.message_type is not None else text)
    if field.message_type is not None:
        return Time(bound)
    if field.enum_type is not None:
        return Choice(bound)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return Truth()
    return text if field.type == FieldDescriptor.TYPE_STRING else Number(bound)


PARTIES = ("representative", "consignor", "consignee", "seller", "buyer", "declarant", "importer")

CONSIGNMENT: dict[str, Element] = dict(_columns(consignment.Consignment.DESCRIPTOR))
"""The columns of a consignment."""

CHILDREN: dict[str, dict[str, Element]] = {
    field.name: dict(_columns(field.message_type))
    for message in (consignment.Consignment, consignment.Item)
    for field in message.DESCRIPTOR.fields
    if field.is_repeated and field.message_type is not None
}
"""The columns of the tables below a consignment, by the name of the column that holds them."""

_DECLARED: tuple[str, ...] = included().required(Stage.SIMPLIFIED)
REQUIRED: tuple[str, ...] = tuple(name for name in _DECLARED if not name.startswith(ITEMS))
"""What every declaration has, whatever its procedure; a filing before it has the minimum set (stages.py)."""

ITEMS_REQUIRED: tuple[str, ...] = tuple(name.removeprefix(ITEMS) for name in _DECLARED if name.startswith(ITEMS))
"""What every item of a declaration has; those of documents may omit code and price where their destination's law says so (documents.py)."""

MONEY: tuple[str, ...] = ("payment_amount", "freight", "insurance", "clearance_fee", "invoice_total")
"""Amounts of a consignment; each that is there has a currency."""

ITEMS_MONEY: tuple[str, ...] = ("price", "tax_charged")
"""Amounts of an item."""


def ioss_error(number: str) -> CheckError:
    """Return the error of an IOSS number, with or without a platform's reference after it, or None."""
    return None if ioss.is_valid(ioss.split(number)[0]) else ("SCHEME_NUMBER_MALFORMED", {})


def paths() -> dict[str, str]:
    """Return the path of each column in the contract: that of consignor_address_city is consignor.address.city."""
    by_column: dict[str, str] = {}
    _paths(consignment.Consignment.DESCRIPTOR, "", "", by_column)
    return by_column


def _paths(row: object, prefix: str, path: str, by_column: dict[str, str]) -> None:
    for field in row.fields:  # type: ignore[attr-defined]
        name, dotted = prefix + field.name, path + field.name
        nested = field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp"
        if nested and not field.is_repeated:
            _paths(field.message_type, name + "_", dotted + ".", by_column)
        else:
            by_column[name] = dotted
