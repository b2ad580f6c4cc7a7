"""What holds goods, and which holds a bulk release lifts. Pure. The numbers are those of luxor.clearance.v1; a test compares them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings, Table, among
from services.clearance.consignment.columns import in_transit, is_lost
from services.clearance.consignment.decision import PARTS_MISSING, lacks_parts
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.screening import held_unseen
from services.clearance.consignment.transitions import CONTROLLED, STAYING, Debt, State

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class HoldCause(IntEnum):
    """What holds goods; of several causes the gravest counts: the last that `hold_causes` assigns.

    SECOND_PERSON stands in place of DECISION or OFFICER alone.
    """

    DECISION = 1
    DEBT_OPEN = 2
    DEBT_UNKNOWN = 3
    OFFICER = 4
    SCREENING = 5
    VIOLATION = 6
    SEIZURE = 7
    CONTROL = 8
    TRANSIT = 9
    SECOND_PERSON = 10


_UNSETTLED: Final = {Debt.OPEN: HoldCause.DEBT_OPEN, Debt.UNKNOWN: HoldCause.DEBT_UNKNOWN}


@dataclass(frozen=True, slots=True)
class Selection:
    """The consignments that a bulk release is about."""

    lanes: frozenset[int] = frozenset()
    """Empty: all lanes."""
    only_reasons: frozenset[str] = frozenset()
    """Stable reasons of which a hold must have one; empty: all holds."""
    override_officers: bool = False
    """Whether holds by officers are lifted too."""
    end_delays: bool = False
    """Whether the time in which an officer may inspect goods is ended too."""


def hold_causes(states: Table, *, officers: bool = True) -> IntArray:
    """Return the gravest HoldCause of each state, shape (n,); 0 where goods are neither held nor seized.

    Without `officers`, holds by officers count as decisions on a lane, except those of goods that a movement lost.
    """
    state, debt = states.ints("state").values, states.ints("debt_status").filled(Debt.UNKNOWN)
    causes = np.full(states.rows, HoldCause.DECISION, np.int64)
    for status, cause in _UNSETTLED.items():
        causes[debt == status] = cause
    causes[states.bools("officer_hold").values & (officers | is_lost(states))] = HoldCause.OFFICER
    alone = among(causes, (HoldCause.DECISION, HoldCause.OFFICER))
    causes[alone & requires_second(states)] = HoldCause.SECOND_PERSON
    causes[np.array(held_unseen(states, ()), np.bool_)] = HoldCause.SCREENING
    causes[open_violations(states)] = HoldCause.VIOLATION
    causes[state == State.SEIZED] = HoldCause.SEIZURE
    causes[among(state, CONTROLLED)] = HoldCause.CONTROL
    causes[in_transit(states)] = HoldCause.TRANSIT
    return np.where(among(state, STAYING), causes, 0)


def liftable(states: Table, selection: Selection) -> BoolArray:
    """Return which holds a bulk release lifts, shape (n,): those that are selected and that no other cause requires.

    Goods of which a required part is missing are selected by that reason alone.
    """
    causes = hold_causes(states, officers=not selection.override_officers)
    chosen: BoolArray = (causes == HoldCause.DECISION) & _in_lanes(states, selection)
    if PARTS_MISSING not in selection.only_reasons:
        chosen &= ~lacks_parts(states.ragged("reasons"))
    if selection.only_reasons and chosen.any():
        reasons = states.ragged("reasons")
        assert isinstance(reasons.values, Strings)
        named = np.zeros(states.rows, np.bool_)
        named[reasons.owners()[reasons.values.isin(selection.only_reasons)]] = True
        chosen &= named
    return chosen


def endable(states: Table, selection: Selection) -> BoolArray:
    """Return which goods a bulk release no longer lets wait for an officer's inspection, shape (n,): presented, not held, and nothing owed."""
    if not selection.end_delays:
        return np.zeros(states.rows, np.bool_)
    waits = (states.ints("state").values == State.AWAITING_ARRIVAL) & states.ints("release_not_before").valid
    settled = ~among(states.ints("debt_status").filled(Debt.UNKNOWN), list(_UNSETTLED))
    held = states.bools("officer_hold").values | states.bools("screening_hold").values | open_violations(states)
    held |= requires_second(states)
    endable: BoolArray = waits & states.ints("arrived_at").valid & settled & ~held & ~in_transit(states)
    endable &= ~unpresented(states) & _in_lanes(states, selection)
    return endable


def _in_lanes(states: Table, selection: Selection) -> BoolArray:
    if not selection.lanes:
        return np.ones(states.rows, np.bool_)
    return among(states.ints("lane").values, list(selection.lanes))
