"""A producer and a consumer with real databases; the feed between them is called without a network unless a test wants one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import asyncpg
import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Ints, Strings, Table
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.port import page_of, restart_error_of, snapshot_page_of
from libs.feed.publish.outbox import KeyedOutbox, Outbox
from libs.feed.publish.service import FeedServicer, StatePage, to_positions
from libs.feed.publish.watch import Watch
from libs.feed.schema import create_consumer, create_notices, create_outbox, create_requests, stamp_epochs
from libs.feed.types import BatchRef, Cursor, CursorExpired, EpochEnded, EventError, FeedBatch, Page, SnapshotPage
from libs.server.errors import Refusal
from libs.store.database import Database, Transaction
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.schema import create_page_keys, create_request_log
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2
from tests.support.calls import enter_as
from tests.support.databases import bring_back, reused_database

Event = tuple[str, int, int]
"""mrn, version, partition."""

ALL = range(64)
LEASE_MILLIS = 60_000
"""Leases run by the database's clock, which no test moves: longer than any test lasts, so that they end when a test says so."""


def table_of(events: Sequence[Event]) -> Table:
    return Table.of(
        ConsignmentColumns,
        len(events),
        {
            "mrn": Strings.of([event[0] for event in events]),
            "version": Ints.of([event[1] for event in events]),
            "partition": Ints.of([event[2] for event in events]),
        },
    )


def mrns(table: Table) -> list[str]:
    return table.strings("mrn").tolist()


def events_of(batches: Sequence[FeedBatch]) -> list[Event]:
    return [
        event
        for batch in batches
        for event in zip(
            mrns(batch.table), batch.table.ints("version").values.tolist(), batch.partitions.tolist(), strict=True
        )
    ]


class _Op:
    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, sqltext: Any) -> None:
        self.statements.append(str(sqltext))


def statements_of(*steps: Callable[[Any], None]) -> list[str]:
    op = _Op()
    for step in steps:
        step(op)
    return op.statements


async def prepare(database: Database, *steps: Callable[[Any], None]) -> None:
    async with database.connection() as work:
        for statement in statements_of(*steps):
            await work.raw.execute(statement)


def with_state(op: Any) -> None:
    """Make the table of a producer's present state."""
    op.execute("create table state (mrn text primary key, version bigint, partition int)")


def with_effects(op: Any) -> None:
    """Make the tables that `Effects` writes."""
    op.execute("create table effect (id bigserial primary key, mrn text, version bigint, partition int)")
    op.execute("create table kept (mrn text primary key, version bigint)")


PRODUCER = (create_outbox, create_notices, stamp_epochs, with_state)
FOLLOWER = (create_consumer, create_requests, create_request_log, create_page_keys, with_effects)


def reused(postgres: EmbeddedPostgres, name: str, *steps: Callable[[Any], None]) -> AbstractContextManager[str]:
    """Give the URL of a database that has been through these steps; the same ones again, on the same day, use it again."""
    text = "\n".join([time.strftime("%F", time.gmtime()), *statements_of(*steps)])
    kind = f"{name}_{sha256(text.encode()).hexdigest()[:12]}"
    return reused_database(postgres, kind, lambda database: prepare(database, *steps))


async def anew(url: str, *steps: Callable[[Any], None]) -> None:
    """Bring a database of `reused` back within a test."""
    await bring_back(url, lambda database: prepare(database, *steps))


class State:
    """The producer's state: the newest version of each consignment; its snapshot."""

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        after = token.decode()
        rows = await tx.raw.fetch(
            "select mrn, version, partition from state where partition = any($1::int[]) and mrn > $2 order by mrn limit $3",
            list(partitions),
            after,
            max_rows,
        )
        found = [tuple(row) for row in rows]
        following = found[-1][0].encode() if len(found) == max_rows else b""
        return StatePage(table_of(found), np.array([row[2] for row in found], np.int64), following)


class DirectPort:
    """Calls the servicer in place; `break_on` names calls that fail before they reach it."""

    def __init__(self, servicer: FeedServicer, consumer: str = "watcher") -> None:
        self.servicer = servicer
        self.consumer = consumer
        self.pulls: list[dict[int, Cursor]] = []
        self.snapshots = 0
        self.fail: list[BaseException] = []

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        self.pulls.append(dict(after))
        if self.fail:
            raise self.fail.pop(0)
        request = feed_pb2.PullEventsRequest(
            consumer=self.consumer,
            after=to_positions(after),
            max_events=max_events,
            wait_millis=wait_millis,
            committed=to_positions(committed or {}),
        )
        try:
            enter_as(self.consumer)
            answer = await self.servicer.PullEvents(request, None)
        except Refusal as refusal:
            for kind in (CursorExpired, EpochEnded):
                if refusal.reason == kind.reason:
                    facts = {name: str(fact) for name, fact in refusal.facts.items()}
                    raise restart_error_of(kind, refusal.sentence, facts) from refusal
            raise
        return page_of(feed_pb2.PullEventsResponse.FromString(answer.SerializeToString()), ConsignmentColumns)

    async def snapshot(self, partitions: Sequence[int], token: bytes, max_rows: int) -> SnapshotPage:
        self.snapshots += 1
        if self.fail:
            raise self.fail.pop(0)
        request = feed_pb2.ReadSnapshotRequest(
            consumer=self.consumer, partitions=partitions, token=token, max_rows=max_rows
        )
        enter_as(self.consumer)
        answer = await self.servicer.ReadSnapshot(request, None)
        return snapshot_page_of(
            feed_pb2.ReadSnapshotResponse.FromString(answer.SerializeToString()), ConsignmentColumns
        )


