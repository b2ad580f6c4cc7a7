"""Declarations whose goods never arrived: when they expire, what stays, and what comes at the same time. Time is given, never waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.store.tables.leases import release_lease, try_lease
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import control_pb2
from services.clearance.commands.arrivals import expire
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.consignment.lifecycle.disposals import EVENTS
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Change, Debt, Event, State
from services.clearance.jobs import expiry
from services.clearance.jobs.expiry import LEASE, Expiry, look
from services.clearance.store.work import Pass, passes
from tests.clearance import debt_events, screening_matches
from tests.clearance.desk import ACCEPTED_AT, DAY, MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import arrival, check_versions, texts
from tests.clearance.events import STEPS, Driver
from tests.clearance.risk_answers import ServiceSpan, answering, screening

DAYS = 200
DUE = (DAY + DAYS + 1) * MICROS_PER_DAY
"""When declarations of DAY expire: once 200 whole days after it are over."""


def job(desk: Desk, replica: str = "r") -> Expiry:
    return Expiry(desk.store, replica, arrival_days=DAYS, exit_days=DAYS)


async def states(desk: Desk, *references: str) -> list[State]:
    table = await desk.states(mrns(filings(references)))
    return [State(each) for each in table.ints("state").values.tolist()]


async def pass_of(desk: Desk) -> Pass | None:
    async with desk.store.database.connection() as reading:
        return (await passes(reading)).get(DAY)


async def test_a_declaration_expires_when_its_days_are_over_and_not_a_microsecond_before(desk: Desk) -> None:
    await desk.consume(filings(["GREEN-1", "BARE-1", "RED-1"]), filings(["GREEN-2"], day=DAY + 1))
    assert await job(desk).step(at=DUE - 1) == 0
    assert await job(desk).step(at=DUE) == 3
    table: Table = await desk.states(mrns(filings(["GREEN-1", "BARE-1", "RED-1"])))
    assert table.ints("state").tolist() == [State.EXPIRED] * 3
    assert table.ints("change").tolist() == [Change.EXPIRED] * 3
    assert kinds(table).tolist() == [NoticeKind.EXPIRED] * 3
    assert table.ints("debt_status").tolist() == [Debt.NONE] * 3
    assert not table.strings("debt_account").present.any()
    assert texts(table, "reasons") == [["NEVER_ARRIVED"]] * 3
    assert not table.bools("debt_hold").values.any()
    assert table.strings("decided_by").tolist() == ["automatic"] * 3
    later = await desk.states(mrns(filings(["GREEN-2"], day=DAY + 1)))
    assert later.ints("state").tolist() == [State.AWAITING_ARRIVAL]
    assert await job(desk).step(at=DUE) == 0
    await check_versions(desk)


async def test_what_arrived_was_released_or_is_held_as_evidence_stays(desk: Desk) -> None:
    names = ["GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4", "RED-1", "RED-2", "RED-3", "RED-4"]
    desk.neighbours.risk = answering({"RED-3": ServiceSpan(cause=1, confidential=("PARTY_LISTED",))})
    driver = Driver(desk)
    await desk.consume(filings(names))
    await desk.consume(filings(["GREEN-5", "GREEN-6", "RED-5", "GREEN-7"], master="16099999999"))
    await screening_matches.hear(desk, screening(filings(["GREEN-1"])))
    await STEPS["hold"](driver, "GREEN-2")
    await STEPS["violation"](driver, "RED-1")
    # Released by an officer after a match: nobody holds it any more.
    await screening_matches.hear(desk, screening(filings(["GREEN-3"])))
    await STEPS["release"](driver, "GREEN-3")
    # Arrivals: one is reversed before it released anything, one releases, and one is held again.
    await STEPS["hold"](driver, "GREEN-6")
    await driver.arrive("16099999999")
    await STEPS["hold"](driver, "GREEN-5")
    await STEPS["seized"](driver, "RED-5")
    assert await job(desk).step(at=DUE) == 4
    assert await states(desk, *names) == [
        State.HELD, State.HELD, State.EXPIRED, State.EXPIRED, State.HELD, State.EXPIRED, State.HELD, State.EXPIRED,
    ]  # fmt: skip
    assert await states(desk, "GREEN-5", "GREEN-6", "RED-5", "GREEN-7") == [
        State.HELD, State.HELD, State.SEIZED, State.RELEASED,
    ]  # fmt: skip
    # An arrival that was reversed counts as none, but goods that it released once stay.
    await STEPS["release"](driver, "GREEN-5")
    await driver.reverse("16099999999")
    await STEPS["hold"](driver, "GREEN-5")
    assert await job(desk).step(at=DUE + 8 * MICROS_PER_DAY) == 0
    await STEPS["release"](driver, "GREEN-6")
    assert await job(desk).step(at=DUE + 16 * MICROS_PER_DAY) == 1
    assert await states(desk, "GREEN-5", "GREEN-6") == [State.HELD, State.EXPIRED]


async def test_a_day_is_passed_again_after_a_week_for_what_an_officer_let_go(desk: Desk) -> None:
    driver = Driver(desk)
    await desk.consume(filings(["GREEN-1"]))
    await STEPS["hold"](driver, "GREEN-1")
    assert await job(desk).step(at=DUE) == 0
    assert await pass_of(desk) == Pass(DAY, "", DUE)
    await STEPS["release"](driver, "GREEN-1")
    assert await job(desk).step(at=DUE + 7 * MICROS_PER_DAY - 1) == 0
    assert await job(desk).step(at=DUE + 7 * MICROS_PER_DAY) == 1


@pytest.mark.parametrize(("page", "chunk"), [(3, 2), (4, 2), (5, 1_000), (1, 1), (10, 3), (11, 10)])
async def test_an_interrupted_pass_continues_behind_what_it_committed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, page: int, chunk: int
) -> None:
    monkeypatch.setattr(expiry, "PAGE_ROWS", page)
    monkeypatch.setattr(expiry, "CHUNK_ROWS", chunk)
    names = [f"GREEN-{number}" for number in range(10)]
    await desk.consume(filings(names))
    run = expire.Expire.run
    asked: list[list[str]] = []

    async def dies(self: Any, numbers: list[str], progress: Pass, trace: str, now: int) -> int:
        if len(asked) == 1:
            asked.append([])
            raise RuntimeError("killed")
        asked.append(list(numbers))
        return await run(self, numbers, progress, trace, now)

    monkeypatch.setattr(expire.Expire, "run", dies)
    first = 0
    try:
        first = await job(desk).step(at=DUE)
    except RuntimeError:
        first = len(asked[0])
        assert await pass_of(desk) == Pass(DAY, max(asked[0]), None)
    assert first + await job(desk, "r").step(at=DUE) == 10
    looked = [number for numbers in asked for number in numbers]
    assert sorted(looked) == sorted(mrns(filings(names))), "each was looked at once"
    assert await pass_of(desk) == Pass(DAY, "", DUE)
    await check_versions(desk)


async def test_a_consignment_that_fails_leaves_the_other_days_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.consume(filings(["GREEN-1"]), filings(["GREEN-2"], day=DAY - 1), filings(["GREEN-3"], day=DAY - 2))
    run = expire.Expire.run

    async def fails(self: Any, numbers: list[str], progress: Pass, trace: str, now: int) -> int:
        if progress.day == DAY - 1:
            raise RuntimeError("a defect")
        return await run(self, numbers, progress, trace, now)

    monkeypatch.setattr(expire.Expire, "run", fails)
    with pytest.raises(RuntimeError):
        await job(desk).step(at=DUE)
    table = await desk.states(
        [
            *mrns(filings(["GREEN-1"])),
            *mrns(filings(["GREEN-2"], day=DAY - 1)),
            *mrns(filings(["GREEN-3"], day=DAY - 2)),
        ]
    )
    assert table.ints("state").tolist() == [State.EXPIRED, State.AWAITING_ARRIVAL, State.EXPIRED]


async def test_an_arrival_at_the_same_time_has_its_effect_before_or_after_and_never_both(desk: Desk) -> None:
    names = [f"GREEN-{number}" for number in range(40)]
    await desk.consume(filings(names))
    driver = Driver(desk)
    await asyncio.gather(job(desk).step(at=DUE), driver.arrive(MASTER))
    found = set(await states(desk, *names))
    assert found <= {State.EXPIRED, State.RELEASED}
    table = await desk.states(mrns(filings(names)))
    arrived = table.ints("arrived_at").valid.tolist()
    assert arrived == [state == State.RELEASED for state in table.ints("state").tolist()]
    assert set(table.ints("version").tolist()) == {2}
    await check_versions(desk)


async def test_what_was_reported_as_arrived_does_not_expire_though_the_arrival_has_no_effect_yet(desk: Desk) -> None:
    """The call of one arrival died before it was carried out; another is by a carrier to which the filing is not bound."""
    other = "16099999999"
    await desk.consume(
        filings(["GREEN-1"]), filings(["GREEN-2"], master=other), filings(["GREEN-3"], master="16088888888")
    )
    async with desk.store.database.transaction() as tx:
        for each in (arrival(), replace(arrival(other), carrier="rails")):
            await desk.store.arrivals.lock_documents(tx, [each.document_number])
            await desk.store.arrivals.record(tx, [each], request_id=each.carrier, at=ACCEPTED_AT)
    await desk.arrive.run([other], trace=TRACE)
    assert await job(desk).step(at=DUE) == 1
    awaiting = State.AWAITING_ARRIVAL
    table = await desk.states(mrns(filings(["GREEN-1", "GREEN-2", "GREEN-3"])))
    assert table.ints("state").tolist() == [awaiting, awaiting, State.EXPIRED]
    assert await desk.arrive.finish(2**62, 10) == 1
    assert await states(desk, "GREEN-1") == [State.RELEASED]
    # Once an arrival that was a mistake is reversed, the declaration expires.
    await Reversal(desk.store).begin(other, "rails", "officer/otto")
    await Reversal(desk.store).reverse(other, "rails", trace=TRACE, by="officer/otto")
    assert await job(desk).step(at=DUE + 8 * MICROS_PER_DAY) == 1


async def test_an_arrival_of_an_expired_declaration_is_recorded_and_has_no_effect(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    await desk.consume(filed)
    await job(desk).step(at=DUE)
    before = await desk.states(mrns(filed))
    await Driver(desk).arrive(MASTER)
    async with desk.store.database.connection() as reading:
        (row,) = await desk.store.arrivals.of_document(reading, MASTER)
    assert (row["carrier"], row["pending"], row["reversed_at"]) == ("wings", False, None)
    counts = (await desk.arrive.run([MASTER], trace="", carrier="wings"))[MASTER]
    assert (counts.consignments, counts.released, counts.held, counts.waiting) == (1, 0, 0, 0)
    after = await desk.states(mrns(filed))
    assert after.ints("version").tolist() == before.ints("version").tolist() == [2]
    assert not after.ints("arrived_at").valid.any()


async def test_after_its_expiry_a_declaration_owes_nothing_and_only_amounts_change(desk: Desk) -> None:
    filed = filings(["BARE-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    await job(desk).step(at=DUE)
    await debt_events.hear(desk, debt_events.debt([mrn], 1, Debt.PAID, paid=380))
    await debt_events.hear(desk, debt_events.debt([mrn], 2, Debt.OPEN, kind=debt_events.OPENED, paid=0))
    await debt_events.hear(desk, debt_events.anew([mrn], 3, 5, 900, account=""))
    assert debt_events.told_of(await desk.states([mrn])) == [(State.EXPIRED, Debt.NONE, Change.REASSESSED, False)]


async def test_what_comes_after_the_expiry_is_too_late(desk: Desk) -> None:
    await desk.consume(filings(["GREEN-1"]))
    await job(desk).step(at=DUE)
    driver = Driver(desk)
    for name in ("amend", "hold", "release", "conform", "match", "return all", *ENDS):
        await STEPS[name](driver, "GREEN-1")
    assert (await desk.states(mrns(filings(["GREEN-1"])))).ints("version").tolist() == [2]


ENDS = ("seized", "confiscated", "destroyed", "re_exported", "abandoned", "invalidated")


def test_the_ends_by_customs_are_all_tried() -> None:
    assert len(ENDS) == len(EVENTS) - 1


async def test_a_clock_that_was_set_back_ends_nothing_early_and_repeats_a_pass(desk: Desk) -> None:
    driver = Driver(desk)
    await desk.consume(filings(["GREEN-1", "GREEN-2"]))
    await STEPS["hold"](driver, "GREEN-1")
    assert await job(desk).step(at=DUE + 100 * MICROS_PER_DAY) == 1
    await STEPS["release"](driver, "GREEN-1")
    assert await job(desk).step(at=DUE - 1) == 0
    assert await job(desk).step(at=DUE) == 1, "the pass of later was not made yet"
    assert await pass_of(desk) == Pass(DAY, "", DUE)


async def test_one_replica_at_a_time_works_and_thousands_go_in_chunks(desk: Desk) -> None:
    names = [f"GREEN-{number:05d}" for number in range(2_300)]
    await desk.consume(filings(names))
    async with desk.store.database.transaction() as tx:
        token = await try_lease(tx, LEASE, "another", 60.0)
        assert token is not None
    assert await job(desk).step(at=DUE) == 0
    async with desk.store.database.transaction() as tx:
        await release_lease(tx, LEASE, token)
    assert await job(desk).step(at=DUE) == 2_300
    sizes = [t.rows for t in await desk.events() if t.ints("change").values[0] == Change.EXPIRED]
    assert sorted(sizes) == [300, 1_000, 1_000]


async def test_gauges_show_the_oldest_day_that_nobody_looked_at_and_what_is_held_beyond_its_days(desk: Desk) -> None:
    old = DAY - DAYS - 3
    driver = Driver(desk)
    await desk.consume(filings(["GREEN-1", "RED-1", "GREEN-2"], day=old), filings(["RED-2"]))
    await driver.control(mrns(filings(["GREEN-2"], day=old))[0], control_pb2.CONTROL_FORM_DOCUMENTS)

    async def gauges() -> tuple[float | None, float | None]:
        await look(DAYS)(desk.store.database)
        names = ("luxor_clearance_expiry_overdue_seconds", "luxor_clearance_expiry_held")
        overdue, held = (REGISTRY.get_sample_value(name) for name in names)
        return overdue, held

    now = await desk.store.database.now()
    overdue, held = await gauges()
    assert overdue is not None
    late = (now - (old + DAYS + 1) * MICROS_PER_DAY) / 1_000_000
    assert late <= overdue < late + 60
    assert held == 2
    await driver.act(mrns(filings(["RED-1"], day=old))[0], _hold)
    assert await job(desk).step() == 1
    assert await gauges() == (0, 2)


def _hold(table: Table, at: int) -> Any:
    return table, EventDetails(event=Event.OFFICER_HELD, at=at, by="otto", reason="SEEN", note="n")
