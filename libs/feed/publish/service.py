"""luxor.feed.v1.FeedService: the producer's edge of the feed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.partitions import PARTITIONS
from libs.feed.publish.backlog import Backlog
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.payloads import StoredBatch, message_class_of
from libs.feed.publish.reader import OUTBOX, Entries, EntryPage, Reader
from libs.feed.publish.retention import Positions
from libs.feed.publish.shared_positions import REPORT_SECONDS
from libs.feed.publish.watch import Watch
from libs.feed.types import Cursor, CursorInvalid, EpochEnded, FeedError
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from luxor.feed.v1 import feed_pb2, feed_pb2_grpc

EVENTS_DEFAULT: Final = 5_000
EVENTS_MAX: Final = 20_000
WAIT_MILLIS_MAX: Final = 20_000
PAGE_BYTES_MAX: Final = 3 * 1024 * 1024
"""Soft bound of a page's payloads: below gRPC's 4 MB; a page has one batch at least."""
NAME_CHARACTERS_MAX: Final = 63
SUMMARY_DAYS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class StatePage:
    """A page of a producer's present state: a partition per row of `table`, and the token of the next page (empty: the end)."""

    table: Table
    partitions: NDArray[np.int64]
    next_token: bytes


class TokenMalformed(FeedError):
    """A token of a snapshot that its source did not write."""


