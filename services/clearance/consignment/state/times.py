"""The times of a state: its delays, its first decision and its release. Pure."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Table, among
from luxor.common.v1.common_pb2 import CHARGE_KIND_DUTY, COLLECTOR_VENDOR
from services.clearance.consignment.columns import choose, is_lost
from services.clearance.consignment.decision import AUTOMATIC, Lane
from services.clearance.consignment.transitions import (
    CONTROL,
    FINAL,
    INTERNAL,
    MONEY,
    STORAGE,
    TRANSIT,
    Event,
    State,
    flags_of,
)

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

DELAYS: Final = ("release_not_before", "reroute_at")
"""Columns of the state: until when an officer may inspect the goods, and when a yellow consignment becomes blue."""
_DECISIONS: Final = (
    Event.DECIDED_RELEASE,
    Event.DECIDED_HOLD,
    Event.AMENDED_RELEASE,
    Event.AMENDED_HOLD,
    Event.COMPLETED_RELEASE,
    Event.COMPLETED_HOLD,
)
_DELAYS_CONTINUE: Final = (
    *_DECISIONS,
    Event.ARRIVED,
    Event.ARRIVAL_REVERSED,
    Event.PRESENTED,
    Event.FINDINGS_CHANGED,
    Event.CONTRADICTED,
    *MONEY,
    *CONTROL,
    *STORAGE,
    *TRANSIT,
    *INTERNAL,
)
"""Events that do not end a delay."""
_LOOK_CONTINUES: Final = (*_DELAYS_CONTINUE, Event.SCREENING_MATCH_CLEARED)
"""Events that do not end the time in which an officer may inspect green goods. A match from before the decision started no delay and ended none."""
_ENDED: Final = tuple(FINAL)
_IS_DECISION: Final = flags_of(_DECISIONS)
_CONTINUE: Final = (flags_of(_LOOK_CONTINUES), flags_of(_DELAYS_CONTINUE))
"""Of each of DELAYS which events do not end it."""
_EXTINGUISHED: Final = flags_of(FINAL)


def started_delays(table: Table, events: IntArray, at: int) -> dict[str, Column]:
    """Return the columns of delays that start with a decision, counted from the time of the event."""
    decided = _IS_DECISION[events]
    columns: dict[str, Column] = {}
    for name in DELAYS:
        delay = table.ints(name)
        if (delay.valid & decided).any():
            columns[name] = Ints.of(np.where(decided, delay.values + at, delay.values), delay.valid)
    return columns


def ended_delays(table: Table, events: IntArray, done: BoolArray) -> dict[str, Column]:
    """Return the columns of ended delays: after an inspection, a hold or the end of the delay; and lane and audit after re-routing to blue."""
    columns: dict[str, Column] = {}
    for name, continuing in zip(DELAYS, _CONTINUE, strict=True):
        ends = done & ~continuing[events]
        delay = table.ints(name)
        if (delay.valid & ends).any():
            columns[name] = Ints.of(delay.values, delay.valid & ~ends)
    rerouted = done & (events == Event.REROUTED)
    if rerouted.any():
        columns["lane"] = choose(rerouted, Ints.constant(Lane.BLUE, table.rows), table.ints("lane"))
        audit = table.bools("audit")
        columns["audit"] = Bools.of(audit.values | rerouted, audit.valid | rerouted)
    return columns


def first_decision_times(table: Table, decides: BoolArray, at: Ints) -> Ints:
    """Return when the first decision was taken: as stored, else `at` in the rows `decides` of consignments without any decision."""
    stored, decided = table.ints("first_decided_at"), table.ints("decided_at")
    # States of version 0.2 have only the last decision: the automatic one on the first filing was the first.
    automatic = table.strings("decided_by").map(lambda by: by == AUTOMATIC, np.bool_)
    derived = ~stored.valid & decided.valid & automatic & (table.ints("filing_version").values == 1)
    fresh = decides & ~stored.valid & ~decided.valid
    values = np.where(stored.valid, stored.values, np.where(derived, decided.values, at.values))
    return Ints.of(values, stored.valid | derived | fresh)


def release_times(released: Ints, before: IntArray, after: IntArray, at: Ints) -> Ints:
    """Return when goods were released, after an event at `at` that changed their states from `before` to `after`; absent while they are held."""
    now = after == State.RELEASED
    fresh = now & (before != State.RELEASED)
    # Goods that were returned keep the time of their release.
    valid = np.where(now, released.valid | fresh, released.valid & among(after, _ENDED))
    return Ints.of(np.where(fresh, at.values, released.values), valid)


def owes_nothing(table: Table) -> BoolArray:
    """Return which states owe nothing at the border because customs disposed of the goods before any release, or they never arrived, shape (n,).

    What is owed of goods that a movement lost stays due. Of confiscated goods only the duty ends, so that they owe nothing if there is no other
    charge. Source: docs/decisions/disposals.md.
    """
    states = table.ints("state").values
    ended = _EXTINGUISHED[states]
    if not ended.any():
        return ended
    confiscated = states == State.CONFISCATED
    ended &= never_released(table) & ~is_lost(table)
    return ended & ~(confiscated & owes_beside_duty(table)) if confiscated.any() else ended


def payable_now(table: Table) -> Ints:
    """Return what is to be paid at the border after the end of goods, minor units: nothing where nothing is owed, the other charges where duty ended.

    In all other states it is the amount as assessed; absent where it could not be computed.
    """
    payable = table.ints("payable_minor")
    nothing = owes_nothing(table)
    duties = np.zeros(table.rows, np.int64)
    charges, lines = table.ragged("charges"), table.child("charges")
    at_border = ended_duties(table) & (lines.ints("collector").filled(0) != COLLECTOR_VENDOR)
    if not nothing.any() and not at_border.any():
        return payable
    np.add.at(duties, charges.owners(), np.where(at_border, lines.ints("amount").filled(0), 0))
    return Ints.of(np.where(nothing, 0, payable.values - duties), payable.valid | nothing)


def owes_beside_duty(table: Table) -> BoolArray:
    """Return which states have a charge at the border that is no duty, or charges that could not be computed, shape (n,)."""
    charges, lines = table.ragged("charges"), table.child("charges")
    stays = (lines.ints("kind").filled(0) != CHARGE_KIND_DUTY) & (lines.ints("collector").filled(0) != COLLECTOR_VENDOR)
    found = ~table.ints("payable_minor").valid
    found[charges.owners()[stays & (lines.ints("amount").filled(0) > 0)]] = True
    return found


def ended_duties(table: Table) -> BoolArray:
    """Return which charges of states are duties that ended with the confiscation of goods that were never released, one value each."""
    confiscated = table.ints("state").values == State.CONFISCATED
    if not confiscated.any():
        return np.zeros(table.child("charges").rows, np.bool_)
    duties = table.child("charges").ints("kind").filled(0) == CHARGE_KIND_DUTY
    ended: BoolArray = duties & (confiscated & never_released(table))[table.ragged("charges").owners()]
    return ended


def never_released(table: Table) -> BoolArray:
    """Return which goods had no release, shape (n,). Goods that were returned had one, even if a state of an earlier release has no time of it."""
    return ~(was_released(table) | table.ints("returned_at").valid)


def was_released(table: Table) -> BoolArray:
    """Return which consignments are released, or were released before an officer held them, shape (n,)."""
    return table.ints("released_at").valid | table.ints("former_released_at").valid
