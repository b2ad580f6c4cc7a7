"""The rules of movements to another office: what a jurist writes in YAML, read when the service starts, and what follows for consignments. Pure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.files import dated_rules
from libs.files.dated_rules import DatedRule, applicable
from libs.filing_stages.direction import importing
from services.clearance.temporary_storage.limits import last_day

INCLUDED: Final = Path(__file__).parent / "limits.yaml"
LIMIT_DAYS_MAX: Final = 366
Days = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_DAYS_MAX)]


class TransitRule(DatedRule, frozen=True, kw_only=True):
    """The rules of a jurisdiction from one day to another, both included."""

    usual_days: Days
    """Whole days after the day on which the movement begins, where nobody sets a limit."""
    longest_days: Days
    ends_on_working_day: bool = False
    """Whether a last day that is a Saturday or a Sunday is moved to the Monday after it."""
    carrier_starts: bool
    """Whether a carrier begins movements of its own consignments."""
    releases_on_arrival: bool
    """Whether goods that nothing holds are released with their arrival at the office of destination; otherwise an officer releases them there."""

    def __post_init__(self) -> None:
        """Raise ValueError for limits in the wrong order, and as every rule does."""
        super().__post_init__()
        if self.longest_days < self.usual_days:
            raise ValueError(f"longest_days: {self.longest_days} is less than usual_days, {self.usual_days}")


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


def read(path: Path) -> tuple[TransitRule, ...]:
    """Read and check a file. Raises YamlError."""
    return dated_rules.read(path, TransitRule)


def rules_of(states: Table, at: int, rules: tuple[TransitRule, ...]) -> Provided:
    """Return what the rules of the day of an instant provide for states."""
    rows = states.rows
    provided, carrier, working, releases = (np.zeros(rows, np.bool_) for _ in range(4))
    usual, longest = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    for rule, found in applicable(rules, importing(states), at // MICROS_PER_DAY):
        provided |= found
        usual[found], longest[found] = rule.usual_days, rule.longest_days
        working[found], carrier[found] = rule.ends_on_working_day, rule.carrier_starts
        releases[found] = rule.releases_on_arrival
    return Provided(provided, usual, longest, working, carrier, releases)
