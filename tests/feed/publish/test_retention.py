"""Days are made ahead, kept as long as a consumer needs them, and never leave a gap behind."""

import asyncio

import pytest

from libs.feed.publish.retention import Maintenance, Retention
from libs.feed.types import BEGINNING, CursorExpired
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from tests.feed.conftest import ALL, Follower, Producer, drain, events_of

KEEP = Retention(days_min=2, days_max=14, notice_days=20, payload_days=30)


async def today(producer: Producer) -> int:
    return int((await producer.database.now()) // 86_400_000_000)


async def days(producer: Producer, table: str = "outbox") -> list[int]:
    rows = await producer.sql(
        "select split_part(c.relname, '_d', 2)::int as day from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = $1::regclass order by 1",
        table,
    )
    return [row["day"] for row in rows]


async def pass_all(producer: Producer, consumer: str) -> None:
    """The consumer has committed everything that there is."""
    port = producer.port(consumer)
    page = await port.pull(dict.fromkeys(ALL, BEGINNING), 5_000, 0)
    await producer.servicer.positions.record(consumer, page.next)


async def test_days_are_made_a_week_ahead_and_only_once(producer: Producer) -> None:
    day = await today(producer)
    assert await days(producer) == list(range(day, day + 8))
    await producer.sql(f"drop table outbox_d{day + 7}")
    await producer.sql(f"drop table notice_d{day + 6}")
    maintenance = Maintenance(producer.database, KEEP, notices=True)
    await asyncio.gather(*(Maintenance(producer.database, KEEP, notices=True).step() for _ in range(3)))
    await maintenance.step()
    for table in ("outbox", "batch", "notice"):
        assert await days(producer, table) == list(range(day, day + 8))


async def test_a_day_is_dropped_when_every_consumer_has_passed_it_and_not_before(producer: Producer) -> None:
    day = await today(producer)
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    await producer.servicer.positions.register("slow")
    await pass_all(producer, "quick")
    maintenance = Maintenance(producer.database, KEEP)
    await maintenance.step(today=day + 3)
    assert day in await days(producer)
    await pass_all(producer, "slow")
    await maintenance.step(today=day + 2)
    assert day in await days(producer), "the least number of days is kept"
    await maintenance.step(today=day + 3)
    assert day not in await days(producer)
    assert day in await days(producer, "batch"), "states may refer to batches for longer"
    await maintenance.step(today=day + 30)
    assert day not in await days(producer, "batch")


async def test_a_consumer_that_has_passed_all_partitions_but_one_keeps_the_day(producer: Producer) -> None:
    day = await today(producer)
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    page = await producer.port().pull(dict.fromkeys(ALL, BEGINNING), 5_000, 0)
    await producer.servicer.positions.record("most", {each: page.next[each] for each in range(63)})
    await Maintenance(producer.database, KEEP).step(today=day + 3)
    assert day in await days(producer)


async def test_at_the_hard_limit_a_day_goes_with_an_alarm_and_who_was_behind_is_told(
    producer: Producer, capsys: pytest.CaptureFixture[str]
) -> None:
    day = await today(producer)
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    await producer.servicer.positions.register("gone")
    maintenance = Maintenance(producer.database, KEEP)
    await maintenance.step(today=day + 14)
    assert day in await days(producer)
    await maintenance.step(today=day + 15)
    assert day not in await days(producer)
    told = capsys.readouterr().err
    assert "FEED_DAY_DROPPED_UNREAD" in told
    assert "gone" in told
    with pytest.raises(CursorExpired):
        await producer.port("gone").pull(dict.fromkeys(ALL, BEGINNING), 10, 0)


async def test_days_dropped_are_told_as_zero_before_the_first_is_dropped(producer: Producer) -> None:
    def told(table: str, forced: str) -> float | None:
        labels = {"feed": f"{producer.database.name}.{table}", "forced": forced}
        return REGISTRY.get_sample_value("luxor_feed_days_dropped_total", labels)

    Maintenance(producer.database, KEEP, notices=True)
    before = {(table, forced): told(table, forced) for table in ("outbox", "notice") for forced in ("true", "false")}
    assert None not in before.values(), "an alert on the increase would miss the first"
    day = await today(producer)
    await producer.announce(("m", 1, 1))
    await producer.servicer.positions.register("gone")
    await Maintenance(producer.database, KEEP).step(today=day + 15)
    assert told("outbox", "true") == (before["outbox", "true"] or 0) + 1


async def test_a_forgotten_consumer_keeps_nothing(producer: Producer) -> None:
    day = await today(producer)
    await producer.announce(("m", 1, 1))
    await producer.servicer.positions.register("gone")
    await producer.servicer.positions.forget("gone")
    await Maintenance(producer.database, KEEP).step(today=day + 3)
    assert day not in await days(producer)


async def test_a_reader_that_has_passed_a_dropped_day_reads_on_without_a_gap(producer: Producer) -> None:
    day = await today(producer)
    await producer.announce(("old", 1, 3))
    page = await producer.port().pull(dict.fromkeys(ALL, BEGINNING), 10, 0)
    ref = await producer.announce(("new", 1, 3))
    for statement in ("update outbox set day = $1 where seq = $2", "update batch set day = $1 where id = $2"):
        await producer.sql(statement, day + 1, ref.id)  # as if it had been written on the day after
    await Maintenance(producer.database, KEEP).step(today=day + 3)
    assert day not in await days(producer)
    later = await producer.port().pull(dict(page.next), 10, 0)
    assert events_of(later.batches) == [("new", 1, 3)]


async def test_positions_are_recorded_at_a_bounded_rate_and_move_back_with_a_consumer_that_was_set_back(
    producer: Producer,
) -> None:
    now = 100.0
    positions = producer.servicer.positions
    positions.clock = lambda: now
    page = await producer.port().pull({1: BEGINNING}, 10, 0)
    cursor = page.next[1]

    async def stored() -> int:
        return int(
            (await producer.sql("select xid from feed_consumer where consumer = 'c' and partition = 1"))[0]["xid"]
        )

    await positions.record("c", {1: cursor})
    await positions.record("c", {1: cursor._replace(xid=cursor.xid + 5)})
    assert await stored() == cursor.xid
    now += 6
    await positions.record("c", {1: cursor._replace(xid=cursor.xid + 5)})
    assert await stored() == cursor.xid + 5
    now += 6
    await positions.record("c", {1: cursor})
    assert await stored() == cursor.xid, "what it reads again must not be dropped"


async def test_a_consumer_reports_what_it_has_committed_and_not_what_it_has_fetched(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port("reporter"), max_events=64)
    await follower.at_feed(consumer)
    for turn in range(4):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in ALL])
    for _ in range(4):
        follower.clock.now += 10
        await consumer.step()
        reported = await producer.sql("select max(xid) as xid from feed_consumer where consumer = 'reporter'")
        committed = await follower.sql("select max(xid) as xid from feed_cursor")
        assert reported[0]["xid"] <= committed[0]["xid"]
    await drain(consumer)
    assert reported[0]["xid"] > 0


