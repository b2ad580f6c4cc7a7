"""The feed over a real socket: what is asked wrongly is told, and a consumer follows through gRPC."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from libs.feed.consume.port import GrpcPort
from libs.feed.types import BEGINNING, Cursor, CursorExpired, EpochEnded
from libs.server.errors import STATUS_KEY, Refusal
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.feed.v1 import feed_pb2, feed_pb2_grpc
from tests.feed.conftest import ALL, Follower, Producer, drain, events_of
from tests.support.calls import enter_as


class ServiceSpan(feed_pb2_grpc.FeedServiceServicer):
    """Turns refusals into statuses as the server's chain does, without its TLS."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer

    async def PullEvents(self, request: Any, context: Any) -> Any:
        return await self._call(self._servicer.PullEvents, request, context)

    async def ReadSnapshot(self, request: Any, context: Any) -> Any:
        return await self._call(self._servicer.ReadSnapshot, request, context)

    async def _call(self, method: Any, request: Any, context: Any) -> Any:
        enter_as("c")
        try:
            return await method(request, context)
        except Refusal as refusal:
            context.set_trailing_metadata(((STATUS_KEY, refusal.status().SerializeToString()),))
            await context.abort(refusal.code, refusal.sentence)


@pytest_asyncio.fixture
async def channel(producer: Producer) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    feed_pb2_grpc.add_FeedServiceServicer_to_server(ServiceSpan(producer.servicer), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


async def test_a_consumer_follows_over_grpc_from_the_snapshot_on(
    producer: Producer, follower: Follower, channel: grpc.aio.Channel
) -> None:
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    port = GrpcPort(channel, consumer="c", message_class=ConsignmentColumns, replica="r")
    consumer = follower.consumer(port, max_events=50)
    await consumer.step()
    for turn in range(5):
        await producer.announce(*[(f"m{row}", turn + 2, row) for row in ALL])
    await drain(consumer)
    assert await follower.kept() == {f"m{row}": 6 for row in ALL}
    assert len(await follower.effects()) == 64 * 6


async def test_what_asks_for_a_new_start_comes_as_its_own_exception_with_its_partitions(
    producer: Producer, channel: grpc.aio.Channel
) -> None:
    port = GrpcPort(channel, consumer="c", message_class=ConsignmentColumns)
    await producer.announce(("m", 1, 1))
    await producer.sql("insert into feed_floor values ('outbox', 1, $1, 0, 0)", 5)
    with pytest.raises(CursorExpired) as expired:
        await port.pull({1: BEGINNING, 63: BEGINNING, 2: Cursor(1, 0, 5, 0)}, 10, 0)
    assert expired.value.partitions == [1, 63]
    with pytest.raises(EpochEnded) as ended:
        await port.pull({5: Cursor(3, 0, 5, 0)}, 10, 0)
    assert ended.value.partitions == [5]


async def test_a_consumer_of_another_schema_says_what_to_do(producer: Producer, channel: grpc.aio.Channel) -> None:
    await producer.announce(("m", 1, 1))
    port = GrpcPort(channel, consumer="c", message_class=Consignment)
    with pytest.raises(ValueError, match="roll out the consumer first"):
        await port.pull({1: BEGINNING}, 10, 0)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"consumer": "c"}, "FEED_PARTITIONS_MISSING"),
        ({"consumer": "d", "after": [{"partitions": [1]}]}, "FEED_CONSUMER_FOREIGN"),
        ({"consumer": "c", "after": [{"partitions": [64]}]}, "FEED_PARTITION_UNKNOWN"),
        ({"consumer": "c", "after": [{"partitions": [1]}, {"partitions": [1]}]}, "FEED_PARTITION_TWICE"),
        ({"consumer": "c", "after": [{"partitions": [1], "cursor": {"xid": -1}}]}, "FEED_CURSOR_MALFORMED"),
        ({"consumer": "c", "after": [{"partitions": [1]}], "max_events": 20_001}, "FEED_LIMIT"),
        ({"consumer": "c", "after": [{"partitions": [1]}], "wait_millis": 20_001}, "FEED_LIMIT"),
    ],
)
async def test_a_pull_that_is_asked_wrongly_is_told_how(
    producer: Producer, request_: dict[str, Any], reason: str
) -> None:
    enter_as("c")
    with pytest.raises(Refusal) as refused:
        await producer.servicer.PullEvents(feed_pb2.PullEventsRequest(**request_), None)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"consumer": "c"}, "FEED_PARTITIONS_MISSING"),
        ({"consumer": "d", "partitions": [1]}, "FEED_CONSUMER_FOREIGN"),
        ({"consumer": "c", "partitions": [70]}, "FEED_PARTITION_UNKNOWN"),
        ({"consumer": "c", "partitions": [1], "max_rows": 20_001}, "FEED_LIMIT"),
        ({"consumer": "c", "partitions": [1], "token": b"\xff\xff"}, "FEED_TOKEN_MALFORMED"),
    ],
)
async def test_a_snapshot_that_is_asked_wrongly_is_told_how(
    producer: Producer, request_: dict[str, Any], reason: str
) -> None:
    enter_as("c")
    with pytest.raises(Refusal) as refused:
        await producer.servicer.ReadSnapshot(feed_pb2.ReadSnapshotRequest(**request_), None)
    assert refused.value.reason == reason


async def test_every_page_of_a_snapshot_names_the_same_start_taken_before_the_first(producer: Producer) -> None:
    await producer.announce(*[(f"m{row}", 1, row) for row in ALL])
    port = producer.port()
    first = await port.snapshot(list(ALL), b"", 20)
    await producer.announce(("m0", 2, 0))
    second = await port.snapshot(list(ALL), first.token, 20)
    assert first.start == second.start
    page = await port.pull(dict.fromkeys(ALL, first.start), 100, 0)
    assert events_of(page.batches) == [("m0", 2, 0)]


async def test_the_name_of_another_consumer_is_shown_up_to_63_characters(producer: Producer) -> None:
    enter_as("c")
    with pytest.raises(Refusal) as caught:
        await producer.servicer.PullEvents(feed_pb2.PullEventsRequest(consumer="x" * 100), None)
    assert (caught.value.reason, caught.value.value) == ("FEED_CONSUMER_FOREIGN", "x" * 63)
