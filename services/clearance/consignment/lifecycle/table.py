"""The life of a consignment after acceptance: which event leads from which state to which, under which condition, and with which effect, as data.

`TABLE` is the only definition: machine.py compiles it for batches.

Source: the declaration's side of the state machine of the platform's domain notes, as far as decisions, arrivals, officers, debts, returns,
withdrawals and disposals go;
for the two waits, ASYCUDA's selectivity: green can be delayed for manual review, yellow re-routes to blue by itself;
for disposals the Union Customs Code, articles 171, 174, 197 to 199 and 270; for goods that were controlled, article 173(2)(a) and (b);
for movements to another office, articles 226 and 233; for filings that are completed after the presentation, articles 158, 172 and 173.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Final

from services.clearance.consignment.notice_kinds import NOTICE_OF_STATE, NoticeKind
from services.clearance.consignment.transitions import CONTROLLED, FINAL, MONEY, Event, State


class Condition(Enum):
    """A condition of a transition; its value is the sentence that the documentation shows."""

    ARRIVED = "the goods have arrived"
    NOT_ARRIVED = "the goods have not arrived"
    PRESENTED = "the goods have arrived and were presented"
    NOT_PRESENTED = "the goods have not arrived or were not presented"
    PRESENTATION_MISSING = "a presentation is required and missing"
    HOLD = "a hold by an officer or by a screening match, or a violation, is open, or a required part is missing"
    HELD_ALREADY = "a hold by an officer or by a screening match is open"
    EVIDENCE = "a hold by an officer or by a screening match is open, or inspected goods have a violation or miss a required part"
    DEBT_OPEN = "the debt at the border is open"
    UNSETTLED = "the debt at the border is open or could not be computed"
    SETTLED = "the debt at the border is settled"
    ONLY_DEBT = "only the debt held the goods"
    WAITING = "the time in which an officer may inspect green goods has not ended"
    ONLY_CONTROLS = "only controls held the goods"
    CONTROLLED = "the goods were inspected, or an officer adjusted value or goods"
    IN_TRANSIT = "the goods are in transit to another office"


class Effect(IntFlag):
    """What a transition changes beside the state."""

    ARRIVES = 1
    ARRIVAL_ENDS = 2
    HOLD_BY_OFFICER = 4
    HOLD_BY_MATCH = 8
    HOLD_ENDS = 16
    HOLD_BY_DEBT = 32
    DEBT_HOLD_ENDS = 64
    HOLD_BY_CONTROLS = 128
    CONTROL_HOLD_ENDS = 256
    TRANSIT_BEGINS = 512
    TRANSIT_ENDS = 1024
    PRESENTS = 2048


EFFECTS: Final = {
    Effect.ARRIVES: "the goods have arrived",
    Effect.ARRIVAL_ENDS: "the goods have not arrived",
    Effect.HOLD_BY_OFFICER: "a hold by an officer begins",
    Effect.HOLD_BY_MATCH: "a hold by a screening match begins",
    Effect.HOLD_ENDS: "every hold by an officer or by a screening match ends",
    Effect.HOLD_BY_DEBT: "a hold by the debt begins",
    Effect.DEBT_HOLD_ENDS: "the hold by the debt ends",
    Effect.HOLD_BY_CONTROLS: "from now on only controls, and perhaps the debt, hold the goods",
    Effect.PRESENTS: "the goods are presented",
    Effect.CONTROL_HOLD_ENDS: "something else holds the goods beside the controls",
    Effect.TRANSIT_BEGINS: "the goods are in transit",
    Effect.TRANSIT_ENDS: "the goods are not in transit any more",
}
"""What the documentation says of each effect. A hold by the debt also ends in every state but HELD; what is noted of controls, once none is open."""
NONE: Final = Effect(0)


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: an event in a state under all conditions leads to the next state with its effects, or is refused with a reason."""

    event: Event
    state: State
    when: tuple[Condition, ...]
    next: State
    """The state after; the same state where the event is refused."""
    effects: Effect = NONE
    refusal: str = ""
    """Stable reason of the refusal; "" where the event takes effect."""
    notice: NoticeKind | None = None
    """The notice that the filer receives, and the carrier if the goods arrived and it concerns them; None where the version is hidden."""


