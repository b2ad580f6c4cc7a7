"""The reasons and the note of a state after an event. Pure."""

from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ragged, Strings, Table
from services.clearance.consignment.columns import choose
from services.clearance.consignment.decision import (
    CUSTOMS_CHECK,
    DEBT_OPEN,
    LANE_REASONS,
    NO_FIGURES,
    OFFICER_HOLD,
    UNVALUED,
    Lane,
)
from services.clearance.consignment.lifecycle.machine import Outcome, Situation
from services.clearance.consignment.screening import with_reason
from services.clearance.consignment.transitions import IS_HELD, Debt, Event, State, flags_of

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_STOPS: Final = flags_of((Event.ARRIVED, Event.PRESENTED, Event.WAIT_ENDED, Event.TRANSIT_ARRIVED))
"""Events after which goods that nothing held before may stop."""
OFFICER_EVENTS: Final = (Event.OFFICER_RELEASED, Event.OFFICER_HELD)


def officer_columns(table: Table, event: Event, reason: str, note: str, outcome: Outcome) -> dict[str, Column]:
    """Return the reasons and notes after an officer released or held consignments."""
    texts = [reason, OFFICER_HOLD] if event == Event.OFFICER_HELD and reason != OFFICER_HOLD else [reason]
    lists = Ragged.of_lengths(np.full(table.rows, len(texts)), Strings.of(texts * table.rows))
    return {
        "reasons": choose(outcome.effective, lists, table.ragged("reasons")),
        "note": choose(outcome.effective, Strings.constant(note, table.rows), table.strings("note")),
    }


def automatic_reasons(table: Table, events: IntArray, before: Situation, outcome: Outcome) -> dict[str, Column]:
    """Return the reasons after any other event, if they change.

    One batch may have events of several kinds, since expired delays are applied together.
    """
    done, reasons = outcome.effective, table.ragged("reasons")
    changed = reasons
    stopped = done & _STOPS[events] & (before.state != State.HELD)
    stopped &= outcome.state == State.HELD
    # What was held before the controls has its reasons already, unless an officer's release replaced them while the controls were open.
    concluded = done & (events == Event.CONTROLS_CONCLUDED)
    if concluded.any():
        unnamed = (before.debt == Debt.OPEN) | ((before.debt == Debt.UNKNOWN) & ~_name_any(reasons, NO_FIGURES))
        by_debt = before.control_hold & unnamed
        stopped |= concluded & (before.officer_hold | before.screening_hold | by_debt)
    if stopped.any():
        hold_reasons = Strings([DEBT_OPEN, UNVALUED, OFFICER_HOLD, CUSTOMS_CHECK], _hold_reason(before))
        changed = with_reason(changed, hold_reasons, stopped)
    # The reasons of an officer's hold stay as the officer stated them.
    matched = done & (events == Event.SCREENING_MATCHED) & IS_HELD[outcome.state] & ~before.officer_hold
    if matched.any():
        changed = with_reason(changed, Strings.constant(CUSTOMS_CHECK, table.rows), matched)
    rerouted = done & (events == Event.REROUTED)
    if rerouted.any():
        assert isinstance(changed.values, Strings)
        yellow, blue = LANE_REASONS[Lane.YELLOW], LANE_REASONS[Lane.BLUE]
        renamed = changed.values.translate(lambda reason: blue if reason == yellow else reason)
        changed = choose(rerouted, Ragged(changed.offsets, renamed), changed)
    return {} if changed is reasons else {"reasons": changed}


def _name_any(reasons: Ragged, texts: Collection[str]) -> BoolArray:
    """Return which lists of reasons have one of some texts, shape (n,)."""
    assert isinstance(reasons.values, Strings)
    found = np.zeros(len(reasons.lengths), np.bool_)
    found[reasons.owners()[reasons.values.isin(texts)]] = True
    return found


def _hold_reason(before: Situation) -> NDArray[np.int32]:
    """Return which of DEBT_OPEN, UNVALUED, OFFICER_HOLD and CUSTOMS_CHECK held goods that were to be released, shape (n,)."""
    by_debt = np.where(before.debt == Debt.OPEN, 0, 1)
    return np.where(before.officer_hold, 2, np.where(before.screening_hold, 3, by_debt)).astype(np.int32)
