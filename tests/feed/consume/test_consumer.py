"""Each event takes effect exactly once, whatever dies in between and whoever holds the partition."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.feed.consume.consumer import UNEXPECTED_TRIES, Consumer
from libs.feed.consume.port import page_of
from libs.feed.types import Cursor, EventError, FeedBatch, Page
from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.telemetry import trace
from libs.telemetry.metrics import REGISTRY
from libs.telemetry.trace import Span
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2
from tests.feed.conftest import ALL, Event, Follower, Producer, drain
from tests.feed.failures import Away, Died, expire

pytestmark = pytest.mark.long


class DiesAfterCommit:
    """A database whose next commits succeed, but nobody is left to hear of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.name = database.name
        self.deaths = 0

    def connection(self, **more: Any) -> Any:
        return self._database.connection(**more)

    @asynccontextmanager
    async def transaction(self, **more: Any) -> Any:
        async with self._database.transaction(**more) as tx:
            yield tx
        if self.deaths:
            self.deaths -= 1
            raise Died


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


async def test_two_replicas_share_the_partitions_and_give_back_what_is_over(
    producer: Producer, follower: Follower
) -> None:
    first, second = follower.consumer(producer.port(), "a"), follower.consumer(producer.port(), "b")
    await first.step()
    assert len(first.leases.held) == 64
    await second.step()
    assert not second.leases.held
    await first.tend(now=True)
    await second.tend(now=True)
    assert len(first.leases.held) == len(second.leases.held) == 32
    assert set(first.leases.held) | set(second.leases.held) == set(ALL)
    for turn in range(10):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in ALL])
    await drain(first, second)
    assert sorted(await follower.effects()) == sorted(producer.written)
    await first.close()
    await second.tend(now=True)
    assert len(second.leases.held) == 64


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
    assert len(quick.leases.held) == 64
    await drain(quick)
    assert sorted(await follower.effects()) == sorted(producer.written)
    await producer.announce(*[(f"n{row}", 1, row) for row in ALL])
    handler.go_on.set()
    assert await stopped == 0, "the late commit must roll back"
    assert not slow.leases.held
    await slow.tend(now=True)
    await quick.tend(now=True)
    await slow.tend(now=True)
    await drain(quick, slow)
    assert len(slow.leases.held) == len(quick.leases.held) == 32
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
    assert 2 not in consumer.leases.held
    await drain(consumer)
    assert await follower.effects() == [("a", 1, 1)]


async def test_a_page_fetched_ahead_is_not_used_for_a_partition_that_came_back_with_an_older_cursor(
    producer: Producer, follower: Follower
) -> None:
    consumer = follower.consumer(producer.port(), max_events=64)
    await follower.at_feed(consumer)
    for turn in range(4):
        await producer.announce(*[(f"m{turn}-{row}", 1, row) for row in ALL])
    fetched = await consumer._fetch()
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
    consumer._wait_millis = 2_000
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


async def test_a_new_consumer_starts_from_the_snapshot_and_agrees_with_the_one_that_saw_all(
    producer: Producer, follower: Follower
) -> None:
    for turn in range(5):
        await producer.announce(*[(f"m{row}", turn + 1, row) for row in ALL])
    port = producer.port()
    consumer = follower.consumer(port, max_events=3)
    state_page = producer.servicer._snapshot.page
    pages = 0

    async def page(tx: Any, partitions: Any, token: bytes, max_rows: int) -> Any:
        nonlocal pages
        pages += 1
        if pages == 2:  # the state goes on changing while it is read
            await producer.announce(("m0", 6, 0), ("m63", 6, 63), ("new", 1, 0))
        return await state_page(tx, partitions, token, max_rows)

    producer.servicer._snapshot.page = page  # type: ignore[method-assign]
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
    first = follower.consumer(producer.port(), "first")
    port = first._port
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
    from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
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
                        if not replicas[which].leases.held:
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


def test_an_event_error_tells_its_reason(bad_event: EventError) -> None:
    assert bad_event.reason in str(bad_event)
    assert bad_event.message in str(bad_event)