_ACCEPTED, _AWAITING, _HELD, _RELEASED, _DOCUMENTS, _EXAMINATION, _SEIZED, _INVALIDATED = (
    State.ACCEPTED,
    State.AWAITING_ARRIVAL,
    State.HELD,
    State.RELEASED,
    State.DOCUMENTS_REQUESTED,
    State.EXAMINATION,
    State.SEIZED,
    State.INVALIDATED,
)
_NOT_RELEASED: Final = (_AWAITING, _HELD, *CONTROLLED)
_DECIDED: Final = (*_NOT_RELEASED, _RELEASED, _SEIZED)
"""The states after the decision that are not final."""
_C = Condition
_K = NoticeKind
_OF_STATE: Final = object()
"""Stands for the notice of the next state."""
_COMPLETED: Final = (Event.COMPLETED_RELEASE, Event.COMPLETED_HOLD)
REFUSAL_NOTICES: Final = dict.fromkeys(
    (Event.AMENDED_RELEASE, Event.AMENDED_HOLD, *_COMPLETED, Event.INVALIDATED), NoticeKind.AMENDMENT_REFUSED
)
"""The notices of refused events; of all others, the caller reads the refusal in the answer."""


def _rows(
    event: Event,
    states: State | tuple[State, ...],
    to: State | None,
    *when: Condition,
    effects: Effect = NONE,
    refusal: str = "",
    notice: object = _OF_STATE,
) -> Iterator[Transition]:
    """Yield a row for each state; `to` None stands for the same state."""
    for state in (states,) if isinstance(states, State) else states:
        after = state if to is None else to
        kind = NOTICE_OF_STATE.get(after) if notice is _OF_STATE else notice
        assert kind is None or isinstance(kind, NoticeKind)
        yield Transition(event, state, when, after, effects, refusal, kind)


def _refused(event: Event, states: State | tuple[State, ...], reason: str, *when: Condition) -> Iterator[Transition]:
    yield from _rows(event, states, None, *when, refusal=reason, notice=REFUSAL_NOTICES.get(event))


def _towards_release(
    event: Event,
    state: State,
    *when: Condition,
    arrives: bool = False,
    presents: bool = False,
    waits: bool = True,
    moves: bool = True,
    effects: Effect = NONE,
    held: object = _OF_STATE,
    awaiting: object = _OF_STATE,
) -> Iterator[Transition]:
    """Yield the rows of an automatic event that lets goods continue to their release, unless there is a hold.

    `arrives`: the event is an arrival; `presents`: goods are presented before the event or by it; `waits`: green goods wait for the end of the time
    in which an officer may inspect them; `moves`: goods in transit wait for their arrival at the office of destination; `held` and `awaiting` are
    the notices of goods that are not released.
    """
    yield from _rows(event, state, _HELD, *when, _C.UNSETTLED, effects=effects | Effect.HOLD_BY_DEBT, notice=held)
    yield from _rows(event, state, _HELD, *when, _C.HOLD, effects=effects, notice=held)
    missing = _C.PRESENTATION_MISSING if arrives else _C.NOT_PRESENTED
    if not presents:
        yield from _rows(event, state, _AWAITING, *when, missing, effects=effects, notice=awaiting)
    if moves:
        yield from _rows(event, state, _AWAITING, *when, _C.IN_TRANSIT, effects=effects, notice=awaiting)
    if waits:
        yield from _rows(event, state, _AWAITING, *when, _C.WAITING, effects=effects, notice=awaiting)
    yield from _rows(event, state, _RELEASED, *when, effects=effects)


