"""A consumer without usable cursors starts from the producer's snapshot."""

from typing import Any

import pytest

from tests.feed.conftest import ALL, Follower, Producer, drain
from tests.feed.failures import Died, expire

pytestmark = pytest.mark.long


async def test_a_new_consumer_starts_from_the_snapshot_and_agrees_with_the_one_that_saw_all(
    producer: Producer, follower: Follower
) -> None:
    for turn in range(5):
        await producer.announce(*[(f"m{row}", turn + 1, row) for row in ALL])
    port = producer.port()
    consumer = follower.consumer(port, max_events=3)
    state_page = producer.servicer.snapshot.page
    pages = 0

    async def page(tx: Any, partitions: Any, token: bytes, max_rows: int) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:  # the state goes on changing while it is read
            await producer.announce(("m0", 6, 0), ("m63", 6, 63), ("new", 1, 0))
        return await state_page(tx, partitions, token, max_rows)

    producer.servicer.snapshot.page = page  # type: ignore[method-assign]
    await drain(consumer)
    expected = {row["mrn"]: row["version"] for row in await producer.sql("select mrn, version from state")}
    assert await follower.kept() == expected
    assert len(expected) == 65
    assert pages > 8
    before = port.snapshots
    await producer.announce(("m5", 7, 5))
    await drain(consumer)
    assert (await follower.kept())["m5"] == 7
    assert port.snapshots == before


async def test_a_crash_within_the_snapshot_begins_again_where_partitions_have_no_start(
    producer: Producer, follower: Follower
) -> None:
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    port = producer.port()
    first = follower.consumer(port, "first")
    apply = follower.handler.apply
    calls = 0

    async def dies(tx: Any, prepared: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Died
        await apply(tx, prepared)

    follower.handler.apply = dies  # type: ignore[method-assign]
    with pytest.raises(Died):
        await first.step()
    await expire(follower)
    second = follower.consumer(port, "second")
    await drain(second)
    assert await follower.kept() == {f"m{row}": 1 for row in ALL}
    assert len(await follower.effects()) == 64, "what had its start was not read again"


async def test_an_expired_consumer_starts_from_the_snapshot_and_agrees(producer: Producer, follower: Follower) -> None:
    port = producer.port()
    consumer = follower.consumer(port)
    await follower.at_feed(consumer)
    await producer.announce(("a", 1, 1), ("b", 1, 2))
    await drain(consumer)
    await consumer.close()
    # While it is away, days are dropped with events that it has not seen.
    await producer.announce(("a", 2, 1), ("c", 1, 3))
    (floor,) = await producer.sql(
        "select max(epoch) as epoch, max(xid) as xid, max(seq) as seq, max(day) as day from outbox"
    )
    await producer.sql("delete from outbox")
    await producer.sql(
        "insert into feed_floor values ('outbox', $1, $2, $3, $4)",
        floor["epoch"],
        floor["xid"],
        floor["seq"],
        floor["day"],
    )
    await producer.announce(("b", 2, 2))
    again = follower.consumer(port, "again")
    await again.step()
    await drain(again)
    assert await follower.kept() == {"a": 2, "b": 2, "c": 1}
    assert not await follower.sql("select 1 from feed_cursor where not ready")


async def test_a_consumer_of_an_ended_epoch_starts_from_the_snapshot(producer: Producer, follower: Follower) -> None:
    from tests.support.epochs import raise_epoch

    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(("a", 1, 1))
    await drain(consumer)
    await producer.sql("delete from outbox")
    async with producer.database.transaction() as tx:
        await raise_epoch(tx, "restored", lost=True)
    await producer.announce(("a", 2, 1), ("b", 1, 2))
    await consumer.step()
    await drain(consumer)
    assert await follower.kept() == {"a": 2, "b": 1}
