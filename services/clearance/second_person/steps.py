"""Proposals, and what confirms and ends them: whether each fits a consignment, and the states and events that it leads to. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from services.clearance.consignment.columns import is_lost
from services.clearance.consignment.controls import steps as controls
from services.clearance.consignment.controls.control import ControlResult
from services.clearance.consignment.controls.steps import Conclusion
from services.clearance.consignment.disposal import Disposal, disposing
from services.clearance.consignment.disposal import unfit as unfit_to_dispose
from services.clearance.consignment.inspection import not_releasable
from services.clearance.consignment.lifecycle.disposals import EVENTS, INTERIM
from services.clearance.consignment.proposals.proposal import (
    Proposal,
    ProposalKind,
    ProposalOutcome,
    open_proposals,
    requires_second,
    with_proposals,
)
from services.clearance.consignment.screening import held_unseen
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import HELD, Event

BoolArray = NDArray[np.bool_]

UNKNOWN: Final = "PROPOSAL_UNKNOWN"
_DISPOSALS: Final = {event: kind for kind, event in EVENTS.items()}


class Verdict(IntEnum):
    """What becomes of a proposal; the numbers are those of luxor.clearance.v1.ProposalVerdict."""

    CONFIRM = 1
    REFUSE = 2
    WITHDRAW = 3


@dataclass(frozen=True, slots=True)
class ProposalDecision:
    """What an officer decides on proposals."""

    verdict: Verdict
    officer: str
    reason: str
    note: str


def proposed_release(states: Table, officer: str, reason: str, note: str) -> list[Proposal | None]:
    """Return for each state the release that a second person must confirm, None where one officer releases."""
    proposal = Proposal(kind=ProposalKind.RELEASE, reason=reason, note=note, proposed_by=officer)
    return [proposal if each else None for each in requires_second(states).tolist()]


def proposed_conclusions(states: Table, conclusions: Mapping[str, Conclusion], officer: str) -> list[Proposal | None]:
    """Return for each state the conclusion of a control that a second person must confirm; None where none must, or where it holds the goods."""

    def proposal(each: Conclusion) -> Proposal | None:
        if each.result is ControlResult.NOT_CONFORM:
            return None
        return Proposal(
            kind=ProposalKind.CONCLUSION,
            control_number=each.number,
            control_result=int(each.result),
            reason=each.reason,
            note=each.note,
            proposed_by=officer,
        )

    required = zip(requires_second(states).tolist(), states.strings("mrn").tolist(), strict=True)
    return [proposal(conclusions[mrn]) if each else None for each, mrn in required]


def proposed_disposals(states: Table, disposals: Mapping[str, Disposal], officer: str) -> list[Proposal | None]:
    """Return for each state the disposal that a second person must confirm; None where none must, or where customs still decides after it."""

    def proposal(each: Disposal) -> Proposal | None:
        if each.event in INTERIM:
            return None
        return Proposal(
            kind=ProposalKind.DISPOSAL,
            disposal=_DISPOSALS[each.event],
            document_number=each.document,
            reason=each.reason,
            note=each.note,
            proposed_by=officer,
        )

    required = zip(requires_second(states).tolist(), states.strings("mrn").tolist(), strict=True)
    return [proposal(disposals[mrn]) if each else None for each, mrn in required]


def unfit_to_decide(states: Table, decision: ProposalDecision, viewed: Container[str]) -> list[str]:
    """Return for each state why its proposal cannot be decided so, "" if nothing but the decision itself may be refused.

    Whoever confirms has seen what is confirmed: `viewed` are the MRNs named with a version.
    """

    def reason(proposal: Proposal | None, mrn: str) -> str:
        if proposal is None:
            return UNKNOWN
        own = proposal.is_by(decision.officer)
        if decision.verdict is Verdict.WITHDRAW:
            return "" if own else "PROPOSAL_OF_COLLEAGUE"
        if own:
            return "SECOND_PERSON_REQUIRED"
        return "PROPOSAL_UNSEEN" if decision.verdict is Verdict.CONFIRM and mrn not in viewed else ""

    return [reason(each, mrn) for each, mrn in zip(open_proposals(states), states.strings("mrn").tolist(), strict=True)]


def ending(states: Table, at: int, decision: ProposalDecision) -> tuple[Table, EventDetails]:
    """Return states with their open proposals refused or withdrawn, before the event is applied, and the event."""
    outcome = ProposalOutcome.WITHDRAWN if decision.verdict is Verdict.WITHDRAW else ProposalOutcome.REFUSED
    event = EventDetails(event=Event.PROPOSAL_ENDED, at=at, by=decision.officer)
    return _ended(states, outcome, at, decision), event


def lapsing(states: Table, at: int) -> tuple[Table, BoolArray]:
    """Return states with the proposals that are due at an instant lapsed, before the event is applied, and which states have one."""
    proposals = open_proposals(states)
    due = np.array([each is not None and each.due_at <= at for each in proposals], np.bool_)
    lapsed = [
        each.ended(ProposalOutcome.LAPSED, at) if over and each is not None else each
        for each, over in zip(proposals, due.tolist(), strict=True)
    ]
    return with_proposals(states, lapsed), due


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Proposals of one kind that are confirmed together."""

    places: Sequence[int]
    """Their rows among the states."""
    unfit: Sequence[str]
    """Why the second officer may not decide so, "" if nothing but the transitions may refuse it."""
    states: Table
    """The states before the event is applied."""
    details: EventDetails