@dataclass
class Producer:
    database: Database
    outbox: Outbox
    servicer: FeedServicer
    notices: KeyedOutbox
    written: list[Event] = field(default_factory=list)

    async def write(self, tx: Transaction, events: Sequence[Event], trace: str = "") -> BatchRef:
        """Make events true in the caller's transaction: state and announcement."""
        await tx.raw.executemany(
            "insert into state (mrn, version, partition) values ($1, $2, $3) "
            "on conflict (mrn) do update set version = excluded.version where excluded.version > state.version",
            events,
        )
        partitions = np.array([event[2] for event in events])
        return await self.outbox.append(tx, table_of(events), ConsignmentColumns, partitions, trace=trace)

    async def announce(self, *events: Event, trace: str = "") -> BatchRef:
        async with self.database.transaction() as tx:
            ref = await self.write(tx, events, trace)
        self.written += events
        return ref

    def port(self, consumer: str = "watcher") -> DirectPort:
        return DirectPort(self.servicer, consumer)

    async def sql(self, statement: str, *values: Any) -> Any:
        async with self.database.connection() as work:
            return await work.raw.fetch(statement, *values)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Effects:
    """A handler that logs every event that takes effect, without any guard against doing it twice, and adds up by version."""

    def __init__(self) -> None:
        self.bad: dict[str, BaseException] = {}
        """Keys whose events cannot be applied, and how."""
        self.crash: dict[str, BaseException] = {}
        """Steps at which it dies once."""
        self.prepared = 0

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        self.prepared += 1
        self._die("prepare")
        for mrn, _, _ in events_of(batches):
            if mrn in self.bad and not mrn.endswith("late"):
                raise self.bad[mrn]
        return batches

    async def apply(self, tx: Transaction, prepared: list[FeedBatch]) -> None:
        self._die("apply")
        events = events_of(prepared)
        for mrn, _, _ in events:
            if mrn in self.bad:
                raise self.bad[mrn]
        await tx.raw.executemany("insert into effect (mrn, version, partition) values ($1, $2, $3)", events)
        await tx.raw.executemany(
            "insert into kept (mrn, version) values ($1, $2) "
            "on conflict (mrn) do update set version = excluded.version where excluded.version > kept.version",
            [event[:2] for event in events],
        )
        self._die("applied")

    def _die(self, step: str) -> None:
        if step in self.crash:
            raise self.crash.pop(step)


@dataclass
class Follower:
    database: Database
    handler: Effects
    clock: Clock

    def consumer(self, port: Any, replica: str = "one", **more: Any) -> Consumer:
        return Consumer(
            "producer",
            database=more.pop("database", self.database),
            pull=port,
            handler=more.pop("handler", self.handler),
            key=mrns,
            message_class=ConsignmentColumns,
            replica=replica,
            wait_millis=0,
            lease_millis=more.pop("lease_millis", LEASE_MILLIS),
            clock=self.clock,
            prepares_ahead=more.pop("prepares_ahead", True),
            **more,
        )

    async def effects(self) -> list[Event]:
        rows = await self.sql("select mrn, version, partition from effect order by id")
        return [tuple(row) for row in rows]

    async def kept(self) -> dict[str, int]:
        return dict(await self.sql("select mrn, version from kept"))

    async def letters(self) -> list[asyncpg.Record]:
        return list(await self.sql("select * from dead_letter order by id"))

    async def sql(self, statement: str, *values: Any) -> Any:
        async with self.database.connection() as work:
            return await work.raw.fetch(statement, *values)

    async def at_feed(self, consumer: Consumer) -> None:
        """Bring a consumer past its first snapshot, so that all that follows comes by the feed."""
        await consumer.step()
        assert all(held.ready for held in consumer.leases.by_partition.values())


async def drain(*consumers: Consumer, rounds: int = 40) -> int:
    """Step consumers in turn until none of them gets an event."""
    total = 0
    for _ in range(rounds):
        got = 0
        for consumer in consumers:
            got += await consumer.step()
        total += got
        if not got:
            return total
    raise AssertionError(f"still events after {rounds} rounds")


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The producer's database."""
    with reused(postgres, "producer", *PRODUCER) as url:
        yield url


@pytest.fixture
def second_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The follower's database."""
    with reused(postgres, "follower", *FOLLOWER) as url:
        yield url


@pytest_asyncio.fixture
async def producer(database_url: str) -> AsyncIterator[Producer]:
    async with Database(database_url, name="producer", pool_size=24) as database:
        outbox = Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name)
        servicer = FeedServicer(outbox, State())
        yield Producer(database, outbox, servicer, KeyedOutbox(outbox))
        await ended(servicer.watch)


async def ended(watch: Watch[Any]) -> None:
    """Wait until a watch polls no more, which it does once nobody waits: whatever it asks the store then would be cut off."""
    if watch.task is not None:
        await asyncio.wait({watch.task}, timeout=10)


@pytest_asyncio.fixture
async def follower(second_url: str) -> AsyncIterator[Follower]:
    async with Database(second_url, name="follower") as database:
        yield Follower(database, Effects(), Clock())


@pytest.fixture
def bad_event() -> EventError:
    return EventError("NO_SUCH_THING", "the consignment names a thing that does not exist")
