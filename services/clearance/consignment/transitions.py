"""The life of a consignment after acceptance: which event leads from which state to which, as data.

Source: the declaration's side of the state machine of the platform's domain notes, as far as decisions, arrivals, officers, debts, returns,
withdrawals and disposals go;
for the two waits, ASYCUDA's selectivity: green can be delayed for manual review, yellow re-routes to blue by itself;
for disposals the Union Customs Code, articles 171, 174, 197 to 199 and 270.
The numbers are those of luxor.clearance.v1; a test compares them.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class State(IntEnum):
    """The state of a consignment."""

    ACCEPTED = 1
    AWAITING_ARRIVAL = 2
    HELD = 3
    RELEASED = 4
    DOCUMENTS_REQUESTED = 5
    EXAMINATION = 6
    SEIZED = 7
    DESTROYED = 8
    RE_EXPORTED = 9
    INVALIDATED = 10
    EXPIRED = 11
    ABANDONED = 12
    CONFISCATED = 13


class Debt(IntEnum):
    """The status of the debt at the border."""

    UNKNOWN = 0
    NONE = 1
    DEFERRED = 2
    SECURED = 3
    PAID = 4
    VENDOR_COLLECTED = 5
    OPEN = 6


class Change(IntEnum):
    """The cause of a version."""

    DECIDED = 1
    ARRIVED = 2
    OFFICER_RELEASED = 3
    OFFICER_HELD = 4
    AMENDED = 5
    INVALIDATED = 6
    AMENDMENT_REFUSED = 7
    INSPECTED = 8
    SCREENING_MATCHED = 9
    REROUTED = 10
    WAIT_ENDED = 11
    DEBT = 12
    REASSESSED = 13
    ADJUSTED = 14
    RETURNED = 15
    SCREENING_MATCH_CLEARED = 16
    ARRIVAL_REVERSED = 17
    SEIZED = 18
    SEIZURE_LIFTED = 19
    DISPOSED = 20


class Event(IntEnum):
    """An event of a consignment; a decision is one of two events, by its verdict."""

    DECIDED_RELEASE = 0
    DECIDED_HOLD = 1
    ARRIVED = 2
    OFFICER_RELEASED = 3
    OFFICER_HELD = 4
    AMENDED_RELEASE = 5
    AMENDED_HOLD = 6
    INVALIDATED = 7
    INSPECTED = 8
    """An officer recorded the result of an inspection; the state does not change."""
    SCREENING_MATCHED = 9
    """A list changed, and a party now matches it."""
    REROUTED = 10
    """The delay of the yellow lane has ended."""
    WAIT_ENDED = 11
    """The time has ended in which an officer may inspect a green consignment."""
    DEBT = 12
    """Revenue announced the status of the debt; the situation contains it."""
    REASSESSED = 13
    """Revenue announced another amount owed; the debt is already evaluated."""
    ADJUSTED = 14
    """An officer corrected value or goods, and revenue assessed it again; the debt is already evaluated."""
    RETURNED = 15
    """Some of the goods were returned."""
    RETURNED_WHOLE = 16
    """All remaining goods were returned."""
    DESTROYED_WHOLE = 17
    """All goods were destroyed."""
    FINDINGS_CHANGED = 18
    """The findings have changed and the state has not: a screening match was cleared of goods that are not held or that something else holds, or a
    consignment that is held already got a further finding.
    """
    SCREENING_MATCH_CLEARED = 19
    """A screening match was cleared, and no other finding holds the goods."""
    ARRIVAL_REVERSED = 20
    """The arrival was recorded in error: the goods have not arrived."""
    SEIZED = 21
    """An officer seized the goods."""
    SEIZURE_LIFTED = 22
    """An officer lifted a seizure; the officer's hold stays."""
    CONFISCATED = 23
    """A seizure became final: the goods belong to the State."""
    DESTROYED = 24
    """Goods that are not released were destroyed under supervision."""
    RE_EXPORTED = 25
    """Goods that are not released left again under a new transport document."""
    ABANDONED = 26
    """The declarant abandoned the goods to the State."""
    INVALIDATED_BY_CUSTOMS = 27
    """Customs invalidated the declaration: the goods never came, or it was lodged twice."""