async def test_after_the_databases_clock_went_back_the_partitions_of_the_dead_are_taken_over_at_once(
    producer: Producer, follower: Follower
) -> None:
    gone = follower.consumer(producer.port(), "gone")
    await follower.at_feed(gone)
    assert len(gone.leases.held) == 64
    # A standby was promoted whose clock is five minutes behind: all that was written lies in its future.
    await follower.sql("update feed_cursor set lease_until = lease_until + interval '5 minutes'")
    await follower.sql("update feed_member set seen_at = seen_at + interval '5 minutes'")
    here = follower.consumer(producer.port(), "here")
    await here.step()
    assert len(here.leases.held) == 64
    await producer.announce(("m", 1, 1))
    await drain(here)
    assert await follower.effects() == [("m", 1, 1)]
    # A replica that lives after all writes by the new clock, gets its share back, and repeats nothing.
    await gone.tend(now=True)
    await here.tend(now=True)
    await gone.tend(now=True)
    assert len(gone.leases.held) == len(here.leases.held) == 32
    await drain(gone, here)
    assert await follower.effects() == [("m", 1, 1)]


@pytest.mark.parametrize("minutes", [-5, 0, 5])
async def test_the_lag_is_the_producers_time_whatever_this_hosts_clock_shows(
    producer: Producer, follower: Follower, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + minutes * 60 * 10**9)
    monkeypatch.setattr(time, "time", lambda: real() / 1e9 + minutes * 60)
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(("m", 1, 1))
    await drain(consumer)
    assert await follower.effects() == [("m", 1, 1)]
    await producer.announce(("m", 2, 1))
    while ("m", 2, 1) not in await follower.effects():
        await consumer.step()
    assert 0 < consumer._lag._age < 20


async def test_a_producer_that_tells_no_time_and_one_that_tells_the_first_instant_are_told_apart() -> None:
    silent, first = feed_pb2.PullEventsResponse(), feed_pb2.PullEventsResponse(read_at_micros=0)
    assert page_of(feed_pb2.PullEventsResponse.FromString(silent.SerializeToString()), ConsignmentColumns).clock is None
    clock = page_of(feed_pb2.PullEventsResponse.FromString(first.SerializeToString()), ConsignmentColumns).clock
    assert clock is not None
    assert clock.read_at == 0


@pytest.mark.parametrize(("behind_seconds", "negative"), [(600, False), (-600, False), (0, True)])
async def test_how_long_an_event_waited_is_told_by_the_producers_clock(
    producer: Producer, follower: Follower, behind_seconds: int, negative: bool
) -> None:
    ended: list[Span] = []
    trace.configure(ratio=1.0, slow_seconds=3600.0, export=ended.extend)
    port = producer.port()
    pull = port.pull

    async def skewed(*arguments: Any, **more: Any) -> Page:
        """The producer's host as it is where its clock is behind, or where it was set back after the announcement."""
        page = await pull(*arguments, **more)
        assert page.clock is not None
        micros = behind_seconds * 1_000_000
        clock = page.clock._replace(read_at=page.clock.read_at - micros - (60_000_000 if negative else 0))
        batches = [replace(each, clock=clock, committed_at=each.committed_at - micros) for each in page.batches]
        return replace(page, clock=clock, batches=batches)

    port.pull = skewed  # type: ignore[method-assign]
    before = REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0
    try:
        consumer = follower.consumer(port)
        await follower.at_feed(consumer)
        await producer.announce(("m", 1, 1))
        await drain(consumer)
    finally:
        trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
    (waited,) = [each.attributes["luxor.feed.waited_us"] for each in ended if each.name.rpartition(".")[2] == "consume"]
    assert 0 <= waited < 20_000_000
    assert (waited == 0) is negative
    counted = (REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0) - before
    assert counted == int(negative)


async def test_the_age_of_an_event_follows_the_producers_clock(producer: Producer) -> None:
    await producer.announce(("m", 1, 1))
    page = await producer.port().pull(dict.fromkeys(ALL, Cursor()), 10, 0)
    assert page.clock is not None
    (batch,) = page.batches
    assert batch.clock == page.clock
    assert batch.committed_at <= page.clock.read_at <= page.clock.now()
    assert page.clock.now() - batch.committed_at < 20_000_000
