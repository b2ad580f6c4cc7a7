"""What customs decides on goods that are not released, and the resulting state. Pure.

Law: UCC, articles 197 (destruction), 198 (seizure, confiscation, sale), 199 (abandonment), 270 (re-export), 171 and 174 (declarations whose goods
never came or that were lodged twice); RKC, general annex, standard 3.44.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table, among
from libs.filing_stages.direction import exports
from luxor.clearance.v1.clearance_pb2 import TRANSIT_OUTCOME_ENDED
from services.clearance.consignment.columns import choose, is_lost, values_in_rows
from services.clearance.consignment.decision import OFFICER_HOLD
from services.clearance.consignment.inspection import finders_of, not_releasable
from services.clearance.consignment.lifecycle.disposals import INTERIM
from services.clearance.consignment.screening import held_unseen
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.times import never_released, owes_beside_duty, was_released
from services.clearance.consignment.transitions import FINAL, Debt, Event, State

_OF_LOST: Final = (Event.DESTROYED, *INTERIM)
"""Disposals of goods that a movement lost: no others are possible of goods that nobody has. Those that turned up are seized first."""
_NEVER_RELEASED: Final = (Event.ABANDONED, Event.INVALIDATED_BY_CUSTOMS)
"""Disposals of goods without any release: only goods outside free circulation are abandoned (article 199), and no declaration is invalidated after
the release (article 174(2)).
"""


@dataclass(frozen=True, slots=True)
class Disposal:
    """The decision on the goods of one consignment."""

    event: Event
    reason: str
    """Stable reason, which filers read."""
    document: str
    """Number of the transport document of a re-export, "" for all others."""
    note: str


def unfit(states: Table, disposals: Mapping[str, Disposal], officer: str, viewed: Container[str]) -> list[str]:
    """Return for each state why this officer cannot decide so on its goods, "" if nothing but the transitions may refuse it.

    The officer who found a violation may seize the goods, and decides nothing else alone. Before a final decision, the officer must have viewed a
    match or an alarm: `viewed` are the MRNs named with a version.
    """
    decisions = [disposals[mrn] for mrn in states.strings("mrn").tolist()]
    # A note explains a violation that is resolved.
    with_note, without_note = (not_releasable(states, officer, note) for note in ("explained", ""))
    unseen, released, lost = held_unseen(states, viewed), was_released(states).tolist(), is_lost(states).tolist()
    reasons = []
    exported = exports(states).tolist()
    for row, (decision, state) in enumerate(zip(decisions, states.ints("state").values.tolist(), strict=True)):
        own = with_note[row] if decision.note.strip() else without_note[row]
        # An export whose goods do not leave is invalidated after its release too: Delegated Regulation (EU) 2015/2446, article 248.
        stays = exported[row] and decision.event == Event.INVALIDATED_BY_CUSTOMS
        if state in FINAL:
            reasons.append("STATE_FINAL")
        elif exported[row] and decision.event == Event.RE_EXPORTED:
            reasons.append("EXPORT_NOT_RETURNED")
        elif state == State.RELEASED or (released[row] and decision.event in _NEVER_RELEASED and not stays):
            reasons.append("DISPOSAL_AFTER_RELEASE")
        elif lost[row] and decision.event not in _OF_LOST:
            reasons.append("GOODS_LOST")
        elif own and decision.event != Event.SEIZED:
            reasons.append("VIOLATION_OPEN")
        elif unseen[row] and decision.event not in INTERIM:
            reasons.append("SCREENING_MATCH_UNSEEN")
        else:
            reasons.append("")
    return reasons


def disposing(states: Table, at: int, disposals: Mapping[str, Disposal], by: str) -> tuple[Table, EventDetails]:
    """Return the states with what an officer decided, before the events are applied, and the event of each.

    A final decision on goods that were never released ends the debt at the border, a confiscation only that of duties, and that on goods which a
    movement lost ends none; the charges stay as they were assessed. Lost goods that are seized turned up.
    """
    decisions = [disposals[mrn] for mrn in states.strings("mrn").tolist()]
    events = np.array([each.event for each in decisions], np.int64)
    lost = is_lost(states)
    ends = ~among(events, INTERIM) & never_released(states) & ~lost
    ends &= (events != Event.CONFISCATED) | ~owes_beside_duty(states)
    again = events == Event.RE_EXPORTED
    lists = [_reasons(each) for each in decisions]
    columns: dict[str, Column] = {
        "reasons": Ragged.of_lengths(
            [len(each) for each in lists], Strings.of([text for each in lists for text in each])
        ),
        "note": Strings.of([each.note for each in decisions]),
        "debt_status": Ints.of(np.where(ends, np.int64(Debt.NONE), states.ints("debt_status").values)),
        "debt_account": values_in_rows(states.strings("debt_account"), ~ends),
        "return_document_number": choose(
            again, Strings.of([each.document for each in decisions]), states.strings("return_document_number")
        ),
        # States of release 0.2 do not name who found a violation, and derive it only while the goods are held.
        "violation_found_by": finders_of(states),
    }
    found = lost & (events == Event.SEIZED)
    if found.any():
        outcome = states.ints("transit_outcome")
        columns["transit_outcome"] = Ints.of(np.where(found, TRANSIT_OUTCOME_ENDED, outcome.values), outcome.valid)
    return states.with_columns(columns), EventDetails(event=events, at=at, by=by)


def _reasons(disposal: Disposal) -> Sequence[str]:
    lifted = disposal.event == Event.SEIZURE_LIFTED and disposal.reason != OFFICER_HOLD
    return [disposal.reason, OFFICER_HOLD] if lifted else [disposal.reason]