CHANGE_OF: Final = np.array(
    [
        Change.DECIDED,
        Change.DECIDED,
        Change.ARRIVED,
        Change.OFFICER_RELEASED,
        Change.OFFICER_HELD,
        Change.AMENDED,
        Change.AMENDED,
        Change.INVALIDATED,
        Change.INSPECTED,
        Change.SCREENING_MATCHED,
        Change.REROUTED,
        Change.WAIT_ENDED,
        Change.DEBT,
        Change.REASSESSED,
        Change.ADJUSTED,
        Change.RETURNED,
        Change.RETURNED,
        Change.RETURNED,
        Change.SCREENING_MATCH_CLEARED,
        Change.SCREENING_MATCH_CLEARED,
        Change.ARRIVAL_REVERSED,
        Change.SEIZED,
        Change.SEIZURE_LIFTED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.DISPOSED,
        Change.DISPOSED,
    ],
    np.int64,
)
"""The change of each event."""

FINAL: Final = frozenset(
    {State.DESTROYED, State.RE_EXPORTED, State.INVALIDATED, State.EXPIRED, State.ABANDONED, State.CONFISCATED}
)
_A, _W, _H, _R, _I, _S = (
    State.ACCEPTED,
    State.AWAITING_ARRIVAL,
    State.HELD,
    State.RELEASED,
    State.INVALIDATED,
    State.SEIZED,
)
_TAKEN: Final = {
    Event.DESTROYED: State.DESTROYED,
    Event.RE_EXPORTED: State.RE_EXPORTED,
    Event.ABANDONED: State.ABANDONED,
}
"""Disposals of goods that have arrived, seized or not."""
_DISPOSED: Final = (Event.CONFISCATED, *_TAKEN, Event.INVALIDATED_BY_CUSTOMS)
"""Disposals, which are final."""
_DEBT_EVENTS: Final = (Event.DEBT, Event.REASSESSED)
"""Events of revenue. They apply in final states too, because payments and refunds may still follow."""
MONEY: Final = (*_DEBT_EVENTS, Event.ADJUSTED)
"""Events that change the debt: an open debt holds what is not released, and a settled one frees what only the debt held."""

# (event, state): the next state before the arrival of the goods, and after it. None: the event is refused.
_TRANSITIONS: Final[dict[tuple[Event, State], tuple[State | None, State | None]]] = {
    (Event.DECIDED_RELEASE, _A): (_W, _R),
    (Event.DECIDED_HOLD, _A): (_H, _H),
    (Event.ARRIVED, _W): (_R, None),
    (Event.ARRIVED, _H): (_H, None),
    (Event.OFFICER_RELEASED, _H): (_W, _R),
    (Event.OFFICER_HELD, _W): (_H, _H),
    (Event.OFFICER_HELD, _H): (_H, _H),
    (Event.OFFICER_HELD, _R): (_H, _H),
    (Event.AMENDED_RELEASE, _W): (_W, None),
    (Event.AMENDED_RELEASE, _H): (_W, None),
    (Event.AMENDED_HOLD, _W): (_H, None),
    (Event.AMENDED_HOLD, _H): (_H, None),
    (Event.INVALIDATED, _W): (_I, None),
    (Event.INVALIDATED, _H): (_I, None),
    (Event.INSPECTED, _H): (_H, _H),
    (Event.INSPECTED, _R): (_R, _R),
    (Event.INSPECTED, _S): (_S, _S),
    (Event.SCREENING_MATCHED, _A): (_H, _H),
    (Event.SCREENING_MATCHED, _W): (_H, _H),
    (Event.SCREENING_MATCHED, _H): (_H, _H),
    (Event.SCREENING_MATCHED, _R): (_R, _R),
    (Event.SCREENING_MATCHED, _S): (_S, _S),
    (Event.REROUTED, _H): (_W, _R),
    (Event.WAIT_ENDED, _W): (None, _R),
    **{(Event.FINDINGS_CHANGED, state): (state, state) for state in (_W, _H, _R, _S)},
    (Event.SCREENING_MATCH_CLEARED, _H): (_W, _R),
    (Event.ARRIVAL_REVERSED, _W): (None, _W),
    (Event.ARRIVAL_REVERSED, _H): (None, _H),
    (Event.RETURNED, _R): (_R, _R),
    (Event.RETURNED_WHOLE, _R): (State.RE_EXPORTED, State.RE_EXPORTED),
    (Event.DESTROYED_WHOLE, _R): (State.DESTROYED, State.DESTROYED),
    # Goods that never arrived can be neither seized nor destroyed; their declaration can be invalidated.
    (Event.SEIZED, _W): (None, _S),
    (Event.SEIZED, _H): (None, _S),
    (Event.SEIZURE_LIFTED, _S): (_H, _H),
    (Event.CONFISCATED, _S): (State.CONFISCATED, State.CONFISCATED),
    **{(event, state): (None, end) for event, end in _TAKEN.items() for state in (_W, _H)},
    **{(event, _S): (end, end) for event, end in _TAKEN.items()},
    **{(Event.INVALIDATED_BY_CUSTOMS, state): (_I, _I) for state in (_W, _H)},
    **{(event, state): (state, state) for event in MONEY for state in (_W, _H, _R, _S)},
    **{(event, state): (state, state) for event in _DEBT_EVENTS for state in FINAL},
}

