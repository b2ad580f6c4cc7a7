"""The transitions of lifecycle.py, compiled for batches: one look-up for each consignment. Pure."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table, among
from services.clearance.consignment.columns import in_transit
from services.clearance.consignment.decision import lacks_parts
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.lifecycle.table import TABLE, Condition, Effect, refusal_without_row
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.transitions import Debt, Event, State

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Situation:
    """What transitions depend on, of n consignments: one value each, all of shape (n,)."""

    state: IntArray
    arrived: BoolArray
    debt: IntArray
    officer_hold: BoolArray
    screening_hold: BoolArray
    """Whether a hold by a screening match after the decision is open."""
    waiting: BoolArray
    """Whether the delay of a green consignment has not ended."""
    inspected: BoolArray
    """Whether an inspection was recorded, or an officer adjusted value or goods."""
    debt_hold: BoolArray
    """Whether only the debt holds it, open or not computed."""
    blocked: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether an inspection found a violation that no officer has resolved, or a required part is missing; by default neither."""
    control_hold: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether controls, and perhaps the debt, alone hold it; by default nothing is held by controls."""
    in_transit: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether it moves to another office; by default nothing does."""
    unpresented: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether a presentation is required and missing, at the arrival or since; by default the arrival is the presentation."""


def situation(table: Table, at: int | IntArray) -> Situation:
    """Return the columns of states that transitions depend on, at an instant, or at one each, shape (n,)."""
    delay = table.ints("release_not_before")
    moving, missing = in_transit(table), unpresented(table)
    return Situation(
        state=table.ints("state").values,
        arrived=table.ints("arrived_at").valid,
        debt=table.ints("debt_status").values,
        officer_hold=table.bools("officer_hold").values,
        screening_hold=table.bools("screening_hold").values,
        waiting=delay.valid & (delay.values > at),
        inspected=table.ints("inspected_at").valid | table.ints("adjusted_at").valid,
        debt_hold=table.bools("debt_hold").values,
        blocked=open_violations(table) | lacks_parts(table.ragged("reasons")),
        control_hold=table.bools("control_hold").values,
        # One value for all where none is: the usual batch pays for no further flag.
        in_transit=moving if moving.any() else np.zeros((), np.bool_),
        unpresented=missing if missing.any() else np.zeros((), np.bool_),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an event on n consignments; all of shape (n,)."""

    state: IntArray
    """The state after; the same as before where the event was refused."""
    officer_hold: BoolArray
    screening_hold: BoolArray
    debt_hold: BoolArray
    control_hold: BoolArray
    arrived: BoolArray
    refusal: IntArray
    """0 where the event had its effect, else the place of the reason in REFUSALS."""
    effects: IntArray
    """What the event changes beside the state, as Effect."""
    moved: BoolArray
    """Whether the goods were in transit before."""
    missing: BoolArray
    """Whether a presentation was required and missing before, or at an arrival."""

    @property
    def effective(self) -> BoolArray:
        """Where the event took effect: only there the version rises by one."""
        effective: BoolArray = self.refusal == 0
        return effective

    @property
    def in_transit(self) -> BoolArray:
        """Where the goods are in transit after the event."""
        begins, ends = (self.effects & int(each) != 0 for each in (Effect.TRANSIT_BEGINS, Effect.TRANSIT_ENDS))
        moving: BoolArray = begins | (self.moved & ~ends)
        return moving

    @property
    def unpresented(self) -> BoolArray:
        """Where a presentation is required and missing after the event."""
        unpresented: BoolArray = self.missing & (self.effects & int(Effect.PRESENTS | Effect.ARRIVAL_ENDS) == 0)
        return unpresented


_FLAGS: Final = (
    "arrived",
    "officer_hold",
    "screening_hold",
    "waiting",
    "inspected",
    "debt_hold",
    "blocked",
    "control_hold",
    "in_transit",
    "unpresented",
)
"""The flags of a situation; a condition depends on them and on the debt alone."""
_DEBTS: Final = np.array([2 if debt == Debt.UNKNOWN else int(debt == Debt.OPEN) for debt in range(max(Debt) + 1)])
"""What transitions distinguish of a debt: 0 settled, 1 open, 2 not computed."""
_CODES: Final = 3 << len(_FLAGS)
"""How many situations of a state transitions distinguish."""
_REASON_BIT: Final = 8
_EFFECT_BIT: Final = 16


