"""The time limits of temporary storage as data: what a jurist writes in limits.yaml, and the end that follows from it. Pure."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Table, among
from libs.customs.time import MICROS_PER_DAY
from libs.files import dated_rules
from libs.files.dated_rules import DatedRule, applicable
from libs.filing_stages.direction import exports
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.consignment.columns import choose, in_transit
from services.clearance.consignment.presentation.times import PRESENTATION, presentation_due, unpresented
from services.clearance.consignment.state.times import never_released
from services.clearance.consignment.transitions import HELD

INCLUDED: Final = Path(__file__).parent / "limits.yaml"
_MONDAY: Final = 3
"""Days from a Monday to 1 January 1970."""
_WITHOUT_ARRIVAL: Final = (pb.TRANSIT_OUTCOME_ENDED, pb.TRANSIT_OUTCOME_LOST)


class Limit(DatedRule, frozen=True, kw_only=True):
    """The time limit of a jurisdiction from one day of arrival to another, both included."""

    days: int
    """Whole days after the day of arrival."""
    ends_on_working_day: bool = False
    """Whether a last day that is a Saturday or a Sunday is moved to the Monday after it."""
    remind_days: int
    """How many days before the end filer and carrier are reminded."""


@dataclass(frozen=True, slots=True)
class Ends:
    """When the time limits of n consignments end; absent where they do not lie in temporary storage, or their limit is not known.

    Of goods that arrived and are to be presented, it is the time limit of their presentation.
    """

    stored: NDArray[np.bool_]
    """Which goods lie in temporary storage, shape (n,)."""
    at: Ints
    """The first microsecond after the last day."""
    remind_at: Ints


@cache
def included() -> tuple[Limit, ...]:
    """Return the limits that are included in this release. Raises YamlError."""
    return dated_rules.read(INCLUDED, Limit, gaps=False)


def in_storage(states: Table) -> NDArray[np.bool_]:
    """Return which goods lie in temporary storage, shape (n,): they have arrived and were presented, are held and not in transit, and were never
    released.

    Seized goods are in the hands of customs, released goods that are held again are in free circulation, and exports come from there.
    """
    arrived = states.ints("arrived_at").valid
    if not arrived.any():
        return arrived.copy()
    state = states.ints("state").values
    stored: NDArray[np.bool_] = arrived & ~exports(states) & np.logical_or.reduce([state == each for each in HELD])
    return stored & never_released(states) & ~in_transit(states) & ~unpresented(states) if stored.any() else stored


def ends(states: Table, limits: tuple[Limit, ...] | None = None) -> Ends:
    """Return when the time limits of states end, by the law of the day of their presentation; without `limits`, by those that are included.

    The arrival is the presentation where that is no act of its own. After the arrival at another office the limit counts from there: UCC, articles
    145(11) and 149. A movement that ended without one changes nothing.
    """
    stored, due = in_storage(states), presentation_due(states)
    end, remind = np.zeros(states.rows, np.int64), np.zeros(states.rows, np.int64)
    known = np.zeros(states.rows, np.bool_)
    if stored.any():
        moved, presented = states.ints("transit_ended_at"), states.ints("presented_at")
        began = choose(presented.valid, presented, states.ints("arrived_at")).values
        there = moved.valid & ~among(states.ints("transit_outcome").filled(0), _WITHOUT_ARRIVAL)
        began = np.where(there, moved.values, began) // MICROS_PER_DAY
        countries = states.strings("destination_country")
        for limit, rows in applicable(included() if limits is None else limits, countries, began):
            found = stored & rows
            day = last_day(began, limit.days, moves_to_working_day=limit.ends_on_working_day)
            end = np.where(found, (day + 1) * MICROS_PER_DAY, end)
            remind = np.where(found, (day + 1 - limit.remind_days) * MICROS_PER_DAY, remind)
            known |= found
    if due.valid.any():
        end, remind = (np.where(due.valid, due.values, times) for times in (end, remind))
        known |= due.valid
    return Ends(stored, Ints.of(end, known), Ints.of(remind, known))


def next_times(states: Table, limits: Ends) -> Ints:
    """Return when the next reminder or end of states is due; absent where none is, because the end was recorded or no limit is known."""
    reminded, ended = states.ints("storage_reminded_at").valid, states.ints("storage_ended_at").valid
    ended = np.where(unpresented(states), states.ints("presentation_overdue_at").valid, ended)
    return Ints.of(np.where(reminded, limits.at.values, limits.remind_at.values), limits.at.valid & ~ended)


def without_times(states: Table) -> Table:
    """Return states before the reversal of their arrival: the limits begin with the next arrival, which is to be presented again."""
    absent = Ints.absent(states.rows)
    return states.with_columns(dict.fromkeys(("storage_reminded_at", "storage_ended_at", *PRESENTATION), absent))


def last_day(
    first: NDArray[np.int64], days: NDArray[np.int64] | int, *, moves_to_working_day: bool
) -> NDArray[np.int64]:
    """Return the last day of a limit of whole days after a day, days since 1970-01-01."""
    day: NDArray[np.int64] = first + days
    if not moves_to_working_day:
        return day
    weekday = (day + _MONDAY) % 7
    return day + np.where(weekday == 5, 2, np.where(weekday == 6, 1, 0))
