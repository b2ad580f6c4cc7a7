"""What a consumer sees of a producer: a port; the gRPC feed is the default behind it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from libs.columns import Table
from libs.feed.service import to_positions
from libs.feed.types import Clock, Cursor, CursorExpired, EpochEnded, FeedBatch, Page, SnapshotPage
from libs.server.errors import details_of, reason_of, status_of
from luxor.feed.v1 import feed_pb2, feed_pb2_grpc

_DEADLINE_EXTRA_SECONDS: Final = 5.0
_SNAPSHOT_SECONDS: Final = 30.0
_T = TypeVar("_T")


class Port(Protocol):
    """How pages come. Whatever stands behind it, a page has all events of its partitions between `after` and `next`."""

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        """Give the events after these cursors, waiting for one; `committed` tells the producer what it need not keep.

        Raises CursorExpired, EpochEnded, and whatever the transport raises.
        """
        ...

    async def snapshot(self, partitions: Sequence[int], token: bytes, max_rows: int) -> SnapshotPage:
        """Give a page of the present state; `token` is empty for the first page."""
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
        request = feed_pb2.PullRequest(
            consumer=self._consumer,
            replica=self._replica,
            after=to_positions(after),
            max_events=max_events,
            wait_millis=wait_millis,
            committed=to_positions(committed or {}),
        )
        deadline_seconds = wait_millis / 1000 + _DEADLINE_EXTRA_SECONDS
        answer = await _told(self._stub.Pull(request, timeout=deadline_seconds))
        return page_of(answer, self._message_class)

    async def snapshot(self, partitions: Sequence[int], token: bytes, max_rows: int) -> SnapshotPage:
        """See Port."""
        request = feed_pb2.SnapshotRequest(
            consumer=self._consumer, replica=self._replica, partitions=partitions, token=token, max_rows=max_rows
        )
        answer = await _told(self._stub.Snapshot(request, timeout=_SNAPSHOT_SECONDS))
        return snapshot_page_of(answer, self._message_class)


def page_of(answer: feed_pb2.PullResponse, message_class: type[Message]) -> Page:
    """Read a PullResponse; raises ValueError for batches of another schema, protobuf's DecodeError for bytes that are none."""
    clock = Clock.of(answer.read_at) if answer.HasField("read_at") else None
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
                batch.committed_at,
                batch.traceparent,
                batch.schema,
                batch.schema_version,
                clock=clock,
            )
        )
    following = {partition: _cursor(position.cursor) for position in answer.next for partition in position.partitions}
    return Page(batches, following, _cursor(answer.horizon), sum(batch.table.rows for batch in batches), clock)


def snapshot_page_of(answer: feed_pb2.SnapshotResponse, message_class: type[Message]) -> SnapshotPage:
    """Read a SnapshotResponse; raises as `page_of`."""
    start, batch = _cursor(answer.start), None
    if answer.payload:
        table = _table(answer.payload, answer.schema, message_class)
        batch = FeedBatch(
            table,
            np.array(answer.partitions, np.int64),
            start,
            np.arange(table.rows),
            answer.read_at,
            "",
            answer.schema,
            answer.schema_version,
            snapshot=True,
            clock=Clock.of(answer.read_at) if answer.read_at else None,
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


async def _told(call: Any) -> Any:
    """Await a call; what asks for a new start is told by its own exception."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        kind = {CursorExpired.reason: CursorExpired, EpochEnded.reason: EpochEnded}.get(reason_of(error))
        if kind is None:
            raise
        info = details_of(status_of(error), error_details_pb2.ErrorInfo)
        bitmap = int(info.metadata.get("partitions", "0"), 16) if info is not None else 0
        partitions = [number for number in range(bitmap.bit_length()) if bitmap >> number & 1]
        raise kind(error.details() or "", partitions) from error
