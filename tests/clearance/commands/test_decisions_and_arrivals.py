"""What clearance does to consignments, over a real PostgreSQL: nothing twice, nothing lost, versions without gaps."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import numpy as np
import pytest

from libs.columns import Table
from libs.customs.identifiers.mrn import parse
from libs.feed.types import EventError
from libs.server.errors import Refusal
from luxor.consignment.v1 import consignment_pb2
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns as RevenueColumns
from services.clearance.commands.act import Acted
from services.clearance.commands.store_days import purge
from services.clearance.consignment.transitions import Change, Debt, Event, State
from tests.clearance.desk import ACCEPTED_AT, DAY, MASTER, TRACE, Desk, filings, mrns, revenue_answer, risk_answer
from tests.clearance.desk_commands import HELD_MILLIS, act, arrival, arrive, check_versions, texts, waiting_for_a_lock

REFERENCES = ["GREEN-1", "BLUE-1", "YELLOW-1", "RED-1", "NORULEBOOK-1", "NORATE-1", "VENDOR-1", "BARE-1"]


async def test_each_filing_is_decided_by_its_lane_its_figures_and_its_debt(desk: Desk) -> None:
    told = filings(REFERENCES)
    await desk.consume(told)
    states = await desk.states(mrns(told))
    wait, held = State.AWAITING_ARRIVAL, State.HELD
    assert states.ints("state").values.tolist() == [wait, wait, held, held, held, held, wait, held]
    low = "VALUE_IMPLAUSIBLY_LOW"
    assert texts(states, "reasons") == [
        [], [low], [low], [low], ["NO_RULEBOOK"], ["NO_EXCHANGE_RATE"], [], ["DEBT_OPEN"],
    ]  # fmt: skip
    assert states.bools("audit").values.tolist() == [False, True] + [False] * 6
    deferred, unknown = Debt.DEFERRED, Debt.UNKNOWN
    assert states.ints("debt_status").values.tolist() == [
        deferred, deferred, deferred, deferred, unknown, unknown, Debt.VENDOR_COLLECTED, Debt.OPEN,
    ]  # fmt: skip
    assert states.strings("debt_account").tolist()[0] == "deferred:DE123456789012345"
    assert states.ints("payable_minor").tolist() == [380, 380, 380, 380, None, None, 0, 380]
    assert states.child("items").ints("customs_value_minor").tolist()[0] == 1999
    assert states.child("charges").strings("charge").tolist() == ["EU.vat_low_value"] * 6
    assert states.ints("version").values.tolist() == [1] * 8
    assert states.ints("change").values.tolist() == [Change.DECIDED] * 8
    assert states.ints("decided_at").valid.all()
    assert states.ints("first_decided_at").tolist() == states.ints("decided_at").tolist()
    assert not states.ints("released_at").valid.any()


async def test_an_arrival_after_the_filing_releases_what_waits_and_leaves_what_is_held(desk: Desk) -> None:
    told = filings(REFERENCES)
    await desk.consume(told)
    assert await arrive(desk, arrival())
    states = await desk.states(mrns(told))
    assert states.ints("version").values.tolist() == [2] * 8
    assert states.ints("arrived_at").values.tolist() == [ACCEPTED_AT + 10**9] * 8
    assert states.strings("arrival_place").tolist() == ["DEFRA"] * 8
    released = states.ints("state").values == State.RELEASED
    assert released.tolist() == [True, True, False, False, False, False, True, False]
    assert (states.ints("released_at").valid == released).all()
    await check_versions(desk)


async def test_an_arrival_before_the_filing_binds_it_with_its_decision(desk: Desk) -> None:
    await arrive(desk, arrival())
    told = filings(REFERENCES)
    await desk.consume(told)
    states = await desk.states(mrns(told))
    assert states.ints("version").values.tolist() == [1] * 8
    assert states.ints("arrived_at").valid.all()
    released = (states.ints("state").values == State.RELEASED).tolist()
    assert released == [True, True, False, False, False, False, True, False]
    async with desk.store.database.connection() as reading:
        assert await desk.store.arrivals.pending(reading, 2**62, 10) == []


async def test_an_arrival_that_is_recorded_while_its_filing_is_being_decided_waits_for_it_and_finds_it(
    desk: Desk,
) -> None:
    told = filings(["GREEN-1"])
    prepared = await desk.prepare(told)
    async with desk.store.database.transaction(timeout_millis=HELD_MILLIS) as tx:
        await desk.intake.apply(tx, prepared)
        arriving = asyncio.create_task(arrive(desk, arrival()))
        await waiting_for_a_lock(desk, tx)
        assert not arriving.done()
    await arriving
    states = await desk.states(mrns(told))
    assert states.ints("state").values.tolist() == [State.RELEASED]
    assert states.ints("version").values.tolist() == [2]


async def test_a_filing_that_is_decided_while_its_arrival_is_being_recorded_waits_for_it_and_is_bound(
    desk: Desk,
) -> None:
    told = filings(["GREEN-1"])
    async with desk.store.database.transaction(timeout_millis=HELD_MILLIS) as tx:
        await desk.store.arrivals.lock_documents(tx, [MASTER])
        await desk.store.arrivals.record(tx, [arrival()], request_id="a1", at=ACCEPTED_AT)
        deciding = asyncio.create_task(desk.consume(told))
        await waiting_for_a_lock(desk, tx)
        assert not deciding.done()
    await deciding
    states = await desk.states(mrns(told))
    assert states.ints("state").values.tolist() == [State.RELEASED]
    # The call that recorded it now carries it out, which finds nothing left to do.
    await desk.arrive.run([MASTER], trace=TRACE)
    assert (await desk.states(mrns(told))).ints("version").values.tolist() == [1]


async def test_the_same_event_twice_changes_nothing(desk: Desk) -> None:
    told = filings(REFERENCES)
    await desk.consume(told)
    before = len(await desk.events())
    await desk.consume(told)
    await desk.consume(told.take(np.array([3, 1])), told)
    assert len(await desk.events()) == before
    assert (await desk.states(mrns(told))).ints("version").values.tolist() == [1] * 8
    await check_versions(desk)


async def test_a_replayed_event_does_not_take_back_a_release(desk: Desk) -> None:
    told = filings(["GREEN-1"])
    await desk.consume(told)
    await arrive(desk, arrival())
    await desk.consume(told)
    states = await desk.states(mrns(told))
    assert (states.ints("state").values[0], states.ints("version").values[0]) == (State.RELEASED, 2)


async def test_the_same_arrival_twice_changes_nothing_and_of_two_different_ones_the_first_counts(desk: Desk) -> None:
    told = filings(["GREEN-1", "RED-1"])
    await desk.consume(told)
    assert await arrive(desk, arrival(), "a1")
    assert await arrive(desk, arrival(), "a1")
    assert not await arrive(desk, arrival(place="DEHAM"), "a2")
    states = await desk.states(mrns(told))
    assert states.ints("version").values.tolist() == [2, 2]
    assert states.strings("arrival_place").tolist() == ["DEFRA", "DEFRA"]
    await check_versions(desk)


async def test_an_arrival_of_thousands_is_carried_out_in_chunks_and_finished_after_a_crash(desk: Desk) -> None:
    told = filings([f"GREEN-{number:05d}" for number in range(2_300)])
    await desk.consume(told)
    async with desk.store.database.transaction() as tx:
        await desk.store.arrivals.lock_documents(tx, [MASTER])
        await desk.store.arrivals.record(tx, [arrival()], request_id="a1", at=ACCEPTED_AT)
    # The call died here; a later look takes it up.
    assert await desk.arrive.finish(ACCEPTED_AT + 1, 10) == 1
    assert await desk.arrive.finish(ACCEPTED_AT + 1, 10) == 0
    states = await desk.states(mrns(told))
    assert (states.ints("state").values == State.RELEASED).all()
    assert (states.ints("version").values == 2).all()
    sizes = [table.rows for table in await desk.events() if table.ints("change").values[0] == Change.ARRIVED]
    assert sorted(sizes) == [300, 1_000, 1_000]
    await check_versions(desk)


async def test_an_officer_releases_and_holds_and_each_act_makes_one_version(desk: Desk) -> None:
    told = filings(["RED-1", "GREEN-1"])
    red, green = mrns(told)
    await desk.consume(told)
    assert await act(desk, Event.OFFICER_RELEASED, [red], reason="DOCUMENTS_IN_ORDER") == [
        Acted(red, State.AWAITING_ARRIVAL, 2, "")
    ]
    await arrive(desk, arrival())
    assert [each.state for each in await act(desk, Event.OFFICER_HELD, [red, green], request_id="o2", reason="TIP")] == [
        State.HELD, State.HELD,
    ]  # fmt: skip
    states = await desk.states([red, green])
    assert texts(states, "reasons") == [["TIP", "OFFICER_HOLD"]] * 2
    assert states.strings("decided_by").tolist() == ["olga", "olga"]
    assert not states.ints("released_at").valid.any()
    await act(desk, Event.OFFICER_RELEASED, [red, green], request_id="o3")
    states = await desk.states([red, green])
    assert states.ints("state").values.tolist() == [State.RELEASED, State.RELEASED]
    assert states.ints("version").values.tolist() == [5, 4]
    assert states.ints("released_at").valid.all()
    assert not states.bools("officer_hold").values.any()
    await check_versions(desk)


async def test_an_officers_act_without_effect_tells_why_and_makes_no_version(desk: Desk) -> None:
    told = filings(["GREEN-1", "RED-1", "BARE-1"])
    green, red, bare = mrns(told)
    await desk.consume(told)
    nobody = mrns(filings(["GREEN-99"]))[0]
    results = await act(desk, Event.OFFICER_RELEASED, [green, bare, nobody])
    assert [each.refusal for each in results] == ["NOT_HELD", "DEBT_OPEN", "CONSIGNMENT_UNKNOWN"]
    assert [each.refusal for each in await act(desk, Event.OFFICER_HELD, [red], expected=7, request_id="o2")] == [
        "VERSION_CHANGED"
    ]
    assert [each.refusal for each in await act(desk, Event.OFFICER_HELD, [red], expected=1, request_id="o3")] == [""]
    assert [each.refusal for each in await act(desk, Event.OFFICER_HELD, [red], request_id="o4")] == ["ALREADY_HELD"]
    assert (await desk.states([green, red, bare])).ints("version").values.tolist() == [1, 2, 1]


async def test_an_arrival_and_an_officer_at_once_lose_neither_change(desk: Desk) -> None:
    told = filings([f"GREEN-{number}" for number in range(200)])
    numbers = mrns(told)
    await desk.consume(told)
    async with desk.store.database.transaction() as tx:
        await desk.store.arrivals.lock_documents(tx, [MASTER])
        await desk.store.arrivals.record(tx, [arrival()], request_id="a1", at=ACCEPTED_AT)
    await asyncio.gather(
        desk.arrive.run([MASTER], trace=TRACE),
        act(desk, Event.OFFICER_HELD, numbers[::-1]),
        desk.arrive.run([MASTER], trace=TRACE),
        desk.consume(told),
    )
    states = await desk.states(numbers)
    assert (states.ints("version").values == 3).all()
    assert (states.ints("state").values == State.HELD).all()
    assert states.ints("arrived_at").valid.all()
    await check_versions(desk)


async def test_a_new_version_of_a_filing_is_decided_again_until_the_goods_arrive(desk: Desk) -> None:
    told = filings(["GREEN-1", "RED-1"])
    numbers = mrns(told)
    await desk.consume(told)
    await act(desk, Event.OFFICER_HELD, [numbers[1]])

    def heavier(_: int, row: consignment_pb2.Consignment) -> None:
        row.gross_mass_mg = 7

    await desk.consume(filings(["GREEN-1", "RED-1"], version=2, change=heavier))
    states = await desk.states(numbers)
    assert states.ints("version").values.tolist() == [2, 3]
    assert states.ints("filing_version").values.tolist() == [2, 2]
    assert states.ints("gross_mass_mg").values.tolist() == [7, 7]
    assert states.ints("state").values.tolist() == [State.AWAITING_ARRIVAL, State.HELD]
    assert texts(states, "reasons")[1] == ["LOOKED_AT", "OFFICER_HOLD"]
    await arrive(desk, arrival())
    await desk.consume(filings(["GREEN-1"], version=3))
    late = await desk.states(numbers[:1])
    assert (late.ints("filing_version").values[0], late.ints("version").values[0]) == (2, 3)
    await check_versions(desk)


async def test_of_several_versions_in_one_page_the_newest_counts(desk: Desk) -> None:
    await desk.consume(filings(["GREEN-1"]), filings(["GREEN-1"], version=3), filings(["GREEN-1"], version=2))
    states = await desk.states(mrns(filings(["GREEN-1"])))
    assert (states.ints("filing_version").values[0], states.ints("version").values[0]) == (3, 1)


async def test_days_of_acceptance_long_past_or_to_come_have_their_place(desk: Desk) -> None:
    for day in (DAY - 300, DAY + 40):
        told = filings(["GREEN-1"], day=day)
        await desk.consume(told)
        assert parse(mrns(told)[0]).day == day
        assert (await desk.states(mrns(told))).rows == 1


async def test_an_absent_neighbour_is_no_fault_of_the_event(desk: Desk) -> None:
    desk.neighbours.refuse = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.aio.AioRpcError):
        await desk.prepare(filings(["GREEN-1"]))
    desk.neighbours.refuse = None
    await desk.consume(filings(["GREEN-1"]))


async def test_a_batch_that_a_neighbour_refuses_as_such_is_the_events_fault(desk: Desk) -> None:
    desk.neighbours.refuse = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(EventError) as caught:
        await desk.prepare(filings(["GREEN-1"]))
    assert caught.value.reason == "ASSESSMENT_REFUSED"


@pytest.mark.parametrize(("reason", "halved"), [("ANSWER_TOO_LARGE", True), ("OVERLOADED", False)])
async def test_what_has_too_large_an_answer_is_asked_for_in_parts_and_an_overloaded_neighbour_is_awaited(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, reason: str, *, halved: bool
) -> None:
    desk.neighbours.refuse = grpc.StatusCode.RESOURCE_EXHAUSTED
    monkeypatch.setattr("services.clearance.feeds.filings.reason_of", lambda _: reason)
    with pytest.raises(EventError if halved else grpc.aio.AioRpcError):
        await desk.prepare(filings(["GREEN-1", "GREEN-2"]))


async def test_an_answer_that_does_not_fit_is_the_neighbours_fault_and_is_asked_again(desk: Desk) -> None:
    desk.neighbours.risk = lambda table: risk_answer(table.take(np.arange(table.rows - 1)))
    with pytest.raises(Refusal) as caught:
        await desk.prepare(filings(["GREEN-1", "GREEN-2"]))
    assert caught.value.reason == "ASSESSMENT_MISALIGNED"
    desk.neighbours.risk = risk_answer

    def silent(table: Table) -> Table:
        return Table.of(RevenueColumns, table.rows, {"currency": revenue_answer(table).strings("currency")})

    desk.neighbours.revenue = silent
    with pytest.raises(Refusal):
        await desk.prepare(filings(["GREEN-1"]))


async def test_large_batches_are_cut_and_small_ones_joined_before_they_are_assessed(desk: Desk) -> None:
    small = [filings([f"GREEN-{number}"]) for number in range(40)]
    large = filings([f"BLUE-{number:04d}" for number in range(2_100)])
    prepared = await desk.prepare(*small, large)
    assert [part.table.rows for part in prepared.decided] == [40, 2_000, 100]
    assert desk.neighbours.calls == 6


async def test_what_is_too_old_is_forgotten_and_nothing_younger(desk: Desk) -> None:
    old, young = filings(["RED-1"], day=DAY - 300, master="11111111111"), filings(["RED-2"])
    await desk.consume(old, young)
    desk.consistent = False
    await purge(desk.store, DAY)
    async with desk.store.database.connection() as reading:
        assert await desk.store.work.held(reading, (0, ""), 0, 10) == mrns(young)
        found = await desk.store.references.by_local(reading, ["shop", "shop"], ["RED-1", "RED-2"])
        assert found == {1: mrns(young)[0]}
        houses = await desk.store.references.by_house_documents(reading, ["H-RED-1", "H-RED-2"], ["", ""], [5, 5])
        assert houses == {1: mrns(young)}