def _decisions() -> Iterator[Transition]:
    yield from _towards_release(Event.DECIDED_RELEASE, _ACCEPTED, moves=False)
    yield from _rows(Event.DECIDED_HOLD, _ACCEPTED, _HELD)
    for event in (Event.AMENDED_RELEASE, Event.AMENDED_HOLD, Event.INVALIDATED):
        yield from _refused(event, _NOT_RELEASED, "AMENDMENT_TOO_LATE", _C.PRESENTED)
        yield from _refused(event, _NOT_RELEASED, "AMENDMENT_TOO_LATE", _C.CONTROLLED)
        # Once customs has informed the declarant of an examination: UCC, articles 173(2)(a) and 174(1).
        yield from _refused(event, _EXAMINATION, "AMENDMENT_TOO_LATE")
    # A new version of the filing does not lift a hold by an officer or by a screening match, and ends no control.
    yield from _rows(Event.AMENDED_RELEASE, (_AWAITING, _HELD), _HELD, _C.HOLD)
    for state in (_AWAITING, _HELD):
        yield from _rows(Event.AMENDED_RELEASE, state, _HELD, _C.UNSETTLED, effects=Effect.HOLD_BY_DEBT)
        yield from _rows(Event.AMENDED_RELEASE, state, _AWAITING)
    yield from _rows(Event.AMENDED_RELEASE, _DOCUMENTS, None, _C.HOLD)
    yield from _rows(Event.AMENDED_RELEASE, _DOCUMENTS, None, effects=Effect.HOLD_BY_CONTROLS)
    yield from _rows(Event.AMENDED_HOLD, (_AWAITING, _HELD), _HELD)
    yield from _rows(Event.AMENDED_HOLD, _DOCUMENTS, None, effects=Effect.CONTROL_HOLD_ENDS)
    yield from _rows(Event.INVALIDATED, (_AWAITING, _HELD, _DOCUMENTS), _INVALIDATED)


def _completions() -> Iterator[Transition]:
    """Yield the rows of versions that complete the filing of presented goods and change none of its elements.

    They lift no hold and end no control. What customs found stays as it was found (UCC, article 173(2)(b)), as does what it informed the declarant
    to examine (a); what it released is final (c).
    """
    release, hold = _COMPLETED
    for event in _COMPLETED:
        yield from _refused(event, _NOT_RELEASED, "AMENDMENT_TOO_LATE", _C.CONTROLLED)
    yield from _rows(release, (_HELD, _DOCUMENTS), None, _C.HOLD)
    yield from _rows(release, _HELD, None, _C.UNSETTLED, effects=Effect.HOLD_BY_DEBT)
    # The hold and the unsettled debt are excluded by the rows above.
    yield from (row for row in _towards_release(release, _HELD) if row.next != _HELD)
    yield from _rows(release, _DOCUMENTS, None, effects=Effect.HOLD_BY_CONTROLS)
    yield from _rows(hold, _HELD, None)
    yield from _rows(hold, _DOCUMENTS, None, effects=Effect.CONTROL_HOLD_ENDS)


