"""One consignment at a time, from the definition: how its debt stands after what revenue tells, and what an event makes of its state.

The definition is docs/clearance.md: debt is settled where it is paid, secured by a named account, or collected by the vendor. Nothing here is
taken from the vectorised code; the tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.clearance.consignment.transitions import Debt, Event, State

CONTROLS = (State.DOCUMENTS_REQUESTED, State.EXAMINATION)
"""Where a control is open."""
ENDS = (
    State.DESTROYED, State.RE_EXPORTED, State.INVALIDATED, State.EXPIRED, State.ABANDONED, State.CONFISCATED,
    State.EXITED,
)  # fmt: skip
DISPOSED = {
    Event.CONFISCATED: State.CONFISCATED,
    Event.DESTROYED: State.DESTROYED,
    Event.RE_EXPORTED: State.RE_EXPORTED,
    Event.ABANDONED: State.ABANDONED,
    Event.INVALIDATED_BY_CUSTOMS: State.INVALIDATED,
}
"""The end that each final decision of customs leads to."""
TRANSIT = (
    Event.TRANSIT_STARTED, Event.TRANSIT_ARRIVED, Event.TRANSIT_ARRIVED_HELD, Event.TRANSIT_OVERDUE, Event.TRANSIT_ENDED,
)  # fmt: skip
NAMED = (Debt.DEFERRED, Debt.SECURED)


# ---------------------------------------------------------------------------------------------- debt
@dataclass(frozen=True)
class Owing:
    """What is owed of a consignment and how that stands."""

    payable: int | None
    """What is to be paid at the border; None where nobody can compute it."""
    by_customs: int
    """The part that customs collects itself."""
    debt: Debt
    account: str = ""
    paid: int | None = None
    refunded: int | None = None
    heard: int | None = None
    """Number of the last debt event; None before the first."""
    filing: int = 1
    returned: bool = False
    """Whether goods went back: what they still owe revenue alone knows."""


@dataclass(frozen=True)
class DebtEvent:
    """What revenue tells of a debt."""

    number: int
    filing: int
    status: Debt
    account: str = ""
    paid: int | None = None
    refunded: int | None = None


def covered(owing: Owing) -> bool:
    """Whether the money that was paid, and not paid back, is enough for what customs collects."""
    if owing.paid is None or owing.by_customs == 0:
        return False
    return owing.paid - (owing.refunded or 0) >= owing.by_customs


def short(owing: Owing) -> bool:
    """Whether that money is known and not enough."""
    if owing.paid is None or owing.returned:
        return False
    return owing.paid - (owing.refunded or 0) < owing.by_customs


def hear(owing: Owing, event: DebtEvent) -> Owing:
    """The debt after an event that is newer than all before; an older one is not heard."""
    after = replace(
        owing,
        heard=event.number,
        paid=owing.paid if event.paid is None else event.paid,
        refunded=owing.refunded if event.refunded is None else event.refunded,
    )
    if not owing.payable or owing.debt == Debt.UNKNOWN:
        # Nothing can be open where nothing is owed, or where nobody can compute it.
        return replace(after, account=owing.account if owing.debt in NAMED else "")
    if event.filing >= owing.filing and event.status in (*NAMED, Debt.PAID, Debt.OPEN):
        after = replace(after, debt=event.status, account=event.account)
    elif event.filing < owing.filing and after.debt == Debt.OPEN and covered(after):
        # Of a former filing only the money counts.
        after = replace(after, debt=Debt.PAID)
    if after.debt == Debt.PAID and short(after):
        after = replace(after, debt=Debt.OPEN)
    return replace(after, account=after.account if after.debt in NAMED else "")


def judge(before: Owing, after: Owing, fresh: Debt, account: str) -> Owing:
    """The debt once something else is owed: `fresh` and `account` are what the new assessment alone says."""
    if fresh not in (Debt.DEFERRED, Debt.OPEN):
        return replace(after, debt=fresh, account="")
    heard = before.heard is not None
    if heard and before.debt in NAMED and before.account:
        return replace(after, debt=before.debt, account=before.account)
    money = replace(after, paid=before.paid, refunded=before.refunded)
    if covered(money) or (heard and before.debt == Debt.PAID and before.returned):
        return replace(after, debt=Debt.PAID, account="")
    if heard and before.debt == Debt.OPEN:
        # What revenue told to be open stays so until it tells otherwise.
        return replace(after, debt=Debt.OPEN, account="")
    return replace(after, debt=fresh, account=account if fresh == Debt.DEFERRED else "")


# ---------------------------------------------------------------------------------------------- state
@dataclass(frozen=True)
class Place:
    """Where one consignment stands."""

    state: State
    arrived: bool
    debt: Debt
    officer_hold: bool
    screening_hold: bool
    waiting: bool
    inspected: bool
    debt_hold: bool
    violation: bool
    control_hold: bool = False
    """Whether controls, and perhaps the debt, alone hold it."""
    in_transit: bool = False
    """Whether it moves to another office."""
    to_present: bool = False
    """Whether the goods are to be presented by an act of its own, and were not."""
    lost: bool = False
    """Whether a movement lost the goods, and they did not turn up."""
    parts_missing: bool = False
    """Whether a part is missing that the jurisdiction requires, and no officer released the goods in spite of it."""

    @property
    def held(self) -> bool:
        """Whether something holds that only a person lifts, or a part that is still to come."""
        return self.officer_hold or self.screening_hold or self.violation or self.parts_missing

    @property
    def presented(self) -> bool:
        """Whether customs has the goods before it: they arrived, and were presented where the arrival is not enough."""
        return self.arrived and not self.to_present

    @property
    def unsettled(self) -> bool:
        """Whether the debt keeps it from being released by itself."""
        return self.debt in (Debt.OPEN, Debt.UNKNOWN)


def after(event: Event, now: Place) -> tuple[Place, str]:
    """Where it stands after an event, and why the event is refused, "" where it has its effect."""
    refusal = refused(event, now)
    if refusal:
        return now, refusal
    return _moved(event, now), ""


def refused(event: Event, now: Place) -> str:
    """Why an event has no effect, "" where it has one."""
    state = now.state
    if state in ENDS:
        return "" if event in (Event.DEBT, Event.REASSESSED) else "STATE_FINAL"
    awaiting, held, released = state == State.AWAITING_ARRIVAL, state == State.HELD, state == State.RELEASED
    seized, controlled = state == State.SEIZED, state in CONTROLS
    match event:
        case Event.DECIDED_RELEASE | Event.DECIDED_HOLD:
            return "" if state == State.ACCEPTED else "ALREADY_DECIDED"
        case Event.ARRIVED:
            return "" if (awaiting or held or controlled) and not now.arrived else "ALREADY_ARRIVED"
        case Event.OFFICER_RELEASED:
            if not held:
                if controlled:
                    # It lifts a hold by an officer or by a match, and never a control.
                    if now.lost:
                        return "GOODS_LOST"
                    return "" if now.officer_hold or now.screening_hold else "CONTROL_OPEN"
                return "GOODS_SEIZED" if seized else "NOT_HELD"
            if now.in_transit:
                return "IN_TRANSIT"
            if now.lost:
                return "GOODS_LOST"
            if now.debt == Debt.UNKNOWN and not now.presented:
                # The arrival or the presentation would hold them again.
                return "DEBT_UNKNOWN"
            return "DEBT_OPEN" if now.debt == Debt.OPEN else ""
        case Event.OFFICER_HELD:
            if (held or controlled) and (now.officer_hold or now.screening_hold):
                return "ALREADY_HELD"
            if seized:
                return "GOODS_SEIZED"
            return "" if awaiting or held or controlled or released else "ALREADY_HELD"
        case Event.AMENDED_RELEASE | Event.AMENDED_HOLD | Event.INVALIDATED:
            # Once an examination is ordered, the declarant was informed of it.
            open_to_change = awaiting or held or state == State.DOCUMENTS_REQUESTED
            fits = open_to_change and not now.presented and not now.inspected
            return "" if fits else "AMENDMENT_TOO_LATE"
        case Event.COMPLETED_RELEASE | Event.COMPLETED_HOLD:
            # Callers choose it for goods that were presented with an incomplete filing: what customs examines or found stays as it is.
            return "" if (held or state == State.DOCUMENTS_REQUESTED) and not now.inspected else "AMENDMENT_TOO_LATE"
        case Event.CONTRADICTED:
            return "NOT_DECIDED" if state == State.ACCEPTED else ""
        case Event.INSPECTED:
            return "" if held or controlled or released or seized else "NOT_INSPECTABLE"
        case Event.SCREENING_MATCHED:
            return ""
        case Event.REROUTED:
            return "" if held and not now.held and not now.in_transit else "NOT_DUE"
        case Event.EXPIRED:
            # A missing part keeps nothing that nobody inspected: the goods do not come, and neither does the part.
            stays = now.officer_hold or now.screening_hold or (now.inspected and now.held)
            return "" if (awaiting or held) and not now.arrived and not stays else "NOT_DUE"
        case Event.STORAGE_REMINDED | Event.STORAGE_ENDED:
            return "" if (held or controlled) and now.presented and not now.in_transit else "NOT_DUE"
        case Event.PRESENTED:
            if seized:
                return "GOODS_SEIZED"
            if (awaiting or held or controlled) and not now.arrived:
                return "NOT_ARRIVED"
            return "" if (awaiting or held or controlled) and now.to_present else "ALREADY_PRESENTED"
        case Event.PRESENTATION_OVERDUE:
            return "" if (awaiting or held or controlled) and now.arrived and now.to_present else "NOT_DUE"
        case Event.DECISION_PROPOSED:
            return "" if awaiting or held or controlled or seized else "NOT_HELD"
        case Event.PROPOSAL_ENDED:
            return "" if awaiting or held or controlled or seized else "PROPOSAL_UNKNOWN"
        case Event.WAIT_ENDED:
            return "" if awaiting and now.presented and not now.held and not now.in_transit else "NOT_DUE"
        case Event.SCREENING_MATCH_CLEARED:
            return "" if held or (controlled and not now.held) else "NOT_HELD"
        case Event.ARRIVAL_REVERSED:
            # An arrival that released something cannot be reversed any more, and one that never was neither.
            there = now.arrived and not now.in_transit
            return "" if (awaiting or held or controlled) and there else "ARRIVAL_NOT_REVERSIBLE"
        case Event.TRANSIT_STARTED:
            if not (awaiting or held or controlled):
                return "TRANSIT_NOT_POSSIBLE"
            if not now.presented:
                return "NOT_PRESENTED" if now.arrived else "NOT_ARRIVED"
            return "IN_TRANSIT" if now.in_transit else ""
        case Event.TRANSIT_ARRIVED | Event.TRANSIT_ARRIVED_HELD | Event.TRANSIT_ENDED | Event.TRANSIT_OVERDUE:
            otherwise = "NOT_DUE" if event == Event.TRANSIT_OVERDUE else "NOT_IN_TRANSIT"
            return "" if (awaiting or held or controlled) and now.in_transit else otherwise
        case Event.RETURNED | Event.RETURNED_WHOLE | Event.DESTROYED_WHOLE:
            return "" if released else "NOT_RELEASED"
        case Event.EXITED:
            # Goods leave only once they are released for export.
            return "" if released else "GOODS_SEIZED" if seized else "NOT_RELEASED"
        case Event.EXIT_OVERDUE:
            return "" if released else "NOT_DUE"
        case Event.SEIZURE_LIFTED | Event.CONFISCATED:
            return "" if seized else "NOT_SEIZED"
        case Event.SEIZED | Event.DESTROYED | Event.RE_EXPORTED | Event.ABANDONED | Event.INVALIDATED_BY_CUSTOMS:
            return _undisposable(event, now)
        case Event.DOCUMENTS_REQUESTED | Event.EXAMINATION_ORDERED:
            return "" if awaiting or held or controlled else "NOT_CONTROLLABLE"
        case Event.SCAN_RECORDED:
            return "" if controlled else "CONTROL_UNKNOWN"
        case Event.CONTROL_ANSWERED | Event.CONTROL_REMINDED | Event.CONTROL_CONCLUDED | Event.CONTROLS_CONCLUDED:
            return "" if controlled else "CONTROL_UNKNOWN"
        case Event.EXAMINATION_CONCLUDED:
            return "" if state == State.EXAMINATION else "CONTROL_UNKNOWN"
    assert event in (Event.DEBT, Event.REASSESSED, Event.ADJUSTED, Event.FINDINGS_CHANGED), event
    return "" if awaiting or held or controlled or released or seized else "NOT_DECIDED"


def _undisposable(event: Event, now: Place) -> str:
    """Why customs cannot decide so: goods that it does not have are neither seized nor taken, and a seizure comes before other decisions."""
    if now.state == State.SEIZED:
        return "GOODS_SEIZED" if event in (Event.SEIZED, Event.INVALIDATED_BY_CUSTOMS) else ""
    if now.state not in (State.AWAITING_ARRIVAL, State.HELD, *CONTROLS):
        return "NOT_HELD"
    if not (now.arrived or event == Event.INVALIDATED_BY_CUSTOMS):
        return "NOT_ARRIVED"
    if now.lost and event not in (Event.SEIZED, Event.DESTROYED):
        # Nobody has them, so nobody takes or sends them anywhere. What is owed stays due (UCC, article 79), also after their destruction.
        return "GOODS_LOST"
    # Another office will have them.
    return "IN_TRANSIT" if now.in_transit else ""


def _moved(event: Event, now: Place) -> Place:
    there = State.RELEASED if now.presented else State.AWAITING_ARRIVAL
    if event in TRANSIT:
        return _transit(event, now)
    if event in (Event.DECISION_PROPOSED, Event.PROPOSAL_ENDED, Event.SCAN_RECORDED, Event.CONTRADICTED):
        return now
    if now.state in CONTROLS or event in (Event.DOCUMENTS_REQUESTED, Event.EXAMINATION_ORDERED):
        moved = _controlled(event, now)
        if moved is not None:
            return moved
    if event in DISPOSED:
        return replace(now, state=DISPOSED[event], officer_hold=False, screening_hold=False, debt_hold=False)
    match event:
        case Event.SEIZED:
            # Who seizes goods has them.
            return replace(now, state=State.SEIZED, officer_hold=True, lost=False)
        case Event.SEIZURE_LIFTED:
            return replace(now, state=State.HELD)
        case Event.OFFICER_RELEASED:
            # At once, also what was to wait for an officer's look: the officer has looked.
            return replace(now, state=there, officer_hold=False, screening_hold=False, debt_hold=False)
        case Event.OFFICER_HELD:
            return replace(now, state=State.HELD, officer_hold=True)
        case Event.SCREENING_MATCHED:
            if now.state == State.RELEASED:
                return replace(now, debt_hold=False)
            return replace(now, state=now.state if now.state == State.SEIZED else State.HELD, screening_hold=True)
        case Event.DECIDED_HOLD | Event.AMENDED_HOLD | Event.COMPLETED_HOLD:
            return replace(now, state=State.HELD)
        case Event.INVALIDATED:
            return replace(now, state=State.INVALIDATED, debt_hold=False)
        case Event.EXPIRED:
            return replace(now, state=State.EXPIRED, debt_hold=False)
        case Event.EXITED:
            return replace(now, state=State.EXITED, debt_hold=False)
        case Event.EXIT_OVERDUE:
            return replace(now, state=State.INVALIDATED, debt_hold=False)
        case Event.RETURNED_WHOLE:
            return replace(now, state=State.RE_EXPORTED, debt_hold=False)
        case Event.DESTROYED_WHOLE:
            return replace(now, state=State.DESTROYED, debt_hold=False)
        case Event.ARRIVED:
            arrived = replace(now, arrived=True)
            to = State.RELEASED if arrived.presented else State.AWAITING_ARRIVAL
            return arrived if now.state == State.HELD else _by_itself(arrived, to, now.waiting)
        case Event.PRESENTED:
            presented = replace(now, to_present=False)
            return presented if now.state == State.HELD else _by_itself(presented, State.RELEASED, now.waiting)
        case Event.PRESENTATION_OVERDUE:
            return now
        case Event.AMENDED_RELEASE | Event.COMPLETED_RELEASE:
            return replace(now, state=State.HELD) if now.held else _by_itself(now, there, now.waiting)
        case Event.DECIDED_RELEASE | Event.SCREENING_MATCH_CLEARED:
            return _by_itself(now, there, now.waiting)
        case Event.REROUTED:
            return _by_itself(now, there, waits=False)
        case Event.WAIT_ENDED:
            return _by_itself(now, State.RELEASED, waits=False)
        case Event.ARRIVAL_REVERSED:
            back = replace(now, arrived=False, to_present=False)
            return back if now.state == State.HELD else _by_itself(back, State.AWAITING_ARRIVAL, waits=False)
    alone = now.state == State.HELD and now.debt_hold and not now.held
    if event in (Event.DEBT, Event.REASSESSED, Event.ADJUSTED) and not now.unsettled:
        # A settled debt holds nothing, and what it alone held goes on.
        now = replace(now, debt_hold=False)
        if alone:
            return _by_itself(now, there, now.waiting)
    if now.state == State.AWAITING_ARRIVAL:
        return _by_itself(now, State.AWAITING_ARRIVAL, waits=False)
    return now


def _controlled(event: Event, now: Place) -> Place | None:
    """Return what an event makes of goods with an open control, or of those that get one; None where controls make no difference."""
    match event:
        case Event.DOCUMENTS_REQUESTED | Event.EXAMINATION_ORDERED:
            # What nothing held, or the debt alone, is held by its controls alone.
            alone = now.state == State.AWAITING_ARRIVAL or (now.state == State.HELD and now.debt_hold and not now.held)
            examines = event == Event.EXAMINATION_ORDERED or now.state == State.EXAMINATION
            to = State.EXAMINATION if examines else State.DOCUMENTS_REQUESTED
            return replace(now, state=to, control_hold=now.control_hold or alone)
        case Event.CONTROLS_CONCLUDED:
            there = State.RELEASED if now.presented else State.AWAITING_ARRIVAL
            after = replace(now, control_hold=False)
            return _by_itself(after, there, now.waiting) if now.control_hold else replace(after, state=State.HELD)
        case Event.EXAMINATION_CONCLUDED:
            return replace(now, state=State.DOCUMENTS_REQUESTED)
        case Event.ARRIVED:
            return replace(now, arrived=True)
        case Event.ARRIVAL_REVERSED:
            return replace(now, arrived=False, to_present=False)
        case Event.PRESENTED:
            return replace(now, to_present=False)
        case Event.OFFICER_HELD:
            return replace(now, officer_hold=True)
        case Event.OFFICER_RELEASED:
            return replace(now, officer_hold=False, screening_hold=False, control_hold=True)
        case Event.SCREENING_MATCH_CLEARED:
            return replace(now, control_hold=True)
        case Event.SCREENING_MATCHED:
            return replace(now, screening_hold=True)
        case Event.AMENDED_RELEASE | Event.COMPLETED_RELEASE:
            return replace(now, control_hold=now.control_hold or not now.held)
        case Event.AMENDED_HOLD | Event.COMPLETED_HOLD:
            return replace(now, control_hold=False)
        case _:
            return None


def _transit(event: Event, now: Place) -> Place:
    """Return what a movement to another office changes: the office of destination has the goods with their arrival, or an officer holds them."""
    if event == Event.TRANSIT_STARTED:
        return replace(now, in_transit=True, lost=False)
    if event == Event.TRANSIT_OVERDUE:
        return now
    after = replace(now, in_transit=False)
    if event == Event.TRANSIT_ARRIVED:
        goes_on = now.state == State.AWAITING_ARRIVAL
        to = State.RELEASED if now.presented else State.AWAITING_ARRIVAL
        return _by_itself(after, to, now.waiting) if goes_on else after
    return replace(after, officer_hold=True, state=now.state if now.state in CONTROLS else State.HELD)


def _by_itself(now: Place, to: State, waits: bool) -> Place:
    """Let it go on without an officer: never past a hold or an unsettled debt, and not before the time for a look is over."""
    if now.held or now.unsettled:
        return replace(now, state=State.HELD, debt_hold=now.debt_hold or now.unsettled)
    waits |= now.in_transit
    return replace(now, state=State.AWAITING_ARRIVAL if waits and to == State.RELEASED else to, debt_hold=False)
