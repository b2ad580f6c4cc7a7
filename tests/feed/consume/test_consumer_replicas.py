"""Replicas of a consumer share its partitions, and nothing of a lost lease takes effect."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.feed.consume.consumer import Consumer
from libs.feed.types import FeedBatch
from libs.store.database import Database
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import ALL, Event, Follower, Producer, drain
from tests.feed.consume.consumer_steps import DiesAfterCommit
from tests.feed.failures import Died, expire

pytestmark = pytest.mark.long


async def test_two_replicas_share_the_partitions_and_give_back_what_is_over(
    producer: Producer, follower: Follower
) -> None:
    first, second = follower.consumer(producer.port(), "a"), follower.consumer(producer.port(), "b")
    await first.step()
    assert len(first.leases.by_partition) == 64
    await second.step()
    assert not second.leases.by_partition
    await first.tend(now=True)
    await second.tend(now=True)
    assert len(first.leases.by_partition) == len(second.leases.by_partition) == 32
    assert set(first.leases.by_partition) | set(second.leases.by_partition) == set(ALL)
    for turn in range(10):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in ALL])
    await drain(first, second)
    assert sorted(await follower.effects()) == sorted(producer.written)
    await first.close()
    await second.tend(now=True)
    assert len(second.leases.by_partition) == 64


async def test_a_replica_stopped_past_its_lease_finds_its_late_commit_rolled_back(
    producer: Producer, follower: Follower
) -> None:
    class Paused(type(follower.handler)):  # type: ignore[misc]
        """Is stopped between its computation and its commit."""

        def __init__(self) -> None:
            super().__init__()
            self.reached, self.go_on = asyncio.Event(), asyncio.Event()

        async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
            self.reached.set()
            await self.go_on.wait()
            return await super().prepare(batches)

    handler = Paused()
    handler.go_on.set()
    slow, quick = (
        follower.consumer(producer.port(), "slow", handler=handler),
        follower.consumer(producer.port(), "quick"),
    )
    await slow.step()
    await quick.step()
    await slow.tend(now=True)
    await quick.tend(now=True)
    await quick.step()
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    handler.go_on.clear()
    handler.reached.clear()
    stopped = asyncio.create_task(slow.step())
    await handler.reached.wait()
    await expire(follower, "slow")
    await quick.tend(now=True)
    assert len(quick.leases.by_partition) == 64
    await drain(quick)
    assert sorted(await follower.effects()) == sorted(producer.written)
    await producer.announce(*[(f"n{row}", 1, row) for row in ALL])
    handler.go_on.set()
    assert await stopped == 0, "the late commit must roll back"
    assert not slow.leases.by_partition
    await slow.tend(now=True)
    await quick.tend(now=True)
    await slow.tend(now=True)
    await drain(quick, slow)
    assert len(slow.leases.by_partition) == len(quick.leases.by_partition) == 32
    assert sorted(await follower.effects()) == sorted(producer.written)


async def test_a_commit_moves_nothing_if_one_partition_of_the_page_was_taken_away(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(("a", 1, 1), ("b", 1, 2))
    await follower.sql("update feed_cursor set token = token + 1, owner = 'somebody' where partition = 2")
    assert await consumer.step() == 0
    assert await follower.effects() == []
    assert 2 not in consumer.leases.by_partition
    await drain(consumer)
    assert await follower.effects() == [("a", 1, 1)]


async def test_a_page_fetched_ahead_is_not_used_for_a_partition_that_came_back_with_an_older_cursor(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port(), max_events=64)
    await follower.at_feed(consumer)
    for turn in range(4):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in ALL])
    fetched = await consumer.fetch()
    assert fetched is not None
    assert fetched.batches
    # The page was never committed, partition 5 went away and came back under another token.
    await follower.sql("update feed_cursor set token = token + 1, owner = null, lease_until = null where partition = 5")
    await consumer.tend(now=True)
    await consumer.tend(now=True)
    await drain(consumer)
    assert sorted(await follower.effects()) == sorted(producer.written)


async def test_the_next_page_is_fetched_while_the_last_is_committed(producer: Producer, follower: Follower) -> None:
    port = producer.port()
    consumer = follower.consumer(port, max_events=64)
    await follower.at_feed(consumer)
    for turn in range(3):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in ALL])
    pulls: list[int] = []
    apply = follower.handler.apply

    async def apply_and_look(tx: Any, prepared: Any) -> None:
        await asyncio.sleep(0)
        pulls.append(len(port.pulls))
        await apply(tx, prepared)

    follower.handler.apply = apply_and_look  # type: ignore[method-assign]
    before = len(port.pulls)
    await consumer.step()
    assert pulls == [before + 2]
    await drain(consumer)
    assert sorted(await follower.effects()) == sorted(producer.written)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("announce"), st.lists(st.integers(0, 7), min_size=1, max_size=5)),
            st.tuples(st.just("step"), st.integers(0, 2)),
            st.tuples(st.just("tend"), st.integers(0, 2)),
            st.tuples(st.just("expire"), st.integers(0, 2)),
            st.tuples(
                st.just("crash"), st.integers(0, 2), st.sampled_from(["prepare", "apply", "applied", "committed"])
            ),
        ),
        max_size=25,
    )
)
def test_whatever_replicas_do_each_event_takes_effect_once(
    database_url: str, second_url: str, plan: list[tuple]
) -> None:  # type: ignore[type-arg]
    asyncio.run(_play(database_url, second_url, plan))


async def _play(producer_url: str, follower_url: str, plan: list[tuple]) -> None:  # type: ignore[type-arg]
    from libs.feed.publish.outbox import KeyedOutbox, Outbox
    from libs.feed.publish.service import FeedServicer
    from tests.feed.conftest import FOLLOWER, PRODUCER, Clock, Effects, State, anew

    await anew(producer_url, *PRODUCER)
    await anew(follower_url, *FOLLOWER)
    one, two = Database(producer_url, name="producer"), Database(follower_url, name="follower")
    await one.open()
    await two.open()
    try:
        outbox = Outbox(one, ConsignmentColumns.DESCRIPTOR.full_name)
        producer = Producer(one, outbox, FeedServicer(outbox, State()), KeyedOutbox(outbox))
        follower = Follower(two, Effects(), Clock())
        databases = [DiesAfterCommit(two) for _ in range(3)]
        handlers = [Effects() for _ in range(3)]

        def replica(number: int) -> Consumer:
            return follower.consumer(
                producer.port(), f"r{number}-", database=databases[number], handler=handlers[number], max_events=100
            )

        replicas = [replica(number) for number in range(3)]
        await follower.at_feed(replicas[0])
        number = 0
        for what, which, *more in plan:
            if what == "announce":
                events: list[Event] = []
                for partition in which:
                    number += 1
                    events.append((f"m{number}", number, partition))
                await producer.announce(*events)
            elif what == "step":
                await replicas[which].step()
            elif what == "tend":
                await replicas[which].tend(now=True)
            elif what == "expire":
                await expire(follower, f"r{which}-")
            else:
                databases[which].deaths = int(more[0] == "committed")
                handlers[which].crash = {more[0]: Died()}
                with pytest.raises(Died):  # noqa: PT012
                    for _ in range(50):
                        number += 1
                        await producer.announce(*[(f"x{number}-{partition}", number, partition) for partition in ALL])
                        await replicas[which].tend(now=True)
                        await replicas[which].step()
                        if not replicas[which].leases.by_partition:
                            raise Died
                handlers[which].crash = {}
                databases[which].deaths = 0
                replicas[which] = replica(which)
        await expire(follower)
        for each in replicas:
            await each.tend(now=True)
        await expire(follower)
        last = replica(0)
        await drain(last, rounds=400)
        assert sorted(await follower.effects()) == sorted(producer.written)
    finally:
        await one.close()
        await two.close()


async def test_after_the_databases_clock_went_back_the_partitions_of_the_dead_are_taken_over_at_once(
    producer: Producer, follower: Follower
) -> None:
    gone = follower.consumer(producer.port(), "gone")
    await follower.at_feed(gone)
    assert len(gone.leases.by_partition) == 64
    # A standby was promoted whose clock is five minutes behind: all that was written lies in its future.
    await follower.sql("update feed_cursor set lease_until = lease_until + interval '5 minutes'")
    await follower.sql("update feed_member set seen_at = seen_at + interval '5 minutes'")
    here = follower.consumer(producer.port(), "here")
    await here.step()
    assert len(here.leases.by_partition) == 64
    await producer.announce(("m", 1, 1))
    await drain(here)
    assert await follower.effects() == [("m", 1, 1)]
    # A replica that lives after all writes by the new clock, gets its share back, and repeats nothing.
    await gone.tend(now=True)
    await here.tend(now=True)
    await gone.tend(now=True)
    assert len(gone.leases.by_partition) == len(here.leases.by_partition) == 32
    await drain(gone, here)
    assert await follower.effects() == [("m", 1, 1)]
