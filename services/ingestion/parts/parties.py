"""Who may add a part to a consignment, and by what both are linked. Pure.

A part is joined with a consignment that names its party. An officer states the roles of a party in the register, so that nobody adds parts by a name
that happens to be its own. Whoever has the linking key of a consignment needs neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import numpy as np

from libs.columns import Table
from libs.customs.codes import tidy_code
from libs.filing_stages.law import ROLES_BY_DOCUMENT
from luxor.ingestion.v1 import parts_pb2 as pb
from services.ingestion.filers.register import Filer

KEY_CHARACTERS: Final = (22, 64)
"""Of a linking key, at least and at most: 22 characters of base 64 have 128 bits."""
_COLUMNS: Final[Mapping[int, str]] = {
    pb.PARTY_ROLE_SELLER: "seller_identifier",
    pb.PARTY_ROLE_PLATFORM: "order_platform",
    pb.PARTY_ROLE_PAYMENT_PROVIDER: "payment_provider",
    pb.PARTY_ROLE_CARRIER: "carrier_identifier",
    pb.PARTY_ROLE_POST: "carrier_identifier",
}
"""The element by which a consignment names the party of a role."""
_BY_ID: Final = (pb.PARTY_ROLE_PLATFORM, pb.PARTY_ROLE_PAYMENT_PROVIDER)
"""Roles whose party is named by the id in its certificate, too. The carrier's names in its role are ids of other certificates."""


class Parties:
    """The entries of the register that have roles of parties, on a day."""

    def __init__(self, entries: Iterable[Filer], day: int) -> None:
        """Take entries in force; those that are suspended add nothing, but a suspension may end. `day` since 1970-01-01 UTC."""
        parties = [each for each in entries if each.party_roles]
        self._registered = {each.id: each for each in parties}
        self._entries = {each.id: each for each in parties if not each.suspension_reason}
        self._day = day
        self._names: dict[str, set[str]] = {}
        self._named: dict[tuple[int, str], set[str]] = {}
        """By role and name, the parties that are not suspended."""
        for each in parties:
            for role in each.party_roles:
                names = _names(each, role)
                self._names.setdefault(_COLUMNS[role], set()).update(names)
                for name in () if each.suspension_reason else names:
                    self._named.setdefault((role, name), set()).add(each.id)

    def __bool__(self) -> bool:
        return bool(self._names)

    def roles_of(self, filer: str) -> set[int]:
        """Return the roles in which a filer files parts, its own and those of parties that it represents."""
        return {role for each in self._acting(filer) for role in each.party_roles}

    def may_add(self, filer: str, role: int, consignment: Table, row: int, *, joined_day: int | None = None) -> bool:
        """Return whether a filer may add a part of a role to a consignment: it names the filer, or one that the filer represents.

        `joined_day`: a part of that day that was joined may stay, whatever was suspended and whichever representation ended since.
        """
        return any(
            role in each.party_roles
            and any(_is_named(each, own, consignment.strings(_COLUMNS[own])[row]) for own in each.party_roles)
            for each in self._acting(filer, joined_day)
        )

    def awaited(self, consignments: Table, row: int, roles: Iterable[int]) -> list[tuple[int, str]]:
        """Return the parties that a consignment names in these roles, each with its role first; none without a number to link a part by."""
        found: list[tuple[int, str]] = []
        for role in roles:
            value = consignments.strings(_COLUMNS[role])[row]
            names = {value, tidy_code(value)}
            parties = {each for name in names for each in self._named.get((role, name), ())}
            if parties and _has_link(consignments, row, role):
                # Of two names that differ in capitals alone one may be an id, which is compared letter for letter.
                named = (self._entries[each] for each in sorted(parties))
                found += [(role, each.id) for each in named if _is_named(each, role, value)]
        return found

    def naming(self, consignments: Table) -> list[int]:
        """Return the rows of consignments that name a party, be it suspended or not."""
        found = np.zeros(consignments.rows, np.bool_)
        for column, names in self._names.items():
            if consignments.may_have(column):
                values = consignments.strings(column)
                found |= values.map(lambda value: value in names or tidy_code(value) in names, np.bool_)  # noqa: B023  # called at once
        rows: list[int] = np.flatnonzero(found).tolist()
        return rows

    def _acting(self, filer: str, joined_day: int | None = None) -> list[Filer]:
        """Return the parties for which a filer acts today, or acted on a day."""
        acting = [
            each for each in self._entries.values() if each.id == filer or each.is_represented_by(filer, self._day)
        ]
        if joined_day is not None:
            some = self._registered.values()
            acting += (each for each in some if each.id == filer or each.is_represented_by(filer, joined_day))
        return acting


def _names(party: Filer, role: int) -> set[str]:
    return {*party.identifiers, *([party.id] if role in _BY_ID else [])} - {""}


def _is_named(party: Filer, role: int, value: str) -> bool:
    """Return whether a name in a consignment is that of a party in a role; identifiers are compared as codes, ids letter for letter."""
    return tidy_code(value) in party.identifiers or (role in _BY_ID and value == party.id)


def _has_link(consignments: Table, row: int, role: int) -> bool:
    """Return whether a consignment has the number by which a part of a role is linked; it names the platform or the carrier as well."""
    if role in ROLES_BY_DOCUMENT:
        return bool(consignments.strings("house_document_number")[row])
    return bool(consignments.strings("order_platform")[row] and consignments.strings("order_number")[row])


def linking_key(key: str) -> bytes:
    """Return what is stored of a linking key."""
    return _key("linking key", key)


def order_key(platform: str, number: str) -> bytes:
    """Return the key of an order."""
    return _key("order", platform, number)


def document_key(carrier: str, number: str) -> bytes:
    """Return the key of a house document of a carrier."""
    return _key("house document", tidy_code(carrier), tidy_code(number))


def keys_of(consignments: Table, rows: Sequence[int]) -> Mapping[int, list[bytes]]:
    """Return by row the keys by which parts may be linked to consignments, cleaned as they are stored."""
    platforms, orders = consignments.strings("order_platform"), consignments.strings("order_number")
    carriers, documents = consignments.strings("carrier_identifier"), consignments.strings("house_document_number")
    found: dict[int, list[bytes]] = {}
    for row in rows:
        keys = []
        if platforms[row] and orders[row]:
            keys.append(order_key(platforms[row], orders[row]))
        if carriers[row] and documents[row]:
            keys.append(document_key(carriers[row], documents[row]))
        if keys:
            found[row] = keys
    return found


def _key(*names: str) -> bytes:
    """Return 128 bits of a digest of texts: nobody finds another text for them."""
    return sha256("".join(f"{len(each)}:{each}" for each in names).encode()).digest()[:16]