def _conditions() -> dict[Condition, BoolArray]:
    """Return where each condition is met, by the code of the situation, shape (_CODES,)."""
    codes = np.arange(_CODES)
    flags = {name: (codes >> bit & 1).astype(np.bool_) for bit, name in enumerate(_FLAGS)}
    debt = codes >> len(_FLAGS)
    held = flags["officer_hold"] | flags["screening_hold"]
    return {
        Condition.ARRIVED: flags["arrived"],
        Condition.NOT_ARRIVED: ~flags["arrived"],
        Condition.PRESENTED: flags["arrived"] & ~flags["unpresented"],
        Condition.NOT_PRESENTED: ~flags["arrived"] | flags["unpresented"],
        Condition.PRESENTATION_MISSING: flags["unpresented"],
        Condition.HOLD: held | flags["blocked"],
        Condition.HELD_ALREADY: held,
        Condition.EVIDENCE: held | (flags["blocked"] & flags["inspected"]),
        Condition.DEBT_OPEN: debt == 1,
        Condition.UNSETTLED: debt > 0,
        Condition.SETTLED: debt == 0,
        Condition.ONLY_DEBT: flags["debt_hold"],
        Condition.ONLY_CONTROLS: flags["control_hold"],
        Condition.WAITING: flags["waiting"],
        Condition.CONTROLLED: flags["inspected"],
        Condition.IN_TRANSIT: flags["in_transit"],
    }


def _compiled() -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the reasons of refusals, "" first, and of each (event, state, code) in one number: next state, place of the reason, effects."""
    reasons = [""]
    compiled = np.zeros((len(Event), max(State) + 1, _CODES), np.int32)
    met = _conditions()
    undecided = np.ones(compiled.shape, np.bool_)

    def place(reason: str) -> int:
        if reason not in reasons:
            reasons.append(reason)
        return reasons.index(reason)

    for row in TABLE:
        where = undecided[row.event, row.state] & np.logical_and.reduce([met[each] for each in row.when], initial=True)
        compiled[row.event, row.state, where] = (
            row.next | place(row.refusal) << _REASON_BIT | row.effects << _EFFECT_BIT
        )
        undecided[row.event, row.state] &= ~where
    for event in Event:
        for state in State:
            where = undecided[event, state]
            compiled[event, state, where] = state | place(refusal_without_row(event, state)) << _REASON_BIT
    return tuple(reasons), compiled.reshape(-1)


REFUSALS, _COMPILED = _compiled()
"""Why an event has no effect, by the numbers in `Outcome.refusal`; place 0 stands for an effect."""


def apply(event: Event | IntArray, now: Situation) -> Outcome:
    """Apply an event to n consignments: the same to all, or one each, shape (n,).

    No event releases while a hold or a violation is open, a required part is missing or a debt is owed that nobody stands for: an automatic one
    holds then, an officer's release is refused while a debt is open. (Which officer may release an open violation, the caller checks.)
    Nor does any event release goods before their arrival, or before their presentation where it is required.
    What waits for an officer's look is not released by a decision or an arrival, but by the end of the wait. What the debt alone holds goes on once
    the debt is settled; a debt that opens holds what is not released, and takes no release back.
    """
    code = _DEBTS[now.debt] << len(_FLAGS)
    for bit, name in enumerate(_FLAGS):
        code = code | getattr(now, name).astype(np.int64) << bit
    place = (np.asarray(event, np.int64) * (max(State) + 1) + now.state) * _CODES + code
    found = _COMPILED[place].astype(np.int64)
    after, effects = found & 0xFF, found >> _EFFECT_BIT

    def has(effect: Effect) -> BoolArray:
        return effects & effect != 0  # type: ignore[no-any-return]

    ends = has(Effect.HOLD_ENDS)
    return Outcome(
        state=after,
        officer_hold=has(Effect.HOLD_BY_OFFICER) | (now.officer_hold & ~ends),
        screening_hold=has(Effect.HOLD_BY_MATCH) | (now.screening_hold & ~ends),
        debt_hold=(after == State.HELD) & (has(Effect.HOLD_BY_DEBT) | (now.debt_hold & ~has(Effect.DEBT_HOLD_ENDS))),
        control_hold=among(after, (State.DOCUMENTS_REQUESTED, State.EXAMINATION))
        & (has(Effect.HOLD_BY_CONTROLS) | (now.control_hold & ~has(Effect.CONTROL_HOLD_ENDS))),
        arrived=has(Effect.ARRIVES) | (now.arrived & ~has(Effect.ARRIVAL_ENDS)),
        refusal=found >> _REASON_BIT & 0xFF,
        effects=effects,
        moved=now.in_transit,
        missing=now.unpresented,
    )
