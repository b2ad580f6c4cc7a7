"""A producer's store that goes back while its consumer has moved on: a copy that is put back, a dump that is loaded, a standby without the tail.

Each test writes as many transactions into the new history as were lost before the consumer asks again: their numbers are those that it has passed.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlparse

import pytest
import pytest_asyncio

from libs.feed.consume.consumer import Consumer
from libs.feed.publish.outbox import KeyedOutbox, Outbox
from libs.feed.publish.service import FeedServicer
from libs.feed.types import BEGINNING, FeedBatch
from libs.store.database import Database, Transaction
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import (
    ALL,
    FOLLOWER,
    PRODUCER,
    Clock,
    DirectPort,
    Effects,
    Follower,
    Producer,
    State,
    drain,
    events_of,
    prepare,
    reused,
)
from tests.support.databases import enterable_directory
from tests.support.set_back import copied, promote, put_back, standby_of

LOST, AFTER = 30, 60


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    directory = enterable_directory()
    own = EmbeddedPostgres(directory, databases=("producer",), settings={"shared_buffers": "16MB"})
    own.start()
    yield own
    own.destroy()
    shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def producing(server: EmbeddedPostgres, *, new: bool = False, name: str = "producer") -> AsyncIterator[Producer]:
    async with Database(server.url(name), name="producer") as database:
        if new:
            async with database.connection() as work:
                await work.raw.execute("drop schema public cascade; create schema public")
            await prepare(database, *PRODUCER)
        outbox = Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name)
        yield Producer(database, outbox, FeedServicer(outbox, State()), KeyedOutbox(outbox))


async def announce(producer: Producer, name: str, count: int, partitions: int = 64) -> set[str]:
    for number in range(count):
        await producer.announce((f"{name}{number}", 1, number % partitions))
    return {f"{name}{number}" for number in range(count)}


async def copy_of(server: EmbeddedPostgres, producer: Producer) -> Path:
    copy = copied(server)
    await producer.database.reconnect()
    return copy


async def back_to(server: EmbeddedPostgres, copy: Path, producer: Producer) -> None:
    put_back(server, copy)
    await producer.database.reconnect()


async def follow(consumer: Consumer) -> None:
    """Take what there is; the first round may find its page lost with the store, or learn where to read again."""
    with suppress(StoreUnavailable):
        await drain(consumer, rounds=200)
    await drain(consumer, rounds=200)


async def epochs(producer: Producer) -> list[str]:
    return [row["reason"] for row in await producer.sql("select reason from feed_epoch order by epoch")]


@pytest_asyncio.fixture
async def followers(follower: Follower, postgres: EmbeddedPostgres) -> AsyncIterator[dict[bool, Follower]]:
    """Two consumers with a database each, by whether they go on after a restore."""
    with reused(postgres, "another", *FOLLOWER) as url:
        async with Database(url, name="another") as database:
            yield {True: follower, False: Follower(database, Effects(), Clock())}


def ports_of(producer: Producer) -> dict[bool, DirectPort]:
    return {True: producer.port("watcher"), False: producer.port("reporter")}


async def test_what_is_announced_after_an_older_copy_was_put_back_reaches_a_consumer_that_was_ahead(
    server: EmbeddedPostgres, followers: dict[bool, Follower]
) -> None:
    async with producing(server, new=True) as producer:
        ports, consumers, ended = ports_of(producer), {}, {}
        labels = {way: {"consumer": each.database.name, "source": "producer"} for way, each in followers.items()}
        for way, follower in followers.items():
            consumers[way] = follower.consumer(ports[way], continues_after_restore=way)
            value = REGISTRY.get_sample_value("luxor_feed_epochs_ended_total", labels[way])
            assert value is not None, "an alert on the rise would miss the first"
            ended[way] = value
            await follower.at_feed(consumers[way])
        expected = await announce(producer, "before", 5)
        for consumer in consumers.values():
            await follow(consumer)
        copy = await copy_of(server, producer)
        lost = [await producer.announce((f"lost{number}", 1, number)) for number in range(LOST)]
        for consumer in consumers.values():
            await follow(consumer)
        await back_to(server, copy, producer)
        snapshots = {way: port.snapshots for way, port in ports.items()}
        # The service goes on with its connections and its memory: nobody started it anew.
        after = [await producer.announce((f"after{number}", 1, number)) for number in range(AFTER)]
        assert min(after) > max(lost), "batches are never numbered again"
        expected |= {f"after{number}" for number in range(AFTER)}
        for way, follower in followers.items():
            await follow(consumers[way])
            kept = await follower.kept()
            assert {mrn for mrn in kept if not mrn.startswith("lost")} == expected
            assert (ports[way].snapshots > snapshots[way]) is not way
            assert REGISTRY.get_sample_value("luxor_feed_epochs_ended_total", labels[way]) == ended[way] + 1
            applied = [mrn for mrn, _, _ in await follower.effects() if mrn.startswith("after")]
            assert sorted(applied) == sorted(set(applied)) or not way
        assert "restored" in (await epochs(producer))[-1]


class Gated(Effects):
    """Commits `lost0` once it has begun to prepare `lost1`, and ends that once it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        if any(mrn == "lost1" for mrn, _, _ in events_of(batches)):
            self.reached.set()
            await self.goes_on.wait()
        return await super().prepare(batches)

    async def apply(self, tx: Transaction, prepared: list[FeedBatch]) -> None:
        if any(mrn == "lost0" for mrn, _, _ in events_of(prepared)):
            await self.reached.wait()
        await super().apply(tx, prepared)