def _arrivals() -> Iterator[Transition]:
    yield from _refused(Event.ARRIVED, _NOT_RELEASED, "ALREADY_ARRIVED", _C.ARRIVED)
    yield from _towards_release(
        Event.ARRIVED,
        _AWAITING,
        arrives=True,
        moves=False,
        effects=Effect.ARRIVES,
        held=_K.ARRIVED,
        awaiting=_K.ARRIVED,
    )
    yield from _rows(Event.ARRIVED, (_HELD, *CONTROLLED), None, effects=Effect.ARRIVES, notice=_K.ARRIVED)
    presented, effect, notice = Event.PRESENTED, Effect.PRESENTS, _K.PRESENTED
    yield from _refused(presented, _NOT_RELEASED, "NOT_ARRIVED", _C.NOT_ARRIVED)
    yield from _refused(presented, _NOT_RELEASED, "ALREADY_PRESENTED", _C.PRESENTED)
    yield from _towards_release(presented, _AWAITING, presents=True, effects=effect, held=notice, awaiting=notice)
    yield from _rows(presented, (_HELD, *CONTROLLED), None, effects=effect, notice=notice)
    yield from _refused(presented, _SEIZED, "GOODS_SEIZED")
    overdue, notice = Event.PRESENTATION_OVERDUE, _K.PRESENTATION_OVERDUE
    yield from _rows(overdue, _NOT_RELEASED, None, _C.ARRIVED, _C.PRESENTATION_MISSING, notice=notice)
    yield from _refused(Event.ARRIVAL_REVERSED, _NOT_RELEASED, "ARRIVAL_NOT_REVERSIBLE", _C.NOT_ARRIVED)
    yield from _refused(Event.ARRIVAL_REVERSED, _NOT_RELEASED, "ARRIVAL_NOT_REVERSIBLE", _C.IN_TRANSIT)
    ends, notice = Effect.ARRIVAL_ENDS, _K.ARRIVAL_REVERSED
    by_debt = ends | Effect.HOLD_BY_DEBT
    yield from _rows(Event.ARRIVAL_REVERSED, _AWAITING, _HELD, _C.UNSETTLED, effects=by_debt, notice=notice)
    yield from _rows(Event.ARRIVAL_REVERSED, _AWAITING, _HELD, _C.HOLD, effects=ends, notice=notice)
    yield from _rows(Event.ARRIVAL_REVERSED, _NOT_RELEASED, None, effects=ends, notice=notice)


def _waits() -> Iterator[Transition]:
    yield from _refused(Event.REROUTED, _HELD, "NOT_DUE", _C.HOLD)
    # No wait ends on the way: nobody could look at the goods.
    yield from _refused(Event.REROUTED, _HELD, "NOT_DUE", _C.IN_TRANSIT)
    rerouted = _towards_release(Event.REROUTED, _HELD, waits=False, moves=False)
    yield from _refused(Event.WAIT_ENDED, _AWAITING, "NOT_DUE", _C.NOT_PRESENTED)
    yield from _refused(Event.WAIT_ENDED, _AWAITING, "NOT_DUE", _C.HOLD)
    yield from _refused(Event.WAIT_ENDED, _AWAITING, "NOT_DUE", _C.IN_TRANSIT)
    ended = _towards_release(Event.WAIT_ENDED, _AWAITING, _C.PRESENTED, presents=True, waits=False, moves=False)
    # The rows above refuse both events while there is a hold.
    yield from (row for row in (*rerouted, *ended) if _C.HOLD not in row.when)
    # The end of temporary storage takes nothing from anybody: an officer decides on the goods.
    for event, notice in ((Event.STORAGE_REMINDED, _K.STORAGE_REMINDED), (Event.STORAGE_ENDED, _K.STORAGE_ENDED)):
        yield from _refused(event, (_HELD, *CONTROLLED), "NOT_DUE", _C.IN_TRANSIT)
        yield from _rows(event, (_HELD, *CONTROLLED), None, _C.PRESENTED, notice=notice)


def _transit() -> Iterator[Transition]:
    """Yield the rows of movements to another office: they begin after the arrival, and no office decides on the goods before they end."""
    start, arrived, ends = Event.TRANSIT_STARTED, Event.TRANSIT_ARRIVED, Effect.TRANSIT_ENDS
    yield from _refused(start, _NOT_RELEASED, "NOT_ARRIVED", _C.NOT_ARRIVED)
    yield from _refused(start, _NOT_RELEASED, "NOT_PRESENTED", _C.PRESENTATION_MISSING)
    yield from _refused(start, _NOT_RELEASED, "IN_TRANSIT", _C.IN_TRANSIT)
    yield from _rows(start, _NOT_RELEASED, None, effects=Effect.TRANSIT_BEGINS, notice=_K.TRANSIT_STARTED)
    there, moving = _K.TRANSIT_ARRIVED, _C.IN_TRANSIT
    yield from _towards_release(
        arrived, _AWAITING, moving, arrives=True, moves=False, effects=ends, held=there, awaiting=there
    )
    yield from _rows(arrived, (_HELD, *CONTROLLED), None, moving, effects=ends, notice=there)
    for event, notice in ((Event.TRANSIT_ARRIVED_HELD, there), (Event.TRANSIT_ENDED, _K.TRANSIT_ENDED)):
        held = ends | Effect.HOLD_BY_OFFICER
        yield from _rows(event, (_AWAITING, _HELD), _HELD, moving, effects=held, notice=notice)
        yield from _rows(event, CONTROLLED, None, moving, effects=held, notice=notice)
    yield from _rows(Event.TRANSIT_OVERDUE, _NOT_RELEASED, None, moving, notice=_K.TRANSIT_OVERDUE)


