"""What the store says of backlogs, letters, requests and epochs: each condition of these statements, against a real one."""

from __future__ import annotations

import pytest

from libs.feed import epochs
from libs.feed.consume.requests import done, open_requests, request
from libs.feed.epochs import STAMP_IF_ANY
from libs.feed.metrics import backlog, letters_waiting
from libs.telemetry.metrics import REGISTRY
from tests.feed.conftest import Follower, Producer
from tests.feed.dead_letter_rows import insert, letter
from tests.support.epochs import raise_epoch

FEED = "looked at"


def behind(consumer: str) -> float | None:
    return REGISTRY.get_sample_value("luxor_feed_backlog_events", {"feed": FEED, "consumer": consumer})


async def entries(producer: Producer, *rows: tuple[int, int, int, int, int], day: int = 0) -> None:
    """Entries of the outbox: partition, epoch, xid, seq, count; of today or days later."""
    for partition, epoch, xid, seq, count in rows:
        await producer.sql(
            "insert into outbox (partition, epoch, xid, seq, count, day, rows) select $1, $2, $3, $4, $5, "
            "floor(extract(epoch from clock_timestamp()) / 86400)::int + $6, ''",
            partition, epoch, xid, seq, count, day,
        )  # fmt: skip


async def stands(
    producer: Producer, consumer: str, partition: int, epoch: int, xid: int, seq: int, day: int = 0
) -> None:
    await producer.sql(
        "insert into feed_consumer (consumer, partition, epoch, day, xid, seq) select $1, $2, $3, "
        "floor(extract(epoch from clock_timestamp()) / 86400)::int + $6, $4, $5",
        consumer, partition, epoch, xid, seq, day,
    )  # fmt: skip


async def test_events_are_counted_that_a_consumer_has_not_passed_partition_by_partition(producer: Producer) -> None:
    await entries(
        producer,
        (3, 5, 50, 5, 1),
        (3, 5, 50, 6, 10),
        (3, 5, 51, 0, 100),
        (3, 6, 1, 1, 1_000),
        (4, 5, 60, 1, 10_000),
        (5, 5, 60, 1, 9),
    )
    for consumer, place in (
        ("first", (5, 50, 4)),
        ("second", (5, 50, 5)),
        ("third", (5, 50, 6)),
        ("fourth", (5, 51, 0)),
        ("fifth", (6, 1, 1)),
    ):
        await stands(producer, consumer, 3, *place)
    await stands(producer, "third", 4, 5, 59, 9)
    look = backlog(FEED)
    await look(producer.database)
    found = [behind(each) for each in ("first", "second", "third", "fourth", "fifth")]
    assert found == [1_111, 1_110, 11_100, 1_000, 0]
    await producer.sql("delete from feed_consumer where consumer = 'second'")
    await look(producer.database)
    assert (behind("second"), behind("first")) == (None, 1_111), "who is forgotten is shown no more"
    await look(producer.database)
    assert behind("first") == 1_111


@pytest.mark.parametrize(("day", "counted"), [(1, 7), (2, 0), (0, 7)])
async def test_events_are_looked_for_from_the_day_before_the_position(
    producer: Producer, day: int, counted: int
) -> None:
    await entries(producer, (3, 5, 50, 5, 7))
    await stands(producer, "dated", 3, 5, 1, 0, day)
    await backlog(FEED)(producer.database)
    assert behind("dated") == counted


async def test_what_is_counted_is_bounded(producer: Producer) -> None:
    await producer.sql(
        "insert into outbox (partition, epoch, xid, seq, count, day, rows) select 3, 5, 50, n, 1, "
        "floor(extract(epoch from clock_timestamp()) / 86400)::int, '' from generate_series(1, 1600) n"
    )
    await entries(producer, (4, 5, 50, 1, 999_999), (4, 5, 50, 2, 5), (5, 5, 50, 1, 999_995), (5, 5, 50, 2, 5))
    await stands(producer, "bounded", 3, 5, 1, 0)
    await stands(producer, "most", 4, 5, 1, 0)
    await stands(producer, "just", 5, 5, 1, 0)
    for number in range(60):
        await stands(producer, f"name{number:02}", 6, 5, 1, 0)
    await backlog(FEED)(producer.database)
    assert behind("bounded") == 100_000 // 64, "entries of one partition"
    assert (behind("most"), behind("just")) == (1_000_000, 1_000_000), "events"
    shown = [number for number in range(60) if behind(f"name{number:02}") is not None]
    assert shown == list(range(47)), "and 50 consumers, since who pulls names itself"


