"""The lifecycle: what must hold whatever happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luxor.clearance.v1 import clearance_columns_pb2 as pb
from services.clearance import decision
from services.clearance.lifecycle import FINAL, REFUSALS, Change, Debt, Event, Situation, State, apply
from services.clearance.notices import Kind

AUTOMATIC = [event for event in Event if event not in (Event.OFFICER_RELEASED, Event.OFFICER_HELD)]
DECISIONS = (Event.DECIDED_RELEASE, Event.DECIDED_HOLD)
rows = st.lists(
    st.tuples(st.sampled_from(State), st.booleans(), st.sampled_from(Debt), st.booleans()), min_size=1, max_size=30
)


def situation(values: list[tuple[State, bool, Debt, bool]]) -> Situation:
    state, arrived, debt, hold = (np.array(column) for column in zip(*values, strict=True))
    return Situation(state.astype(np.int64), arrived.astype(bool), debt.astype(np.int64), hold.astype(bool))


@given(rows, st.sampled_from(Event))
def test_nothing_automatic_releases_while_a_hold_or_an_unsettled_debt_is_open(
    values: list[tuple[State, bool, Debt, bool]], event: Event
) -> None:
    now = situation(values)
    after = apply(event, now)
    moved = after.effective & np.isin(after.state, [State.RELEASED, State.AWAITING_ARRIVAL])
    assert not (moved & (now.debt == Debt.OPEN)).any()
    if event in AUTOMATIC:
        assert not (moved & (now.officer_hold | (now.debt == Debt.UNKNOWN))).any()


@given(rows, st.sampled_from(Event))
def test_nothing_is_released_before_it_arrived(values: list[tuple[State, bool, Debt, bool]], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    fresh = after.effective & (after.state == State.RELEASED) & (now.state != State.RELEASED)
    assert after.arrived[fresh].all()


@given(rows, st.sampled_from([event for event in Event if event != Event.OFFICER_HELD]))
def test_only_an_officers_hold_leaves_released(values: list[tuple[State, bool, Debt, bool]], event: Event) -> None:
    # Goods are only ever released once they have arrived.
    now = situation([(state, arrived or state == State.RELEASED, debt, hold) for state, arrived, debt, hold in values])
    after = apply(event, now)
    assert (after.state[now.state == State.RELEASED] == State.RELEASED).all()


@given(rows, st.sampled_from(Event))
def test_a_refused_event_changes_nothing_and_tells_why(
    values: list[tuple[State, bool, Debt, bool]], event: Event
) -> None:
    now = situation(values)
    after = apply(event, now)
    refused = ~after.effective
    assert (after.state[refused] == now.state[refused]).all()
    assert (after.officer_hold[refused] == now.officer_hold[refused]).all()
    assert (after.arrived[refused] == now.arrived[refused]).all()
    assert all(REFUSALS[number] for number in after.refusal[refused].tolist())


@given(st.lists(st.sampled_from(Event), max_size=30), st.sampled_from(Debt))
def test_a_log_of_events_leads_to_the_same_state_however_often_each_is_repeated(
    events: list[Event], debt: Debt
) -> None:
    """A decision and an arrival have one effect each: heard twice, they are heard once."""

    def run(repeats: int) -> Situation:
        now = situation([(State.ACCEPTED, False, debt, False)])
        for event in events:
            for _ in range(repeats if event in (*DECISIONS, Event.ARRIVED) else 1):
                # Before the decision there is no consignment to arrive; the consumer brings a known arrival with it.
                if event == Event.ARRIVED and now.state[0] == State.ACCEPTED:
                    continue
                after = apply(event, now)
                now = Situation(after.state, after.arrived, now.debt, after.officer_hold)
        return now

    once, often = run(1), run(3)
    assert (once.state, once.arrived, once.officer_hold) == (often.state, often.arrived, often.officer_hold)


@given(rows, st.sampled_from(Event))
def test_what_came_to_its_end_stays_there(values: list[tuple[State, bool, Debt, bool]], event: Event) -> None:
    now = situation(values)
    after = apply(event, now)
    final = np.isin(now.state, list(FINAL))
    assert not after.effective[final].any()


@given(rows, st.lists(st.sampled_from(Event), min_size=30, max_size=30))
def test_a_batch_of_events_gives_each_row_what_it_would_get_alone(
    values: list[tuple[State, bool, Debt, bool]], events: list[Event]
) -> None:
    chosen = np.array(events[: len(values)], np.int64)
    whole = apply(chosen, situation(values))
    for row, value in enumerate(values):
        alone = apply(Event(int(chosen[row])), situation([value]))
        assert (whole.state[row], whole.refusal[row]) == (alone.state[0], alone.refusal[0])
        assert (whole.officer_hold[row], whole.arrived[row]) == (alone.officer_hold[0], alone.arrived[0])


@pytest.mark.parametrize(
    ("ours", "prefix", "theirs"),
    [
        (State, "STATE_", pb.State),
        (Change, "CHANGE_", pb.Change),
        (decision.Lane, "LANE_", pb.Lane),
        (Debt, "DEBT_STATUS_", pb.DebtStatus),
        (Kind, "NOTICE_KIND_", None),
    ],
)
def test_the_numbers_are_those_of_the_contract(ours: type, prefix: str, theirs: object) -> None:
    from luxor.clearance.v1 import clearance_pb2

    contract = theirs or clearance_pb2.NoticeKind
    told = {name.removeprefix(prefix): number for name, number in contract.items() if number}  # type: ignore[attr-defined]
    assert {each.name: each.value for each in ours if each.value} == told  # type: ignore[attr-defined]
