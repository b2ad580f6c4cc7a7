"""What an event writes into the state of one consignment, read from the comments of luxor.clearance.v1.ClearanceColumns and docs/clearance.md.

A record has the columns of a state by name; what is absent is None. The oracle of the columnar states, one row at a time.
"""

from __future__ import annotations

from typing import Any, Final

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from services.clearance.consignment.transitions import Debt, Event, State
from tests.clearance import scalar

Record = dict[str, Any]
DECISIONS: Final = (
    Event.DECIDED_RELEASE, Event.DECIDED_HOLD, Event.AMENDED_RELEASE, Event.AMENDED_HOLD, Event.COMPLETED_RELEASE, Event.COMPLETED_HOLD,
)  # fmt: skip
MONEY: Final = (Event.DEBT, Event.REASSESSED, Event.ADJUSTED)
CONTROLS: Final = (
    Event.DOCUMENTS_REQUESTED, Event.EXAMINATION_ORDERED, Event.CONTROL_ANSWERED, Event.CONTROL_REMINDED, Event.CONTROL_CONCLUDED,
    Event.EXAMINATION_CONCLUDED, Event.CONTROLS_CONCLUDED,
)  # fmt: skip
STORAGE: Final = (Event.STORAGE_REMINDED, Event.STORAGE_ENDED, Event.PRESENTATION_OVERDUE)
MOVING: Final = (Event.TRANSIT_STARTED, Event.TRANSIT_ARRIVED, Event.TRANSIT_OVERDUE)
INTERNAL: Final = (Event.DECISION_PROPOSED, Event.PROPOSAL_ENDED, Event.SCAN_RECORDED)
RETURNS: Final = (Event.RETURNED, Event.RETURNED_WHOLE, Event.DESTROYED_WHOLE)
WAITS: Final = ("release_not_before", "reroute_at")
GREEN, BLUE, YELLOW, RED = common_pb2.LANE_GREEN, common_pb2.LANE_BLUE, common_pb2.LANE_YELLOW, common_pb2.LANE_RED
CHANGES: Final = {
    Event.DECIDED_RELEASE: pb.CHANGE_DECIDED,
    Event.DECIDED_HOLD: pb.CHANGE_DECIDED,
    Event.AMENDED_RELEASE: pb.CHANGE_AMENDED,
    Event.AMENDED_HOLD: pb.CHANGE_AMENDED,
    **dict.fromkeys((Event.COMPLETED_RELEASE, Event.COMPLETED_HOLD), pb.CHANGE_AMENDED),
    Event.FINDINGS_CHANGED: pb.CHANGE_SCREENING_MATCH_CLEARED,
    **dict.fromkeys(RETURNS, pb.CHANGE_RETURNED),
    **dict.fromkeys(scalar.DISPOSED, pb.CHANGE_DISPOSED),
    **dict.fromkeys((Event.DOCUMENTS_REQUESTED, Event.EXAMINATION_ORDERED), pb.CHANGE_CONTROL_ORDERED),
    Event.TRANSIT_ARRIVED_HELD: pb.CHANGE_TRANSIT_ARRIVED,
    **dict.fromkeys((Event.EXAMINATION_CONCLUDED, Event.CONTROLS_CONCLUDED), pb.CHANGE_CONTROL_CONCLUDED),
}
"""Per event the change that it makes; the change of the others has the name of the event."""


def place(record: Record, at: int) -> scalar.Place:
    """Where a consignment stands by its record."""
    wait = record["release_not_before"]
    return scalar.Place(
        state=State(record["state"]),
        arrived=record["arrived_at"] is not None,
        debt=Debt(record["debt_status"]),
        officer_hold=record["officer_hold"],
        screening_hold=record["screening_hold"],
        waiting=wait is not None and wait > at,
        inspected=record["inspected_at"] is not None or record["adjusted_at"] is not None,
        debt_hold=record["debt_hold"],
        violation=bool(record["violation_found_by"]) and not record["violation_resolved_by"],
        control_hold=record["control_hold"],
        in_transit=record["transit_started_at"] is not None and record["transit_ended_at"] is None,
        to_present=record["presentation_due_at"] is not None and record["presented_at"] is None,
        parts_missing="PARTS_MISSING" in record["reasons"],
        lost=record["transit_outcome"] == pb.TRANSIT_OUTCOME_LOST,
    )


_UNVALUED = {
    "UNVALUED", "NO_RULEBOOK", "NO_EXCHANGE_RATE", "AMOUNT_OUT_OF_BOUNDS", "MASS_MISSING", "QUANTITY_MISSING", "DECLARATION_INCOMPLETE",
}  # fmt: skip