async def test_letters_that_wait_are_counted_for_each_source_and_none_is_shown_as_zero(follower: Follower) -> None:
    await insert(follower.database, [letter("a"), letter("b", 4)])
    await insert(follower.database, [letter("a")], "elsewhere")
    await letters_waiting("counted", "producer", "nobody")(follower.database)
    found = [
        REGISTRY.get_sample_value("luxor_feed_dead_letters_waiting", {"consumer": "counted", "source": source})
        for source in ("producer", "nobody", "elsewhere")
    ]
    assert found == [2, 0, None]


async def test_days_are_asked_for_and_met_by_source_partition_and_day(follower: Follower) -> None:
    async with follower.database.transaction() as tx:
        await request(tx, "producer", [(3, 20), (4, 20), (3, 21), (5, 22), (3, 20)])
        await request(tx, "producer", [(3, 20)])
        await request(tx, "elsewhere", [(3, 20), (4, 30)])
        await request(tx, "producer", [])
        assert await open_requests(tx, "producer", [4, 3]) == {20: [3, 4], 21: [3]}
        assert await open_requests(tx, "producer", []) == {}
        await done(tx, "producer", 20, [3, 5])
        assert await open_requests(tx, "producer", range(64)) == {20: [4], 21: [3], 22: [5]}
        assert await open_requests(tx, "elsewhere", range(64)) == {20: [3], 30: [4]}


# -------------------------------------------------------------------------------------------------- epochs


def preparation(feed: str) -> float:
    return REGISTRY.get_sample_value("luxor_feed_epochs_total", {"feed": feed}) or 0.0


async def newest(producer: Producer) -> int:
    (row,) = await producer.sql("select max(epoch) as epoch from feed_epoch")
    return int(row["epoch"])


@pytest.mark.parametrize(
    ("change", "begins"),
    [
        ("set stamp = feed_stamp()", False),  # in the transaction that the row names
        ("set stamp = 'another start'", True),
        ("set stamp = null", True),
        ("set xid = xid - 1", True),  # as a row that was loaded has another writer than the one that it names
        ("set xid = null", True),
    ],
)
async def test_an_epoch_begins_where_the_store_has_another_stamp_or_the_row_another_writer(
    producer: Producer, capsys: pytest.CaptureFixture[str], change: str, *, begins: bool
) -> None:
    before, counted = await newest(producer), preparation("producer")
    async with producer.database.transaction() as tx:
        await tx.raw.execute(STAMP_IF_ANY)
        await tx.raw.execute(f"update feed_epoch {change}")
    await epochs.at_start(producer.database)
    assert (await newest(producer) > before) is begins
    assert preparation("producer") - counted == begins
    assert ("FEED_EPOCH_BEGUN" in capsys.readouterr().err) is begins
    await epochs.at_start(producer.database)
    assert preparation("producer") - counted == begins, "once"


async def test_a_store_without_a_feed_of_its_own_has_no_epochs_to_begin(follower: Follower) -> None:
    await epochs.at_start(follower.database)
    assert preparation("follower") == 0


@pytest.mark.parametrize("lost", [True, False])
async def test_a_raised_epoch_ends_the_one_before_it_behind_its_last_entry_where_something_is_lost(
    producer: Producer, *, lost: bool
) -> None:
    first = await newest(producer)
    await entries(producer, (3, first, 50, 5, 1), (4, first, 60, 1, 1), (63, first, 60, 2, 1), (5, first, 59, 9, 1))
    async with producer.database.transaction() as tx:
        second = await raise_epoch(tx, "moved", lost=False)
    await entries(producer, (3, second, 70, 1, 1), (0, second, 80, 3, 1))
    async with producer.database.transaction() as tx:
        third = await raise_epoch(tx, "restored", lost=lost)
    rows = [tuple(row) for row in await producer.sql("select epoch, end_xid, end_seq from feed_epoch order by epoch")]
    assert rows == [(first, None, None), (second, 80, 3) if lost else (second, None, None), (third, None, None)]


async def test_an_epoch_without_an_entry_ends_at_its_beginning(producer: Producer) -> None:
    first = await newest(producer)
    async with producer.database.transaction() as tx:
        await raise_epoch(tx, "restored", lost=True)
    (row,) = await producer.sql("select end_xid, end_seq from feed_epoch where epoch = $1", first)
    assert tuple(row) == (0, 0)