REFUSALS: Final = (
    "",
    "ALREADY_DECIDED",
    "ALREADY_ARRIVED",
    "NOT_HELD",
    "ALREADY_HELD",
    "AMENDMENT_TOO_LATE",
    "DEBT_OPEN",
    "STATE_FINAL",
    "NOT_INSPECTABLE",
    "NOT_DUE",
    "NOT_RELEASED",
    "NOT_DECIDED",
    "ARRIVAL_NOT_REVERSIBLE",
    "NOT_ARRIVED",
    "NOT_SEIZED",
    "GOODS_SEIZED",
)
"""Why an event has no effect, by the numbers in `Outcome.refusal`; place 0 stands for an effect."""

_REFUSAL: Final = (
    "ALREADY_DECIDED",
    "ALREADY_DECIDED",
    "ALREADY_ARRIVED",
    "NOT_HELD",
    "ALREADY_HELD",
    "AMENDMENT_TOO_LATE",
    "AMENDMENT_TOO_LATE",
    "AMENDMENT_TOO_LATE",
    "NOT_INSPECTABLE",
    "STATE_FINAL",
    "NOT_DUE",
    "NOT_DUE",
    "NOT_DECIDED",
    "NOT_DECIDED",
    "NOT_DECIDED",
    "NOT_RELEASED",
    "NOT_RELEASED",
    "NOT_RELEASED",
    "NOT_DECIDED",
    "NOT_HELD",
    "ARRIVAL_NOT_REVERSIBLE",
    "NOT_HELD",
    "NOT_SEIZED",
    "NOT_SEIZED",
    "NOT_HELD",
    "NOT_HELD",
    "NOT_HELD",
    "NOT_HELD",
)
"""Per event, why it is refused in a state from which it leads nowhere."""
_SEIZED_FIRST: Final = (Event.OFFICER_RELEASED, Event.OFFICER_HELD, Event.SEIZED, Event.INVALIDATED_BY_CUSTOMS)
"""Decisions of officers that a seizure excludes."""


def _refusal_table() -> IntArray:
    """Return the place in REFUSALS by event and state."""
    names = {
        (event, state): name for event, name in zip(Event, _REFUSAL, strict=True) for state in range(max(State) + 1)
    }
    names |= {(event, state): "NOT_ARRIVED" for event in (Event.SEIZED, *_TAKEN) for state in (_W, _H)}
    names |= {(event, _S): "GOODS_SEIZED" for event in _SEIZED_FIRST}
    table = np.zeros((len(Event), max(State) + 1), np.int64)
    for place, name in names.items():
        table[place] = REFUSALS.index(name)
    return table


_REFUSAL_OF: Final = _refusal_table()


def _table() -> IntArray:
    table = np.zeros((len(Event), max(State) + 1, 2), np.int64)
    for (event, state), (before, after) in _TRANSITIONS.items():
        table[event, state] = (before or 0, after or 0)
    return table


_NEXT: Final = _table()
_TIMED: Final = (Event.REROUTED, Event.WAIT_ENDED)
_FILINGS: Final = (Event.AMENDED_RELEASE, Event.AMENDED_HOLD, Event.INVALIDATED)
_FINAL: Final = np.isin(np.arange(max(State) + 1), list(FINAL))
_OFFICER_HOLD: Final = np.isin(np.arange(len(Event)), (Event.OFFICER_HELD, Event.SEIZED))
"""Events that make an officer's hold; that of a seizure stays when it is lifted."""
_LIFTS: Final = np.isin(np.arange(len(Event)), (Event.OFFICER_RELEASED, *_DISPOSED))
"""Events that end the holds by an officer and by a screening match."""


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
    violation: BoolArray = field(default_factory=lambda: np.zeros((), np.bool_))
    """Whether an inspection found a violation that no officer has resolved; by default there is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an event on n consignments; all of shape (n,)."""

    state: IntArray
    """The state after; the same as before where the event was refused."""
    officer_hold: BoolArray
    screening_hold: BoolArray
    debt_hold: BoolArray
    arrived: BoolArray
    refusal: IntArray
    """0 where the event had its effect, else the place of the reason in REFUSALS."""

    @property
    def effective(self) -> BoolArray:
        """Where the event took effect: only there the version rises by one."""
        effective: BoolArray = self.refusal == 0
        return effective


