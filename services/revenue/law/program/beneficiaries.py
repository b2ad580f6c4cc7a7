"""Whose revenue charges are: the entries `beneficiaries` of rulebooks, by jurisdiction, kind of charge, destination and day of the law."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from services.revenue.law.source.rates import parse_share
from services.revenue.law.source.rulebook import Beneficiaries, Rulebook

KINDS: Final = ("", "duty", "tax", "fee")
"""Names of luxor.revenue.v1.Kind by number."""
DESTINATION: Final = "destination"
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Share:
    """What one beneficiary gets."""

    beneficiary: str
    """Code of the treasury. Example: "DE"."""
    ppm: int
    """Parts per million, rounded down to the minor unit; 0 in the last share, which is the rest."""


@dataclass(frozen=True, slots=True)
class RevenueDivision:
    """How one kind of charge is divided, with its reference in law; one share where all goes to one treasury."""

    shares: tuple[Share, ...]
    reference: str = ""
    """Name in the rulebook; empty where no entry names the kind."""


class Sharing:
    """The entries of all rulebooks."""

    def __init__(self, books: Iterable[Rulebook] = ()) -> None:
        """Take rulebooks; several of one jurisdiction apply in their own periods."""
        self._entries: dict[tuple[str, str], list[tuple[Rulebook, Beneficiaries]]] = {}
        self._areas: dict[str, set[str]] = {}
        for book in books:
            self._areas.setdefault(book.jurisdiction, set()).update(book.areas)
            for entry in book.beneficiaries:
                for kind in entry.kinds:
                    self._entries.setdefault((book.jurisdiction, kind), []).append((book, entry))

    def division(self, jurisdiction: str, kind: int, destination: str, day: int) -> RevenueDivision:
        """Return whose revenue a charge of a kind (luxor.revenue.v1.Kind) is, by the day of the law, days since 1970-01-01.

        A destination that is no area of the jurisdiction has no treasury of its own: the jurisdiction's stands for it.
        """
        on = _EPOCH + timedelta(days=day)
        for book, entry in self._entries.get((jurisdiction, KINDS[kind]), ()):
            if not (_applies(entry.start, entry.to, on) and (book.period.to is None or on <= book.period.to)):
                continue
            state = destination if destination in self._areas[jurisdiction] else jurisdiction
            shares: dict[str, int] = {}
            for part in entry.parts:
                beneficiary = state if part.to == DESTINATION else part.to
                # The treasury of the destination may be named beside it: both parts are its own.
                earlier = shares.pop(beneficiary, 0)
                shares[beneficiary] = 0 if part.share == "rest" else earlier + parse_share(part.share)
            return RevenueDivision(
                tuple(Share(beneficiary, ppm) for beneficiary, ppm in shares.items()), entry.reference
            )
        return RevenueDivision((Share(jurisdiction, 0),))

    def treasuries(self, jurisdiction: str) -> set[str]:
        """Return the codes of all treasuries to which revenue of a jurisdiction may belong."""
        found = {jurisdiction, *self._areas.get(jurisdiction, ())}
        for (name, _), entries in self._entries.items():
            if name == jurisdiction:
                found |= {part.to for _, entry in entries for part in entry.parts if part.to != DESTINATION}
        return found


def _applies(start: date, to: date | None, day: date) -> bool:
    return start <= day and (to is None or day <= to)
