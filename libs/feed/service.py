"""luxor.feed.v1.FeedService: the producer's edge of the feed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.partitions import PARTITIONS
from libs.feed.outbox import Outbox
from libs.feed.payloads import StoredBatch, message_class_of
from libs.feed.reading import OUTBOX, Entries, EntryPage, Reader
from libs.feed.retention import Positions
from libs.feed.types import Cursor, StartAgain
from libs.feed.watch import Watch
from libs.server.errors import Refusal
from libs.store.database import Transaction
from luxor.feed.v1 import feed_pb2, feed_pb2_grpc

EVENTS_DEFAULT: Final = 5_000
EVENTS_MAX: Final = 20_000
WAIT_MILLIS_MAX: Final = 20_000
PAGE_BYTES_MAX: Final = 3 * 1024 * 1024
"""Soft bound of a page's payloads: below gRPC's 4 MB; a page has one batch at least."""
NAME_CHARACTERS_MAX: Final = 63


@dataclass(frozen=True, slots=True)
class StatePage:
    """A page of a producer's present state: a partition per row of `table`, and where the reading goes on (empty: it is done)."""

    table: Table
    partitions: NDArray[np.int64]
    next_token: bytes


class SnapshotSource(Protocol):
    """How a producer reads its present state for a new reader."""

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read about `max_rows` rows of these partitions after `token` (empty: from the start).

        Every consignment that existed before the first page and still does must come once at least. A row may be newer than the first page.
        """
        ...


class FeedServicer(feed_pb2_grpc.FeedServiceServicer):
    """Serves an outbox, and the snapshot of the state behind it."""

    def __init__(self, outbox: Outbox, snapshot: SnapshotSource, *, page_bytes_max: int = PAGE_BYTES_MAX) -> None:
        self.outbox = outbox
        self.reader: Reader[int] = Reader(outbox.database, OUTBOX)
        self.watch: Watch[int] = Watch(self.reader)
        self.positions = Positions(outbox.database)
        self._snapshot = snapshot
        self._page_bytes_max = page_bytes_max
        self._bytes_an_event = 500.0

    async def Pull(self, request: feed_pb2.PullRequest, context: Any) -> feed_pb2.PullResponse:
        """Answer with the next page, as soon as there is an event."""
        after = _positions(request.after, "after")
        _named(request.consumer)
        if not after:
            raise Refusal("FEED_PARTITIONS_MISSING", path="after")
        events_max = _bounded(request.max_events, EVENTS_DEFAULT, EVENTS_MAX, "max_events")
        if request.wait_millis > WAIT_MILLIS_MAX:
            raise Refusal("FEED_LIMIT", path="wait_millis", value=request.wait_millis, limit=WAIT_MILLIS_MAX)
        # What fits into a message by what events weighed lately; the exact bound is taken when the payloads are there.
        events_max = max(1, min(events_max, int(self._page_bytes_max / self._bytes_an_event)))
        if request.committed:
            await self.positions.record(request.consumer, _positions(request.committed, "committed"))
        try:
            return await self._pull(after, events_max, request.wait_millis / 1000)
        except StartAgain as error:
            raise _start_again(error) from error

    async def _pull(self, after: dict[int, Cursor], events_max: int, seconds: float) -> feed_pb2.PullResponse:
        clock = asyncio.get_running_loop().time
        ends_at = clock() + seconds
        while True:
            async with self.outbox.database.connection() as reading:
                page = await self.reader.page(reading.raw, after, events_max)
                if page.batches:
                    refs = [batch.ref for batch in page.batches]
                    stored = await self.outbox.payloads.fetch(reading.raw, refs)
                    return self._answer(page, [stored[ref] for ref in refs], after)
            if not page.more:
                left = ends_at - clock()
                if left <= 0 or not await self.watch.wait(after, page.horizon, left):
                    return _response((), page.next, page.horizon, self._read_at())
            after = page.next

    def _answer(
        self, page: EntryPage[int], stored: Sequence[StoredBatch], after: Mapping[int, Cursor]
    ) -> feed_pb2.PullResponse:
        batches: list[feed_pb2.Batch] = []
        next_cursors, size = page.next, 0
        for entries, batch in zip(page.batches, stored, strict=True):
            message = self._batch(entries, batch)
            size += len(message.payload)
            if batches and size > self._page_bytes_max:
                # The page ends before this batch, for whoever would have gone beyond.
                last = batches[-1].cursor
                cut = Cursor(last.epoch, last.day, last.xid, last.seq)
                next_cursors = {
                    partition: max(min(cursor, cut, key=_place), after[partition], key=_place)
                    for partition, cursor in page.next.items()
                }
                break
            batches.append(message)
        events = sum(len(batch.rows) for batch in batches)
        self._bytes_an_event += 0.2 * (size / events - self._bytes_an_event)
        return _response(batches, next_cursors, page.horizon, self._read_at())

    def _read_at(self) -> int | None:
        return self.reader.state.now if self.reader.state is not None else None

    def _batch(self, entries: Entries[int], batch: StoredBatch) -> feed_pb2.Batch:
        rows = np.concatenate(entries.rows)
        partitions = np.repeat(np.asarray(entries.keys, np.int64), [len(each) for each in entries.rows])
        order = np.argsort(rows, kind="stable")
        rows, partitions = rows[order], partitions[order]
        payload = batch.payload
        if 2 * len(rows) < batch.row_count:
            payload = self.outbox.payloads.table(batch).take(rows).encode(batch.message_class()).SerializeToString()
            rows = np.arange(len(rows))
        return feed_pb2.Batch(
            id=batch.ref.id,
            cursor=_cursor(entries.cursor),
            payload=payload,
            schema=batch.schema,
            schema_version=batch.schema_version,
            committed_at=batch.created_at,
            traceparent=batch.trace,
            rows=rows.tolist(),
            partitions=partitions.tolist(),
        )

    async def Snapshot(self, request: feed_pb2.SnapshotRequest, context: Any) -> feed_pb2.SnapshotResponse:
        """Answer with a page of the present state; the cursor of the feed is taken before the first page."""
        _named(request.consumer)
        partitions = _partitions(request.partitions, "partitions")
        if not partitions:
            raise Refusal("FEED_PARTITIONS_MISSING", path="partitions")
        rows_max = _bounded(request.max_rows, EVENTS_DEFAULT, EVENTS_MAX, "max_rows")
        token = feed_pb2.SnapshotToken()
        if request.token:
            try:
                token.ParseFromString(request.token)
            except Exception as error:
                raise Refusal("FEED_TOKEN_MALFORMED", path="token") from error
        else:
            await self.positions.register(request.consumer)
            async with self.outbox.database.connection() as reading:
                token.start.CopyFrom(_cursor((await self.reader.refresh(reading.raw)).horizon))
        message_class = message_class_of(self.outbox.schema)
        while True:
            async with self.outbox.database.connection() as reading:
                page = await self._snapshot.page(reading, partitions, token.source, rows_max)
                read_at = await reading.now()
            payload = page.table.encode(message_class).SerializeToString() if page.table.rows else b""
            if len(payload) <= 2 * self._page_bytes_max or rows_max == 1:
                break
            rows_max = max(1, rows_max // 4)  # rows heavier than thought: fewer of them fit
        answer = feed_pb2.SnapshotResponse(
            start=token.start, schema=self.outbox.schema, schema_version=self.outbox.schema_version, read_at=read_at
        )
        if page.table.rows:
            answer.payload = payload
            answer.partitions.extend(np.asarray(page.partitions).tolist())
        if page.next_token:
            answer.next_token = feed_pb2.SnapshotToken(start=token.start, source=page.next_token).SerializeToString()
        return answer


Pull = Callable[[feed_pb2.PullRequest], Awaitable[feed_pb2.PullResponse]]


def _response(
    batches: Iterable[feed_pb2.Batch], positions: Mapping[int, Cursor], horizon: Cursor, read_at: int | None
) -> feed_pb2.PullResponse:
    return feed_pb2.PullResponse(
        batches=batches, next=to_positions(positions), horizon=_cursor(horizon), read_at=read_at
    )


def to_positions(cursors: Mapping[int, Cursor]) -> list[feed_pb2.Position]:
    """Group partitions by their cursor: most stand at the same."""
    groups: dict[Cursor, list[int]] = {}
    for partition, cursor in cursors.items():
        groups.setdefault(cursor, []).append(partition)
    return [feed_pb2.Position(cursor=_cursor(cursor), partitions=partitions) for cursor, partitions in groups.items()]


def _cursor(cursor: Cursor) -> feed_pb2.Cursor:
    return feed_pb2.Cursor(epoch=cursor.epoch, day=cursor.day, xid=cursor.xid, seq=cursor.seq)


def _place(cursor: Cursor) -> tuple[int, int, int]:
    return cursor.place


def _positions(positions: Iterable[feed_pb2.Position], path: str) -> dict[int, Cursor]:
    found: dict[int, Cursor] = {}
    for index, position in enumerate(positions):
        wire = position.cursor
        if min(wire.epoch, wire.day, wire.xid, wire.seq) < 0:
            raise Refusal("FEED_CURSOR_MALFORMED", path=f"{path}[{index}].cursor")
        cursor = Cursor(wire.epoch, wire.day, wire.xid, wire.seq)
        for partition in _partitions(position.partitions, f"{path}[{index}].partitions"):
            if partition in found:
                raise Refusal("FEED_PARTITION_TWICE", path=f"{path}[{index}].partitions", value=partition)
            found[partition] = cursor
    return found


def _partitions(partitions: Iterable[int], path: str) -> list[int]:
    distinct = sorted(set(partitions))
    if distinct and distinct[-1] >= PARTITIONS:
        raise Refusal("FEED_PARTITION_UNKNOWN", path=path, value=distinct[-1], partitions=PARTITIONS)
    return distinct


def _named(consumer: str) -> None:
    if not 0 < len(consumer) <= NAME_CHARACTERS_MAX:
        raise Refusal("FEED_CONSUMER_MISSING", path="consumer", value=consumer)


def _bounded(value: int, default: int, limit: int, path: str) -> int:
    if value > limit:
        raise Refusal("FEED_LIMIT", path=path, value=value, limit=limit)
    return value or default


def _start_again(error: StartAgain) -> Refusal:
    bitmap = sum(1 << int(partition) for partition in error.partitions)
    return Refusal(error.reason, partitions=f"{bitmap:016x}", read_again="Snapshot")
