"""The spans that a service keeps in its own database, so that a consignment's way can be told where no collector runs.

Roots (the outermost spans of this process, with all inside of them) wait in a bounded queue; once a second they are
packed into a row or a few, in a thread, and written in one transaction. Nobody ever waits for it: what finds the queue
full or the store away is dropped and counted. So that this costs next to nothing, no index over trace ids exists: a row
names the traces of some hundred roots in an array, and a search reads the rows of the time that it is about.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from libs.store import schema
from libs.store.database import NOW_MICROS, Database
from libs.store.errors import StoreError
from libs.telemetry import get_logger
from libs.telemetry.drops import DROPPED, WAITING
from libs.telemetry.trace import AttributeValue, Span, record_into, record_no_more

TABLE: Final = "trace_record"
QUEUE_MAX: Final = 4_096
"""Spans that wait for being written."""
ROW_ROOTS_MAX: Final = 256
ROWS_MAX: Final = 16
"""Rows of one write: a transaction of a few milliseconds, which does not hold the feed's horizon."""
INTERVAL_SECONDS: Final = 1.0
SPANS_MAX: Final = 2_000
"""Spans of one answer."""
_RECORDS_READ_MAX: Final = 500
_WRITE_MILLIS: Final = 1_000
_READ_MILLIS: Final = 10_000
_FORM: Final = 1
"""Stands in front of each payload, so that another form can come beside it."""

_WRITE: Final = f"""
    insert into trace_record (day, written_at, spans, traces, payload)
    select {schema.TODAY}, {NOW_MICROS}, u.spans, u.traces::bigint[], u.payload
    from unnest($1::integer[], $2::text[], $3::bytea[]) as u(spans, traces, payload)
"""  # noqa: S608  # our own constants
_FIND: Final = """
    select payload from trace_record
    where day >= $1 and written_at >= $2 and traces && $3::bigint[] order by day, id limit $4
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
class Found:
    """Spans of traces, each root followed by what was inside of it."""

    spans: list[Recorded] = field(default_factory=list)
    left_out: int = 0
    kept_since: int = 0
    """When the oldest record was written, microseconds; 0 where there is none."""


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
        "comment on column trace_record.traces is 'the last 8 bytes of the ids of traces that are told or linked'"
    )


class TraceRecords:
    """Writes this process's roots, and finds them again."""

    def __init__(self, database: Database, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self.database = database
        self._interval = interval_seconds
        self._queue: deque[Span] = deque()
        self._waiting = 0
        self._dropped = DROPPED.labels("records")
        WAITING.labels("records").set_function(lambda: self._waiting)
        self._writing = asyncio.Lock()

    def take(self, root: Span) -> None:
        """Queue a root that has ended, or drop it where the queue is full."""
        spans = 1 + len(root.kept)
        if self._waiting + spans > QUEUE_MAX:
            self._dropped.inc(spans)
            return
        self._waiting += spans
        self._queue.append(root)

    async def run(self, stop: asyncio.Event) -> None:
        """Write what ended, every interval, until `stop`; what ends while others finish is written by `finish`."""
        record_into(self.take)
        while not stop.is_set():
            try:
                async with asyncio.timeout(self._interval):
                    await stop.wait()
            except TimeoutError:
                await self.flush()

    async def finish(self) -> None:
        """Write the last ones, before the database is closed."""
        record_no_more(self.take)
        await self.flush()

    async def flush(self) -> int:
        """Write what waits now; gives how many spans. What the store does not take is dropped."""
        async with self._writing:
            written = 0
            while self._queue:
                count = min(len(self._queue), ROW_ROOTS_MAX * ROWS_MAX)
                roots = [self._queue.popleft() for _ in range(count)]
                spans = sum(1 + len(each.kept) for each in roots)
                self._waiting -= spans
                try:
                    rows = await asyncio.to_thread(pack, roots)
                    async with self.database.transaction(timeout_millis=_WRITE_MILLIS) as tx:
                        await tx.raw.execute(_WRITE, *rows)
                except StoreError:
                    self._dropped.inc(spans)
                    break
                except Exception as error:  # telemetry must not end the service
                    get_logger().error("TRACE_RECORDS_FAILED", error)
                    self._dropped.inc(spans)
                    break
                written += spans
            return written

    async def find(self, traces: Iterable[str], *, since: int = 0, spans_max: int = SPANS_MAX) -> Found:
        """Find the roots that belong to these traces or link one of them, and were written since (microseconds)."""
        wanted = set(traces)
        await self.flush()
        async with self.database.connection(timeout_millis=_READ_MILLIS) as reader:
            oldest = await reader.raw.fetchval(_OLDEST) or 0
            if not wanted:
                return Found(kept_since=oldest)
            records = await reader.raw.fetch(
                _FIND, since // 86_400_000_000, since, [_key(each) for each in wanted], _RECORDS_READ_MAX
            )
        roots = await asyncio.to_thread(_unpack, [record["payload"] for record in records], wanted)
        found: list[Recorded] = []
        left_out = 0
        for root in roots:
            if len(found) + len(root) > spans_max:
                left_out += len(root)
            else:
                found.extend(root)
        return Found(found, left_out, oldest)


def pack(roots: Sequence[Span]) -> tuple[list[int], list[str], list[bytes]]:
    """Return columns of rows: the number of spans, the traces as PostgreSQL writes an array, and the packed spans."""
    counts, traces, payloads = [], [], []
    for start in range(0, len(roots), ROW_ROOTS_MAX):
        chosen = roots[start : start + ROW_ROOTS_MAX]
        trees = [[_plain(each) for each in (root, *root.kept)] for root in chosen]
        keys = {_key(root.trace_id) for root in chosen}
        keys.update(_key(link[3:35]) for root in chosen for each in (root, *root.kept) for link in each.links)
        counts.append(sum(map(len, trees)))
        traces.append("{" + ",".join(map(str, sorted(keys))) + "}")
        payloads.append(bytes([_FORM]) + zlib.compress(_encode(trees), 1))
    return counts, traces, payloads


def _plain(each: Span) -> tuple[Any, ...]:
    return (
        each.name, each.trace_id, each.span_id, each.parent_id, each.kind, each.sampled,
        each.start_nanos, each.end_nanos, each.failure, each.attributes, each.links,
    )  # fmt: skip


def _unpack(payloads: Iterable[bytes], wanted: set[str]) -> list[list[Recorded]]:
    found: list[list[Recorded]] = []
    for payload in payloads:
        if payload[0] != _FORM:  # of a later release that was taken back
            continue
        roots = _decoder.decode(zlib.decompress(payload[1:]))
        found.extend(root for root in roots if any(_is_of(each, wanted) for each in root))
    return found


def _is_of(each: Recorded, traces: set[str]) -> bool:
    return each.trace_id in traces or any(link[3:35] in traces for link in each.links)


def _key(trace_id: str) -> int:
    """Return the last 8 bytes of a trace id as PostgreSQL's bigint."""
    number = int(trace_id[16:], 16)
    return number - (1 << 64) if number >> 63 else number
