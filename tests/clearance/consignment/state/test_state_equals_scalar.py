"""The columnar states against the reading of one record at a time: every event at states of every kind, alone and among others."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np
import pytest

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.inspection import Inspection, Result
from services.clearance.consignment.state.arrivals import Arrivals
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.times import was_released
from services.clearance.consignment.state.visibility import is_hidden
from services.clearance.consignment.transitions import CHANGE_OF, Debt, Event, State
from tests.clearance import scalar_states
from tests.clearance.scalar_states import BLUE, GREEN, MONEY, RED, RETURNS, YELLOW, Record

AT = 5_000
INTS = (
    "version", "filing_version", "state", "lane", "debt_status", "arrived_at", "decided_at", "first_decided_at", "released_at",
    "former_released_at", "change", "changed_at", "release_not_before", "reroute_at", "inspected_at", "adjusted_at", "public_version",
    "public_change", "public_changed_at", "violation_resolved_at", "transit_started_at", "transit_ended_at", "transit_outcome", "presentation_due_at",
    "presented_at",
)  # fmt: skip
BOOLS = ("officer_hold", "screening_hold", "screening_early", "debt_hold", "control_hold", "audit")
STRINGS = ("mrn", "decided_by", "note", "violation_found_by", "violation_resolved_by")


def record(draw: random.Random, number: int) -> Record:
    """A state of chance; absent values as often as not."""

    def maybe(*values: int) -> int | None:
        return draw.choice([None, *values])

    def flag() -> bool:
        return draw.random() < 0.3

    state = draw.choice([*State, State.HELD, State.HELD, State.AWAITING_ARRIVAL, State.RELEASED, State.RELEASED])
    listed = flag()
    told = maybe(1, 2)
    heard = told is not None and draw.random() < 0.5
    # What awaits its arrival has no open violation: it was held when it was inspected.
    violation = "vera" if flag() and state != State.AWAITING_ARRIVAL else ""
    moved = state != State.ACCEPTED and draw.random() < 0.4
    resolved = bool(violation) and draw.random() < 0.5
    return {
        "mrn": f"M{number}",
        "version": draw.choice([3, 7]),
        "filing_version": draw.choice([1, 2]),
        "state": int(state),
        "lane": maybe(GREEN, BLUE, BLUE, YELLOW, RED),
        "debt_status": int(draw.choice([*Debt, Debt.NONE, Debt.PAID, Debt.NONE])),
        "arrived_at": 11 if moved else maybe(11),
        "transit_started_at": 12 if moved else None,
        "transit_ended_at": maybe(13) if moved else None,
        # Commands refuse what does not fit to lost goods, before the events.
        "transit_outcome": None,
        "decided_at": maybe(12),
        "first_decided_at": maybe(10),
        "released_at": 14 if state == State.RELEASED or (state in scalar_states.scalar.ENDS and flag()) else None,
        "former_released_at": maybe(13),
        "change": draw.choice([1, 2, 5]),
        "changed_at": 15,
        "release_not_before": maybe(-1, 0, 1, AT - 1, AT, AT + 1),
        "reroute_at": maybe(3, AT),
        "inspected_at": 16 if flag() else None,
        "adjusted_at": 17 if flag() else None,
        "public_version": told,
        "public_change": 2 if heard else None,
        "public_changed_at": 9 if heard else None,
        "officer_hold": flag(),
        "screening_hold": listed,
        "screening_early": listed and draw.random() < 0.5,
        "debt_hold": flag() and state == State.HELD,
        "control_hold": flag() and state in scalar_states.scalar.CONTROLS,
        "audit": flag(),
        "decided_by": draw.choice(["automatic", "olga", ""]),
        "note": draw.choice(["", "before"]),
        "violation_found_by": violation,
        "violation_resolved_by": "otto" if resolved else "",
        "violation_resolved_at": 18 if resolved else None,
        "presentation_due_at": maybe(19),
        "presented_at": maybe(20),
        "reasons": draw.choice([[], ["X"], ["LANE_YELLOW", "DEBT_OPEN"], ["CUSTOMS_CHECK"], ["OFFICER_HOLD", "X"]]),
    }


def table_of(records: list[Record]) -> Table:
    columns: dict[str, Column] = {
        name: Ints.of([each[name] or 0 for each in records], [each[name] is not None for each in records])
        for name in INTS
    }
    # What is not so may be absent.
    columns |= {name: Bools.of([each[name] for each in records], [each[name] for each in records]) for name in BOOLS}
    columns |= {name: Strings.of([each[name] for each in records]) for name in STRINGS}
    flat = [reason for each in records for reason in each["reasons"]]
    columns["reasons"] = Ragged.of_lengths([len(each["reasons"]) for each in records], Strings.of(flat))
    return Table.of(ClearanceColumns, len(records), columns)


def records_of(table: Table) -> list[Record]:
    columns: dict[str, list[Any]] = {name: table.ints(name).tolist() for name in INTS}
    columns |= {name: table.bools(name).values.tolist() for name in BOOLS}
    columns |= {name: table.strings(name).tolist() for name in STRINGS}
    reasons = table.ragged("reasons")
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    columns["reasons"] = [flat[reasons.span(row)] for row in range(table.rows)]
    return [{name: values[row] for name, values in columns.items()} for row in range(table.rows)]


def compare(records: list[Record], events: list[Event], hidden: list[bool] | None = None, reason: str = "TIP") -> None:
    """Evolve a batch, and each of its records by the definition."""
    event = events[0] if len(set(events)) == 1 else np.array([int(each) for each in events], np.int64)
    details = EventDetails(
        event=event, at=AT, by="otto", reason=reason, note="n", hidden=None if hidden is None else np.array(hidden)
    )
    table, outcome = apply_event(table_of(records), details)
    for row, (found, before) in enumerate(zip(records_of(table), records, strict=True)):
        expected = scalar_states.evolved(
            before, events[row], AT, "otto", reason, "n", hidden=hidden is not None and hidden[row]
        )
        assert bool(outcome.effective[row]) == (expected["version"] != before["version"])
        if found["first_decided_at"] != expected["first_decided_at"] == before["first_decided_at"]:
            # What follows from a state of version 0.2 may be written with any later version.
            assert found["first_decided_at"] == scalar_states.first_decided(before), (events[row], before)
            expected["first_decided_at"] = found["first_decided_at"]
        differing = {name: (found[name], value) for name, value in expected.items() if found[name] != value}
        assert not differing, (events[row], before)


@pytest.mark.parametrize("event", list(Event))
def test_a_batch_evolves_as_the_definition_says_of_each_row(event: Event) -> None:
    draw = random.Random(int(event))
    records = [record(draw, number) for number in range(1_200)]
    compare(records, [event] * len(records))
    compare(records, [event] * len(records), [draw.random() < 0.5 for _ in records], "OFFICER_HOLD")


@pytest.mark.parametrize("event", list(Event))
def test_a_single_state_evolves_as_in_a_batch(event: Event) -> None:
    draw = random.Random(1_000 + int(event))
    for number in range(120):
        compare([record(draw, number)], [event])


@pytest.mark.parametrize(
    "events",
    [
        (Event.DECIDED_RELEASE, Event.DECIDED_HOLD),
        (Event.AMENDED_RELEASE, Event.AMENDED_HOLD, Event.COMPLETED_RELEASE, Event.COMPLETED_HOLD, Event.INVALIDATED),
        (Event.REROUTED, Event.WAIT_ENDED),
        (Event.SCREENING_MATCH_CLEARED, Event.FINDINGS_CHANGED),
        RETURNS,
        MONEY,
    ],
)
def test_events_in_one_batch_do_not_touch_each_other(events: tuple[Event, ...]) -> None:
    draw = random.Random(len(events))
    for size in (2, 3, 900):
        for _ in range(1 if size == 900 else 40):
            compare([record(draw, number) for number in range(size)], draw.choices(events, k=size))


def test_inspections_and_matches_that_change_nothing_for_filers_and_carriers_are_hidden_from_them() -> None:
    cases = list(product(Event, State, State))
    events, before, after = (np.array([int(case[place]) for case in cases]) for place in range(3))
    found = is_hidden(events, before, after).tolist()
    for case, hidden in zip(cases, found, strict=True):
        assert hidden == scalar_states.is_hidden(*case), case


def test_each_event_makes_the_change_of_the_contract() -> None:
    draw = random.Random(1)
    compare([record(draw, number) for number in range(3)], [Event.DEBT] * 3)
    for event in Event:
        expected = scalar_states.CHANGES.get(event) or scalar_states.pb.Change.Value(f"CHANGE_{event.name}")
        assert CHANGE_OF[event] == expected, event


def test_an_arrival_is_written_where_it_has_its_effect_and_a_reversal_takes_it_away() -> None:
    draw = random.Random(2)
    plain = record(draw, 0) | {"debt_status": int(Debt.NONE), "officer_hold": True, "state": int(State.HELD)}
    rows = [plain | {"arrived_at": None}, plain | {"arrived_at": 11}, plain | {"arrived_at": None}]
    texts = {
        "arrival_conveyance_reference": Strings.of(["", "LH1", ""]),
        "arrival_place": Strings.of(["", "DEFRA", ""]),
        "arrival_carrier": Strings.of(["", "wings", ""]),
    }
    table = table_of(rows).with_columns(texts)
    arrivals = Arrivals(
        Ints.of([21, 22, 23]),
        Strings.of(["LH2", "LH3", "LH4"]),
        Strings.of(["DELEJ", "DEHAM", "DECGN"]),
        Strings.of(["a", "b", "c"]),
    )
    names = ("arrival_conveyance_reference", "arrival_place", "arrival_carrier")
    there, _ = apply_event(table, EventDetails(event=Event.ARRIVED, at=AT, arrivals=arrivals))
    assert there.ints("arrived_at").tolist() == [21, 11, 23]
    assert [there.strings(name).tolist() for name in names] == [
        ["LH2", "LH1", "LH4"], ["DELEJ", "DEFRA", "DECGN"], ["a", "wings", "c"],
    ]  # fmt: skip
    all_there, _ = apply_event(
        table.take(np.array([0, 2])),
        EventDetails(event=Event.ARRIVED, at=AT, arrivals=Arrivals(*(column.take(np.array([0, 2])) for column in (
            arrivals.arrived_at, arrivals.conveyance_reference, arrivals.place, arrivals.carrier)))),  # type: ignore[arg-type]
    )  # fmt: skip
    assert all_there.ints("arrived_at").tolist() == [21, 23]
    back, _ = apply_event(table, EventDetails(event=Event.ARRIVAL_REVERSED, at=AT, arrivals=Arrivals.none(3)))
    assert back.ints("arrived_at").tolist() == [None] * 3
    assert [back.strings(name).tolist() for name in names] == [[""] * 3] * 3


@pytest.mark.parametrize("note", ["", "looked"])
def test_an_inspection_is_noted_where_it_has_its_effect(note: str) -> None:
    draw = random.Random(3)
    plain = record(draw, 0) | {"violation_found_by": "", "violation_resolved_by": "", "violation_resolved_at": None}
    states = (State.HELD, State.AWAITING_ARRIVAL, State.RELEASED)
    rows = [plain | {"mrn": f"M{row}", "state": int(state), "note": "before"} for row, state in enumerate(states)]
    found = Inspection(1, Result.VIOLATION, Result.VIOLATION, 2, {}, note=note)
    details = EventDetails(event=Event.INSPECTED, at=AT, by="vera", inspections={each["mrn"]: found for each in rows})
    table = table_of(rows).with_columns({"inspected_by": Strings.of(["p", "p", "p"])})
    after, _ = apply_event(table, details)
    assert after.strings("inspected_by").tolist() == ["vera", "p", "vera"]
    assert after.strings("violation_found_by").tolist() == ["vera", "", "vera"]
    assert after.strings("note").tolist() == ([note, "before", note] if note else ["before"] * 3)


def test_an_inspection_and_an_adjustment_end_the_time_for_amendments() -> None:
    draw = random.Random(4)
    plain = record(draw, 0) | {"state": int(State.HELD), "arrived_at": None, "debt_status": int(Debt.NONE)}
    rows = [
        plain | {"inspected_at": inspected, "adjusted_at": adjusted}
        for inspected in (None, 1)
        for adjusted in (None, 1)
    ]
    _, outcome = apply_event(table_of(rows), EventDetails(event=Event.INVALIDATED, at=AT))
    assert outcome.effective.tolist() == [True, False, False, False]


def test_goods_were_released_whether_or_not_an_officer_holds_them_again() -> None:
    draw = random.Random(5)
    times = [(None, None), (1, None), (None, 1), (1, 1)]
    rows = [record(draw, 0) | {"released_at": now, "former_released_at": former} for now, former in times]
    assert was_released(table_of(rows)).tolist() == [False, True, True, True]
