"""Replay of stored versions: whether the table of transitions produces a version from the version before it. Pure; whole batches.

The change of a version names its possible events, and the version before it the situation. Some inputs are set by the command immediately before the
event, so that they are read from the version after it:

- the debt, in decisions, amendments, debt events, reassessments and adjustments: what revenue announced or answered;
- the arrival, in a first decision: reported before the filing was decided; whether a presentation is required, in it and in an arrival;
- the hold by an officer, in decisions: an alarm of a security screening; an alarm of an amendment, also of one that came too late, adds it, as does
  a control that is not in order or that nobody answered;
- the hold by a screening match, in a first decision: a match that came before it; a cleared match lifts it, and no event but a match adds it;
- the delay of green goods, in decisions and amendments: it counts from the decision;
- the violation, in adjustments: an adjustment that changes something resolves it;
- missing parts, in decisions and amendments: those of the new version.

After the presentation only a version that completes the filing is an amendment, so that the version before it is incomplete, of goods never released.

Beside the table, a release, a disposal or an officer's conclusion of a control of goods that require a second person must have a proposal of the
same content that another officer confirmed at that moment.

No version stores whether the debt alone held the goods at the moment of a decision: both are tried. They are also tried in versions of release 0.2,
which did not store it at all; those versions have no time of their first decision.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Ints, Table
from services.clearance.consignment.controls.control import Control, ControlResult, controls_of
from services.clearance.consignment.decision import AUTOMATIC
from services.clearance.consignment.lifecycle.disposals import ENDS
from services.clearance.consignment.lifecycle.machine import Situation, apply, situation
from services.clearance.consignment.presentation.times import completable
from services.clearance.consignment.proposals.proposal import (
    Proposal,
    ProposalKind,
    ProposalOutcome,
    proposals_of,
    requires_second,
)
from services.clearance.consignment.transitions import CHANGE_OF, CONTROL, MONEY, Change, Debt, Event, State

BoolArray = NDArray[np.bool_]

_DECIDED: Final = (Event.DECIDED_RELEASE, Event.DECIDED_HOLD)
_COMPLETED: Final = (Event.COMPLETED_RELEASE, Event.COMPLETED_HOLD)
_AMENDED: Final = (Event.AMENDED_RELEASE, Event.AMENDED_HOLD, *_COMPLETED)
_SCREENED: Final = (Event.SCREENING_MATCHED, Event.SCREENING_MATCH_CLEARED, Event.FINDINGS_CHANGED)
_OF_TWO: Final = {Change.OFFICER_RELEASED: ProposalKind.RELEASE, Change.DISPOSED: ProposalKind.DISPOSAL}
"""Changes by officers that a second person confirms where a rule requires one, beside conclusions of controls."""
_COMPARED: Final = ("arrived", "officer_hold", "screening_hold", "control_hold", "in_transit", "unpresented")


def unexplained(before: Table, after: Table) -> BoolArray:
    """Return which versions no transition produces from the versions before them, aligned with these, shape (n,).

    Compared are state, arrival, presentation and holds. For a first version `before` is `beginnings`.
    """
    explained = np.zeros(after.rows, np.bool_)
    # The tables of transitions have no place for numbers of a later release.
    known = np.logical_and.reduce([_has_known_numbers(table) for table in (before, after)])
    changes = after.ints("change").filled(0)
    for event in Event:
        rows = np.flatnonzero((changes == CHANGE_OF[event]) & known & ~explained)
        if len(rows):
            explained[rows] = _produced(event, before.take(rows), after.take(rows))
    required = np.flatnonzero(requires_second(before))
    if len(required):
        explained[required] &= ~_decided_alone(before.take(required), after.take(required))
    return ~explained


def _decided_alone(before: Table, after: Table) -> BoolArray:
    """Return which versions an officer made without a second one, of goods that require one, shape (n,)."""

    def is_unconfirmed(
        change: int, state: int, at: int, by: str, concluded: list[Control], proposal: Proposal | None
    ) -> bool:
        kind = ProposalKind.CONCLUSION if concluded else _OF_TWO.get(Change(change))
        if kind is None:
            return False
        if proposal is None or proposal.kind != kind or proposal.is_by(proposal.ended_by):
            return True
        fits = proposal.outcome == ProposalOutcome.CONFIRMED and proposal.ended_at == at
        if kind is ProposalKind.CONCLUSION:
            proposed = (proposal.control_number, proposal.control_result, proposal.ended_by)
            return not fits or [(each.number, each.result, each.concluded_by) for each in concluded] != [proposed]
        if kind is ProposalKind.DISPOSAL:
            fits &= ENDS.get(proposal.disposal) == state
        return not fits or proposal.ended_by != by

    rows = zip(
        *(after.ints(name).tolist() for name in ("change", "state", "changed_at")),
        after.strings("decided_by").tolist(),
        _concluded_by_officers(before, after),
        proposals_of(after),
        strict=True,
    )
    return np.array([is_unconfirmed(*row) for row in rows], np.bool_)


def _concluded_by_officers(before: Table, after: Table) -> list[list[Control]]:
    """Return for each version the controls that an officer found in order or withdrew in it; an agency concludes its own controls itself."""
    found = []
    for old, new in zip(controls_of(before), controls_of(after), strict=True):
        open_before = {each.number for each in old if each.is_open}
        found.append(
            [
                each
                for each in new
                if each.number in open_before
                and each.result in (ControlResult.CONFORM, ControlResult.WITHDRAWN)
                and each.concluded_by not in (AUTOMATIC, each.authority)
            ]
        )
    return found


def beginnings(first: Table) -> Table:
    """Return the states before first versions: accepted, not decided, version 0."""
    rows = first.rows
    return first.with_columns(
        {
            "version": Ints.constant(0, rows),
            "state": Ints.constant(State.ACCEPTED, rows),
            "debt_hold": Bools.of(np.zeros(rows, np.bool_)),
        }
    )


def _has_known_numbers(table: Table) -> BoolArray:
    """Return which versions have numbers of states and debts that this release knows."""
    state, debt = table.ints("state").filled(0), table.ints("debt_status").filled(0)
    return np.isin(state, list(State)) & np.isin(debt, list(Debt))


def _produced(event: Event, before: Table, after: Table) -> BoolArray:
    """Return where an event leads from one version to the next, whether or not the debt alone held the goods before, where that is not stored."""
    at = after.ints("changed_at").values
    old, new = situation(before, at), situation(after, at)
    now = _situation(event, old, new)
    former_release = ~before.ints("first_decided_at").valid
    undetermined = former_release | (event in (*_DECIDED, *_AMENDED))
    found = np.zeros(after.rows, np.bool_)
    for by_debt in (False, True):
        tried = replace(now, debt_hold=np.where(undetermined, by_debt, now.debt_hold))
        outcome = apply(event, tried)
        same = outcome.effective & (outcome.state == new.state)
        for name in _COMPARED:
            same &= getattr(outcome, name) == getattr(new, name)
        same &= (outcome.debt_hold == new.debt_hold) | ~after.ints("first_decided_at").valid
        found |= same
    if event in _COMPLETED:
        found &= completable(before)
    return found


def _situation(event: Event, old: Situation, new: Situation) -> Situation:
    """Return the situations in which an event found the consignments, from those before it and after it."""
    first, filed = event in _DECIDED, event in (*_DECIDED, *_AMENDED)
    officer, match = old.officer_hold, old.screening_hold
    if filed or event == Event.FINDINGS_CHANGED or event in CONTROL:
        officer = new.officer_hold if first else officer | new.officer_hold
    if first:
        match = new.screening_hold
    elif event in _SCREENED:
        match = match & new.screening_hold
    arrived = (new if first else old).arrived
    debt = (new if filed or event in MONEY else old).debt
    if event == Event.OFFICER_RELEASED:
        # Earlier releases let goods go before their arrival although nobody knew what was owed.
        debt = np.where((debt == Debt.UNKNOWN) & ~arrived, np.int64(Debt.NONE), debt)
    return replace(
        old,
        arrived=arrived,
        debt=debt,
        officer_hold=officer,
        screening_hold=match,
        waiting=(new if filed else old).waiting,
        blocked=new.blocked if filed else old.blocked & new.blocked if event == Event.ADJUSTED else old.blocked,
        unpresented=(new if first or event == Event.ARRIVED else old).unpresented,
    )