async def test_a_store_that_is_set_back_while_a_page_is_begun_ahead_is_read_on_and_nothing_counts_twice(
    server: EmbeddedPostgres, followers: dict[bool, Follower]
) -> None:
    async with producing(server, new=True) as producer:
        ports, consumers = ports_of(producer), {}
        handlers = {way: Gated() for way in followers}
        for way, follower in followers.items():
            consumers[way] = follower.consumer(
                ports[way], continues_after_restore=way, handler=handlers[way], max_events=1
            )
            await follower.at_feed(consumers[way])
        expected = await announce(producer, "before", 3)
        for consumer in consumers.values():
            await follow(consumer)
        copy = await copy_of(server, producer)
        await announce(producer, "lost", 6, partitions=1)
        for way, follower in followers.items():
            after = {0: consumers[way].leases.by_partition[0].committed}
            async with asyncio.timeout(30):
                while (await ports[way].pull(after, 100, 0)).events < 6:  # noqa: ASYNC110  # what holds the horizon is a session of the server
                    await asyncio.sleep(0.01)
                while "lost0" not in await follower.kept():
                    await consumers[way].step()
            assert "lost1" not in await follower.kept(), "it is begun, behind a page that is committed"
        await back_to(server, copy, producer)
        expected |= await announce(producer, "after", 12, partitions=1)
        for way, follower in followers.items():
            handlers[way].goes_on.set()
            await follow(consumers[way])
            assert {mrn for mrn in await follower.kept() if not mrn.startswith("lost")} == expected
            # From a snapshot, states may come a second time: that is what its reader is for.
            names = [mrn for mrn, _, _ in await follower.effects() if way or mrn.startswith("lost")]
            assert sorted(names) == sorted(set(names))
            await consumers[way].close()
        assert len(await epochs(producer)) == 2


async def test_a_copy_put_back_twice_parts_three_histories(server: EmbeddedPostgres, follower: Follower) -> None:
    async with producing(server, new=True) as producer:
        consumer = follower.consumer(producer.port(), continues_after_restore=True)
        await follower.at_feed(consumer)
        copy = await copy_of(server, producer)
        await announce(producer, "first", LOST)
        await follow(consumer)
        await back_to(server, copy, producer)
        await announce(producer, "second", LOST)
        await follow(consumer)
        # The epoch that the consumer reads now began in the history that is lost: its number must mean nothing else in this one.
        await back_to(server, copy, producer)
        third = await announce(producer, "third", AFTER)
        await follow(consumer)
        assert third <= set(await follower.kept())


