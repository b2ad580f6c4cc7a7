"""The spans that a service keeps in its own database, so that a consignment can be traced without a collector.

Roots (the outermost spans of this process, with all inside of them) wait in a bounded queue; once a second they are
packed into a row or a few, in a thread, and written in one transaction; sooner where the queue is half full. Nobody ever
waits for it: what finds the queue full or the store away is dropped and counted. So that this costs next to nothing, no
index over trace ids exists: a row names the traces of some hundred roots in an array, and a search reads the rows of the
time that it is about, day by day, the nearest first, for a bounded time.
"""

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from libs.customs.time import MICROS_PER_DAY
from libs.store.database import NOW_MICROS, Database
from libs.store.errors import StoreError
from libs.store.tables import schema
from libs.telemetry import get_logger
from libs.telemetry.context import trace_of
from libs.telemetry.drops import DROPPED, WAITING
from libs.telemetry.trace import AttributeValue, Span, record_into, record_no_more

TABLE: Final = "trace_record"
QUEUE_MAX: Final = 4_096
"""Spans that wait for being written."""
ROW_ROOTS_MAX: Final = 256
INTERVAL_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.25
"""Between two writes at least: four transactions of a few milliseconds a second, which do not hold the feed's horizon."""
SPANS_MAX: Final = 2_000
"""Spans of one answer."""
ANSWER_BYTES_MAX: Final = 4_000_000
"""Size of one answer, about: a span may have a hundred links."""
RECORDS_MAX: Final = 500
"""Rows that one search reads."""
SEARCH_SECONDS: Final = 3.0
FLUSH_SECONDS: Final = 1.0
"""How long a search waits for the newest spans to be written."""
_WRITE_MILLIS: Final = 1_000
_READ_MILLIS: Final = 10_000
_FORM: Final = 1
"""Stands in front of each payload, so that another form can come beside it."""

_WRITE: Final = f"""
    insert into trace_record (day, written_at, spans, traces, payload)
    select {schema.TODAY}, {NOW_MICROS}, u.spans, u.traces::bigint[], u.payload
    from unnest($1::integer[], $2::text[], $3::bytea[]) as u(spans, traces, payload)
"""  # noqa: S608  # our own constants
FIND: Final = """
    select payload, count(*) over () as named from trace_record
    where day = $1 and written_at >= $2 and traces && $3::bigint[]
    order by (select min(abs(written_at - near)) from unnest($4::bigint[]) as near), id desc limit $5
"""
_OLDEST: Final = "select written_at from trace_record order by day, id limit 1"


class Recorded(msgspec.Struct, array_like=True, frozen=True):
    """A span as it is kept; times are nanoseconds since 1970-01-01 UTC."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    sampled: bool
    start_nanos: int
    end_nanos: int
    failure: str
    attributes: dict[str, AttributeValue]
    links: tuple[str, ...]


_encode: Final = msgspec.msgpack.Encoder(enc_hook=str).encode
_decoder: Final = msgspec.msgpack.Decoder(list[list[Recorded]])


@dataclass(frozen=True, slots=True)
class TraceSearch:
    """A trace that is looked for; instants are microseconds since 1970-01-01 UTC by the database's clock."""

    trace_id: str
    since: int = 0
    """Only in what was written since."""
    near: int | None = None
    """What was written about this time comes first; None: the newest."""


@dataclass(slots=True)
class TraceSpans:
    """Spans of traces, each root followed by what was inside of it."""

    spans: list[Recorded] = field(default_factory=list)
    left_out: int = 0
    """Spans that were found and are above a limit of the answer."""
    records_left_out: int = 0
    """Rows that name one of the traces and were not read."""
    days_left_out: int = 0
    """Days that were not searched, since time or room ran out."""
    days: list[int] = field(default_factory=list)
    """Days that were searched, in this order."""
    oldest_span_at_micros: int | None = None
    """When the oldest record was written; None where there is none."""


def create_trace_records(op: schema.Operations) -> None:
    """Create the table, for migrations."""
    op.execute("create sequence trace_record_id")
    schema.create_day_partitioned(
        op,
        TABLE,
        "day integer not null, id bigint not null default nextval('trace_record_id'), written_at bigint not null, "
        "spans integer not null, traces bigint[] not null, payload bytea not null",
        key="day, id",
        external=("payload",),
    )
    op.execute(
        "comment on column trace_record.traces is 'the last 8 bytes of the ids of the traces of its spans, and of the traces that these link'"
    )


