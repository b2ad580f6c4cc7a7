"""Which goods a release list lets leave, and the comparison of its marks with the consignments. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.release_list import CLOCK_MICROS, Entry, Header
from services.clearance.consignment.columns import in_transit
from services.clearance.consignment.decision import AUTOMATIC, SCREENING
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.state.times import was_released
from services.clearance.consignment.transitions import CONTROLLED, FINAL, Change, Debt, State

_NOT_KNOWN: Final = 2**62
"""Stands for the time of a release that no state has: later than every mark."""


class Decision(IntEnum):
    """What an officer did with goods. The numbers are those of luxor.clearance.v1; a test compares them, and those of MarkOutcome."""

    RELEASED = 1
    HELD = 2


class MarkOutcome(IntEnum):
    """The result of the comparison of one line with its mark and with the consignment."""

    RELEASED = 1
    HELD = 2
    AGREES = 3
    NOT_MARKED = 4
    CHANGED = 5
    AGAINST_LIST = 6
    OUT_OF_TIME = 7
    MARKED_DIFFERENTLY = 8
    UNLISTED = 9
    UNKNOWN = 10
    DECIDED_SINCE = 11


_HOLDING: Final = (
    MarkOutcome.HELD,
    MarkOutcome.CHANGED,
    MarkOutcome.AGAINST_LIST,
    MarkOutcome.OUT_OF_TIME,
    MarkOutcome.MARKED_DIFFERENTLY,
    MarkOutcome.UNLISTED,
)
"""Outcomes that may hold the goods."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What an officer did with the goods of one line."""

    line: int
    """0 for goods that are not on the list."""
    house_document: str
    decision: Decision
    at: int
    """Microseconds since 1970-01-01 UTC."""
    by: str
    mrn: str = ""
    """The MRN of goods that are not on the list, if it was marked."""

    @property
    def goods(self) -> tuple[int, str, str]:
        """The goods that it is about: a line, or a house document and an MRN that are not listed."""
        return (self.line, "", "") if self.line else (0, self.house_document, self.mrn)

    @property
    def key(self) -> tuple[int, str, str, int]:
        """What is imported once for each list: a decision on goods."""
        return *self.goods, self.decision


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mark is compared with, of one stored consignment."""

    state: int
    version: int
    released: bool
    """Whether the goods are released, or were and ended since."""
    released_at: int
    """When they were first released, if they were."""
    releasable: bool
    """Whether nothing but the arrival and the time for an inspection keeps the goods."""
    held: bool
    """Whether an officer or a screening match holds the goods, or they are seized."""
    not_before: int
    """End of the time for an inspection, 0 without one."""
    decided_at: int
    """When an officer took the last decision, 0 if it was none of an officer."""
    arrivals: int = 0
    """Newest versions by which unpresented goods only arrived, and were not presented in time: the goods are as before them."""


def releasable(states: Table) -> NDArray[np.bool_]:
    """Return which goods only await their arrival, or the end of the time for an inspection, shape (n,); none of which a second person decides."""
    settled = ~np.isin(states.ints("debt_status").filled(Debt.UNKNOWN), (Debt.UNKNOWN, Debt.OPEN))
    awaiting: NDArray[np.bool_] = (states.ints("state").values == State.AWAITING_ARRIVAL) & settled
    return awaiting & ~in_transit(states) & _free(states) & ~requires_second(states)


def may_leave(states: Table, arrives_at: int) -> NDArray[np.bool_]:
    """Return which goods a list lets leave, shape (n,): released ones, and those whose time for an inspection ends before their arrival."""
    released: NDArray[np.bool_] = (states.ints("state").values == State.RELEASED) & _free(states)
    in_time: NDArray[np.bool_] = states.ints("release_not_before").filled(0) <= arrives_at
    return released | (releasable(states) & in_time)


def overdue(states: Table) -> NDArray[np.bool_]:
    """Return which goods were not presented in time, and did not change since, shape (n,)."""
    missed: NDArray[np.bool_] = states.ints("change").values == Change.PRESENTATION_OVERDUE
    return missed & unpresented(states)


def facts_of(states: Table, before: Table) -> list[Facts]:
    """Return what marks are compared with; `before` has the versions before those that are `overdue`."""
    arrivals = ((states.ints("change").values == Change.ARRIVED) & unpresented(states)).astype(np.int64)
    arrivals[overdue(states)] = 1 + (before.ints("change").values == Change.ARRIVED)
    state = states.ints("state").values
    released = (state == State.RELEASED) | (was_released(states) & np.isin(state, list(FINAL)))
    first, last = states.ints("former_released_at"), states.ints("released_at")
    released_at = np.where(first.valid, first.values, last.filled(_NOT_KNOWN))
    held = states.bools("officer_hold").values | states.bools("screening_hold").values | (state == State.SEIZED)
    by_officer = ~states.strings("decided_by").isin({AUTOMATIC, SCREENING, ""})
    columns: tuple[NDArray[Any], ...] = (
        state,
        states.ints("version").values,
        released,
        released_at,
        releasable(states),
        held,
        states.ints("release_not_before").filled(0),
        np.where(by_officer, states.ints("decided_at").filled(0), 0),
        arrivals,
    )
    return [Facts(*each) for each in zip(*(column.tolist() for column in columns), strict=True)]


def compare(header: Header, entry: Entry | None, marks: Sequence[Mark], facts: Facts | None, now: int) -> MarkOutcome:
    """Return the result of goods whose marks are given, all of them; RELEASED and HELD are still to be recorded."""
    if entry is None:
        return MarkOutcome.UNLISTED
    if facts is None:
        return MarkOutcome.UNKNOWN
    if len({each.decision for each in marks}) > 1:
        return MarkOutcome.MARKED_DIFFERENTLY
    mark = marks[0]
    if mark.decision is Decision.HELD:
        if facts.state in FINAL:
            return MarkOutcome.CHANGED
        if facts.held:
            return MarkOutcome.AGREES
        return MarkOutcome.DECIDED_SINCE if _decided_since(marks, facts) else MarkOutcome.HELD
    if facts.released and facts.released_at <= mark.at:
        return MarkOutcome.AGREES
    if not entry.release:
        return MarkOutcome.AGAINST_LIST
    if not _in_time(header, mark.at, facts, now):
        return MarkOutcome.OUT_OF_TIME
    if facts.released:
        return MarkOutcome.AGREES
    listed = 0 <= facts.version - entry.version <= facts.arrivals
    return MarkOutcome.RELEASED if facts.releasable and listed else MarkOutcome.CHANGED


def requires_hold(outcome: MarkOutcome, marks: Sequence[Mark], facts: Facts | None) -> bool:
    """Return whether a result is a hold by an officer: of what was marked as held, and of discrepancies that nobody in the system decided since.

    Goods that an officer, a match or a control holds already are before an officer, and released ones that only left too early have left.
    """
    if facts is None or outcome not in _HOLDING or facts.held or facts.state in FINAL or _decided_since(marks, facts):
        return False
    marked = any(each.decision is Decision.HELD for each in marks)
    return marked or facts.state not in (State.RELEASED, *CONTROLLED)


def _decided_since(marks: Sequence[Mark], facts: Facts) -> bool:
    """Return whether an officer decided on the goods in the system after the last mark."""
    return facts.decided_at > max(each.at for each in marks)


def _in_time(header: Header, at: int, facts: Facts, now: int) -> bool:
    """Return whether goods could leave by the list at an instant, of a clock that differs by CLOCK_MICROS at most."""
    # The time for an inspection is over once goods are released; the list was made for the arrival.
    begin = header.arrives_at if facts.released else max(header.made_at, facts.not_before)
    return begin - CLOCK_MICROS <= at <= min(header.valid_until, now) + CLOCK_MICROS and facts.not_before <= now


def _free(states: Table) -> NDArray[np.bool_]:
    """Return which goods have neither a hold nor an open violation."""
    free: NDArray[np.bool_] = ~(
        states.bools("officer_hold").values | states.bools("screening_hold").values | open_violations(states)
    )
    return free