async def test_a_consumer_amid_its_backlog_reads_what_is_left_of_it_and_what_follows(
    server: EmbeddedPostgres, follower: Follower
) -> None:
    async with producing(server, new=True) as producer:
        consumer = follower.consumer(producer.port(), continues_after_restore=True, max_events=2)
        await follower.at_feed(consumer)
        expected = await announce(producer, "before", 20, partitions=1)
        await consumer.step()
        assert 0 < len(await follower.kept()) < 20
        copy = await copy_of(server, producer)
        await announce(producer, "lost", LOST)
        await back_to(server, copy, producer)
        expected |= await announce(producer, "after", AFTER)
        await follow(consumer)
        assert set(await follower.kept()) == expected
        assert len(await follower.effects()) == len(expected), "what both histories share is applied once"


async def test_a_standby_promoted_without_the_tail_is_read_on(
    server: EmbeddedPostgres, follower: Follower, postgres: EmbeddedPostgres
) -> None:
    directory = enterable_directory()
    standby = None
    try:
        async with producing(server, new=True) as producer:
            consumer = follower.consumer(producer.port(), continues_after_restore=True)
            await follower.at_feed(consumer)
            expected = await announce(producer, "before", 5)
            await follow(consumer)
            standby = standby_of(server, directory)
            standby.stop()
            await producer.database.reconnect()
            await announce(producer, "lost", LOST)
            await follow(consumer)
            server.kill()
        standby.start()
        promote(standby)
        async with producing(standby) as producer:
            expected |= await announce(producer, "after", AFTER)
            other = follower.consumer(producer.port(), "two", continues_after_restore=True)
            await consumer.close()
            await follow(other)
            assert {mrn for mrn in await follower.kept() if not mrn.startswith("lost")} == expected
            assert "promoted" in (await epochs(producer))[-1]
    finally:
        if standby is not None:
            standby.destroy()
        shutil.rmtree(directory, ignore_errors=True)
        server.start()


async def test_a_database_that_was_loaded_or_copied_begins_an_epoch(server: EmbeddedPostgres) -> None:
    async with producing(server, new=True) as producer:
        await announce(producer, "before", 1)
        assert len(await epochs(producer)) == 1
        # A dump is loaded by another transaction than the one that wrote what it holds.
        await producer.sql("with old as (delete from feed_epoch returning *) insert into feed_epoch select * from old")
        await announce(producer, "after", 1)
        assert "dump" in (await epochs(producer))[-1]
    server.create_database("copied", template="producer")
    try:
        async with producing(server, name="copied") as producer:
            await announce(producer, "there", 1)
            assert len(await epochs(producer)) == 3
    finally:
        server.drop_database("copied")


async def rolled_back(producer: Producer) -> None:
    """Take a transaction's number and roll back, as a refused call does."""
    with suppress(ZeroDivisionError):
        async with producer.database.transaction() as tx:
            await tx.raw.execute("insert into state values ('never', 1, 1)")
            raise ZeroDivisionError


async def other_work(producer: Producer) -> None:
    """Take a number for what the feed says nothing of, as a lease or another database of the server does."""
    async with producer.database.transaction() as tx:
        await tx.raw.execute("insert into state values ('own', 1, 1) on conflict do nothing")


@pytest.mark.parametrize(
    ("before", "is_killed"),
    [
        ("nothing", True),
        ("rolled back", True),
        ("rolled back", False),
        ("rolled back, then an event", False),
        ("rolled back beside events", False),
    ],
)
async def test_a_restart_alone_ends_no_cursor(
    server: EmbeddedPostgres, follower: Follower, before: str, is_killed: bool
) -> None:
    async with producing(server, new=True) as producer:
        port = producer.port()
        consumer = follower.consumer(port)
        await follower.at_feed(consumer)
        expected = await announce(producer, "before", 5)
        await follow(consumer)
        if before == "rolled back beside events":
            # Open while events are appended, so that no horizon which is stored with them says how it ended.
            with suppress(ZeroDivisionError):
                async with producer.database.transaction() as tx:
                    await tx.raw.execute("insert into state values ('never', 1, 1)")
                    expected |= await announce(producer, "beside", 5)
                    raise ZeroDivisionError
        elif before != "nothing":
            await rolled_back(producer)
            await other_work(producer)
        if before.endswith("event"):
            expected |= await announce(producer, "late", 5)
        # Nothing that a clock allows every few seconds only happens in between.
        await follow(consumer)
        snapshots = port.snapshots
        if is_killed:
            server.kill()
        else:
            server.stop()
        server.start()
        await producer.database.reconnect()
        expected |= await announce(producer, "after", 5)
        await follow(consumer)
        assert set(await follower.kept()) == expected
        assert len(await epochs(producer)) == 2
        assert port.snapshots == snapshots
        assert len(await follower.effects()) == len(expected)