def confirming(states: Table, at: int, decision: ProposalDecision) -> list[Confirmed]:
    """Return the decisions that were proposed of these states, as decisions of the officer who confirms them.

    That officer is bound by what binds every officer who decides so, with the officer's own note: neither of the two may be the one who found an open
    violation.
    """
    groups: dict[tuple[int, str, str], list[int]] = {}
    proposals = open_proposals(states)
    for place, each in enumerate(proposals):
        assert each is not None, "only open proposals are confirmed"
        # A release has one reason and one note for all goods.
        texts = (each.reason, each.note) if each.kind == ProposalKind.RELEASE else ("", "")
        groups.setdefault((each.kind, *texts), []).append(place)
    confirmed = []
    for (kind, reason, note), places in groups.items():
        part = states.take(np.array(places, np.int64))
        own = [each for place in places if (each := proposals[place]) is not None]
        mrns = part.strings("mrn").tolist()
        ended = _ended(part, ProposalOutcome.CONFIRMED, at, decision)
        officer = decision.officer
        if kind == ProposalKind.RELEASE:
            unfit = unfit_to_release(part, officer, decision.note, set(mrns))
            details = EventDetails(event=Event.OFFICER_RELEASED, at=at, by=officer, reason=reason, note=note)
        elif kind == ProposalKind.CONCLUSION:
            conclusions = {
                mrn: Conclusion(each.control_number, ControlResult(each.control_result), each.reason, each.note)
                for mrn, each in zip(mrns, own, strict=True)
            }
            unfit = controls.unfit_to_conclude(part, conclusions, "")
            ended, events = controls.concluding(ended, at, conclusions, officer)
            details = EventDetails(event=events, at=at, by=officer)
        else:
            disposals = {
                mrn: Disposal(EVENTS[each.disposal], each.reason, each.document_number, each.note)
                for mrn, each in zip(mrns, own, strict=True)
            }
            judged = {mrn: replace(each, note=decision.note) for mrn, each in disposals.items()}
            unfit = unfit_to_dispose(part, judged, officer, set(mrns))
            ended, details = disposing(ended, at, disposals, officer)
        confirmed.append(Confirmed(places, unfit, ended, details))
    return confirmed


def unfit_to_release(states: Table, officer: str, note: str, viewed: Container[str]) -> list[str]:
    """Return for each state why this officer cannot release it, "" if nothing but the transitions may refuse it."""
    own = not_releasable(states, officer, note)
    lost = is_lost(states) & np.isin(states.ints("state").values, HELD)
    return [
        "GOODS_LOST" if nobodys else "VIOLATION_OPEN" if found else "SCREENING_MATCH_UNSEEN" if hit else ""
        for nobodys, found, hit in zip(lost.tolist(), own, held_unseen(states, viewed), strict=True)
    ]


def _ended(states: Table, outcome: ProposalOutcome, at: int, decision: ProposalDecision) -> Table:
    return with_proposals(
        states,
        [
            None
            if each is None
            else each.ended(outcome, at, by=decision.officer, reason=decision.reason, note=decision.note)
            for each in open_proposals(states)
        ],
    )
