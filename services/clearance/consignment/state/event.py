"""The state after an event, and the details of an event. Pure: each step returns a new table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Strings, Table
from services.clearance.consignment.columns import choose, values_in_rows
from services.clearance.consignment.controls.control import ended, has_controls
from services.clearance.consignment.decision import AUTOMATIC, Lane
from services.clearance.consignment.inspection import Inspection, inspected, resolved, violations_of
from services.clearance.consignment.lifecycle.machine import Outcome, Situation, apply, situation
from services.clearance.consignment.proposals.proposal import superseded
from services.clearance.consignment.state.arrivals import Arrivals
from services.clearance.consignment.state.reasons import OFFICER_EVENTS, automatic_reasons, officer_columns
from services.clearance.consignment.state.times import (
    ended_delays,
    first_decision_times,
    release_times,
    started_delays,
)
from services.clearance.consignment.state.visibility import is_hidden, public_columns
from services.clearance.consignment.transitions import (
    CHANGE_OF,
    CONTROL,
    INTERNAL,
    IS_CONTROLLED,
    IS_HELD,
    MONEY,
    STORAGE,
    TRANSIT,
    Event,
    State,
    flags_of,
)

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_NO_DECISION: Final = flags_of(
    (
        Event.ARRIVED,
        Event.ARRIVAL_REVERSED,
        Event.PRESENTED,
        Event.INSPECTED,
        Event.WAIT_ENDED,
        Event.FINDINGS_CHANGED,
        *MONEY,
        Event.RETURNED,
        Event.RETURNED_WHOLE,
        Event.DESTROYED_WHOLE,
        *CONTROL,
        *STORAGE,
        *TRANSIT,
        Event.TRANSIT_ARRIVED_HELD,
        *INTERNAL,
        Event.EXPIRED,
        Event.EXITED,
        Event.EXIT_OVERDUE,
        Event.CONTRADICTED,
    )
)
"""Events that are not decisions."""
_MONEY: Final = flags_of(MONEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetails:
    """An event to n consignments."""

    event: Event | IntArray
    """The same for all, or one each, shape (n,)."""
    at: int
    """When, microseconds since 1970-01-01 UTC."""
    by: str = AUTOMATIC
    """Who decided, for decisions and officers' events."""
    reason: str = ""
    """The officer's reason."""
    note: str = ""
    """The officer's note."""
    arrivals: Arrivals | None = None
    """With ARRIVED, what was reported; with ARRIVAL_REVERSED, none."""
    columns: Mapping[str, Column] = field(default_factory=dict)
    """With events of a movement, columns of numbers and texts that change where the event takes effect."""
    presented_at: Ints | None = None
    """With PRESENTED, when, if not at the time of the event."""
    inspections: Mapping[str, Inspection] | None = None
    """With INSPECTED, what was found, by MRN."""
    hidden: BoolArray | None = None
    """Rows that are hidden from filers and carriers in addition to those of `is_hidden`, shape (n,)."""


def apply_event(table: Table, details: EventDetails) -> tuple[Table, Outcome]:
    """Apply an event to all rows; a row that refuses it is unchanged, the version of each other row rises by one."""
    events = np.broadcast_to(np.asarray(details.event, np.int64), (table.rows,))
    table = table.with_columns(started_delays(table, events, details.at))
    before = situation(table, details.at)
    outcome = apply(details.event, before)
    done = outcome.effective
    held_already = (events == Event.SCREENING_MATCHED) & (before.officer_hold | before.screening_hold)
    hidden = held_already | is_hidden(events, before.state, outcome.state)
    columns = _versions(table, events, details.at, before, outcome) | _hold_columns(table, before, outcome)
    columns |= public_columns(table, done, hidden if details.hidden is None else hidden | details.hidden)
    if details.arrivals is not None:
        columns |= {name: _choose(done, new, table.column(name)) for name, new in details.arrivals.columns().items()}
    columns |= {name: _choose(done, new, table.column(name)) for name, new in details.columns.items()}
    presented = done & (events == Event.PRESENTED)
    if presented.any():
        times = details.presented_at or Ints.constant(details.at, table.rows)
        columns["presented_at"] = choose(presented, times, table.ints("presented_at"))
    columns |= _decisions(table, details, events, outcome, held_already)
    if isinstance(details.event, Event) and details.event in OFFICER_EVENTS:
        columns |= officer_columns(table, details.event, details.reason, details.note, outcome)
    else:
        columns |= automatic_reasons(table, events, before, outcome)
    columns |= ended_delays(table, events, done) | _released_blue(table, events, before, outcome)
    columns |= _ended_controls(table, details.at, before, outcome)
    columns |= superseded(table, events, done, outcome.state, details.at)
    if (done & (events == Event.OFFICER_RELEASED)).any():
        # An officer who may release the goods has resolved the violation.
        lifted = done & (events == Event.OFFICER_RELEASED)
        columns |= resolved(table, lifted, [details.by] * table.rows, details.at)
        columns["violation_found_by"] = values_in_rows(table.strings("violation_found_by"), ~lifted)
    if details.inspections is not None:
        columns |= _inspections(table, details, details.inspections, done)
    return table.with_columns(columns), outcome


