"""Which goods a release list lets leave, and the comparison of its marks with the consignments. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.release_list import Entry, Header
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.state.times import was_released
from services.clearance.consignment.transitions import FINAL, Debt, State


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

    @property
    def key(self) -> tuple[int, str, int]:
        """What is imported once for each list: a decision on a line, or on a house document that is not listed."""
        return self.line, "" if self.line else self.house_document, self.decision


@dataclass(frozen=True, slots=True)
class Facts:
    """What a mark is compared with, of one stored consignment."""

    state: int
    version: int
    released: bool
    """Whether the goods are released, or were and ended since."""
    releasable: bool
    """Whether nothing but the arrival and the time for an inspection keeps the goods."""
    not_before: int
    """End of the time for an inspection, 0 without one."""


def releasable(states: Table) -> NDArray[np.bool_]:
    """Return which goods only await their arrival, or the end of the time for an inspection, shape (n,)."""
    settled = ~np.isin(states.ints("debt_status").filled(Debt.UNKNOWN), (Debt.UNKNOWN, Debt.OPEN))
    awaiting: NDArray[np.bool_] = (states.ints("state").values == State.AWAITING_ARRIVAL) & settled
    return awaiting & _free(states)


def may_leave(states: Table, arrives_at: int) -> NDArray[np.bool_]:
    """Return which goods a list lets leave, shape (n,): released ones, and those whose time for an inspection ends before their arrival."""
    released: NDArray[np.bool_] = (states.ints("state").values == State.RELEASED) & _free(states)
    in_time: NDArray[np.bool_] = states.ints("release_not_before").filled(0) <= arrives_at
    return released | (releasable(states) & in_time)


def facts_of(states: Table) -> list[Facts]:
    """Return what marks are compared with."""
    state = states.ints("state").values
    released = (state == State.RELEASED) | (was_released(states) & np.isin(state, list(FINAL)))
    columns = (state, states.ints("version").values, released, releasable(states))
    return [
        Facts(*each)
        for each in zip(
            *(c.tolist() for c in columns), states.ints("release_not_before").filled(0).tolist(), strict=True
        )
    ]


def compare(header: Header, entry: Entry, marks: Sequence[Mark], facts: Facts | None, now: int) -> MarkOutcome:
    """Return the result of one line whose marks are given, all of them; RELEASED and HELD are still to be recorded."""
    if facts is None:
        return MarkOutcome.UNKNOWN
    if len({each.decision for each in marks}) > 1:
        return MarkOutcome.MARKED_DIFFERENTLY
    mark = marks[0]
    if mark.decision is Decision.HELD:
        return MarkOutcome.CHANGED if facts.state in FINAL else MarkOutcome.HELD
    if facts.released:
        return MarkOutcome.AGREES
    if not entry.release:
        return MarkOutcome.AGAINST_LIST
    if not header.made_at <= mark.at <= min(header.valid_until, now) or mark.at < facts.not_before:
        return MarkOutcome.OUT_OF_TIME
    return MarkOutcome.RELEASED if facts.releasable and facts.version == entry.version else MarkOutcome.CHANGED


def _free(states: Table) -> NDArray[np.bool_]:
    """Return which goods have neither a hold nor an open violation."""
    free: NDArray[np.bool_] = ~(
        states.bools("officer_hold").values | states.bools("screening_hold").values | open_violations(states)
    )
    return free