async def test_a_drop_gives_up_its_wait_for_the_lock_and_is_tried_again(producer: Producer) -> None:
    day = await today(producer)
    await producer.announce(("m", 1, 1))
    maintenance = Maintenance(producer.database, KEEP)
    async with producer.database.transaction() as tx:
        await tx.raw.fetch("select count(*) from outbox")
        with pytest.raises(StoreUnavailable) as late:
            await maintenance.step(today=day + 3)
        assert late.value.reason == "lock"
        assert (await producer.sql("select count(*) as n from feed_floor"))[0]["n"] == 0, (
            "the floor rises with the drop only"
        )
    await maintenance.step(today=day + 3)
    assert day not in await days(producer)


async def test_only_one_replica_at_a_time_does_the_maintenance(producer: Producer) -> None:
    day = await today(producer)
    await producer.announce(("m", 1, 1))
    async with producer.database.transaction() as tx:
        await tx.raw.fetchval("select pg_advisory_xact_lock(hashtextextended('luxor feed maintenance', 0))")
        await Maintenance(producer.database, KEEP).step(today=day + 3)
        assert day in await days(producer)
    await Maintenance(producer.database, KEEP).step(today=day + 3)
    assert day not in await days(producer)


@pytest.mark.parametrize(
    "wrong", [{"days_min": 0}, {"days_min": 5, "days_max": 4}, {"payload_days": 3}, {"notice_days": 500}]
)
def test_a_retention_that_contradicts_itself_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="days"):
        Retention(**wrong)
