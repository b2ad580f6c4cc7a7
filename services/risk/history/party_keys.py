"""Who a consignment is from and for, as keyed hashes (libs.columns.party_keys), and its goods as numbers."""

from __future__ import annotations

import numpy as np

from libs.columns import Strings, Table
from libs.columns.party_keys import KEY_BYTES_MAX, KEY_BYTES_MIN, Hasher, Parts, consignees
from libs.customs.parties import LEGAL_FORMS
from services.risk.history.record import KINDS, KeyKind
from services.risk.history.tables.hash_table import IntArray, Keys

__all__ = ["KEY_BYTES_MAX", "KEY_BYTES_MIN", "Hasher", "goods_of", "party_keys"]


def _addresses(parts: Parts, postcodes: list[str], cities: list[str]) -> list[str]:
    """An address needs a street; a postcode alone is a quarter of a town."""
    streets = parts.streets("consignee_address_street")
    countries = parts.texts("consignee_address_country")
    return [
        f"{street}|{city}|{postcode}|{country}" if street else ""
        for street, city, postcode, country in zip(streets, cities, postcodes, countries, strict=True)
    ]


def _sellers(parts: Parts) -> list[str]:
    """The seller, or the consignor where no seller is told: by identifier, else by name and country."""
    found = []
    for role in ("seller", "consignor"):
        identifiers, names = parts.compact(f"{role}_identifier"), parts.names(f"{role}_name")
        countries = parts.texts(f"{role}_address_country")
        found.append(
            [
                f"#{identifier}" if identifier else f"{' '.join(_bare(name))}|{country}" if name else ""
                for identifier, name, country in zip(identifiers, names, countries, strict=True)
            ]
        )
    return [seller or consignor for seller, consignor in zip(*found, strict=True)]


def _bare(name: str) -> list[str]:
    words = name.split()
    return [word for word in words if word not in LEGAL_FORMS] or words


def goods_of(codes: Strings, origins: Strings) -> IntArray:
    """HS6 and origin of each item as one number, HS6 * 1,024 + origin; -1 where either is unknown. Shape (m,)."""
    six = codes.map(lambda code: int(code[:6]) if len(code) >= 6 and code[:6].isdecimal() else -1, np.int64)
    origin = origins.map(_country_number, np.int64)
    return np.where((six >= 0) & (origin >= 0), six * 1_024 + origin, -1)


def _country_number(code: str) -> int:
    letters = [ord(letter) - ord("A") for letter in code]
    known = len(letters) == 2 and all(0 <= letter < 26 for letter in letters)
    return letters[0] * 26 + letters[1] if known else -1


def party_keys(table: Table, hasher: Hasher) -> Keys:
    """The keyed hash of each party of a batch of consignments (a table of ConsignmentColumns), rows by Kind, 0 where nobody is told.

    Shape (5, n).
    """
    parts = Parts(table)
    postcodes, cities = parts.compact("consignee_address_postcode"), parts.plain("consignee_address_city")
    keys = np.zeros((KINDS, table.rows), np.uint64)
    keys[KeyKind.CONSIGNEE] = hasher.hash(consignees(parts, postcodes, cities), "consignee")
    keys[KeyKind.ADDRESS] = hasher.hash(_addresses(parts, postcodes, cities), "address")
    keys[KeyKind.SELLER] = hasher.column(Strings.of(_sellers(parts)), "seller")
    keys[KeyKind.PLATFORM] = hasher.column(table.strings("order_platform").translate(str.lower), "platform")
    carrier, filer = table.strings("carrier_identifier"), table.strings("filer")
    keys[KeyKind.CARRIER] = np.where(
        carrier.present, hasher.column(carrier, "carrier"), hasher.column(filer, "carrier")
    )
    return keys
