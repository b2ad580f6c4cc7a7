"""Each event takes effect exactly once, whatever dies in between and whoever holds the partition."""

import asyncio

import grpc
import pytest

from libs.feed.consume.consumer import UNEXPECTED_TRIES, Consumer
from libs.feed.types import EventError
from libs.store.errors import StoreUnavailable
from tests.feed.conftest import ALL, Follower, Producer, drain
from tests.feed.consume.consumer_steps import DiesAfterCommit
from tests.feed.failures import Away, Died, expire

pytestmark = pytest.mark.long


async def steps(consumer: Consumer, count: int) -> None:
    for _ in range(count):
        await consumer.step()


async def test_events_take_effect_once_and_in_the_order_of_each_partition(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port(), max_events=40)
    await follower.at_feed(consumer)
    for turn in range(30):
        await producer.announce(*[(f"m{row}", turn + 1, row) for row in range(10)])
    await drain(consumer)
    effects = await follower.effects()
    assert sorted(effects) == sorted(producer.written)
    for partition in range(10):
        assert [event[1] for event in effects if event[2] == partition] == list(range(1, 31))


@pytest.mark.parametrize("step", ["prepare", "apply", "applied", "committed"])
async def test_a_crash_at_any_step_loses_nothing_and_does_nothing_twice(
    producer: Producer, follower: Follower, step: str
) -> None:
    database = DiesAfterCommit(follower.database)
    first = follower.consumer(producer.port(), "first", database=database, max_events=8)
    await follower.at_feed(first)
    for turn in range(6):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in range(8)])
    await first.step()
    follower.handler.crash = {step: Died()}
    database.deaths = int(step == "committed")
    # The page that comes next may have been prepared already.
    with pytest.raises(Died):
        await steps(first, 2)
    # The process is gone; another one takes over when the leases have ended.
    await expire(follower)
    follower.handler.crash = {}
    second = follower.consumer(producer.port(), "second")
    await drain(second)
    assert sorted(await follower.effects()) == sorted(producer.written)


async def test_a_commit_whose_outcome_is_unknown_is_not_repeated_by_the_same_process(
    producer: Producer, follower: Follower
) -> None:
    database = DiesAfterCommit(follower.database)
    consumer = follower.consumer(producer.port(), database=database)
    await follower.at_feed(consumer)
    await producer.announce(("m", 1, 1))
    database.deaths = 1
    with pytest.raises(Died):
        await consumer.step()
    await producer.announce(("m", 2, 1))
    await drain(consumer)
    assert await follower.effects() == [("m", 1, 1), ("m", 2, 1)]


@pytest.mark.parametrize(
    "trouble",
    [
        Away(grpc.StatusCode.UNAVAILABLE),
        Away(grpc.StatusCode.DEADLINE_EXCEEDED),
        Away(grpc.StatusCode.RESOURCE_EXHAUSTED),
        StoreUnavailable("away", reason="connection"),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
    ids=str,
)
async def test_passing_trouble_never_sends_anything_to_the_dead_letters(
    producer: Producer, follower: Follower, trouble: Exception
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(("m", 1, 1))
    for _ in range(4 * UNEXPECTED_TRIES):
        follower.handler.crash = {"prepare": trouble}
        with pytest.raises(type(trouble)):
            await consumer.step()
    follower.handler.crash = {}
    await drain(consumer)
    assert await follower.effects() == [("m", 1, 1)]
    assert await follower.letters() == []


async def test_a_producer_that_is_away_is_waited_for(producer: Producer, follower: Follower) -> None:
    port = producer.port()
    consumer = follower.consumer(port)
    await follower.at_feed(consumer)
    await producer.announce(("m", 1, 1))
    port.fail = [Away(grpc.StatusCode.UNAVAILABLE)]
    with pytest.raises(Away):
        await consumer.step()
    await drain(consumer)
    assert await follower.effects() == [("m", 1, 1)]


async def test_run_follows_until_it_is_stopped_and_gives_its_partitions_back(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port())
    consumer.wait_millis = 2_000
    stop = asyncio.Event()
    follower.handler.crash = {"prepare": TimeoutError()}
    running = asyncio.create_task(consumer.run(stop))
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    while len(await follower.effects()) < 64:  # noqa: ASYNC110  # what is awaited is another task or the server
        await asyncio.sleep(0.01)
    stop.set()
    await producer.announce(("last", 1, 1))
    await running
    assert await follower.sql("select 1 from feed_cursor where owner is not null") == []
    assert await follower.sql("select 1 from feed_member") == []


def test_an_event_error_tells_its_reason(bad_event: EventError) -> None:
    assert bad_event.reason in str(bad_event)
    assert bad_event.message in str(bad_event)
