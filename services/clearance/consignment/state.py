"""The states of consignments as columns: how a decision creates them, and how events change them.

A table of luxor.clearance.v1.ClearanceColumns holds one whole state a row. Nothing here changes a table; every step gives a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.decision import (
    CUSTOMS_CHECK,
    DEBT_OPEN,
    LANE_REASONS,
    UNVALUED,
    BatchDecision,
    Lane,
    only,
)
from services.clearance.consignment.inspection import (
    INSPECTED,
    RESOLUTION,
    Inspection,
    inspected,
    open_violations,
    resolved,
    violations_of,
)
from services.clearance.consignment.screening import alarmed, only_alarms, only_matches, with_matches, with_reason
from services.clearance.consignment.transitions import (
    CHANGE_OF,
    FINAL,
    MONEY,
    Debt,
    Event,
    Outcome,
    Situation,
    State,
    apply,
)

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

AUTOMATIC: Final = "automatic"
SCREENING: Final = "screening"
"""`decided_by` of a hold that a screening match caused."""
OFFICER_HOLD: Final = "OFFICER_HOLD"

_FROM_FILING: Final = (
    "mrn",
    "partition",
    "filer",
    "local_reference",
    "house_document_number",
    "house_document_type",
    "master_document_number",
    "master_document_type",
    "declarant_identifier",
    "destination_country",
    "dispatch_country",
    "transport_mode",
    "transport_service",
    "nature",
    "gross_mass_mg",
    "accepted_at",
    "carrier_identifier",
)
_LIFE: Final = (
    "version",
    "arrived_at",
    "arrival_conveyance_reference",
    "arrival_place",
    "arrival_carrier",
    "released_at",
    "state",
    "officer_hold",
    "screening_hold",
    "screening_early",
    "screened_lists",
    "public_version",
    "public_change",
    "public_changed_at",
    "note",
    "paid_minor",
    "refunded_minor",
    "debt_event_number",
    "adjusted_at",
    *INSPECTED,
    *RESOLUTION,
)
"""Columns that a new version of a filing does not change."""

_OFFICERS: Final = (Event.OFFICER_RELEASED, Event.OFFICER_HELD)
_DECISIONS: Final = (Event.DECIDED_RELEASE, Event.DECIDED_HOLD, Event.AMENDED_RELEASE, Event.AMENDED_HOLD)
_RETURNS: Final = (Event.RETURNED, Event.RETURNED_WHOLE, Event.DESTROYED_WHOLE)
_NO_DECISION: Final = (
    Event.ARRIVED,
    Event.ARRIVAL_REVERSED,
    Event.INSPECTED,
    Event.WAIT_ENDED,
    Event.FINDINGS_CHANGED,
    *MONEY,
    *_RETURNS,
)
"""Events that are not decisions."""
_ENDED: Final = tuple(FINAL)
_WAITS: Final = ("release_not_before", "reroute_at")


def accepted(filings: Table, assessed: Mapping[str, Column], verdict: BatchDecision) -> Table:
    """Put filings (ConsignmentColumns), what risk and revenue said, and the verdict together: states before the decision took effect.

    `assessed` holds columns of ClearanceColumns. Version is 0, the state ACCEPTED; release_not_before and reroute_at count from the decision,
    whose time is not known yet.
    """
    rows = filings.rows
    columns: dict[str, Column] = {name: filings.column(name) for name in _FROM_FILING}
    columns |= {
        "version": Ints.constant(0, rows),
        "filing_version": filings.ints("version"),
        "platform": filings.strings("order_platform"),
        "consignor_country": filings.strings("consignor_address_country"),
        "destination_country": _destination(filings),
        "carrier_identifier": _carrier(filings),
        "state": Ints.constant(State.ACCEPTED, rows),
        "reasons": verdict.reasons,
        "audit": Bools.of(verdict.audit),
        "officer_hold": Bools.of(np.zeros(rows, np.bool_)),
        "debt_status": Ints.of(verdict.debt),
        "debt_account": verdict.account,
        **assessed,
    }
    if verdict.debt_hold.any():
        columns["debt_hold"] = Bools.of(verdict.debt_hold, verdict.debt_hold)
    table = Table.of(ClearanceColumns, rows, columns)
    # An alarm is an officer's to resolve: no amendment and no rule set lifts it.
    alarm = alarmed(table)
    return table.with_columns({"officer_hold": Bools.of(alarm)}) if alarm.any() else table


def _carrier(filings: Table) -> Strings:
    """Return the carrier that the filing names: its id as filed, since ids are case-sensitive, else its name in capitals."""
    names, ids = filings.strings("carrier_identifier"), filings.strings("carrier_id")
    present = ids.present
    if not present.any():
        return names
    return Strings.concat([names, ids]).take(np.arange(filings.rows) + np.where(present, filings.rows, 0))


def _destination(filings: Table) -> Strings:
    """The country of destination; where it is absent, that of the consignee's address."""
    told = filings.strings("destination_country")
    present = told.present
    if present.all():
        return told
    values = told.values()
    values[~present] = filings.strings("consignee_address_country").values()[~present]
    return Strings.of(values)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The arrivals of n consignments as carriers reported them; absent where none was reported."""

    arrived_at: Ints
    conveyance_reference: Strings
    place: Strings
    carrier: Strings

    @classmethod
    def none(cls, rows: int) -> "Arrivals":
        """Return those of consignments that have not arrived."""
        absent = Strings.absent(rows)
        return cls(Ints.absent(rows), absent, absent, absent)

    def columns(self) -> dict[str, Column]:
        """Return them as columns of the state."""
        return {
            "arrived_at": self.arrived_at,
            "arrival_conveyance_reference": self.conveyance_reference,
            "arrival_place": self.place,
            "arrival_carrier": self.carrier,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
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
    inspections: Mapping[str, Inspection] | None = None
    """With INSPECTED, what was found, by MRN."""
    quiet: BoolArray | None = None
    """Rows of which filers and carriers are not notified, in addition to those that are always hidden from them, shape (n,)."""


def situation(table: Table, at: int) -> Situation:
    """Return the columns of states that transitions depend on, at an instant."""
    wait = table.ints("release_not_before")
    return Situation(
        state=table.ints("state").values,
        arrived=table.ints("arrived_at").valid,
        debt=table.ints("debt_status").values,
        officer_hold=table.bools("officer_hold").values,
        screening_hold=table.bools("screening_hold").values,
        waiting=wait.valid & (wait.values > at),
        inspected=table.ints("inspected_at").valid | table.ints("adjusted_at").valid,
        debt_hold=table.bools("debt_hold").values,
        violation=open_violations(table),
    )


def evolve(table: Table, happening: Happening) -> tuple[Table, Outcome]:
    """Apply an event to all rows; a row that refuses it is unchanged, the version of each other row rises by one."""
    events = np.broadcast_to(np.asarray(happening.event, np.int64), (table.rows,))
    table = table.with_columns(_with_waits_begun(table, events, happening.at))
    before = situation(table, happening.at)
    outcome = apply(happening.event, before)
    done = outcome.effective
    at = Ints.constant(happening.at, table.rows)
    columns: dict[str, Column] = {
        "version": Ints.of(table.ints("version").values + done),
        "state": Ints.of(outcome.state),
        "officer_hold": Bools.of(outcome.officer_hold),
        "change": pick(done, Ints.of(CHANGE_OF[events]), table.ints("change")),
        "changed_at": pick(done, at, table.ints("changed_at")),
        "released_at": _released(table.ints("released_at"), before.state, outcome.state, at),
    }
    again = (before.state == State.RELEASED) & (outcome.state == State.HELD)
    if again.any():
        former = table.ints("former_released_at")
        columns["former_released_at"] = pick(again & ~former.valid, table.ints("released_at"), former)
    if outcome.screening_hold.any() or before.screening_hold.any():
        columns["screening_hold"] = Bools.of(outcome.screening_hold, outcome.screening_hold)
        early = table.bools("screening_early").values & before.screening_hold & outcome.screening_hold
        columns["screening_early"] = Bools.of(early, early)
    if outcome.debt_hold.any() or before.debt_hold.any():
        columns["debt_hold"] = Bools.of(outcome.debt_hold, outcome.debt_hold)
    held_already = (events == Event.SCREENING_MATCHED) & (before.officer_hold | before.screening_hold)
    quiet = held_already | unheard(events, outcome.state)
    columns |= _heard_of(table, done, quiet if happening.quiet is None else quiet | happening.quiet)
    if happening.arrivals is not None:
        columns |= {name: _merge(done, new, table.column(name)) for name, new in happening.arrivals.columns().items()}
    decides = (
        done
        & ~np.isin(events, _NO_DECISION)
        & ~((events == Event.SCREENING_MATCHED) & (outcome.state != State.HELD))
        & ~held_already
    )
    if decides.any():
        columns["decided_at"] = pick(decides, at, table.ints("decided_at"))
        columns["first_decided_at"] = first_decided(table, decides, at)
        columns["decided_by"] = _merge(decides, Strings.constant(happening.by, table.rows), table.column("decided_by"))
    columns |= _reasoned(table, happening, events, before, outcome) | _ended(table, events, done)
    freed = done & (before.debt_hold & ~outcome.debt_hold) & (outcome.state != State.HELD)
    blue = freed & np.isin(events, MONEY) & (table.ints("lane").values == Lane.BLUE)
    if blue.any():
        audit = table.bools("audit")
        columns["audit"] = Bools.of(audit.values | blue, audit.valid | blue)
    if (done & (events == Event.OFFICER_RELEASED)).any():
        # Whoever may release it has resolved what was found.
        lifted = done & (events == Event.OFFICER_RELEASED)
        columns |= resolved(table, lifted, [happening.by] * table.rows, happening.at)
        columns["violation_found_by"] = only(table.strings("violation_found_by"), ~lifted)
    if happening.inspections is not None:
        columns |= inspected(table, done, happening.inspections, happening.at)
        columns |= violations_of(table, done, happening.inspections, happening.by, happening.at)
        columns["inspected_by"] = _merge(done, Strings.constant(happening.by, table.rows), table.column("inspected_by"))
        notes = Strings.of([happening.inspections[mrn].note for mrn in table.strings("mrn").tolist()])
        columns["note"] = _merge(done & notes.present, notes, table.column("note"))
    return table.with_columns(columns), outcome


def first_decided(table: Table, decides: BoolArray, at: Ints) -> Ints:
    """Give when the first decision was taken: what is known stays; a consignment that nobody decided before has this one."""
    known, decided = table.ints("first_decided_at"), table.ints("decided_at")
    # States of version 0.2 have the decision in force alone: while it is the automatic one on the first filing, it was the first.
    automatic = table.strings("decided_by").map(lambda by: by == AUTOMATIC, np.bool_)
    only = ~known.valid & decided.valid & automatic & (table.ints("filing_version").values == 1)
    fresh = decides & ~known.valid & ~decided.valid
    values = np.where(known.valid, known.values, np.where(only, decided.values, at.values))
    return Ints.of(values, known.valid | only | fresh)


def unheard(events: IntArray, state: IntArray) -> BoolArray:
    """Tell which events, with the state after them, filers and carriers do not hear of: inspections, hits on goods that are released, and
    cleared hits that free nothing.
    """
    quiet: BoolArray = np.isin(events, (Event.INSPECTED, Event.FINDINGS_CHANGED)) | (
        (events == Event.SCREENING_MATCHED) & (state == State.RELEASED)
    )
    # Nor of a cleared hit on goods that their debt holds on.
    quiet |= (events == Event.SCREENING_MATCH_CLEARED) & (state == State.HELD)
    return quiet


def _heard_of(table: Table, done: BoolArray, quiet: BoolArray) -> dict[str, Column]:
    """Return the public version, change and time: of a hidden version those before it, otherwise those of the new version."""
    version, change = table.ints("public_version"), table.ints("public_change")
    quiet = done & quiet
    if not (quiet.any() or version.valid.any()):
        return {}
    count = np.where(version.valid, version.values, table.ints("version").values)
    kept = np.where(done, quiet, change.valid)
    changed_at = pick(change.valid, table.ints("public_changed_at"), table.ints("changed_at"))
    return {
        "public_version": Ints.of(count + (done & ~quiet), version.valid | quiet),
        "public_change": Ints.of(pick(change.valid, change, table.ints("change")).values, kept),
        "public_changed_at": Ints.of(changed_at.values, kept),
    }


def _with_waits_begun(table: Table, events: IntArray, at: int) -> dict[str, Column]:
    """Return the columns of waits that begin with a decision, counted from the time of the event."""
    decided = np.isin(events, _DECISIONS)
    columns: dict[str, Column] = {}
    for name in _WAITS:
        wait = table.ints(name)
        if (wait.valid & decided).any():
            columns[name] = Ints.of(np.where(decided, wait.values + at, wait.values), wait.valid)
    return columns


def _ended(table: Table, events: IntArray, done: BoolArray) -> dict[str, Column]:
    """Return the columns of ended delays: after a decision, an inspection, a hold or the end of the delay, and after re-routing to blue."""
    ends = done & ~np.isin(events, (*_DECISIONS, Event.ARRIVED, Event.ARRIVAL_REVERSED, Event.FINDINGS_CHANGED, *MONEY))
    columns: dict[str, Column] = {}
    for name in _WAITS:
        wait = table.ints(name)
        if (wait.valid & ends).any():
            columns[name] = Ints.of(wait.values, wait.valid & ~ends)
    rerouted = done & (events == Event.REROUTED)
    if rerouted.any():
        columns["lane"] = pick(rerouted, Ints.constant(Lane.BLUE, table.rows), table.ints("lane"))
        audit = table.bools("audit")
        columns["audit"] = Bools.of(audit.values | rerouted, audit.valid | rerouted)
    return columns


def _reasoned(
    table: Table, happening: Happening, events: IntArray, before: Situation, outcome: Outcome
) -> dict[str, Column]:
    """Return the reasons and notes after an event."""
    done, reasons = outcome.effective, table.ragged("reasons")
    if np.isin(events, _OFFICERS).any():
        told = [happening.reason] + (
            [OFFICER_HOLD] if happening.event == Event.OFFICER_HELD and happening.reason != OFFICER_HOLD else []
        )
        note = _merge(done, Strings.constant(happening.note, table.rows), table.column("note"))
        return {"reasons": _merge_lists(done, told, reasons), "note": note}
    # One batch may hold several of these events: what the waits led to is applied at once.
    changed = reasons
    stopped = done & np.isin(events, (Event.ARRIVED, Event.WAIT_ENDED)) & (before.state != State.HELD)
    stopped &= outcome.state == State.HELD
    if stopped.any():
        changed = _stopped(changed, stopped, before)
    # Where an officer held it before, the reasons are hers.
    listed = done & (events == Event.SCREENING_MATCHED) & (outcome.state == State.HELD) & ~before.officer_hold
    if listed.any():
        changed = with_reason(changed, Strings.constant(CUSTOMS_CHECK, table.rows), listed)
    rerouted = done & (events == Event.REROUTED)
    if rerouted.any():
        assert isinstance(changed.values, Strings)
        yellow, blue = LANE_REASONS[Lane.YELLOW], LANE_REASONS[Lane.BLUE]
        renamed = changed.values.translate(lambda reason: blue if reason == yellow else reason)
        changed = choose(rerouted, Ragged(changed.offsets, renamed), changed)
    return {} if changed is reasons else {"reasons": changed}


def amended(stored: Table, fresh: Table) -> Table:
    """Put a new version of filings in the place of the stored one, row by row: the life so far stays, an officer's hold with its reasons."""
    columns: dict[str, Column] = {name: stored.column(name) for name in _LIFE}
    nobody = np.zeros(stored.rows, np.bool_)
    columns["first_decided_at"] = first_decided(stored, nobody, Ints.absent(stored.rows))
    by_alarm = fresh.bools("officer_hold").values
    if by_alarm.any():
        columns["officer_hold"] = Bools.of(stored.bools("officer_hold").values | by_alarm)
    held = stored.bools("officer_hold").values | stored.bools("screening_hold").values
    if held.any():
        columns["reasons"] = choose(held, stored.ragged("reasons"), fresh.ragged("reasons"))
        columns |= {name: pick(~held, fresh.ints(name), Ints.absent(stored.rows)) for name in _WAITS}
    alarm = stored.bools("officer_hold").values & alarmed(stored)
    if alarm.any():
        # A new version of the filing that leaves the alarm out does not lift it.
        findings, _ = with_matches(fresh.ragged("findings"), only_alarms(stored.ragged("findings"), alarm))
        lane = fresh.ints("lane")
        raised = np.maximum(lane.values, stored.ints("lane").values)
        fresh = fresh.with_columns(
            {"findings": findings, "lane": Ints.of(np.where(alarm, raised, lane.values), lane.valid | alarm)}
        )
    listed = stored.bools("screening_hold").values
    if listed.any():
        more = only_matches(stored.ragged("findings"), listed)
        columns["findings"], _ = with_matches(fresh.ragged("findings"), more)
        lane, raised = fresh.ints("lane"), stored.ints("lane").values
        columns["lane"] = Ints.of(np.where(listed, np.maximum(lane.values, raised), lane.values), lane.valid | listed)
        # The lane of a match before the first decision is public; that of a later match is not.
        later = listed & ~stored.bools("screening_early").values & lane.valid & (lane.values < raised)
        columns["public_lane"] = Ints.of(lane.values, later)
    return fresh.with_columns(columns)