def evolved(record: Record, event: Event, at: int, by: str, reason: str, note: str, *, hidden: bool) -> Record:
    """The record after an event; the same where the event is refused."""
    if event in DECISIONS:
        # The waits count from the decision.
        record = record | {name: None if record[name] is None else record[name] + at for name in WAITS}
    before = place(record, at)
    after, refusal = scalar.after(event, before)
    if refusal:
        return record
    held_already = event == Event.SCREENING_MATCHED and (before.officer_hold or before.screening_hold)
    result = record | {
        "version": record["version"] + 1,
        "state": int(after.state),
        "change": CHANGES.get(event) or pb.Change.Value(f"CHANGE_{event.name}"),
        "changed_at": at,
        "officer_hold": after.officer_hold,
        "screening_hold": after.screening_hold,
        # Whether the match of the hold came before the first decision: a later hold is none of that.
        "screening_early": record["screening_early"] and before.screening_hold and after.screening_hold,
        "debt_hold": after.debt_hold and after.state == State.HELD,
        "control_hold": after.control_hold and after.state in scalar.CONTROLS,
    }
    if event == Event.PRESENTED:
        result["presented_at"] = at
    result |= _release(record, before, after, at)
    result |= _public(record, event, after, hidden=hidden or held_already)
    if _decides(event, after) and not held_already:
        first = first_decided(record)
        if first is None and record["decided_at"] is None:
            first = at
        result |= {"decided_at": at, "decided_by": by, "first_decided_at": first}
    if event not in (
        *DECISIONS, *MONEY, *CONTROLS, *STORAGE, *MOVING, *INTERNAL, Event.ARRIVED, Event.PRESENTED, Event.ARRIVAL_REVERSED,
        Event.FINDINGS_CHANGED, Event.CONTRADICTED,
    ):  # fmt: skip
        # A match from before the decision ended no delay: once it is cleared, the time for a look continues.
        result |= dict.fromkeys(WAITS[1:] if event == Event.SCREENING_MATCH_CLEARED else WAITS)
    if event == Event.REROUTED:
        result |= {"lane": BLUE, "audit": True}
    if event in MONEY and before.debt_hold and after.state != State.HELD and record["lane"] == BLUE:
        result["audit"] = True
    if event == Event.CONTROLS_CONCLUDED and after.state != State.HELD and record["lane"] == BLUE:
        result["audit"] = True
    if event == Event.OFFICER_RELEASED:
        result["violation_found_by"] = ""
        if before.violation:
            result |= {"violation_resolved_by": by, "violation_resolved_at": at}
    return result | _reasons(record, event, before, after, reason, note)


def first_decided(record: Record) -> int | None:
    """When the first decision was taken; in states of version 0.2 it is the automatic one in force on the first filing."""
    if record["first_decided_at"] is not None:
        return int(record["first_decided_at"])
    if record["decided_by"] == "automatic" and record["filing_version"] == 1 and record["decided_at"] is not None:
        return int(record["decided_at"])
    return None


def is_hidden(event: Event, before: State, after: State) -> bool:
    """Return whether an event is hidden from filers and carriers, by the states before and after it."""
    return (
        event == Event.INSPECTED
        or event in INTERNAL
        or (event == Event.FINDINGS_CHANGED and before == after)
        or (event == Event.SCREENING_MATCHED and after == State.RELEASED)
        or (event == Event.SCREENING_MATCH_CLEARED and after == State.HELD)
    )


def _decides(event: Event, after: scalar.Place) -> bool:
    if event == Event.SCREENING_MATCHED:
        return after.state in (State.HELD, *scalar.CONTROLS)
    return event in DECISIONS or event in (
        Event.OFFICER_RELEASED,
        Event.OFFICER_HELD,
        Event.INVALIDATED,
        Event.REROUTED,
        Event.SCREENING_MATCH_CLEARED,
        Event.SEIZED,
        Event.SEIZURE_LIFTED,
        Event.TRANSIT_ENDED,
        *scalar.DISPOSED,
    )


def _release(record: Record, before: scalar.Place, after: scalar.Place, at: int) -> Record:
    """When it was released: absent again while an officer holds it, and it stays when goods go back."""
    released = record["released_at"]
    if after.state == State.RELEASED and before.state != State.RELEASED:
        return {"released_at": at}
    if before.state == State.RELEASED and after.state == State.HELD:
        former = record["former_released_at"]
        return {"released_at": None, "former_released_at": released if former is None else former}
    stands = after.state == State.RELEASED or after.state in scalar.ENDS
    return {"released_at": released if stands else None}


def _public(record: Record, event: Event, after: scalar.Place, *, hidden: bool) -> Record:
    """Return the public version, change and time: hidden versions do not count, and keep those of the last public version."""
    version, change = record["public_version"], record["public_change"]
    if hidden or is_hidden(event, State(record["state"]), after.state):
        return {
            "public_version": record["version"] if version is None else version,
            "public_change": record["change"] if change is None else change,
            "public_changed_at": record["changed_at"] if change is None else record["public_changed_at"],
        }
    return {
        "public_version": None if version is None else version + 1,
        "public_change": None,
        "public_changed_at": None,
    }


def _reasons(record: Record, event: Event, before: scalar.Place, after: scalar.Place, reason: str, note: str) -> Record:
    reasons = record["reasons"]
    if event in (Event.OFFICER_RELEASED, Event.OFFICER_HELD):
        holds = event == Event.OFFICER_HELD and reason != "OFFICER_HOLD"
        return {"reasons": [reason, "OFFICER_HOLD"] if holds else [reason], "note": note}
    if event == Event.REROUTED:
        return {"reasons": ["LANE_BLUE" if each == "LANE_YELLOW" else each for each in reasons]}
    added = ""
    arrives = (Event.ARRIVED, Event.PRESENTED, Event.WAIT_ENDED, Event.TRANSIT_ARRIVED)
    arrived = event in arrives and before.state != State.HELD and after.state == State.HELD
    # A release lifted what held the goods beside their controls, with its reasons; the debt holds them all the same.
    nameless = before.debt == Debt.UNKNOWN and not _UNVALUED & set(reasons)
    owing = before.control_hold and (before.debt == Debt.OPEN or nameless)
    concluded = event == Event.CONTROLS_CONCLUDED and (before.officer_hold or before.screening_hold or owing)
    if arrived or concluded:
        by_debt = "DEBT_OPEN" if before.debt == Debt.OPEN else "UNVALUED"
        added = "OFFICER_HOLD" if before.officer_hold else "CUSTOMS_CHECK" if before.screening_hold else by_debt
    held = (State.HELD, *scalar.CONTROLS)
    if event == Event.SCREENING_MATCHED and after.state in held and not before.officer_hold:
        added = "CUSTOMS_CHECK"
    return {"reasons": [*reasons, added] if added and added not in reasons else reasons}
