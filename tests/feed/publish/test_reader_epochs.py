"""Cursors of other epochs, of lost timelines and of dropped days."""

import asyncio

import pytest

from libs.feed.publish.reader import OUTBOX, Reader
from libs.feed.types import BEGINNING, CursorExpired, EpochEnded
from tests.feed.conftest import ALL, Producer
from tests.feed.publish.pulls import beginning, pull_all
from tests.support.epochs import raise_epoch


async def test_days_that_a_sleeping_process_did_not_look_at_are_not_stepped_over(producer: Producer) -> None:
    await producer.announce(("today", 1, 3))
    reader: Reader[int] = Reader(producer.database, OUTBOX)
    async with producer.database.connection() as reading:
        state = await reader.refresh(reading.raw)
        object.__setattr__(state, "now", state.now - 5 * 86_400_000_000)  # what it last heard is five days old
        page = await reader.page(reading.raw, {3: BEGINNING}, 10)
    assert page.events == 1


async def test_a_raised_epoch_is_read_on_into_and_its_numbers_may_go_back(producer: Producer) -> None:
    port = producer.port()
    await producer.announce(("first", 1, 3))
    _, after = await pull_all(port, beginning())
    await producer.announce(("second", 1, 3))
    async with producer.database.transaction() as tx:
        second = await raise_epoch(tx, "moved to another server", lost=False)
    # The other server counts from far below.
    await producer.announce(("third", 1, 3), ("third", 1, 4))
    await producer.sql("update outbox set xid = 700 where epoch = $1", second)
    events, after = await pull_all(port, after)
    assert events == [("second", 1, 3), ("third", 1, 3), ("third", 1, 4)]
    assert {cursor.epoch for cursor in after.values()} == {second}


async def test_a_cursor_beyond_the_end_of_a_lost_timeline_is_told_so(producer: Producer) -> None:
    port = producer.port()
    await producer.announce(("first", 1, 3), ("first", 1, 4))
    before = await port.pull(beginning(), 100, 0)
    kept = dict.fromkeys(ALL, before.batches[-1].cursor)
    await producer.announce(("second", 1, 3))
    _, beyond = await pull_all(port, kept)
    # A restore of the state before the second event.
    await producer.sql("delete from outbox where seq > $1", kept[3].seq)
    async with producer.database.transaction() as tx:
        await raise_epoch(tx, "restored", lost=True)
    await producer.announce(("again", 1, 3))
    with pytest.raises(EpochEnded) as told:
        await port.pull({**kept, 3: beyond[3], 60: beyond[60]}, 100, 0)
    assert told.value.partitions == [3, 60]
    events, _ = await pull_all(port, kept)
    assert events == [("again", 1, 3)]


async def test_a_cursor_that_the_server_never_gave_is_told_so(producer: Producer) -> None:
    page = await producer.port().pull(beginning(), 100, 0)
    ahead = page.horizon._replace(xid=page.horizon.xid + 10_000)
    with pytest.raises(EpochEnded):
        await producer.port().pull({1: ahead}, 100, 0)
    with pytest.raises(EpochEnded):
        await producer.port().pull({1: page.horizon._replace(epoch=9)}, 100, 0)


async def test_a_writer_that_waited_while_the_epoch_was_raised_writes_into_the_new_one(producer: Producer) -> None:
    async with producer.database.transaction(timeout_millis=60_000) as tx:
        second = await raise_epoch(tx, "a planned move", lost=False)
        writing = asyncio.create_task(producer.announce(("waited", 1, 1)))
        while not await producer.sql("select 1 from pg_locks where locktype = 'advisory' and not granted"):  # noqa: ASYNC110  # what is awaited is another task or the server
            await asyncio.sleep(0)
    await writing
    assert [row["epoch"] for row in await producer.sql("select epoch from outbox")] == [second]


async def test_a_cursor_behind_dropped_days_is_told_so_and_the_others_read_on(producer: Producer) -> None:
    await producer.announce(("old", 1, 3))
    page = await producer.port().pull(beginning(), 100, 0)
    last = page.batches[-1].cursor
    await producer.announce(("new", 1, 3))
    await producer.sql(
        "insert into feed_floor values ('outbox', $1, $2, $3, $4)", last.epoch, last.xid, last.seq, last.day + 1
    )
    with pytest.raises(CursorExpired) as told:
        await producer.port().pull({2: BEGINNING, 3: last}, 100, 0)
    assert told.value.partitions == [2]
    events, _ = await pull_all(producer.port(), {3: last})
    assert events == [("new", 1, 3)]