def _officers() -> Iterator[Transition]:
    release, hold = Event.OFFICER_RELEASED, Event.OFFICER_HELD
    yield from _refused(release, _HELD, "IN_TRANSIT", _C.IN_TRANSIT)
    yield from _refused(release, _HELD, "DEBT_OPEN", _C.DEBT_OPEN)
    # The arrival or the presentation would hold the goods again: nobody knows what is owed.
    yield from _refused(release, _HELD, "DEBT_UNKNOWN", _C.NOT_PRESENTED, _C.UNSETTLED)
    yield from _rows(release, _HELD, _RELEASED, _C.PRESENTED, effects=Effect.HOLD_ENDS)
    yield from _rows(release, _HELD, _AWAITING, effects=Effect.HOLD_ENDS)
    # The hold by a match is like an officer's: a second hold would add nothing, and would reveal that the first is of another kind.
    yield from _refused(hold, (_HELD, *CONTROLLED), "ALREADY_HELD", _C.HELD_ALREADY)
    yield from _rows(hold, (_AWAITING, _HELD, _RELEASED), _HELD, effects=Effect.HOLD_BY_OFFICER)
    yield from _rows(hold, CONTROLLED, None, effects=Effect.HOLD_BY_OFFICER)
    # It lifts what holds the goods beside their controls.
    lifted = Effect.HOLD_ENDS | Effect.HOLD_BY_CONTROLS
    yield from _rows(release, CONTROLLED, None, _C.HELD_ALREADY, effects=lifted, notice=_K.HOLD_LIFTED)
    yield from _refused(release, CONTROLLED, "CONTROL_OPEN")
    yield from _refused(release, _SEIZED, "GOODS_SEIZED")
    yield from _refused(hold, _SEIZED, "GOODS_SEIZED")
    yield from _rows(Event.INSPECTED, (_HELD, *CONTROLLED, _RELEASED, _SEIZED), None, notice=None)


def _controls() -> Iterator[Transition]:
    ordered, concluded = _K.CONTROL_ORDERED, _K.CONTROL_CONCLUDED
    for event, to in ((Event.DOCUMENTS_REQUESTED, _DOCUMENTS), (Event.EXAMINATION_ORDERED, _EXAMINATION)):
        yield from _rows(event, _AWAITING, to, effects=Effect.HOLD_BY_CONTROLS, notice=ordered)
        yield from _rows(event, _HELD, to, _C.HOLD, notice=ordered)
        yield from _rows(event, _HELD, to, _C.ONLY_DEBT, effects=Effect.HOLD_BY_CONTROLS, notice=ordered)
        yield from _rows(event, (_HELD, _DOCUMENTS), to, notice=ordered)
        yield from _rows(event, _EXAMINATION, None, notice=ordered)
    yield from _rows(Event.CONTROL_ANSWERED, CONTROLLED, None, notice=_K.CONTROL_ANSWERED)
    yield from _rows(Event.SCAN_RECORDED, CONTROLLED, None, notice=None)
    yield from _rows(Event.CONTROL_REMINDED, CONTROLLED, None, notice=_K.CONTROL_REMINDED)
    yield from _rows(Event.CONTROL_CONCLUDED, CONTROLLED, None, notice=concluded)
    yield from _rows(Event.EXAMINATION_CONCLUDED, _EXAMINATION, _DOCUMENTS, notice=concluded)
    for state in CONTROLLED:
        yield from _towards_release(Event.CONTROLS_CONCLUDED, state, _C.ONLY_CONTROLS, held=concluded)
        yield from _rows(Event.CONTROLS_CONCLUDED, state, _HELD, notice=concluded)


