"""The end of temporary storage: when it comes, what it concerns, and what comes at the same time. Time is given, never waited for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from libs.customs.time import MICROS_PER_DAY
from libs.telemetry.metrics import REGISTRY
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.consignment.notice_kinds import NoticeKind, kinds
from services.clearance.consignment.transitions import Change, State
from services.clearance.jobs import storage
from services.clearance.jobs.storage import StoragePasses
from services.clearance.jobs.waits import Waits
from services.clearance.store import gauges
from services.clearance.store.timers.storage import ListPass
from services.clearance.store.work import Claim
from tests.clearance.desk import CARRIER, DAY, MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import arrival, arrive, check_versions
from tests.clearance.events import STEPS, Driver


def _end(day: int) -> int:
    """Return the first microsecond after the limit of goods that arrived on a day, by the calendar."""
    last = datetime.fromtimestamp(day * 86_400, UTC) + timedelta(days=90)
    while last.isoweekday() > 5:
        last += timedelta(days=1)
    return int((last + timedelta(days=1)).timestamp()) * 1_000_000


END = _end(DAY)
REMINDER = END - 14 * MICROS_PER_DAY


async def step(desk: Desk, at: int, replica: str = "r") -> int:
    return await Waits(desk.store, replica).step(at=at)


async def changes(desk: Desk, *references: str) -> list[tuple[State, Change]]:
    table = await desk.states(mrns(filings(references)))
    pairs = zip(table.ints("state").values.tolist(), table.ints("change").values.tolist(), strict=True)
    return [(State(state), Change(change)) for state, change in pairs]


async def listed(desk: Desk) -> dict[str, tuple[int, int | None]]:
    async with desk.store.database.connection() as reading:
        rows = await reading.raw.fetch("select mrn, ends_at, next_at from storage")
    return {row["mrn"]: (row["ends_at"], row["next_at"]) for row in rows}


async def test_filer_and_carrier_are_reminded_and_the_limit_ends_each_at_its_microsecond_and_once(desk: Desk) -> None:
    await desk.consume(filings(["RED-1", "GREEN-1"]), filings(["RED-2"], master="7"))
    await arrive(desk, arrival())
    (red,) = mrns(filings(["RED-1"]))
    assert await listed(desk) == {red: (END, REMINDER)}
    assert await step(desk, REMINDER - 1) == 0
    assert await step(desk, REMINDER) == 1
    assert await changes(desk, "RED-1") == [(State.HELD, Change.STORAGE_REMINDED)]
    states = await desk.states([red])
    assert kinds(states).tolist() == [NoticeKind.STORAGE_REMINDED]
    assert states.ints("storage_reminded_at").tolist() == [REMINDER]
    assert await listed(desk) == {red: (END, END)}
    # Repeated, and with a clock that was set back.
    for at in (REMINDER, REMINDER - 30 * MICROS_PER_DAY, REMINDER, END - 1):
        assert await step(desk, at) == 0
    assert await step(desk, END) == 1
    states = await desk.states([red])
    assert (kinds(states).tolist(), states.ints("storage_ended_at").tolist()) == ([NoticeKind.STORAGE_ENDED], [END])
    assert await changes(desk, "RED-1", "GREEN-1") == [
        (State.HELD, Change.STORAGE_ENDED), (State.RELEASED, Change.ARRIVED),
    ]  # fmt: skip
    assert await listed(desk) == {red: (END, None)}
    assert await step(desk, END + 400 * MICROS_PER_DAY) == 0
    await check_versions(desk)


async def test_the_end_counts_where_the_reminder_is_due_as_well(desk: Desk) -> None:
    await desk.consume(filings(["RED-1"]))
    await arrive(desk, arrival())
    assert await step(desk, END) == 1
    assert await step(desk, END) == 0
    states = await desk.states(mrns(filings(["RED-1"])))
    assert states.ints("storage_reminded_at").tolist() == [None]


async def test_what_a_control_an_officer_or_a_claim_holds_is_listed_and_what_left_is_not(desk: Desk) -> None:
    driver, names = Driver(desk), [f"RED-{number}" for number in range(1, 9)]
    await desk.consume(filings(names))
    await arrive(desk, arrival())
    await STEPS["scan"](driver, "RED-1")
    await STEPS["documents"](driver, "RED-2")
    await STEPS["hold"](driver, "RED-3")
    numbers = mrns(filings(names))
    async with desk.store.database.transaction() as tx:
        await desk.store.claims.put(tx, [numbers[3]], Claim("olga", 1, "olga", ""))
    await STEPS["release"](driver, "RED-5")
    await STEPS["seized"](driver, "RED-6")
    await STEPS["release"](driver, "RED-7")
    await STEPS["hold"](driver, "RED-7")
    await STEPS["violation"](driver, "RED-8")
    # The deadlines of the two controls are due as well.
    assert await step(desk, END) == 2 + 5
    by_change = {name: (await changes(desk, name))[0] for name in names}
    ended = {name: state for name, (state, change) in by_change.items() if change == Change.STORAGE_ENDED}
    assert ended == {
        "RED-1": State.EXAMINATION, "RED-2": State.DOCUMENTS_REQUESTED, "RED-3": State.HELD, "RED-4": State.HELD, "RED-8": State.HELD,
    }  # fmt: skip
    # The officers' acts remain possible, and none came by itself.
    await STEPS["destroyed"](driver, "RED-1")
    await STEPS["release"](driver, "RED-3")
    assert [state for state, _ in await changes(desk, "RED-1", "RED-3")] == [State.DESTROYED, State.RELEASED]
    assert sorted(await listed(desk)) == sorted([numbers[1], numbers[3], numbers[7]])
    # The limit ran on during the seizure.
    await STEPS["seizure_lifted"](driver, "RED-6")
    assert (await listed(desk))[numbers[5]] == (END, REMINDER)
    assert await step(desk, END) == 1
    await check_versions(desk)


async def test_a_reversed_arrival_ends_the_limit_and_the_true_one_begins_it_again(desk: Desk) -> None:
    await desk.consume(filings(["RED-1"]))
    await arrive(desk, arrival())
    assert await step(desk, END) == 1
    reversal = Reversal(desk.store)
    await reversal.begin(MASTER, CARRIER, "officer/otto")
    await reversal.reverse(MASTER, CARRIER, trace=TRACE, by="officer/otto")
    assert await listed(desk) == {}
    states = await desk.states(mrns(filings(["RED-1"])))
    assert not states.ints("storage_ended_at").valid.any()
    assert await step(desk, END) == 0
    # It may be amended again, and goes where no limit is known.
    await desk.consume(filings(["RED-1"], version=2, change=lambda _, row: setattr(row, "destination_country", "US")))
    await arrive(desk, arrival(), request_id="a2")
    assert await listed(desk) == {}
    assert await step(desk, END + 400 * MICROS_PER_DAY) == 0


async def test_an_amendment_before_the_arrival_changes_the_limit_and_later_ones_come_too_late(desk: Desk) -> None:
    await desk.consume(filings(["RED-1"], change=lambda _, row: setattr(row, "destination_country", "US")))
    await desk.consume(filings(["RED-1"], version=2))
    await arrive(desk, arrival())
    await desk.consume(filings(["RED-1"], version=3, change=lambda _, row: setattr(row, "destination_country", "US")))
    assert await step(desk, END) == 1


async def test_two_replicas_end_each_limit_once(desk: Desk) -> None:
    names = [f"RED-{number}" for number in range(40)]
    await desk.consume(filings(names))
    await arrive(desk, arrival())
    done = await asyncio.gather(*(step(desk, END, f"r{number}") for number in range(3)))
    assert sum(done) == len(names)
    assert await changes(desk, *names) == [(State.HELD, Change.STORAGE_ENDED)] * len(names)
    await check_versions(desk)


async def test_a_pass_lists_what_an_earlier_release_stored_and_corrects_what_is_wrong(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PAGE_ROWS", 2)
    names = [f"RED-{number}" for number in range(1, 6)]
    driver = Driver(desk)
    await desk.consume(filings(names), filings(["RED-9"], master="7"))
    await arrive(desk, arrival())
    await STEPS["scan"](driver, "RED-1")
    await STEPS["release"](driver, "RED-5")
    numbers = mrns(filings(names))
    right = await listed(desk)
    assert sorted(right) == sorted(numbers[:4])
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from storage where mrn = any($1)", numbers[:2])
        await tx.raw.execute("update storage set ends_at = 1, next_at = 1 where mrn = $1", numbers[2])
        await tx.raw.execute("insert into storage values ($1, $2, '', 1, null)", DAY, numbers[4])
    now = await desk.store.database.now()
    assert await StoragePasses(desk.store, "r").step(at=now) == 4
    assert await listed(desk) == right
    # A pass is repeated after a week, or if it lies ahead of a clock that was set back.
    await desk.store.database.now()
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from storage where mrn = $1", numbers[1])
    assert await StoragePasses(desk.store, "r").step(at=now + storage.REPEAT_MICROS - 1) == 0
    assert await StoragePasses(desk.store, "r").step(at=now - 1) == 1
    assert await StoragePasses(desk.store, "r").step(at=now - 1 + storage.REPEAT_MICROS) == 0


async def test_a_pass_that_was_interrupted_continues(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PAGE_ROWS", 2)
    names = [f"RED-{number}" for number in range(1, 6)]
    await desk.consume(filings(names))
    await arrive(desk, arrival())
    right = await listed(desk)
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from storage")
        first = sorted(right)[1]
        await desk.store.storage.note_pass(tx, "held", ListPass(DAY, first))
    now = await desk.store.database.now()
    assert await StoragePasses(desk.store, "r").step(at=now) == 3, "the first page was passed before"
    assert await StoragePasses(desk.store, "r").step(at=now + storage.REPEAT_MICROS) == 2
    assert await listed(desk) == right


async def test_a_million_pending_limits_would_be_read_by_their_time_alone(desk: Desk) -> None:
    async with desk.store.database.transaction() as tx:
        # Without statistics, as on a fresh day.
        await tx.raw.execute(
            "insert into storage select $1, 'M' || n, 'FRA', 1000000 + n, 1000000 + n from generate_series(1, 20000) as n",
            DAY,
        )
        looked = "explain (analyze, buffers, costs off, timing off) select * from storage_find(10, 1000)"
        for _ in range(2):
            # The first one reads the catalogue as well.
            plan = await tx.raw.fetch(looked)
        none = [line for (line,) in plan if "Buffers" in line]
        found = await desk.store.storage.due(tx, 1_000_005, 1_000)
        await tx.raw.execute("delete from storage")
    assert found == ["M1", "M2", "M3", "M4", "M5"]
    pages = sum(int(part.partition("=")[2]) for part in none[0].split() if part.startswith(("hit=", "read=")))
    assert pages <= 5, none


async def test_gauges_report_how_many_limits_ended_and_how_long_ago_and_what_is_late(desk: Desk) -> None:
    await desk.consume(filings(["RED-1", "RED-2"]))
    await arrive(desk, arrival())
    await gauges.look(desk.store.database)

    def value(name: str) -> float:
        return REGISTRY.get_sample_value(name) or 0.0

    assert value("luxor_clearance_storage_ended") == value("luxor_clearance_storage_ended_seconds") == 0
    now = await desk.store.database.now()
    desk.consistent = False
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("update storage set ends_at = $1, next_at = $1", now - 3_600_000_000)
    await gauges.look(desk.store.database)
    assert 3_600 <= value("luxor_clearance_waits_overdue_seconds") < 4_000
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute("update storage set next_at = null")
    await gauges.look(desk.store.database)
    assert value("luxor_clearance_storage_ended") == 2
    assert 3_600 <= value("luxor_clearance_storage_ended_seconds") < 4_000
    assert value("luxor_clearance_waits_overdue_seconds") == 0