class SnapshotSource(Protocol):
    """How a producer reads its present state for a new reader."""

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read about `max_rows` rows of these partitions after `token` (empty: from the start); raise TokenMalformed for one of another making.

        Every consignment that existed before the first page and still does must come once at least. A row may be newer than the first page.
        """
        ...


@dataclass(frozen=True, slots=True)
class DaySummary:
    """What a day has: per partition how many keys, and the exclusive or of their hashes; of serials below one (empty: all)."""

    day: int
    below: str
    partitions: list[int]
    counts: list[int]
    digests: list[int]


class DaySource(Protocol):
    """How a producer reads its state day by day."""

    async def summaries(self, first: int, last: int) -> Sequence[DaySummary]:
        """Summarize days; one that is not worked out yet is left out."""
        ...

    async def page_of_day(
        self, tx: Transaction, day: int, partitions: Sequence[int], token: bytes, max_rows: int
    ) -> StatePage:
        """Read as SnapshotSource.page, only what was accepted on a day."""
        ...


class FeedServicer(feed_pb2_grpc.FeedServiceServicer):
    """Serves an outbox, and the snapshot of its state."""

    def __init__(
        self,
        outbox: Outbox,
        snapshot: SnapshotSource,
        *,
        days: DaySource | None = None,
        page_bytes_max: int = PAGE_BYTES_MAX,
        backlog: Backlog | None = None,
    ) -> None:
        """Serve; `backlog` learns how far its consumer has committed."""
        self.outbox = outbox
        self.reader: Reader[int] = Reader(outbox.database, OUTBOX)
        self.watch: Watch[int] = Watch(self.reader)
        outbox.listeners.append(self.watch.nudge)
        self.positions = Positions(outbox.database)
        self.snapshot = snapshot
        self._days = days
        self.backlog = backlog
        self.page_bytes_max = page_bytes_max
        self.bytes_an_event = 500.0

    async def PullEvents(self, request: feed_pb2.PullEventsRequest, context: Any) -> feed_pb2.PullEventsResponse:
        """Answer with the next page, as soon as there is an event."""
        after = _positions(request.after, "after")
        consumer = consumer_of(call.current().identity, request.consumer)
        if not after:
            raise Refusal("FEED_PARTITIONS_MISSING", path="after")
        events_max = _bounded(request.max_events, EVENTS_DEFAULT, EVENTS_MAX, "max_events")
        if request.wait_millis > WAIT_MILLIS_MAX:
            raise Refusal("FEED_LIMIT", path="wait_millis", value=request.wait_millis, limit=WAIT_MILLIS_MAX)
        # What fits into a message by what events weighed lately; the exact bound is taken when the payloads are there.
        events_max = max(1, min(events_max, int(self.page_bytes_max / self.bytes_an_event)))
        try:
            return await self._pull(consumer, request, after, events_max)
        except CursorInvalid as error:
            raise _cursor_refusal(error) from error

    async def _pull(
        self, consumer: str, request: feed_pb2.PullEventsRequest, after: dict[int, Cursor], events_max: int
    ) -> feed_pb2.PullEventsResponse:
        clock = asyncio.get_running_loop().time
        ends_at = clock() + request.wait_millis / 1000
        committed = _positions(request.committed, "committed")
        is_service = call.current().identity.role is Role.SERVICE
        while True:
            async with self.outbox.database.connection() as reading:
                page = await self.reader.page(reading.raw, after, events_max, begins=is_service)
                if committed:
                    # Only what lies on this history: days are dropped by these positions, and an epoch ends by them.
                    state = self.reader.state or await self.reader.refresh(reading.raw)
                    known = {each: at for each, at in committed.items() if not at.epoch or state.reached(at)}
                    if self.backlog is not None and consumer == self.backlog.consumer:
                        self.backlog.confirm(known)
                        await self.positions.record(consumer, known, seconds_min=REPORT_SECONDS)
                    else:
                        await self.positions.record(consumer, known)
                    committed = {}
                if page.batches:
                    refs = [batch.ref for batch in page.batches]
                    stored = await self.outbox.payloads.fetch(reading.raw, refs)
                    return self._answer(page, [stored[ref] for ref in refs], after)
            if not page.has_more:
                left = ends_at - clock()
                if left <= 0 or not await self.watch.wait(after, page.horizon, left):
                    return _response((), page.next, page.horizon, self._read_at())
            after = page.next

    def _answer(
        self, page: EntryPage[int], stored: Sequence[StoredBatch], after: Mapping[int, Cursor]
    ) -> feed_pb2.PullEventsResponse:
        batches: list[feed_pb2.Batch] = []
        next_cursors, size = page.next, 0
        for entries, batch in zip(page.batches, stored, strict=True):
            message = self._batch(entries, batch)
            size += len(message.payload)
            if batches and size > self.page_bytes_max:
                # The page ends before this batch for partitions that would continue after it.
                last = batches[-1].cursor
                cut = Cursor(last.epoch, last.day, last.xid, last.seq)
                next_cursors = {
                    partition: max(min(cursor, cut, key=_place), after[partition], key=_place)
                    for partition, cursor in page.next.items()
                }
                break
            batches.append(message)
        events = sum(len(batch.rows) for batch in batches)
        self.bytes_an_event += 0.2 * (size / events - self.bytes_an_event)
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
            payload = self.outbox.payloads.table(batch).take(rows).serialize(batch.message_class())
            rows = np.arange(len(rows))
        return feed_pb2.Batch(
            id=batch.ref.id,
            cursor=_cursor(entries.cursor),
            payload=payload,
            schema=batch.schema,
            schema_version=batch.schema_version,
            committed_at_micros=batch.created_at,
            traceparent=batch.trace,
            rows=rows.tolist(),
            partitions=partitions.tolist(),
        )

    async def ReadSnapshot(self, request: feed_pb2.ReadSnapshotRequest, context: Any) -> feed_pb2.ReadSnapshotResponse:
        """Answer with a page of the present state; the cursor of the feed is taken before the first page."""
        consumer = consumer_of(call.current().identity, request.consumer)
        partitions = _partitions(request.partitions, "partitions")
        if not partitions:
            raise Refusal("FEED_PARTITIONS_MISSING", path="partitions")
        rows_max = _bounded(request.max_rows, EVENTS_DEFAULT, EVENTS_MAX, "max_rows")
        token = feed_pb2.SnapshotToken()
        if request.token:
            try:
                token.ParseFromString(request.token)
                if not token.source:
                    raise TokenMalformed
            except Exception as error:
                raise Refusal("FEED_TOKEN_MALFORMED", path="token") from error
        else:
            await self.positions.register(consumer)
            async with self.outbox.database.connection() as reading:
                token.start.CopyFrom(_cursor(await self.reader.horizon(reading.raw)))
        message_class = message_class_of(self.outbox.schema)
        while True:
            async with self.outbox.database.connection() as reading:
                try:
                    if request.HasField("day"):
                        days = self._day_source()
                        page = await days.page_of_day(reading, request.day, partitions, token.source, rows_max)
                    else:
                        page = await self.snapshot.page(reading, partitions, token.source, rows_max)
                except TokenMalformed as error:
                    raise Refusal("FEED_TOKEN_MALFORMED", path="token") from error
                read_at = await reading.now()
            payload = page.table.serialize(message_class) if page.table.rows else b""
            if len(payload) <= 2 * self.page_bytes_max or rows_max == 1:
                break
            rows_max = max(1, rows_max // 4)  # rows heavier than thought: fewer of them fit
        answer = feed_pb2.ReadSnapshotResponse(
            start=token.start,
            schema=self.outbox.schema,
            schema_version=self.outbox.schema_version,
            read_at_micros=read_at,
        )
        if page.table.rows:
            answer.payload = payload
            answer.partitions.extend(np.asarray(page.partitions).tolist())
        if page.next_token:
            answer.next_token = feed_pb2.SnapshotToken(start=token.start, source=page.next_token).SerializeToString()
        return answer

    async def SummarizeDays(
        self, request: feed_pb2.SummarizeDaysRequest, context: Any
    ) -> feed_pb2.SummarizeDaysResponse:
        """Answer with the summaries of days, and the place that all of it lies before."""
        consumer_of(call.current().identity, request.consumer)
        if not 0 <= request.to_day - request.from_day <= SUMMARY_DAYS_MAX:
            days = request.to_day - request.from_day
            raise Refusal("FEED_LIMIT", path="to_day", value=days, limit=SUMMARY_DAYS_MAX)
        found = await self._day_source().summaries(request.from_day, request.to_day)
        async with self.outbox.database.connection() as reading:
            horizon = (await self.reader.refresh(reading.raw)).horizon
        summaries = [
            feed_pb2.DaySummary(
                day=each.day, below=each.below, partitions=each.partitions, counts=each.counts, digests=each.digests
            )
            for each in found
        ]
        return feed_pb2.SummarizeDaysResponse(days=summaries, horizon=_cursor(horizon))

    def _day_source(self) -> DaySource:
        if self._days is None:
            raise Refusal("FEED_NOT_SUMMARIZED")
        return self._days


Pull = Callable[[feed_pb2.PullEventsRequest], Awaitable[feed_pb2.PullEventsResponse]]


def _response(
    batches: Iterable[feed_pb2.Batch], positions: Mapping[int, Cursor], horizon: Cursor, read_at: int | None
) -> feed_pb2.PullEventsResponse:
    return feed_pb2.PullEventsResponse(
        batches=batches, next=to_positions(positions), horizon=_cursor(horizon), read_at_micros=read_at
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


def text_of(token: bytes) -> str:
    """Read a token that is a text; raise TokenMalformed for bytes that no store takes as one."""
    try:
        text = token.decode()
    except UnicodeDecodeError as error:
        raise TokenMalformed from error
    if "\x00" in text:
        raise TokenMalformed
    return text


def numbered(token: bytes, most: int = 2**31 - 1) -> tuple[int, str]:
    """Read a token that is a number up to `most`, a dot and a text; raise TokenMalformed."""
    number, dot, text = text_of(token).partition(".")
    if not dot or not text or not (number.isascii() and number.isdigit()) or len(number) > 10 or int(number) > most:
        raise TokenMalformed
    return int(number), text


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


def consumer_of(caller: Identity, named: str) -> str:
    """Return the name under which a caller reads: for a service the id of its certificate, and nothing else.

    Raise Refusal FEED_CONSUMER_FOREIGN where the request names another, since positions belong to who committed them.
    """
    own = caller.id if caller.role is Role.SERVICE else str(caller)
    if named not in ("", own):
        raise Refusal("FEED_CONSUMER_FOREIGN", path="consumer", value=named[:NAME_CHARACTERS_MAX], caller=own)
    return own


def _bounded(value: int, default: int, limit: int, path: str) -> int:
    if value > limit:
        raise Refusal("FEED_LIMIT", path=path, value=value, limit=limit)
    return value or default


def _cursor_refusal(error: CursorInvalid) -> Refusal:
    bitmap = sum(1 << int(partition) for partition in error.partitions)
    place = error.resume_from if isinstance(error, EpochEnded) else None
    facts = {} if place is None else place._asdict()
    return Refusal(error.reason, partitions=f"{bitmap:016x}", read_again="Snapshot", **facts)
