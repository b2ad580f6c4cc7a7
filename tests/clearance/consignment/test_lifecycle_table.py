"""The table of transitions, row by row: each row is reached, and each states the notice that follows from the state after it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

import services.clearance
from libs.columns import Bools, Ints, Strings, Table
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.lifecycle.machine import REFUSALS
from services.clearance.consignment.lifecycle.table import REFUSAL_NOTICES, TABLE, Condition, Transition
from services.clearance.consignment.lifecycle.texts import EVENTS, WAITING
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import CHANGE_OF, FINAL, Debt, Event, State
from services.clearance.store.work import WORK_LISTS

AT: Final = 5_000
FLAGS: Final = (
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
Situation = dict[str, bool | Debt]
SITUATIONS: Final[list[Situation]] = [
    {"debt": debt, **dict(zip(FLAGS, flags, strict=True))}
    for debt in (Debt.UNKNOWN, Debt.NONE, Debt.OPEN)
    for flags in product((False, True), repeat=len(FLAGS))
    # Goods in transit have arrived.
    if flags[0] or not flags[FLAGS.index("in_transit")]
]


def met(now: Situation) -> frozenset[Condition]:
    """Return the conditions that a situation meets, by their sentences."""
    held = bool(now["officer_hold"] or now["screening_hold"])
    by_sentence = {
        Condition.ARRIVED: bool(now["arrived"]),
        Condition.NOT_ARRIVED: not now["arrived"],
        Condition.PRESENTED: bool(now["arrived"] and not now["unpresented"]),
        Condition.NOT_PRESENTED: bool(not now["arrived"] or now["unpresented"]),
        Condition.PRESENTATION_MISSING: bool(now["unpresented"]),
        Condition.HOLD: held or bool(now["blocked"]),
        Condition.HELD_ALREADY: held,
        Condition.EVIDENCE: held or bool(now["blocked"] and now["inspected"]),
        Condition.DEBT_OPEN: now["debt"] == Debt.OPEN,
        Condition.UNSETTLED: now["debt"] in (Debt.OPEN, Debt.UNKNOWN),
        Condition.SETTLED: now["debt"] not in (Debt.OPEN, Debt.UNKNOWN),
        Condition.ONLY_DEBT: bool(now["debt_hold"]),
        Condition.ONLY_CONTROLS: bool(now["control_hold"]),
        Condition.WAITING: bool(now["waiting"]),
        Condition.CONTROLLED: bool(now["inspected"]),
        Condition.IN_TRANSIT: bool(now["in_transit"]),
    }
    return frozenset(condition for condition, is_met in by_sentence.items() if is_met)


_CONDITIONS: Final = [met(now) for now in SITUATIONS]
MET: Final = {each: np.array([each in conditions for conditions in _CONDITIONS]) for each in Condition}
"""Of each condition, which situations meet it."""


def first_rows(rows: list[Transition]) -> list[Transition | None]:
    """The row that applies in each situation: the first of which all conditions are met."""
    found: list[Transition | None] = [None] * len(SITUATIONS)
    for row in reversed(rows):
        every = np.ones(len(SITUATIONS), np.bool_)
        for place in np.flatnonzero(np.logical_and.reduce([every, *(MET[each] for each in row.when)])).tolist():
            found[place] = row
    return found


def states_in(state: State) -> Table:
    """Give a state of each situation."""
    rows = len(SITUATIONS)

    def flags(name: str) -> np.ndarray:
        return np.array([bool(each[name]) for each in SITUATIONS])

    released = Ints.of([10] * rows, [state == State.RELEASED] * rows)
    return Table.of(
        ClearanceColumns,
        rows,
        {
            "version": Ints.constant(7, rows),
            "state": Ints.constant(state, rows),
            "change": Ints.constant(1, rows),
            "changed_at": Ints.constant(20, rows),
            "released_at": released,
            "arrived_at": Ints.of([11] * rows, flags("arrived")),
            "presentation_due_at": Ints.of([13] * rows, flags("unpresented")),
            "inspected_at": Ints.of([12] * rows, flags("inspected")),
            "release_not_before": Ints.of([AT + 1] * rows, flags("waiting")),
            "debt_status": Ints.of([int(each["debt"]) for each in SITUATIONS]),
            "officer_hold": Bools.of(flags("officer_hold")),
            "screening_hold": Bools.of(flags("screening_hold")),
            "debt_hold": Bools.of(flags("debt_hold")),
            "control_hold": Bools.of(flags("control_hold")),
            "transit_started_at": Ints.of([13] * rows),
            "transit_ended_at": Ints.of([14] * rows, ~flags("in_transit")),
            "violation_found_by": Strings.of(["vera" if each else "" for each in flags("blocked")]),
        },
    )


def test_each_row_is_reached_and_states_the_notice_that_its_state_makes() -> None:
    rows: dict[tuple[Event, State], list[Transition]] = {}
    for row in TABLE:
        rows.setdefault((row.event, row.state), []).append(row)
    reached: set[int] = set()
    for event, state in product(Event, State):
        before = states_in(state)
        after, outcome = apply_event(before, EventDetails(event=np.full(before.rows, event), at=AT))
        found = kinds(after).tolist()
        refusals = [REFUSALS[each] for each in outcome.refusal.tolist()]
        following = outcome.state.tolist()
        for place, applies in enumerate(first_rows(rows.get((event, state), []))):
            case = (event.name, state.name, SITUATIONS[place], applies)
            if applies is not None:
                reached.add(id(applies))
                assert (following[place], refusals[place]) == (applies.next, applies.refusal), case
            if applies is None or applies.refusal:
                assert refusals[place], case
                assert applies is None or applies.notice == REFUSAL_NOTICES.get(event), case
            else:
                assert found[place] == (applies.notice or 0), case
    assert [row for row in TABLE if id(row) not in reached] == []


def test_each_state_that_is_not_final_has_an_exit_and_somebody_or_a_timer_that_acts() -> None:
    effective = [row for row in TABLE if not row.refusal]
    reached = {row.next for row in effective} | {State.ACCEPTED}
    for state in reached:
        exits = {row.next for row in effective if row.state == state} - {state}
        assert bool(exits) == (state not in FINAL), state.name
    assert set(WAITING) == reached - FINAL
    for state, waiting in WAITING.items():
        assert waiting.actor
        assert set(waiting.work_lists) <= set(WORK_LISTS)
        for timer in waiting.timers:
            assert any(row.event == timer and row.next != state for row in effective if row.state == state), state.name
        # Goods are decided in the transaction that stores them; of released ones only exports wait for something.
        at_rest = state == State.ACCEPTED
        assert bool(waiting.work_lists or waiting.timers) != at_rest, state.name
    assert set(EVENTS) == set(Event)
    assert len(set(EVENTS.values())) == len(Event)


def test_goods_expire_only_without_an_arrival_and_without_a_hold() -> None:
    cases = [
        (state, now, row)
        for state in State
        for now, row in zip(
            SITUATIONS,
            first_rows([each for each in TABLE if (each.event, each.state) == (Event.EXPIRED, state)]),
            strict=True,
        )
    ]
    for state, now, row in cases:
        expires = row is not None and not row.refusal
        # Of goods that nobody inspected, a missing part alone is no evidence.
        evidence = now["officer_hold"] or now["screening_hold"] or (now["blocked"] and now["inspected"])
        free = not (now["arrived"] or evidence)
        assert expires == (state in (State.AWAITING_ARRIVAL, State.HELD) and free)
        assert not expires or row is None or row.next == State.EXPIRED


def test_a_refused_amendment_alone_is_a_notice() -> None:
    assert REFUSAL_NOTICES == {
        Event.AMENDED_RELEASE: NoticeKind.AMENDMENT_REFUSED,
        Event.AMENDED_HOLD: NoticeKind.AMENDMENT_REFUSED,
        Event.COMPLETED_RELEASE: NoticeKind.AMENDMENT_REFUSED,
        Event.COMPLETED_HOLD: NoticeKind.AMENDMENT_REFUSED,
        Event.INVALIDATED: NoticeKind.AMENDMENT_REFUSED,
    }


def test_each_kind_of_notice_is_that_of_some_row_and_only_hidden_changes_have_none() -> None:
    # An order for a return ends by itself: no event, and no new version. Licences are written off and restored with versions of any kind, and end
    # without one. A party is notified of its missing part with the version that lacks it, of whatever kind.
    beside = {NoticeKind.LICENCE_USED, NoticeKind.LICENCE_RESTORED, NoticeKind.LICENCE_USED_UP, NoticeKind.PART_MISSING}
    beside |= {NoticeKind.LICENCE_REMINDED, NoticeKind.LICENCE_ENDED, NoticeKind.RETURN_ORDER_ENDED}
    assert {row.notice for row in TABLE} - {None} == set(NoticeKind) - beside
    silent = {row.event for row in TABLE if row.notice is None and not row.refusal}
    assert silent == {
        Event.INSPECTED,
        Event.FINDINGS_CHANGED,
        Event.SCREENING_MATCHED,
        Event.SCREENING_MATCH_CLEARED,
        Event.DECISION_PROPOSED,
        Event.PROPOSAL_ENDED,
        Event.SCAN_RECORDED,
    }
    assert len(CHANGE_OF) == len(Event)


def test_each_event_is_produced_by_a_command_or_a_job() -> None:
    """The event is named where commands are carried out, outside of the table and of what follows from an event."""
    root = Path(services.clearance.__path__[0])
    passive = ("consignment/transitions.py", "consignment/lifecycle/", "consignment/state/", "migrations/")
    text = "".join(
        path.read_text("utf-8") for path in root.rglob("*.py") if not str(path.relative_to(root)).startswith(passive)
    )
    produced = {event for event in Event if f"Event.{event.name}" in re.findall(r"Event\.[A-Z_]+", text)}
    assert produced == set(Event)