def _proposals() -> Iterator[Transition]:
    # What is confirmed is the event that was proposed.
    for event in (Event.DECISION_PROPOSED, Event.PROPOSAL_ENDED):
        yield from _rows(event, (*_NOT_RELEASED, _SEIZED), None, notice=None)


def _screening() -> Iterator[Transition]:
    matched, by_match = Event.SCREENING_MATCHED, Effect.HOLD_BY_MATCH
    undecided = (_ACCEPTED, _AWAITING, _HELD)
    # A further match of goods that are held already is hidden: a notice would reveal it.
    yield from _rows(matched, undecided, _HELD, _C.HELD_ALREADY, effects=by_match, notice=None)
    yield from _rows(matched, undecided, _HELD, effects=by_match)
    yield from _rows(matched, (*CONTROLLED, _SEIZED), None, _C.HELD_ALREADY, effects=by_match, notice=None)
    yield from _rows(matched, (*CONTROLLED, _SEIZED), None, effects=by_match)
    yield from _rows(matched, _RELEASED, None, notice=None)
    yield from _towards_release(Event.SCREENING_MATCH_CLEARED, _HELD, held=None)
    yield from _refused(Event.SCREENING_MATCH_CLEARED, CONTROLLED, "NOT_HELD", _C.HOLD)
    cleared = _rows(
        Event.SCREENING_MATCH_CLEARED, CONTROLLED, None, effects=Effect.HOLD_BY_CONTROLS, notice=_K.HOLD_LIFTED
    )
    yield from cleared
    changed, by_debt = Event.FINDINGS_CHANGED, Effect.HOLD_BY_DEBT
    yield from _rows(changed, _AWAITING, _HELD, _C.UNSETTLED, effects=by_debt)
    yield from _rows(changed, _AWAITING, _HELD, _C.HOLD)
    yield from _rows(changed, _DECIDED, None, notice=None)


def _debts() -> Iterator[Transition]:
    for event in MONEY:
        settled = _K.DEBT_SETTLED if event == Event.DEBT else _K.CHARGES_CHANGED
        ends = Effect.DEBT_HOLD_ENDS
        yield from _rows(event, _AWAITING, _HELD, _C.UNSETTLED, effects=Effect.HOLD_BY_DEBT)
        yield from _rows(event, _AWAITING, _HELD, _C.HOLD, effects=ends, notice=settled)
        yield from _rows(event, _HELD, None, _C.UNSETTLED, _C.ONLY_DEBT)
        yield from _unchanged(event, _HELD)
        yield from _rows(event, _HELD, None, _C.HOLD, effects=ends, notice=settled)
        freed = _towards_release(event, _HELD, _C.SETTLED, _C.ONLY_DEBT, awaiting=settled)
        # The hold and the unsettled debt are excluded by the rows above.
        yield from (row for row in freed if row.next != _HELD)
        yield from _unchanged(event, (*CONTROLLED, _RELEASED, _SEIZED))
        yield from _rows(event, _DECIDED, None, notice=settled)
    for event in (Event.DEBT, Event.REASSESSED):
        # Payments and refunds may still follow in final states.
        ended = tuple(sorted(FINAL))
        yield from _unchanged(event, ended)
        yield from _rows(event, ended, None, notice=_K.DEBT_SETTLED if event == Event.DEBT else _K.CHARGES_CHANGED)


