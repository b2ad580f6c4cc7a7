"""What an event writes into a state: version, times, reasons and notes, for the rows where it has its effect alone."""

from __future__ import annotations

from enum import IntEnum

import pytest

from libs.columns import Bools, Ints, Ragged, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from services.clearance.consignment.decision import CUSTOMS_CHECK, Lane
from services.clearance.consignment.inspection import Inspection, Result
from services.clearance.consignment.state.amendment import amended_states
from services.clearance.consignment.state.arrivals import arrived_by
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Change, Debt, Event, State

OFFICER_HOLD = "OFFICER_HOLD"
AT = 5_000


def state(where: State, **more: int | bool) -> Table:
    columns = {name: Bools.of([value]) if isinstance(value, bool) else Ints.of([value]) for name, value in more.items()}
    return Table.of(
        ClearanceColumns,
        1,
        {
            "mrn": Strings.of(["M"]),
            "version": Ints.of([3]),
            "state": Ints.of([int(where)]),
            "lane": Ints.of([int(Lane.GREEN)]),
            "debt_status": Ints.of([int(Debt.NONE)]),
            "changed_at": Ints.of([1]),
            "note": Strings.of(["before"]),
            "reasons": Ragged.of_lengths([1], Strings.of(["X"])),
            **columns,
        },
    )


def reasons(table: Table) -> list[str]:
    values = table.ragged("reasons").values
    assert isinstance(values, Strings)
    return values.tolist()


@pytest.mark.parametrize(
    ("where", "event", "reason", "after", "expected"),
    [
        (State.HELD, Event.OFFICER_RELEASED, "FINE", State.AWAITING_ARRIVAL, ["FINE"]),
        (State.HELD, Event.OFFICER_RELEASED, OFFICER_HOLD, State.AWAITING_ARRIVAL, [OFFICER_HOLD]),
        (State.AWAITING_ARRIVAL, Event.OFFICER_HELD, "TIP", State.HELD, ["TIP", OFFICER_HOLD]),
        (State.AWAITING_ARRIVAL, Event.OFFICER_HELD, OFFICER_HOLD, State.HELD, [OFFICER_HOLD]),
        (State.RELEASED, Event.OFFICER_HELD, "TIP", State.HELD, ["TIP", OFFICER_HOLD]),
    ],
)
def test_an_officers_event_gives_its_reason_and_note(
    where: State, event: Event, reason: str, after: State, expected: list[str]
) -> None:
    table, outcome = apply_event(state(where), EventDetails(event=event, at=AT, by="olga", reason=reason, note="n"))
    assert outcome.effective.tolist() == [True]
    assert (table.ints("state").tolist(), reasons(table), table.strings("note").tolist()) == ([after], expected, ["n"])
    assert (table.ints("version").tolist(), table.ints("changed_at").tolist()) == ([4], [AT])


@pytest.mark.parametrize(
    ("where", "event"),
    [
        (State.AWAITING_ARRIVAL, Event.OFFICER_RELEASED),
        (State.RELEASED, Event.OFFICER_RELEASED),
        (State.EXPIRED, Event.OFFICER_HELD),
    ],
)
def test_an_event_that_is_refused_leaves_the_state_as_it_was(where: State, event: Event) -> None:
    table, outcome = apply_event(state(where), EventDetails(event=event, at=AT, by="olga", reason="FINE", note="n"))
    assert outcome.effective.tolist() == [False]
    assert (table.ints("state").tolist(), reasons(table), table.strings("note").tolist()) == (
        [where],
        ["X"],
        ["before"],
    )
    assert (table.ints("version").tolist(), table.ints("changed_at").tolist()) == ([3], [1])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"debt_status": int(Debt.OPEN)}, ["X", "DEBT_OPEN"]),
        ({"debt_status": int(Debt.UNKNOWN)}, ["X", "UNVALUED"]),
        ({"screening_hold": True}, ["X", CUSTOMS_CHECK]),
        ({"officer_hold": True}, ["X", OFFICER_HOLD]),
        ({"officer_hold": True, "screening_hold": True, "debt_status": int(Debt.OPEN)}, ["X", OFFICER_HOLD]),
    ],
)
def test_an_arrival_that_releases_nothing_says_why(more: dict[str, int | bool], expected: list[str]) -> None:
    table, _ = apply_event(state(State.AWAITING_ARRIVAL, **more), EventDetails(event=Event.ARRIVED, at=AT))
    assert (table.ints("state").tolist(), reasons(table)) == ([State.HELD], expected)


@pytest.mark.parametrize(
    ("debt", "before", "expected"),
    [
        (Debt.OPEN, "X", ["X", "DEBT_OPEN"]),
        (Debt.OPEN, "DEBT_OPEN", ["DEBT_OPEN"]),
        (Debt.UNKNOWN, "X", ["X", "UNVALUED"]),
        (Debt.UNKNOWN, "NO_RULEBOOK", ["NO_RULEBOOK"]),
    ],
)
def test_the_last_control_of_goods_that_their_debt_holds_says_so_unless_it_is_said(
    debt: Debt, before: str, expected: list[str]
) -> None:
    goods = state(State.EXAMINATION, debt_status=int(debt), control_hold=True)
    goods = goods.with_columns({"reasons": Ragged.of_lengths([1], Strings.of([before]))})
    table, _ = apply_event(goods, EventDetails(event=Event.CONTROLS_CONCLUDED, at=AT))
    assert (table.ints("state").tolist(), reasons(table)) == ([State.HELD], expected)


