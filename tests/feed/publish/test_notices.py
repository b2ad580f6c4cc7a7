"""Readers that are named by a text have the same cursors and the same horizon as partitions have."""

import asyncio
import time

import pytest

from libs.feed.publish.reader import NOTICE, OUTBOX, Reader
from libs.feed.publish.watch import Watch
from libs.feed.types import BEGINNING, Cursor, EpochEnded
from tests.feed.conftest import Producer, ended


async def read(producer: Producer, key: str, after: Cursor = BEGINNING, limit: int = 100) -> tuple[list[str], Cursor]:
    reader: Reader[str] = Reader(producer.database, NOTICE)
    async with producer.database.connection() as reading:
        page = await reader.page(reading.raw, {key: after}, limit)
        stored = await producer.outbox.payloads.fetch(reading.raw, [batch.ref for batch in page.batches])
    found = [
        name
        for batch in page.batches
        for rows in batch.rows
        for name in producer.outbox.payloads.table(stored[batch.ref]).take(rows).strings("mrn").tolist()
    ]
    return found, page.next[key]


async def notify(producer: Producer, mrns: list[str], keys: list[str]) -> None:
    async with producer.database.transaction() as tx:
        ref = await producer.write(tx, [(mrn, 1, 0) for mrn in mrns])
        await producer.notices.append(tx, ref, keys)


async def test_each_reader_gets_its_own_rows_once_and_can_read_them_again(producer: Producer) -> None:
    await notify(producer, ["a", "b", "c", "d"], ["acme", "", "post", "acme"])
    await notify(producer, ["e"], ["acme"])
    found, after = await read(producer, "acme")
    assert found == ["a", "d", "e"]
    assert (await read(producer, "acme", after))[0] == []
    assert (await read(producer, "acme"))[0] == ["a", "d", "e"]
    assert (await read(producer, "post"))[0] == ["c"]
    assert (await read(producer, "nobody"))[0] == []
    assert (await read(producer, ""))[0] == []


async def test_a_small_page_goes_on_where_it_ended(producer: Producer) -> None:
    for turn in range(30):
        await notify(producer, [f"m{turn}"], ["acme"])
    found: list[str] = []
    after = BEGINNING
    while True:
        page, after = await read(producer, "acme", after, 4)
        if not page:
            break
        found += page
    assert found == [f"m{turn}" for turn in range(30)]


async def test_notices_obey_the_horizon(producer: Producer) -> None:
    async with producer.database.transaction() as tx:
        ref = await producer.write(tx, [("early", 1, 0)])
        await producer.notices.append(tx, ref, ["acme"])
        await notify(producer, ["late"], ["acme"])
        found, after = await read(producer, "acme")
        assert found == []
    assert (await read(producer, "acme", after))[0] == ["early", "late"]


async def test_who_waits_for_notices_wakes_for_its_own(producer: Producer) -> None:
    reader: Reader[str] = Reader(producer.database, NOTICE)
    watch: Watch[str] = Watch(reader)
    async with producer.database.connection() as reading:
        horizon = (await reader.refresh(reading.raw)).horizon
    waiting = asyncio.create_task(watch.wait(["acme"], horizon, 15))
    other = asyncio.create_task(watch.wait(["post"], horizon, 0.3))
    await notify(producer, ["a"], ["acme"])
    assert await waiting is True
    assert await other is False
    await ended(watch)


async def test_a_batch_that_is_no_event_can_be_announced_to_readers_by_name(producer: Producer) -> None:
    from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
    from tests.feed.conftest import table_of

    async with producer.database.transaction() as tx:
        ref = await producer.outbox.store(tx, table_of([("a", 1, 0)]), ConsignmentColumns)
        await producer.notices.append(tx, ref, ["acme"])
    assert (await read(producer, "acme"))[0] == ["a"]
    page = await producer.port().pull({0: BEGINNING}, 10, 0)
    assert not page.batches


async def epochs(producer: Producer) -> list[tuple[int, int | None]]:
    return [tuple(row) for row in await producer.sql("select epoch, end_xid from feed_epoch order by epoch")]


async def ahead_of(producer: Producer, how: str) -> Cursor:
    """A cursor that the store never reached: by its epoch, or by a number of the present one."""
    newest = (await epochs(producer))[-1][0]
    future = {"epoch": Cursor(int(time.time() * 1000) + 1_000, 1, 1), "next": Cursor(newest + 1, 1, 1)}
    return future.get(how, Cursor(newest, 1, 2**40))


@pytest.mark.parametrize("how", ["epoch", "next", "number"])
async def test_no_cursor_of_a_reader_of_notices_changes_the_feed(producer: Producer, how: str) -> None:
    await notify(producer, ["a", "b"], ["acme", "acme"])
    before = await epochs(producer)
    with pytest.raises(EpochEnded):
        await read(producer, "acme", await ahead_of(producer, how))
    assert await epochs(producer) == before
    found, after = await read(producer, "acme")
    assert found == ["a", "b"]
    assert (await read(producer, "acme", after))[0] == []


@pytest.mark.parametrize("how", ["epoch", "next", "number"])
@pytest.mark.parametrize("begins", [True, False])
async def test_only_a_service_that_is_ahead_begins_an_epoch(producer: Producer, how: str, begins: bool) -> None:
    await notify(producer, ["a"], ["acme"])
    before = await epochs(producer)
    reader: Reader[int] = Reader(producer.database, OUTBOX)
    cursor = await ahead_of(producer, how)
    with pytest.raises(EpochEnded):
        async with producer.database.connection() as reading:
            await reader.page(reading.raw, {3: cursor}, 10, begins=begins)
    assert (len(await epochs(producer)) > len(before)) is begins
