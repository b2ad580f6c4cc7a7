"""Port of a consumer to a producer; the default is the gRPC feed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from libs.columns import Table
from libs.feed.publish.service import DaySummary, to_positions
from libs.feed.types import Clock, Cursor, CursorExpired, CursorInvalid, EpochEnded, FeedBatch, Page, SnapshotPage
from libs.server.errors import details_of, reason_of, status_of
from luxor.feed.v1 import feed_pb2, feed_pb2_grpc

_DEADLINE_EXTRA_SECONDS: Final = 5.0
_SNAPSHOT_SECONDS: Final = 30.0
_T = TypeVar("_T")


class Port(Protocol):
    """The source of pages. A page has all events of its partitions between `after` and `next`."""

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        """Return the events after these cursors, waiting for one; `committed` reports positions that the producer need not retain.

        Raises CursorExpired, EpochEnded, and whatever the transport raises.
        """
        ...

    async def snapshot(
        self, partitions: Sequence[int], token: bytes, max_rows: int, day: int | None = None
    ) -> SnapshotPage:
        """Return a page of the present state, of one day of acceptance if `day` is given; `token` is empty for the first page."""
        ...


class GrpcPort:
    """The port over luxor.feed.v1.FeedService."""

    def __init__(
        self, channel: grpc.aio.Channel, *, consumer: str, message_class: type[Message], replica: str = ""
    ) -> None:
        self._stub: Any = feed_pb2_grpc.FeedServiceStub(channel)
        self._consumer = consumer
        self._replica = replica
        self._message_class = message_class

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        """See Port."""
        request = feed_pb2.PullEventsRequest(
            consumer=self._consumer,
            replica=self._replica,
            after=to_positions(after),
            max_events=max_events,
            wait_millis=wait_millis,
            committed=to_positions(committed or {}),
        )
        deadline_seconds = wait_millis / 1000 + _DEADLINE_EXTRA_SECONDS
        answer = await _answer_of(self._stub.PullEvents(request, timeout=deadline_seconds))
        return page_of(answer, self._message_class)

    async def snapshot(
        self, partitions: Sequence[int], token: bytes, max_rows: int, day: int | None = None
    ) -> SnapshotPage:
        """See Port."""
        request = feed_pb2.ReadSnapshotRequest(
            consumer=self._consumer,
            replica=self._replica,
            partitions=partitions,
            token=token,
            max_rows=max_rows,
            day=day,
        )
        answer = await _answer_of(self._stub.ReadSnapshot(request, timeout=_SNAPSHOT_SECONDS))
        return snapshot_page_of(answer, self._message_class)

    async def summarize(self, first: int, last: int) -> tuple[list[DaySummary], Cursor]:
        """Return the summaries of days, and the place that all they count lies before."""
        request = feed_pb2.SummarizeDaysRequest(consumer=self._consumer, from_day=first, to_day=last)
        answer = await _answer_of(self._stub.SummarizeDays(request, timeout=_SNAPSHOT_SECONDS))
        days = [
            DaySummary(each.day, each.below, list(each.partitions), list(each.counts), list(each.digests))
            for each in answer.days
        ]
        return days, _cursor(answer.horizon)


def page_of(answer: feed_pb2.PullEventsResponse, message_class: type[Message]) -> Page:
    """Read a PullResponse; raises ValueError for batches of another schema, protobuf's DecodeError for bytes that are none."""
    clock = Clock.received_now(answer.read_at_micros) if answer.HasField("read_at_micros") else None
    batches = []
    for batch in answer.batches:
        table = _table(batch.payload, batch.schema, message_class)
        rows = np.array(batch.rows, np.int64)
        if len(rows) != table.rows:
            table = table.take(rows)
        batches.append(
            FeedBatch(
                table,
                np.array(batch.partitions, np.int64),
                _cursor(batch.cursor),
                rows,
                batch.committed_at_micros,
                batch.traceparent,
                batch.schema,
                batch.schema_version,
                clock=clock,
            )
        )
    following = {partition: _cursor(position.cursor) for position in answer.next for partition in position.partitions}
    return Page(batches, following, _cursor(answer.horizon), sum(batch.table.rows for batch in batches), clock)


def snapshot_page_of(answer: feed_pb2.ReadSnapshotResponse, message_class: type[Message]) -> SnapshotPage:
    """Read a SnapshotResponse; raises as `page_of`."""
    start, batch = _cursor(answer.start), None
    if answer.payload:
        table = _table(answer.payload, answer.schema, message_class)
        batch = FeedBatch(
            table,
            np.array(answer.partitions, np.int64),
            start,
            np.arange(table.rows),
            answer.read_at_micros,
            "",
            answer.schema,
            answer.schema_version,
            snapshot=True,
            clock=Clock.received_now(answer.read_at_micros) if answer.read_at_micros else None,
        )
    return SnapshotPage(batch, start, answer.next_token)


def _table(payload: bytes, schema: str, message_class: type[Message]) -> Table:
    known = message_class.DESCRIPTOR.full_name
    if schema != known:
        raise ValueError(
            f"the feed sent {schema}, this release of the consumer reads {known}: roll out the consumer first"
        )
    return Table.parse(message_class, payload)


def _cursor(wire: feed_pb2.Cursor) -> Cursor:
    return Cursor(wire.epoch, wire.day, wire.xid, wire.seq)


async def _answer_of(call: Any) -> Any:
    """Return the answer of a call; raise CursorInvalid if the feed cannot continue from a cursor."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if (again := _restart_error(error)) is not None:
            raise again from error
        raise


def _restart_error(error: grpc.aio.AioRpcError) -> CursorInvalid | None:
    """Return the CursorInvalid of an error, or None."""
    kinds: dict[str, type[CursorInvalid]] = {each.reason: each for each in (CursorExpired, EpochEnded)}
    kind = kinds.get(reason_of(error))
    if kind is None:
        return None
    info = details_of(status_of(error), error_details_pb2.ErrorInfo)
    facts = {} if info is None else dict(info.metadata)
    return restart_error_of(kind, error.details() or "", facts)


def restart_error_of(kind: type[CursorInvalid], message: str, facts: Mapping[str, str]) -> CursorInvalid:
    """Return the exception for an answer with these facts: the bitmap of partitions and, if an epoch ended, the position to resume from."""
    bitmap = int(facts.get("partitions", "0"), 16)
    partitions = [number for number in range(bitmap.bit_length()) if bitmap >> number & 1]
    if issubclass(kind, EpochEnded):
        place = Cursor(*(int(facts[name]) for name in Cursor._fields)) if "epoch" in facts else None
        return kind(message, partitions, place)
    return kind(message, partitions)
