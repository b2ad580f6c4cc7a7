"""Entries of the register of filers, and who may represent whom. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Ints, Strings
from libs.customs.representation import Mandate

OPEN_END: Final = 2**31 - 1
"""The last day of what is valid until further notice, days since 1970-01-01."""


@dataclass(frozen=True, slots=True)
class FilerCertificate:
    """A certificate of a filer; days since 1970-01-01 UTC, both included."""

    serial_number: str
    from_day: int
    to_day: int


@dataclass(frozen=True, slots=True)
class Representative:
    """Who may act for a filer, and on which days (since 1970-01-01 UTC, both included)."""

    id: str
    from_day: int
    to_day: int


@dataclass(frozen=True, slots=True)
class TrustedStatus:
    """The status of a trusted operator; days since 1970-01-01 UTC, both included."""

    authorisation: str
    from_day: int
    to_day: int


@dataclass(frozen=True, slots=True)
class Filer:
    """The entry of a filer."""

    id: str
    """As in its certificate."""
    name: str
    identifiers: tuple[str, ...] = ()
    """By which declarations name it as declarant or representative."""
    certificates: tuple[FilerCertificate, ...] = ()
    representatives: tuple[Representative, ...] = ()
    suspension_reason: str = ""
    """Empty: it is not suspended."""
    trusted: TrustedStatus | None = None
    party_roles: tuple[int, ...] = ()
    """In which it files parts: numbers of PartyRole, rising."""
    version: int = 0
    """0: not registered yet."""
    changed_at: int = 0
    """Microseconds since 1970-01-01 UTC."""
    changed_by: str = ""
    """Role and id."""

    def is_represented_by(self, other: str, day: int) -> bool:
        """Return whether another filer may act for this one on a day."""
        return any(each.id == other and each.from_day <= day <= each.to_day for each in self.representatives)

    def trusted_until(self, day: int) -> int | None:
        """Return the last day of the status as a trusted operator, None if the filer has none on a day. A suspended filer has none."""
        if self.trusted is None or self.suspension_reason or not self.trusted.from_day <= day <= self.trusted.to_day:
            return None
        return self.trusted.to_day


def mandates(caller: Filer | None, owners: Iterable[Filer], day: int) -> Mapping[str, list[Mandate]]:
    """Return by filer the representations on a day between it and the caller, in either direction.

    Both must be registered. A suspended caller acts for nobody else.
    """
    found: dict[str, list[Mandate]] = {}
    if caller is None or caller.suspension_reason:
        return found
    for owner in owners:
        for declarant, representative in ((owner, caller), (caller, owner)):
            if declarant.is_represented_by(representative.id, day):
                mandate = Mandate(frozenset(declarant.identifiers), frozenset(representative.identifiers))
                found.setdefault(owner.id, []).append(mandate)
    return found


class Declarants:
    """The entries of the register by what filings name: filers by id, declarants by identifier."""

    def __init__(self, entries: Iterable[Filer] = ()) -> None:
        """Take entries in force."""
        self._filers: dict[str, Filer] = {}
        self._declarants: dict[str, list[Filer]] = {}
        self._trusts = False
        for each in entries:
            self._filers[each.id] = each
            self._trusts |= each.trusted is not None
            for identifier in each.identifiers:
                self._declarants.setdefault(identifier, []).append(each)

    def __bool__(self) -> bool:
        return bool(self._filers)

    def entry(self, filer: str) -> Filer | None:
        """Return the entry of a filer; None if it is not registered."""
        return self._filers.get(filer)

    def not_entrusted(self, filer: str, identifiers: Iterable[str], day: int) -> frozenset[str]:
        """Return those of the identifiers of declarants that only other filers have who do not let this one represent them on a day."""
        named = ((each, self._declarants.get(each)) for each in identifiers)
        return frozenset(each for each, entries in named if entries and not _entitles(entries, filer, day))

    def trusted_until(self, filers: Sequence[str], declarants: Strings, day: int) -> Ints:
        """Return for filings on a day the last day on which the filer, or the declarant that it may name, is a trusted operator, shape (n,).

        Absent where neither is. What is only named, by a filer that the declarant has not entrusted, gives nothing.
        """
        known: dict[tuple[str, str], int] = {}
        found = np.full(len(filers), -1, np.int64)
        if self._trusts:
            for row, pair in enumerate(zip(filers, declarants.tolist(), strict=True)):
                if pair not in known:
                    known[pair] = self._trusted_until(*pair, day)
                found[row] = known[pair]
        return Ints.of(np.maximum(found, 0), found >= 0)

    def _trusted_until(self, filer: str, identifier: str, day: int) -> int:
        own = self._filers.get(filer)
        entitling = (each for each in self._declarants.get(identifier, ()) if _entitles([each], filer, day))
        days = (each.trusted_until(day) for each in (own, *entitling) if each is not None)
        return max((each for each in days if each is not None), default=-1)


def _entitles(entries: Iterable[Filer], filer: str, day: int) -> bool:
    return any(each.id == filer or each.is_represented_by(filer, day) for each in entries)
