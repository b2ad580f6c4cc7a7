"""The lifecycle: what must hold whatever happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luxor.clearance.v1 import clearance_pb2
from luxor.common.v1 import common_pb2
from services.clearance.consignment import decision
from services.clearance.consignment import inspection as inspections
from services.clearance.consignment.lifecycle.machine import REFUSALS, Situation, apply
from services.clearance.consignment.notice_kinds import NoticeKind
from services.clearance.consignment.transitions import FINAL, MONEY, Change, Debt, Event, State

TAKEN = {
    Event.DESTROYED: State.DESTROYED, Event.RE_EXPORTED: State.RE_EXPORTED, Event.ABANDONED: State.ABANDONED,
}  # fmt: skip
"""Decisions on goods that customs has, seized or not, and the end of each."""
ENDS_BY_CUSTOMS = TAKEN | {
    Event.CONFISCATED: State.CONFISCATED, Event.INVALIDATED_BY_CUSTOMS: State.INVALIDATED,
}  # fmt: skip
DISPOSALS = (Event.SEIZED, Event.SEIZURE_LIFTED, *ENDS_BY_CUSTOMS)
OFFICERS = (Event.OFFICER_RELEASED, Event.OFFICER_HELD, Event.INSPECTED, *DISPOSALS)
NEWS = (Event.DEBT, Event.REASSESSED)
RETURNS = (Event.RETURNED, Event.RETURNED_WHOLE, Event.DESTROYED_WHOLE)
AUTOMATIC = [event for event in Event if event not in OFFICERS]
GOES_ON = [State.RELEASED, State.AWAITING_ARRIVAL]
CONTROLS = (State.DOCUMENTS_REQUESTED, State.EXAMINATION)
"""Where a control is open."""
ORDERED = {Event.DOCUMENTS_REQUESTED: State.DOCUMENTS_REQUESTED, Event.EXAMINATION_ORDERED: State.EXAMINATION}
CONCLUDED = (Event.CONTROL_CONCLUDED, Event.EXAMINATION_CONCLUDED, Event.CONTROLS_CONCLUDED)
DECISIONS = (Event.DECIDED_RELEASE, Event.DECIDED_HOLD)
EXITS = (Event.EXITED, Event.EXIT_OVERDUE)
COMPLETED = (Event.COMPLETED_RELEASE, Event.COMPLETED_HOLD)
Case = tuple[State, bool, Debt, bool, bool, bool, bool, bool]
"""State, arrived, debt, held by an officer, held by a hit of the screening, waiting for a look, inspected, held by the debt alone."""
rows = st.lists(
    st.tuples(
        st.sampled_from(State), st.booleans(), st.sampled_from(Debt), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)  # fmt: skip


def situation(values: list[Case]) -> Situation:
    state, arrived, debt, *truths = (np.array(column) for column in zip(*values, strict=True))
    hold, listed, waiting, inspected, by_debt = (each.astype(bool) for each in truths)
    return Situation(
        state.astype(np.int64), arrived.astype(bool), debt.astype(np.int64), hold, listed, waiting, inspected, by_debt
    )


def begin(debt: Debt, *, waiting: bool = False) -> Situation:
    return situation([(State.ACCEPTED, False, debt, False, False, waiting, False, False)])


def after_event(now: Situation, event: Event, *, waiting: bool) -> Situation:
    """Where a consignment stands after an event, as the columns of its state would tell."""
    outcome = apply(event, now)
    return Situation(
        outcome.state,
        outcome.arrived,
        now.debt,
        outcome.officer_hold,
        outcome.screening_hold,
        np.full_like(now.waiting, waiting),
        now.inspected | (outcome.effective & (event in (Event.INSPECTED, Event.ADJUSTED))),
        outcome.debt_hold,
        control_hold=outcome.control_hold,
    )


@given(rows, st.sampled_from(Event))
def test_nothing_automatic_releases_while_a_hold_or_an_unsettled_debt_is_open(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    moved = after.effective & np.isin(after.state, GOES_ON) & (now.state != State.RELEASED)
    assert not (moved & (now.debt == Debt.OPEN)).any()
    if event in AUTOMATIC:
        assert not (moved & (now.officer_hold | now.screening_hold | (now.debt == Debt.UNKNOWN))).any()


@given(st.lists(st.tuples(st.sampled_from(Event), st.booleans()), max_size=40), st.sampled_from(Debt))
def test_a_hit_of_the_screening_holds_until_an_officer_lifts_it_whatever_happens(
    events: list[tuple[Event, bool]], debt: Debt
) -> None:
    now, open_hit = begin(debt), False
    for event, waiting in events:
        before = now
        now = after_event(now, event, waiting=waiting)
        catches = (State.ACCEPTED, State.AWAITING_ARRIVAL, State.HELD, *CONTROLS, State.SEIZED)
        if event == Event.SCREENING_MATCHED and before.state[0] in catches:
            open_hit = True
        if event == Event.OFFICER_RELEASED and before.state[0] == State.HELD and debt != Debt.OPEN:
            open_hit = False
        if now.state[0] in FINAL:
            break
        assert bool(now.screening_hold[0]) == open_hit
        assert not open_hit or now.state[0] in (State.HELD, *CONTROLS, State.SEIZED)


@given(rows, st.sampled_from([Event.DECIDED_RELEASE, Event.ARRIVED]))
def test_what_waits_for_a_look_is_not_released_by_a_decision_or_an_arrival(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    fresh = after.effective & (after.state == State.RELEASED)
    assert not (fresh & now.waiting).any()


@given(rows)
def test_the_end_of_a_wait_releases_what_arrived_and_is_free(values: list[Case]) -> None:
    now = situation(values)
    after = apply(Event.WAIT_ENDED, now)
    free = ~now.officer_hold & ~now.screening_hold & ~np.isin(now.debt, [Debt.OPEN, Debt.UNKNOWN])
    expected = (now.state == State.AWAITING_ARRIVAL) & now.arrived & free
    assert ((after.effective & (after.state == State.RELEASED)) == expected).all()


@given(rows, st.sampled_from([Event.AMENDED_RELEASE, Event.AMENDED_HOLD, *COMPLETED, Event.INVALIDATED]))
def test_what_was_inspected_is_neither_amended_nor_withdrawn(values: list[Case], event: Event) -> None:
    now = situation(values)
    assert not (apply(event, now).effective & now.inspected).any()


@given(rows, st.sampled_from(COMPLETED))
def test_a_completion_lifts_no_hold_ends_no_control_and_changes_nothing_that_is_examined_or_released(
    values: list[Case], event: Event
) -> None:
    now = situation(values)
    after = apply(event, now)
    expected = np.isin(now.state, [State.HELD, State.DOCUMENTS_REQUESTED]) & ~now.inspected
    assert (after.effective == expected).all()
    assert (after.officer_hold == now.officer_hold).all()
    assert (after.screening_hold == now.screening_hold).all()
    moved = after.effective & (after.state != now.state)
    unsettled = np.isin(now.debt, [Debt.OPEN, Debt.UNKNOWN])
    free = (now.state == State.HELD) & ~now.officer_hold & ~now.screening_hold & ~unsettled & ~now.inspected
    assert (moved == (free & (event == Event.COMPLETED_RELEASE))).all()
    released = after.effective & (after.state == State.RELEASED)
    assert (released == (moved & now.arrived & ~now.waiting)).all()


@given(rows)
def test_an_inspection_moves_nothing_and_is_recorded_of_what_is_held_seized_or_released(values: list[Case]) -> None:
    now = situation(values)
    after = apply(Event.INSPECTED, now)
    assert (after.effective == np.isin(now.state, [State.HELD, *CONTROLS, State.SEIZED, State.RELEASED])).all()
    assert (after.state == now.state).all()
    assert (after.screening_hold == now.screening_hold).all()


@given(rows, st.sampled_from(Event))
def test_nothing_is_released_before_it_arrived(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    fresh = after.effective & (after.state == State.RELEASED) & (now.state != State.RELEASED)
    assert after.arrived[fresh].all()


@given(rows, st.sampled_from(Event), st.lists(st.booleans(), min_size=30, max_size=30))
def test_where_presentation_is_required_nothing_is_released_before_it_and_nothing_amended_after_it(
    values: list[Case], event: Event, missing: list[bool]
) -> None:
    now = situation(values)
    now = replace(now, unpresented=np.array(missing[: len(values)]))
    after = apply(event, now)
    fresh = after.effective & (after.state == State.RELEASED) & (now.state != State.RELEASED)
    assert not after.unpresented[fresh].any()
    assert not (fresh & now.unpresented).any() or event == Event.PRESENTED
    presented = now.arrived & ~now.unpresented
    if event in (Event.AMENDED_RELEASE, Event.AMENDED_HOLD, Event.INVALIDATED):
        assert not (after.effective & presented).any()
    if event == Event.PRESENTED:
        # Goods are presented once, and after their arrival.
        assert not (after.effective & (presented | ~now.arrived)).any()
    # Nothing but the presentation and the reversal of the arrival ends what is missing.
    ended = now.unpresented & ~after.unpresented
    assert not ended.any() or event in (Event.PRESENTED, Event.ARRIVAL_REVERSED)


@given(rows, st.sampled_from([event for event in Event if event not in (Event.OFFICER_HELD, *RETURNS, *EXITS)]))
def test_only_an_officers_hold_a_return_and_the_exit_of_exports_leave_released(
    values: list[Case], event: Event
) -> None:
    # Goods are only ever released once they have arrived.
    now = situation([(state, arrived or state == State.RELEASED, *rest) for state, arrived, *rest in values])  # type: ignore[misc]
    after = apply(event, now)
    assert (after.state[now.state == State.RELEASED] == State.RELEASED).all()


@given(rows, st.sampled_from(Event))
def test_a_refused_event_changes_nothing_and_tells_why(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    refused = ~after.effective
    assert (after.state[refused] == now.state[refused]).all()
    assert (after.officer_hold[refused] == now.officer_hold[refused]).all()
    assert (after.screening_hold[refused] == now.screening_hold[refused]).all()
    assert (after.arrived[refused] == now.arrived[refused]).all()
    assert all(REFUSALS[number] for number in after.refusal[refused].tolist())


@given(st.lists(st.sampled_from(Event), max_size=30), st.sampled_from(Debt))
def test_a_log_of_events_leads_to_the_same_state_however_often_each_is_repeated(
    events: list[Event], debt: Debt
) -> None:
    """A decision and an arrival have one effect each: heard twice, they are heard once."""

    def run(repeats: int) -> Situation:
        now = begin(debt)
        for event in events:
            for _ in range(repeats if event in (*DECISIONS, Event.ARRIVED) else 1):
                # Before the decision there is no consignment to arrive; the consumer brings a known arrival with it.
                if event == Event.ARRIVED and now.state[0] == State.ACCEPTED:
                    continue
                now = after_event(now, event, waiting=False)
        return now

    once, often = run(1), run(3)
    assert (once.state, once.arrived, once.officer_hold) == (often.state, often.arrived, often.officer_hold)


@given(rows, st.sampled_from(Event))
def test_what_came_to_its_end_stays_there_though_revenue_tells_more_of_its_debt(
    values: list[Case], event: Event
) -> None:
    now = situation(values)
    after = apply(event, now)
    final = np.isin(now.state, list(FINAL))
    assert (after.state[final] == now.state[final]).all()
    assert (after.effective[final] == (event in NEWS)).all()


@given(rows, st.sampled_from(MONEY))
def test_a_settled_debt_lets_go_what_it_alone_held_and_nothing_else(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    settled = ~np.isin(now.debt, [Debt.OPEN, Debt.UNKNOWN])
    freed = (now.state == State.HELD) & now.debt_hold & ~now.officer_hold & ~now.screening_hold & settled
    assert ((now.state == State.HELD) & (after.state != State.HELD) == freed).all()
    expected = np.where(now.arrived & ~now.waiting, State.RELEASED, State.AWAITING_ARRIVAL)
    assert (after.state[freed] == expected[freed]).all()


@given(rows, st.sampled_from(MONEY))
def test_a_debt_that_opens_holds_what_is_not_released_until_it_is_settled(values: list[Case], event: Event) -> None:
    now = situation([(*case[:2], Debt.OPEN, *case[3:]) for case in values])  # type: ignore[misc]
    after = apply(event, now)
    awaiting = now.state == State.AWAITING_ARRIVAL
    assert (after.state[awaiting] == State.HELD).all()
    assert after.debt_hold[awaiting].all()
    released = now.state == State.RELEASED
    assert (after.state[released] == State.RELEASED).all()


@given(rows, st.sampled_from(RETURNS))
def test_only_what_is_released_goes_back(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    assert (after.effective == (now.state == State.RELEASED)).all()
    ends = {
        Event.RETURNED: State.RELEASED,
        Event.RETURNED_WHOLE: State.RE_EXPORTED,
        Event.DESTROYED_WHOLE: State.DESTROYED,
    }
    assert (after.state[after.effective] == ends[event]).all()


@given(rows, st.sampled_from(Event))
def test_only_an_officers_decision_leads_out_of_a_seizure_and_none_to_a_release(
    values: list[Case], event: Event
) -> None:
    now = situation(values)
    after = apply(event, now)
    seized = now.state == State.SEIZED
    leaves = {Event.SEIZURE_LIFTED: State.HELD, Event.CONFISCATED: State.CONFISCATED, **TAKEN}
    assert (after.state[seized] == leaves.get(event, State.SEIZED)).all()


@given(st.lists(st.tuples(st.sampled_from(Event), st.booleans()), max_size=40), st.sampled_from(Debt))
def test_after_a_seizure_nothing_is_released_before_it_is_lifted_and_an_officer_released_it(
    events: list[tuple[Event, bool]], debt: Debt
) -> None:
    """Model-based: `seized` and `bound` follow the events alone, by docs/clearance.md."""
    now, seized, bound = begin(debt), False, False
    for event, waiting in [(Event.DECIDED_HOLD, False), (Event.ARRIVED, False), *events]:
        effective = bool(apply(event, now).effective[0])
        now = after_event(now, event, waiting=waiting)
        if effective and event == Event.SEIZED:
            seized = bound = True
        if effective and event == Event.SEIZURE_LIFTED:
            seized = False
        if effective and event == Event.OFFICER_RELEASED:
            bound = False
        if now.state[0] in FINAL:
            break
        assert (now.state[0] == State.SEIZED) == seized
        assert not bound or now.state[0] in (State.SEIZED, State.HELD)
        assert now.officer_hold[0] or not bound


@given(rows, st.sampled_from(tuple(ENDS_BY_CUSTOMS)))
def test_a_decision_of_customs_ends_every_hold_and_only_what_arrived_is_taken(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    at_customs = np.isin(now.state, [State.AWAITING_ARRIVAL, State.HELD, *CONTROLS])
    seized = now.state == State.SEIZED
    expected = (
        seized if event == Event.CONFISCATED else at_customs if event == Event.INVALIDATED_BY_CUSTOMS else seized | (at_customs & now.arrived)
    )  # fmt: skip
    assert (after.effective == expected).all()
    assert (after.state[expected] == ENDS_BY_CUSTOMS[event]).all()
    assert not (after.officer_hold | after.screening_hold | after.debt_hold)[expected].any()


@pytest.mark.parametrize("arrived", [False, True])
@pytest.mark.parametrize(
    "state", [State.ACCEPTED, State.AWAITING_ARRIVAL, State.HELD, *CONTROLS, State.RELEASED, State.SEIZED]
)
def test_every_state_that_is_reached_and_not_final_has_an_exit_and_a_final_one_has_none(
    state: State, arrived: bool
) -> None:
    def exits(where: State, here: bool) -> set[int]:
        found: set[int] = set()
        for event in Event:
            after = apply(event, situation([(where, here, Debt.NONE, True, False, False, False, False)]))
            found |= {int(after.state[0])} - {int(where)}
        return found

    if state == State.ACCEPTED:
        assert exits(state, arrived) == {State.HELD}, "an officer's hold stays, as for an alarm"
        return
    ends = {State.INVALIDATED}
    if state in (State.AWAITING_ARRIVAL, State.HELD):
        ends |= {State.DOCUMENTS_REQUESTED, State.EXAMINATION}
    if state in CONTROLS:
        ends |= {State.HELD}
    if arrived and state in (State.AWAITING_ARRIVAL, State.HELD, *CONTROLS):
        ends |= {State.SEIZED, State.DESTROYED, State.RE_EXPORTED, State.ABANDONED}
    if state == State.SEIZED:
        ends = {State.HELD, State.CONFISCATED, State.DESTROYED, State.RE_EXPORTED, State.ABANDONED}
    if state == State.RELEASED:
        ends = {State.HELD, State.RE_EXPORTED, State.DESTROYED}
    assert ends <= exits(state, arrived)
    assert all(not exits(end, arrived) for end in FINAL)
    assert {state for state in State if state not in FINAL} == {
        State.ACCEPTED, State.AWAITING_ARRIVAL, State.HELD, State.RELEASED, State.SEIZED, *CONTROLS,
    }  # fmt: skip


@given(rows, st.sampled_from([event for event in Event if event not in CONCLUDED]))
def test_nothing_but_its_conclusion_and_the_end_of_the_goods_ends_a_control(values: list[Case], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    controlled = np.isin(now.state, CONTROLS)
    stays = np.isin(after.state, CONTROLS) | (after.state == State.SEIZED) | np.isin(after.state, list(FINAL))
    assert stays[controlled].all()


@given(
    st.lists(st.tuples(st.sampled_from(Event), st.sampled_from(Debt), st.booleans()), max_size=40),
    st.sampled_from(Debt),
)
def test_goods_whose_controls_are_concluded_continue_only_if_nothing_held_them_before_or_since(
    events: list[tuple[Event, Debt, bool]], first_debt: Debt
) -> None:
    """Model-based: `free` follows the events alone, by docs/clearance.md: whether only controls and the debt held the goods."""
    now, free = begin(first_debt), False
    for event, debt, waiting in [(Event.DECIDED_RELEASE, first_debt, False), *events]:
        # Revenue announces another debt by its own events alone.
        before = replace(now, debt=np.array([int(debt)]) if event in MONEY else now.debt, waiting=np.array([waiting]))
        now = after_event(before, event, waiting=waiting)
        state, after = int(before.state[0]), int(now.state[0])
        lifted = bool(before.officer_hold[0] | before.screening_hold[0])
        if event in ORDERED and state in (State.AWAITING_ARRIVAL, State.HELD):
            free = state == State.AWAITING_ARRIVAL or (bool(before.debt_hold[0]) and not lifted)
        if event == Event.AMENDED_RELEASE and state in CONTROLS and after in CONTROLS:
            amended = state == State.DOCUMENTS_REQUESTED and not before.arrived[0] and not before.inspected[0]
            free = free or (amended and not lifted)
        if event == Event.AMENDED_HOLD and state == State.DOCUMENTS_REQUESTED:
            free = free and bool(before.arrived[0] or before.inspected[0])
        if event in COMPLETED and state == State.DOCUMENTS_REQUESTED and not before.inspected[0]:
            free = event == Event.COMPLETED_RELEASE and (free or not lifted)
        if event == Event.CONTROLS_CONCLUDED and state in CONTROLS:
            unsettled = before.debt[0] in (Debt.OPEN, Debt.UNKNOWN)
            assert (after in GOES_ON) == (free and not lifted and not unsettled)
            assert after in (*GOES_ON, State.HELD)
        if after in FINAL:
            break


@given(rows, st.sampled_from(Event))
def test_what_the_debt_holds_is_held(values: list[Case], event: Event) -> None:
    after = apply(event, situation(values))
    assert (after.state[after.debt_hold] == State.HELD).all()


@given(rows, st.lists(st.sampled_from(Event), min_size=30, max_size=30))
def test_a_batch_of_events_gives_each_row_what_it_would_get_alone(values: list[Case], events: list[Event]) -> None:
    chosen = np.array(events[: len(values)], np.int64)
    whole = apply(chosen, situation(values))
    for row, value in enumerate(values):
        alone = apply(Event(int(chosen[row])), situation([value]))
        assert (whole.state[row], whole.refusal[row]) == (alone.state[0], alone.refusal[0])
        assert (whole.officer_hold[row], whole.arrived[row]) == (alone.officer_hold[0], alone.arrived[0])
        assert (whole.screening_hold[row], whole.debt_hold[row]) == (alone.screening_hold[0], alone.debt_hold[0])


@pytest.mark.parametrize(
    ("ours", "prefix", "theirs"),
    [
        (State, "STATE_", clearance_pb2.State),
        (Change, "CHANGE_", clearance_pb2.Change),
        (decision.Lane, "LANE_", common_pb2.Lane),
        (Debt, "DEBT_STATUS_", common_pb2.DebtStatus),
        (NoticeKind, "NOTICE_KIND_", clearance_pb2.NoticeKind),
        (inspections.Result, "INSPECTION_RESULT_", clearance_pb2.InspectionResult),
    ],
)
def test_the_numbers_are_those_of_the_contract(ours: type, prefix: str, theirs: object) -> None:
    told = {name.removeprefix(prefix): number for name, number in theirs.items() if number}  # type: ignore[attr-defined]
    assert {each.name: each.value for each in ours if each.value} == told  # type: ignore[attr-defined]
