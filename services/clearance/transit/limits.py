"""The rules of movements to another office as data: what a jurist writes in limits.yaml, and what follows from it for consignments. Pure."""

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.files.yaml_file import YamlFile
from services.clearance.temporary_storage.limits import last_day

INCLUDED: Final = Path(__file__).parent / "limits.yaml"
_EPOCH: Final = date(1970, 1, 1)


class TransitRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rules of a jurisdiction from one day to another, both included."""

    jurisdiction: str
    areas: frozenset[str]
    """Countries of destination, alpha-2."""
    start: date = msgspec.field(name="from")
    to: date | None = None
    usual_days: int
    """Whole days after the day on which the movement begins, where nobody sets a limit."""
    longest_days: int
    ends_on_working_day: bool = False
    """Whether a last day that is a Saturday or a Sunday is moved to the Monday after it."""
    carrier_starts: bool
    """Whether a carrier begins movements of its own consignments."""
    releases_on_arrival: bool
    """Whether goods that nothing holds are released with their arrival at the office of destination; otherwise an officer releases them there."""
    law: str
    article: str
    address: str
    verified: bool = False


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    limits: tuple[TransitRule, ...]


@dataclass(frozen=True, slots=True)
class Provided:
    """What the rules provide for n consignments, one value each."""

    provided: NDArray[np.bool_]
    """Whether there are rules."""
    usual_days: NDArray[np.int64]
    longest_days: NDArray[np.int64]
    ends_on_working_day: NDArray[np.bool_]
    carrier_starts: NDArray[np.bool_]
    releases_on_arrival: NDArray[np.bool_]

    def due_at(self, at: int, limit_days: int) -> NDArray[np.int64]:
        """Return when the limits of movements that begin at an instant end: the first microsecond after the last day.

        0 days stand for the usual limit.
        """
        days = np.full(len(self.provided), limit_days, np.int64) if limit_days else self.usual_days
        first = np.full(len(days), at // MICROS_PER_DAY, np.int64)
        moved = last_day(first, days, moves_to_working_day=True)
        return (np.where(self.ends_on_working_day, moved, first + days) + 1) * MICROS_PER_DAY


@cache
def included() -> tuple[TransitRule, ...]:
    """Return the rules that are included in this release. Raises YamlError."""
    return YamlFile(INCLUDED).convert(_File).limits


def rules_of(states: Table, at: int, rules: tuple[TransitRule, ...] | None = None) -> Provided:
    """Return what the rules of the day of an instant provide for states; without `rules`, those that are included."""
    day, rows = at // MICROS_PER_DAY, states.rows
    provided, carrier, working, releases = (np.zeros(rows, np.bool_) for _ in range(4))
    usual, longest = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    countries = states.strings("destination_country")
    for rule in included() if rules is None else rules:
        if (rule.start - _EPOCH).days <= day and (rule.to is None or day <= (rule.to - _EPOCH).days):
            found = countries.isin(rule.areas)
            provided |= found
            usual[found], longest[found] = rule.usual_days, rule.longest_days
            working[found], carrier[found] = rule.ends_on_working_day, rule.carrier_starts
            releases[found] = rule.releases_on_arrival
    return Provided(provided, usual, longest, working, carrier, releases)