def arrived_by(table: Table, document: str, carrier: str) -> BoolArray:
    """Tell which consignments arrived by a carrier's arrival of a master document, shape (n,).

    Release 0.2 did not note the carrier, and recorded one arrival a document.
    """
    arrived = table.ints("arrived_at").valid & table.strings("master_document_number").isin({document})
    return arrived & table.strings("arrival_carrier").isin({carrier, ""})


def was_released(table: Table) -> BoolArray:
    """Tell which consignments are released, or were before an officer held them again, shape (n,)."""
    return table.ints("released_at").valid | table.ints("former_released_at").valid


def item_numbers(states: Table) -> IntArray:
    """Give the number of each item of all states, shape (items,): as filed, else its place in its consignment from 1."""
    items, number = states.ragged("items"), states.child("items").ints("number")
    owners = items.owners()
    return np.where(number.valid, number.values, np.arange(len(owners)) - items.offsets[owners] + 1)


def with_previous(table: Table, day: Sequence[int], number: Sequence[int], row: Sequence[int]) -> Table:
    """Tell for each state where the version before it is stored; day 0 stands for none."""
    valid = np.asarray(day, np.int64) > 0
    return table.with_columns(
        {
            "previous_batch_day": Ints.of(np.asarray(day, np.int64), valid),
            "previous_batch_id": Ints.of(np.asarray(number, np.int64), valid),
            "previous_batch_row": Ints.of(np.asarray(row, np.int64), valid),
        }
    )