def _unchanged(event: Event, states: State | tuple[State, ...]) -> Iterator[Transition]:
    """Yield the rows of an unsettled debt that changes no state: the notice of an open one differs."""
    if event == Event.DEBT:
        yield from _rows(event, states, None, _C.DEBT_OPEN, notice=_K.DEBT_OPENED)
    yield from _rows(event, states, None, _C.UNSETTLED, notice=_K.CHARGES_CHANGED)


def _ends() -> Iterator[Transition]:
    yield from _rows(Event.RETURNED, _RELEASED, None, notice=_K.RETURNED)
    yield from _rows(Event.RETURNED_WHOLE, _RELEASED, State.RE_EXPORTED, notice=_K.RETURNED)
    yield from _rows(Event.DESTROYED_WHOLE, _RELEASED, State.DESTROYED, notice=_K.RETURNED)
    # Goods that never arrived can be neither seized nor destroyed; their declaration can be invalidated.
    yield from _refused(Event.SEIZED, _NOT_RELEASED, "NOT_ARRIVED", _C.NOT_ARRIVED)
    yield from _refused(Event.SEIZED, _NOT_RELEASED, "IN_TRANSIT", _C.IN_TRANSIT)
    yield from _rows(Event.SEIZED, _NOT_RELEASED, _SEIZED, effects=Effect.HOLD_BY_OFFICER)
    yield from _refused(Event.SEIZED, _SEIZED, "GOODS_SEIZED")
    yield from _rows(Event.SEIZURE_LIFTED, _SEIZED, _HELD)
    yield from _rows(Event.CONFISCATED, _SEIZED, State.CONFISCATED, effects=Effect.HOLD_ENDS)
    disposals = {
        Event.DESTROYED: State.DESTROYED,
        Event.RE_EXPORTED: State.RE_EXPORTED,
        Event.ABANDONED: State.ABANDONED,
    }
    for event, end in disposals.items():
        yield from _refused(event, _NOT_RELEASED, "NOT_ARRIVED", _C.NOT_ARRIVED)
        yield from _refused(event, _NOT_RELEASED, "IN_TRANSIT", _C.IN_TRANSIT)
        yield from _rows(event, (*_NOT_RELEASED, _SEIZED), end, effects=Effect.HOLD_ENDS)
    yield from _refused(Event.INVALIDATED_BY_CUSTOMS, _NOT_RELEASED, "IN_TRANSIT", _C.IN_TRANSIT)
    yield from _rows(Event.INVALIDATED_BY_CUSTOMS, _NOT_RELEASED, _INVALIDATED, effects=Effect.HOLD_ENDS)
    yield from _refused(Event.INVALIDATED_BY_CUSTOMS, _SEIZED, "GOODS_SEIZED")
    # The exit of exported goods: Implementing Regulation (EU) 2015/2447, articles 329 to 335, and Delegated Regulation (EU) 2015/2446, article 248.
    yield from _refused(Event.EXITED, _NOT_RELEASED, "NOT_RELEASED")
    yield from _refused(Event.EXITED, _SEIZED, "GOODS_SEIZED")
    yield from _rows(Event.EXITED, _RELEASED, State.EXITED)
    yield from _rows(Event.EXIT_OVERDUE, _RELEASED, _INVALIDATED)
    # What an officer or a match holds, or a control waits for, stays as evidence until an officer decides.
    for reason in (_C.ARRIVED, _C.EVIDENCE):
        yield from _refused(Event.EXPIRED, (_AWAITING, _HELD), "NOT_DUE", reason)
    yield from _rows(Event.EXPIRED, (_AWAITING, _HELD), State.EXPIRED)


def _contradictions() -> Iterator[Transition]:
    # A contradiction informs: rules of risk and officers decide what follows from it.
    yield from _rows(Event.CONTRADICTED, _DECIDED, None, notice=_K.CONTRADICTED)


TABLE: Final = (
    *_decisions(),
    *_completions(),
    *_arrivals(),
    *_waits(),
    *_transit(),
    *_officers(),
    *_controls(),
    *_proposals(),
    *_screening(),
    *_debts(),
    *_ends(),
    *_contradictions(),
)
"""The transitions. Of the rows of an event in a state, the first whose conditions all hold counts; without such a row the event is refused."""