async def test_a_horizon_is_recorded_only_where_something_was_rolled_back_below_it(server: EmbeddedPostgres) -> None:
    async def recorded() -> list[int]:
        return [row["xid"] for row in await producer.sql("select xid from feed_given")]

    async def horizon() -> int:
        async with producer.database.connection() as reading:
            return (await producer.servicer.reader.horizon(reading.raw)).xid

    async with producing(server, new=True) as producer:
        first = await horizon()
        assert await recorded() == [first], "of what was before this process, nothing is known"
        await announce(producer, "good", 3)
        assert await horizon() > first + 1
        assert await recorded() == [first], "what committed is below any end"
        await rolled_back(producer)
        later = await horizon()
        assert await recorded() == [later]
        for _ in range(3):
            assert await horizon() <= later + 1, "recording takes a number itself and is no reason to record"
        assert await recorded() == [later]


async def test_an_account_that_may_not_tell_stores_apart_is_named_with_the_grant(server: EmbeddedPostgres) -> None:
    from libs.feed import epochs as guarded
    from libs.store.errors import StoreMisuse

    async with producing(server, new=True) as producer:
        await producer.sql("revoke execute on function pg_control_system() from public")
        try:
            await producer.sql("grant usage on schema public to producer")
            await producer.sql("grant select on all tables in schema public to producer")
            async with Database(server.account_url("producer"), name="producer") as database:
                with pytest.raises(StoreMisuse, match=r"grant execute on function pg_control_system\(\)"):
                    await guarded.at_start(database)
        finally:
            await producer.sql("grant execute on function pg_control_system() to public")


async def test_the_answer_names_where_the_histories_part(server: EmbeddedPostgres) -> None:
    from libs.feed.types import EpochEnded

    async with producing(server, new=True) as producer:
        port = producer.port()
        await announce(producer, "before", 3)
        shared = (await port.pull(dict.fromkeys(ALL, BEGINNING), 100, 0)).next
        await port.pull(shared, 100, 0, shared)
        copy = await copy_of(server, producer)
        await announce(producer, "lost", LOST)
        ahead = (await port.pull(shared, 100, 0)).next
        await back_to(server, copy, producer)
        with pytest.raises(EpochEnded) as ended:
            await port.pull(ahead, 100, 0)
        again = ended.value.resume_from
        assert again is not None
        assert (
            max(cursor.place for cursor in shared.values()) <= again.place < min(each.place for each in ahead.values())
        )


async def test_a_consumer_on_an_older_copy_of_its_own_store_reads_again_and_applies_each_event_once(
    server: EmbeddedPostgres, follower: Follower, postgres: EmbeddedPostgres, second_url: str
) -> None:
    copy = "feed_consumer_older"
    async with producing(server, new=True) as producer:
        port = producer.port("reporter")
        consumer = follower.consumer(port)
        await follower.at_feed(consumer)
        expected = await announce(producer, "before", 5)
        await follow(consumer)
        await consumer.close()
        await follower.database.close()
        postgres.create_database(copy, template=urlparse(second_url).path.strip("/"))
        try:
            await follower.database.open()
            expected |= await announce(producer, "while", LOST)
            ahead = follower.consumer(port, "two")
            await follow(ahead)
            assert set(await follower.kept()) == expected
            async with Database(postgres.url(copy), name="follower") as database:
                older = Follower(database, follower.handler, follower.clock)
                again = older.consumer(port, "three")
                expected |= await announce(producer, "after", 5)
                await follow(again)
                assert set(await older.kept()) == expected
                assert len(await older.effects()) == len(expected)
        finally:
            postgres.drop_database(copy)
