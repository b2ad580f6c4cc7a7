"""Entries of the register of filers, and who may represent whom. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

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