class TraceRecords:
    """Writes this process's roots, and finds them again."""

    def __init__(self, database: Database, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self.database = database
        self._interval = interval_seconds
        self.queue: deque[Span] = deque()
        self._waiting = 0
        self._dropped = DROPPED.labels("records")
        WAITING.labels("records").set_function(lambda: self._waiting)
        self._writing = asyncio.Lock()
        self._half_full = asyncio.Event()
        self._writes: set[asyncio.Task[int]] = set()

    def take(self, root: Span) -> None:
        """Queue a root that has ended, or drop it where the queue is full."""
        spans = 1 + len(root.child_spans)
        if self._waiting + spans > QUEUE_MAX:
            self._dropped.inc(spans)
            return
        self._waiting += spans
        self.queue.append(root)
        if self._waiting >= QUEUE_MAX // 2:
            self._half_full.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Write what ended, every interval, until `stop`; what ends while others finish is written by `finish`."""
        record_into(self.take)
        pause = min(PAUSE_SECONDS, self._interval)
        while not stop.is_set():
            await _first(self._interval - pause, stop, self._half_full)
            if not stop.is_set():
                await self.flush()
                await _first(pause, stop)

    async def finish(self) -> None:
        """Write the last ones, before the database is closed."""
        record_no_more(self.take)
        await self.flush()

    async def flush(self) -> int:
        """Write what waits now; gives how many spans. What the store does not take is dropped.

        It goes on where whoever waits for it is called off, and belongs to no trace.
        """
        return await asyncio.shield(self.begin_write())

    def begin_write(self) -> "asyncio.Task[int]":
        """Begin to write the queue; return the task, which continues if its caller is cancelled."""
        task = asyncio.create_task(self._write(), name="trace records", context=Context())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return task

    async def _write(self) -> int:
        async with self._writing:
            self._half_full.clear()
            roots = [self.queue.popleft() for _ in range(len(self.queue))]
            if not roots:
                return 0
            spans = sum(1 + len(each.child_spans) for each in roots)
            self._waiting -= spans
            written = 0
            try:
                rows = await asyncio.to_thread(pack, roots)
                async with self.database.transaction(timeout_millis=_WRITE_MILLIS) as tx:
                    await tx.raw.execute(_WRITE, *rows)
                written = spans
            except StoreError:
                pass  # counted below, and reported by the checks of the store
            except Exception as error:  # telemetry must not end the service
                get_logger().error("TRACE_RECORDS_FAILED", error)
            finally:  # also where it is cancelled; then it may have been written all the same
                if not written:
                    self._dropped.inc(spans)
            return written

    async def find(
        self,
        traces: Collection[TraceSearch],
        *,
        first: Collection[str] = (),
        spans_max: int = SPANS_MAX,
        seconds: float = SEARCH_SECONDS,
    ) -> TraceSpans:
        """Find the roots that belong to these traces or link one of them; those with a span of `first` come first."""
        await asyncio.wait({self.begin_write()}, timeout=FLUSH_SECONDS)
        found = TraceSpans()
        payloads: list[bytes] = []
        async with self.database.connection(timeout_millis=_READ_MILLIS) as reader:
            ends_at = time.monotonic() + seconds
            found.oldest_span_at_micros = await reader.raw.fetchval(_OLDEST)
            if not traces or found.oldest_span_at_micros is None:
                return found
            now = await reader.now()
            days = _days(traces, await schema.day_partitions(reader, TABLE), now)
            for place, (day, searches) in enumerate(days):
                room, left = RECORDS_MAX - len(payloads), ends_at - time.monotonic()
                try:
                    if left <= 0 or not room:
                        raise TimeoutError
                    records = await reader.raw.fetch(FIND, *search_arguments(day, searches, now, room), timeout=left)
                except TimeoutError:
                    found.days_left_out = len(days) - place
                    break
                found.days.append(day)
                payloads += [record["payload"] for record in records]
                if records:
                    found.records_left_out += records[0]["named"] - len(records)
        await asyncio.to_thread(_unpack, payloads, {each.trace_id for each in traces}, first, spans_max, found)
        return found


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Wait for one of the events, so many seconds at most."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()


def _days(traces: Collection[TraceSearch], partitions: Sequence[int], now: int) -> list[tuple[int, list[TraceSearch]]]:
    """Return the days to search with the requested traces of each, first those nearest to the requested time."""
    found: list[tuple[int, int, list[TraceSearch]]] = []
    for day in partitions:
        searches = [each for each in traces if each.since // MICROS_PER_DAY <= day <= now // MICROS_PER_DAY]
        if searches:
            far = min(abs(day - (now if each.near is None else each.near) // MICROS_PER_DAY) for each in searches)
            found.append((far, day, searches))
    return [(day, searches) for _, day, searches in sorted(found, key=lambda each: each[:2])]


def search_arguments(day: int, searches: Sequence[TraceSearch], now: int, room: int) -> tuple[Any, ...]:
    """Return the parameters of `FIND`."""
    near = {now if each.near is None else each.near for each in searches}
    keys = {_key(each.trace_id) for each in searches}
    return day, min(each.since for each in searches), list(keys), list(near), room


def pack(roots: Sequence[Span]) -> tuple[list[int], list[str], list[bytes]]:
    """Return columns of rows: the number of spans, the traces as PostgreSQL writes an array, and the packed spans."""
    counts, traces, payloads = [], [], []
    for start in range(0, len(roots), ROW_ROOTS_MAX):
        chosen = roots[start : start + ROW_ROOTS_MAX]
        trees = [[_plain(each) for each in (root, *root.child_spans)] for root in chosen]
        keys = {_key(root.trace_id) for root in chosen}
        keys.update(
            _key(trace_of(link)) for root in chosen for each in (root, *root.child_spans) for link in each.links
        )
        counts.append(sum(map(len, trees)))
        traces.append("{" + ",".join(map(str, sorted(keys))) + "}")
        payloads.append(bytes([_FORM]) + zlib.compress(_encode(trees), 1))
    return counts, traces, payloads


def _plain(each: Span) -> tuple[Any, ...]:
    return (
        each.name, each.trace_id, each.span_id, each.parent_id, each.kind, each.sampled,
        each.start_nanos, each.end_nanos, each.failure, each.attributes, each.links,
    )  # fmt: skip


def _unpack(
    payloads: Sequence[bytes], searches: Collection[str], first: Collection[str], spans_max: int, result: TraceSpans
) -> None:
    """Put the roots that are wanted into `result`, up to its limits; one row is unpacked at a time."""
    later: list[list[Recorded]] = []
    room = [spans_max, ANSWER_BYTES_MAX]

    def put(root: list[Recorded]) -> None:
        size = sum(map(_size, root))
        if len(root) > room[0] or size > room[1]:
            result.left_out += len(root)
        else:
            result.spans.extend(root)
            room[0], room[1] = room[0] - len(root), room[1] - size

    waiting = 0
    for root in _roots(payloads, searches):
        if any(each.span_id in first for each in root):
            put(root)
        elif waiting < spans_max:
            later.append(root)
            waiting += len(root)
        else:
            result.left_out += len(root)
    for root in later:
        put(root)


def _roots(payloads: Sequence[bytes], searches: Collection[str]) -> Iterator[list[Recorded]]:
    for payload in payloads:
        if payload[0] == _FORM:  # else of a later release that was taken back
            for root in _decoder.decode(zlib.decompress(payload[1:])):
                if any(_is_of(each, searches) for each in root):
                    yield root


def _is_of(each: Recorded, traces: Collection[str]) -> bool:
    return each.trace_id in traces or any(trace_of(link) in traces for link in each.links)


def _size(each: Recorded) -> int:
    """Estimate what a span takes in an answer."""
    return 200 + 60 * len(each.links) + sum(10 + len(name) + len(str(value)) for name, value in each.attributes.items())


def _key(trace_id: str) -> int:
    """Return the last 8 bytes of a trace id as PostgreSQL's bigint."""
    number = int(trace_id[16:], 16)
    return number - (1 << 64) if number >> 63 else number
