"""A consumer without a store and without a producer: its pages are laid out by a test, and what it would commit is written down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from libs.feed.consume.consumer import Consumer
from libs.feed.consume.leases import LeasedPartition
from libs.feed.types import Clock as ProducerClock
from libs.feed.types import Cursor, FeedBatch, Page, SnapshotPage
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import LEASE_MILLIS, Clock, Event, events_of, mrns, table_of

SCHEMA = ConsignmentColumns.DESCRIPTOR.full_name
START = Cursor(1, 1, 10, 0)


def batch_of(
    events: Sequence[Event], xid: int = 11, *, clock: ProducerClock | None = None, snapshot: bool = False
) -> FeedBatch:
    partitions = np.array([each[2] for each in events], np.int64)
    return FeedBatch(
        table_of(events), partitions, Cursor(1, 1, xid, 1), np.arange(len(events)), 55, "", SCHEMA, snapshot=snapshot, clock=clock
    )  # fmt: skip


def page_of(*batches: FeedBatch, to: Mapping[int, Cursor], clock: ProducerClock | None = None) -> Page:
    return Page(list(batches), to, Cursor(1, 1, 99, 0), sum(each.table.rows for each in batches), clock)


class Port:
    """Gives the pages that a test lays out, then empty ones; an exception among them is raised."""

    def __init__(self) -> None:
        self.pages: list[Page | BaseException] = []
        self.snapshots: list[SnapshotPage | BaseException] = []
        self.pulled: list[tuple[dict[int, Cursor], int, int, Mapping[int, Cursor] | None]] = []
        self.asked: list[tuple[list[int], bytes, int, int | None]] = []

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        self.pulled.append((dict(after), max_events, wait_millis, committed))
        page = self.pages.pop(0) if self.pages else page_of(to=after)
        if isinstance(page, BaseException):
            raise page
        return page

    async def snapshot(
        self, partitions: Sequence[int], token: bytes, max_rows: int, day: int | None = None
    ) -> SnapshotPage:
        self.asked.append((list(partitions), token, max_rows, day))
        page = self.snapshots.pop(0) if self.snapshots else SnapshotPage(None, START, b"")
        if isinstance(page, BaseException):
            raise page
        return page


class Store:
    """A database that carries out every move and writes down what was committed."""

    name = "follower"

    def __init__(self) -> None:
        self.opened = 0
        """Transactions and connections."""
        self.moves: list[dict[int, tuple[Cursor, bool]]] = []
        """Per committed transaction, where partitions moved."""
        self.letters: list[tuple[str, str]] = []
        """Key and reason of each letter."""
        self.requests: list[tuple[int, int]] = []
        """Partitions and days that are asked for again."""
        self.done: list[tuple[int, list[int]]] = []
        self.away: BaseException | None = None
        self.owned: dict[int, LeasedPartition] = {}
        """What the database says that the replica holds."""

    @asynccontextmanager
    async def transaction(self, **more: Any) -> AsyncIterator[Any]:
        self.opened += 1
        if self.away is not None:
            raise self.away
        work = _Work(self)
        yield work
        self.slow()
        self.moves += work.moves
        self.letters += work.letters
        self.done += work.done
        for call in work.committed:
            call()

    connection = transaction

    def slow(self) -> None:
        """Take no time; a test may have it take some."""

    def moved(self) -> dict[int, tuple[Cursor, bool]]:
        """Return where the last transaction moved partitions."""
        return self.moves[-1]


class _Work:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.moves: list[dict[int, tuple[Cursor, bool]]] = []
        self.letters: list[tuple[str, str]] = []
        self.done: list[tuple[int, list[int]]] = []
        self.committed: list[Callable[[], None]] = []
        self.raw = self

    def after_commit(self, call: Callable[[], None]) -> None:
        self.committed.append(call)

    async def execute(self, sql: str, *values: Any) -> str:
        if "update feed_cursor c set epoch" in sql:
            cursors = [Cursor(*each) for each in zip(*values[4:8], strict=True)]
            self.moves.append(dict(zip(values[2], zip(cursors, values[8], strict=True), strict=True)))
            return f"UPDATE {len(values[2])}"
        if "update feed_cursor c set lease_until = clock_timestamp()" in sql:
            return f"UPDATE {len(values[1])}"
        if "insert into dead_letter" in sql:
            self.letters += list(zip(values[2], values[13], strict=True))
        elif "delete from feed_request" in sql:
            self.done.append((values[1], values[2]))
        return "DONE 0"

    async def fetch(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        if "from feed_request" in sql:
            return [{"partition": each, "day": day} for each, day in self.store.requests if each in values[1]]
        if "from feed_cursor" in sql:
            return [
                {"partition": partition, "token": each.token, "ready": each.ready, **each.committed._asdict()}
                for partition, each in self.store.owned.items()
            ]
        return []


class Applied:
    """A handler that writes down what took effect; keys in `bad` cannot be prepared."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.bad: dict[str, BaseException] = {}
        self.prepared = 0

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        self.prepared += 1
        for mrn, _, _ in events_of(batches):
            if mrn in self.bad:
                raise self.bad[mrn]
        return batches

    async def apply(self, tx: Any, prepared: list[FeedBatch]) -> None:
        tx.after_commit(lambda: self.events.extend(events_of(prepared)))


@dataclass
class Alone:
    """A consumer of some partitions with everything around it."""

    partitions: Sequence[int] = (3, 4)
    port: Port = field(default_factory=Port)
    store: Store = field(default_factory=Store)
    handler: Applied = field(default_factory=Applied)
    clock: Clock = field(default_factory=Clock)

    def consumer(self, **more: Any) -> Consumer:
        options = {"wait_millis": 700, "lease_millis": LEASE_MILLIS, "max_events": 50} | more
        made = Consumer(
            "producer", database=self.store, pull=self.port, handler=self.handler, key=mrns, message_class=ConsignmentColumns,  # type: ignore[arg-type]
            replica="one", clock=self.clock, **options,
        )  # fmt: skip
        for each in self.partitions:
            made.leases.by_partition[each] = LeasedPartition(1, START, True, START)
            self.store.owned[each] = LeasedPartition(1, START, True, START)
        made.due.balance_at = float("inf")
        made.due.quiet_at = made.due.report_at = float("inf")
        return made


def nothing() -> Any:
    """Return what stands for a database of which nothing is asked."""
    return SimpleNamespace(name="follower")