_REFUSED: Final = {
    Event.DECIDED_RELEASE: "ALREADY_DECIDED",
    Event.DECIDED_HOLD: "ALREADY_DECIDED",
    Event.ARRIVED: "ALREADY_ARRIVED",
    Event.OFFICER_RELEASED: "NOT_HELD",
    Event.OFFICER_HELD: "ALREADY_HELD",
    Event.AMENDED_RELEASE: "AMENDMENT_TOO_LATE",
    Event.AMENDED_HOLD: "AMENDMENT_TOO_LATE",
    **dict.fromkeys(_COMPLETED, "AMENDMENT_TOO_LATE"),
    Event.INVALIDATED: "AMENDMENT_TOO_LATE",
    Event.INSPECTED: "NOT_INSPECTABLE",
    Event.SCREENING_MATCHED: "STATE_FINAL",
    Event.REROUTED: "NOT_DUE",
    Event.WAIT_ENDED: "NOT_DUE",
    Event.RETURNED: "NOT_RELEASED",
    Event.RETURNED_WHOLE: "NOT_RELEASED",
    Event.DESTROYED_WHOLE: "NOT_RELEASED",
    Event.SCREENING_MATCH_CLEARED: "NOT_HELD",
    Event.ARRIVAL_REVERSED: "ARRIVAL_NOT_REVERSIBLE",
    Event.SEIZED: "NOT_HELD",
    Event.SEIZURE_LIFTED: "NOT_SEIZED",
    Event.CONFISCATED: "NOT_SEIZED",
    Event.DESTROYED: "NOT_HELD",
    Event.RE_EXPORTED: "NOT_HELD",
    Event.ABANDONED: "NOT_HELD",
    Event.INVALIDATED_BY_CUSTOMS: "NOT_HELD",
    Event.DOCUMENTS_REQUESTED: "NOT_CONTROLLABLE",
    Event.EXAMINATION_ORDERED: "NOT_CONTROLLABLE",
    Event.CONTROL_ANSWERED: "CONTROL_UNKNOWN",
    Event.CONTROL_REMINDED: "CONTROL_UNKNOWN",
    Event.CONTROL_CONCLUDED: "CONTROL_UNKNOWN",
    Event.EXAMINATION_CONCLUDED: "CONTROL_UNKNOWN",
    Event.CONTROLS_CONCLUDED: "CONTROL_UNKNOWN",
    Event.EXPIRED: "NOT_DUE",
    Event.STORAGE_REMINDED: "NOT_DUE",
    Event.STORAGE_ENDED: "NOT_DUE",
    Event.TRANSIT_STARTED: "TRANSIT_NOT_POSSIBLE",
    Event.TRANSIT_ARRIVED: "NOT_IN_TRANSIT",
    Event.TRANSIT_ARRIVED_HELD: "NOT_IN_TRANSIT",
    Event.TRANSIT_OVERDUE: "NOT_DUE",
    Event.TRANSIT_ENDED: "NOT_IN_TRANSIT",
    Event.DECISION_PROPOSED: "NOT_HELD",
    Event.PROPOSAL_ENDED: "PROPOSAL_UNKNOWN",
    Event.SCAN_RECORDED: "CONTROL_UNKNOWN",
    Event.PRESENTED: "ALREADY_PRESENTED",
    Event.PRESENTATION_OVERDUE: "NOT_DUE",
    Event.EXITED: "NOT_RELEASED",
    Event.EXIT_OVERDUE: "NOT_DUE",
}
"""Why an event is refused in a state without a row for it; NOT_DECIDED for the others, and STATE_FINAL in final states."""


def refusal_without_row(event: Event, state: State) -> str:
    """Return the reason why an event is refused in a state for which the table has no row that applies."""
    return "STATE_FINAL" if state in FINAL else _REFUSED.get(event, "NOT_DECIDED")