def pick(rows: BoolArray, new: Ints, old: Ints) -> Ints:
    """Take `new` in some rows and `old` in the others."""
    return Ints(np.where(rows, new.values, old.values), np.where(rows, new.valid, old.valid))


def _merge(rows: BoolArray, new: Column, old: Column) -> Column:
    if rows.all():
        return new
    if isinstance(new, Ints):
        assert isinstance(old, Ints)
        return pick(rows, new, old)
    assert isinstance(new, Strings)
    assert isinstance(old, Strings)
    both = Strings.concat([old, new])
    places = np.arange(len(old))
    return both.take(np.where(rows, places + len(old), places))


def _merge_lists(rows: BoolArray, new: list[str], old: Ragged) -> Ragged:
    count = len(rows)
    return choose(rows, Ragged.of_lengths(np.full(count, len(new)), Strings.of(new * count)), old)


def choose(rows: BoolArray, new: Ragged, old: Ragged) -> Ragged:
    """Take the lists of `new` in some rows and those of `old` in the others."""
    if rows.all():
        return new
    places = np.arange(len(rows))
    return Ragged.concat([old, new]).take(np.where(rows, places + len(rows), places))


def _released(released: Ints, before: IntArray, after: IntArray, at: Ints) -> Ints:
    now = after == State.RELEASED
    fresh = now & (before != State.RELEASED)
    # Goods that went back were released all the same.
    valid = np.where(now, released.valid | fresh, released.valid & np.isin(after, _ENDED))
    return Ints.of(np.where(fresh, at.values, released.values), valid)


def _stopped(reasons: Ragged, stopped: BoolArray, before: Situation) -> Ragged:
    """Return why an arrival did not release consignments that were to be released on arrival."""
    return with_reason(
        reasons, Strings([DEBT_OPEN, UNVALUED, OFFICER_HOLD, CUSTOMS_CHECK], _stop_reason(before)), stopped
    )


def _stop_reason(before: Situation) -> NDArray[np.int32]:
    by_debt = np.where(before.debt == Debt.OPEN, 0, 1)
    return np.where(before.officer_hold, 2, np.where(before.screening_hold, 3, by_debt)).astype(np.int32)