def apply(event: Event | IntArray, now: Situation) -> Outcome:
    """Apply an event to n consignments: the same to all, or one each, shape (n,).

    No event releases while a hold or a violation is open or a debt is owed that nobody stands for: an automatic one holds then, an officer's release
    is refused while a debt is open. (Which officer may release an open violation, the caller checks.)
    What waits for an officer's look is not released by a decision or an arrival, but by the end of the wait. What the debt alone holds goes on once
    the debt is settled; a debt that opens holds what is not released, and takes no release back.
    """
    events = np.broadcast_to(np.asarray(event, np.int64), now.state.shape)
    hold = now.officer_hold | now.screening_hold | now.violation
    # A new version of the filing does not lift a hold by an officer or by a screening match.
    events = np.where((events == Event.AMENDED_RELEASE) & hold, np.int64(Event.AMENDED_HOLD), events)
    target = _NEXT[events, now.state, now.arrived.astype(np.int64)]
    unsettled = (now.debt == Debt.OPEN) | (now.debt == Debt.UNKNOWN)
    money = np.isin(events, MONEY)
    freed = money & (now.state == State.HELD) & now.debt_hold & ~hold & ~unsettled
    target = np.where(freed, np.where(now.arrived, np.int64(State.RELEASED), np.int64(State.AWAITING_ARRIVAL)), target)
    by_officer = events == Event.OFFICER_RELEASED
    timed = np.isin(events, _TIMED)
    waits = (target == State.RELEASED) & (now.state != State.RELEASED) & now.waiting & ~by_officer & ~timed
    target = np.where(waits, np.int64(State.AWAITING_ARRIVAL), target)
    proceeds = np.isin(target, (State.RELEASED, State.AWAITING_ARRIVAL))
    owed = proceeds & (now.debt == Debt.OPEN)
    refusal = _refusals(events, target, now, timed & hold, owed & by_officer)
    # Only an officer may release goods that are held or whose debt could not be computed. No automatic event changes a release.
    fresh = proceeds & (now.state != State.RELEASED)
    stopped = fresh & ~by_officer & (unsettled | hold)
    target = np.where(stopped, np.int64(State.HELD), target)
    done = refusal == 0
    held = np.where(done, target, now.state) == State.HELD
    lifted = done & _LIFTS[events]
    return Outcome(
        state=np.where(done, target, now.state),
        officer_hold=np.where(done & _OFFICER_HOLD[events], True, now.officer_hold & ~lifted),
        screening_hold=(now.screening_hold & ~lifted)
        | (done & (events == Event.SCREENING_MATCHED) & (target != State.RELEASED)),
        debt_hold=held & ((now.debt_hold & ~(money & ~unsettled)) | (done & stopped & unsettled)),
        arrived=(now.arrived & ~(done & (events == Event.ARRIVAL_REVERSED))) | (done & (events == Event.ARRIVED)),
        refusal=refusal,
    )


def _refusals(events: IntArray, target: IntArray, now: Situation, barred: BoolArray, owed: BoolArray) -> IntArray:
    """Return for each row why it is refused, 0 if it is not. `barred`: by an open hold; `owed`: a release while a debt is open."""
    refusal = np.where(target == 0, _REFUSAL_OF[events, now.state], 0)
    refusal = np.where(barred, REFUSALS.index("NOT_DUE"), refusal)
    # A filing whose goods were controlled is not changed: UCC, article 173(2)(a) and (b).
    refusal = np.where(np.isin(events, _FILINGS) & now.inspected, REFUSALS.index("AMENDMENT_TOO_LATE"), refusal)
    refusal = np.where(_FINAL[now.state] & ~np.isin(events, _DEBT_EVENTS), REFUSALS.index("STATE_FINAL"), refusal)
    # A match holds like an officer: a second hold would add nothing, and would reveal that the first is of another kind.
    held_twice = (events == Event.OFFICER_HELD) & (now.state == State.HELD) & (now.officer_hold | now.screening_hold)
    refusal = np.where(held_twice, REFUSALS.index("ALREADY_HELD"), refusal)
    return np.where(owed, REFUSALS.index("DEBT_OPEN"), refusal)