def _versions(table: Table, events: IntArray, at: int, before: Situation, outcome: Outcome) -> dict[str, Column]:
    """Return the columns of version, state and change, and the times of change and release."""
    done, times = outcome.effective, Ints.constant(at, table.rows)
    columns: dict[str, Column] = {
        "version": Ints.of(table.ints("version").values + done),
        "state": Ints.of(outcome.state),
        "change": choose(done, Ints.of(CHANGE_OF[events]), table.ints("change")),
        "changed_at": choose(done, times, table.ints("changed_at")),
        "released_at": release_times(table.ints("released_at"), before.state, outcome.state, times),
    }
    held_again = (before.state == State.RELEASED) & (outcome.state == State.HELD)
    if held_again.any():
        former = table.ints("former_released_at")
        columns["former_released_at"] = choose(held_again & ~former.valid, table.ints("released_at"), former)
    return columns


def _hold_columns(table: Table, before: Situation, outcome: Outcome) -> dict[str, Column]:
    """Return the columns of the holds by an officer, by a screening match and by the debt."""
    columns: dict[str, Column] = {"officer_hold": Bools.of(outcome.officer_hold)}
    if outcome.screening_hold.any() or before.screening_hold.any():
        columns["screening_hold"] = Bools.of(outcome.screening_hold, outcome.screening_hold)
        early = table.bools("screening_early").values & before.screening_hold & outcome.screening_hold
        columns["screening_early"] = Bools.of(early, early)
    if outcome.debt_hold.any() or before.debt_hold.any():
        columns["debt_hold"] = Bools.of(outcome.debt_hold, outcome.debt_hold)
    if outcome.control_hold.any() or before.control_hold.any():
        columns["control_hold"] = Bools.of(outcome.control_hold, outcome.control_hold)
    return columns


def _ended_controls(table: Table, at: int, before: Situation, outcome: Outcome) -> dict[str, Column]:
    """Return the controls of goods that ended or were seized while controls were open."""
    over = IS_CONTROLLED[before.state] & ~IS_CONTROLLED[outcome.state]
    return {"controls": ended(table, over, at)} if over.any() and has_controls(table) else {}


def _decisions(
    table: Table, details: EventDetails, events: IntArray, outcome: Outcome, held_already: BoolArray
) -> dict[str, Column]:
    """Return when and by whom consignments were decided, if any of the events is a decision."""
    decides = (
        outcome.effective
        & ~_NO_DECISION[events]
        & ~((events == Event.SCREENING_MATCHED) & ~IS_HELD[outcome.state])
        & ~held_already
    )
    if not decides.any():
        return {}
    times = Ints.constant(details.at, table.rows)
    return {
        "decided_at": choose(decides, times, table.ints("decided_at")),
        "first_decided_at": first_decision_times(table, decides, times),
        "decided_by": choose(decides, Strings.constant(details.by, table.rows), table.strings("decided_by")),
    }


def _released_blue(table: Table, events: IntArray, before: Situation, outcome: Outcome) -> dict[str, Column]:
    """Return the audit column of blue consignments that continue because their debt was settled or their last control concluded."""
    freed = outcome.effective & ~IS_HELD[outcome.state]
    settled = (before.debt_hold & ~outcome.debt_hold) & _MONEY[events]
    blue = freed & (settled | (events == Event.CONTROLS_CONCLUDED)) & (table.ints("lane").values == Lane.BLUE)
    if not blue.any():
        return {}
    audit = table.bools("audit")
    return {"audit": Bools.of(audit.values | blue, audit.valid | blue)}


def _inspections(
    table: Table, details: EventDetails, inspections: Mapping[str, Inspection], done: BoolArray
) -> dict[str, Column]:
    """Return the columns of inspections and of the violations that they found or resolved, and the notes."""
    notes = Strings.of([inspections[mrn].note for mrn in table.strings("mrn").tolist()])
    return {
        **inspected(table, done, inspections, details.at),
        **violations_of(table, done, inspections, details.by, details.at),
        "inspected_by": choose(done, Strings.constant(details.by, table.rows), table.strings("inspected_by")),
        "note": choose(done & notes.present, notes, table.strings("note")),
    }


def _choose(rows: BoolArray, new: Column, old: Column) -> Column:
    """Return what `choose` does, of columns whose kind only the schema knows."""
    if isinstance(new, Ints):
        assert isinstance(old, Ints)
        return choose(rows, new, old)
    if isinstance(new, Bools):
        assert isinstance(old, Bools)
        return choose(rows, new, old)
    assert isinstance(new, Strings)
    assert isinstance(old, Strings)
    return choose(rows, new, old)