def test_a_hit_gives_its_reason_where_no_officer_holds() -> None:
    table, _ = apply_event(state(State.AWAITING_ARRIVAL), EventDetails(event=Event.SCREENING_MATCHED, at=AT))
    assert (table.ints("state").tolist(), reasons(table)) == ([State.HELD], ["X", CUSTOMS_CHECK])
    table, _ = apply_event(state(State.HELD, officer_hold=True), EventDetails(event=Event.SCREENING_MATCHED, at=AT))
    assert reasons(table) == ["X"]
    table, _ = apply_event(state(State.RELEASED), EventDetails(event=Event.SCREENING_MATCHED, at=AT))
    assert (table.ints("state").tolist(), reasons(table)) == ([State.RELEASED], ["X"])


@pytest.mark.parametrize(
    ("where", "arrived", "released_at", "expected"),
    [
        (State.HELD, True, None, AT),
        (State.HELD, False, None, None),
        (State.HELD, True, 2, AT),
    ],
)
def test_the_time_of_release_is_that_of_the_last_release(
    where: State, arrived: bool, released_at: int | None, expected: int | None
) -> None:
    more = ({"arrived_at": 2} if arrived else {}) | ({} if released_at is None else {"released_at": released_at})
    table, _ = apply_event(state(where, **more), EventDetails(event=Event.OFFICER_RELEASED, at=AT, by="olga"))
    assert table.ints("released_at").tolist() == [expected]


def test_a_hold_after_release_notes_the_first_release() -> None:
    details = EventDetails(event=Event.OFFICER_HELD, at=AT, by="olga", reason="TIP")
    table, _ = apply_event(state(State.RELEASED, released_at=2), details)
    assert (table.ints("released_at").tolist(), table.ints("former_released_at").tolist()) == ([None], [2])
    table, _ = apply_event(state(State.RELEASED, released_at=4, former_released_at=2), details)
    assert table.ints("former_released_at").tolist() == [2]


def test_an_inspection_is_written_into_the_state_and_leaves_reasons_and_note() -> None:
    found = Inspection(method=1, result=Result.CONFORM, whole=Result.CONFORM, violation=0, items={})
    details = EventDetails(event=Event.INSPECTED, at=AT, by="olga", reason="LOOKED", note="n", inspections={"M": found})
    table, outcome = apply_event(state(State.HELD), details)
    assert outcome.effective.tolist() == [True]
    assert (table.ints("state").tolist(), reasons(table), table.strings("note").tolist()) == (
        [State.HELD],
        ["X"],
        ["before"],
    )
    assert (table.ints("inspected_at").tolist(), table.ints("inspection_method").tolist()) == ([AT], [1])
    assert table.ints("inspection_result").tolist() == [Result.CONFORM]


def test_an_arrival_is_of_a_document_only_once_it_was_reported() -> None:
    rows = Table.concat([state(State.HELD, arrived_at=2), state(State.HELD), state(State.HELD, arrived_at=2)])
    rows = rows.with_columns(
        {"master_document_number": Strings.of(["A", "A", "B"]), "arrival_carrier": Strings.of(["wings", "wings", ""])}
    )
    assert arrived_by(rows, "A", "wings").tolist() == [True, False, False]
    assert arrived_by(rows, "A", "other").tolist() == [False, False, False]
    assert arrived_by(rows, "B", "other").tolist() == [False, False, True]


@pytest.mark.parametrize(("stored", "fresh"), [(True, False), (False, True), (True, True), (False, False)])
def test_a_new_version_of_a_filing_lifts_no_hold_and_brings_its_own(stored: bool, fresh: bool) -> None:
    before = state(State.HELD, officer_hold=stored)
    after = amended_states(before, state(State.HELD, officer_hold=fresh))
    assert after.bools("officer_hold").values.tolist() == [stored or fresh]


@pytest.mark.parametrize(("numbers", "prefix"), [(State, "STATE_"), (Debt, "DEBT_STATUS_"), (Change, "CHANGE_")])
def test_states_debts_and_changes_have_the_numbers_of_the_contract(numbers: type[IntEnum], prefix: str) -> None:
    contract = {
        name.removeprefix(prefix).replace("UNSPECIFIED", "UNKNOWN"): getattr(source, name)
        for source in (pb, common_pb2)
        for name in dir(source)
        if name.startswith(prefix)
    }
    assert {name: each.value for name, each in numbers.__members__.items()} == {
        name: number for name, number in contract.items() if name != "UNKNOWN" or numbers is Debt
    }


def test_each_event_has_a_number_of_its_own() -> None:
    assert [each.value for each in Event.__members__.values()] == list(range(53))
