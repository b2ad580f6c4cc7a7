"""Who reads ingestion's feed, with whose position: attacks with the certificates of other services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from libs.feed.publish.retention import Maintenance
from libs.server import errors
from libs.server.config import deployment_map
from libs.server.process.launch import launch
from luxor.feed.v1 import feed_pb2
from luxor.feed.v1.feed_pb2_grpc import FeedServiceStub
from luxor.ingestion.v1 import ingestion_pb2
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.ingestion.__main__ import assemble
from tests.ingestion.consignments import consignment
from tests.support.services import Running, running

ALL = range(64)
FAR = feed_pb2.Position(cursor=feed_pb2.Cursor(epoch=1, day=30_000, xid=2**40, seq=2**40), partitions=ALL)
BEGINNING = feed_pb2.Position(cursor=feed_pb2.Cursor(), partitions=ALL)


@pytest_asyncio.fixture
async def ingestion(database_url: str) -> AsyncIterator[Running]:
    async with running("ingestion", assemble, database_url) as service:
        filer = IngestionServiceStub(await service.channel("filer", "shop"))
        rows = [consignment(number) for number in range(5)]
        await filer.SubmitConsignments(
            ingestion_pb2.SubmitConsignmentsRequest(request_id="r", consignments=rows), timeout=30
        )
        yield service


async def feed(service: Running, ident: str) -> Any:
    return FeedServiceStub(await service.channel("service", ident))  # type: ignore[no-untyped-call]


async def positions(service: Running) -> dict[str, int]:
    """The greatest position by consumer, as the store has it."""
    async with service.service.database.connection() as reading:
        rows = await reading.raw.fetch("select consumer, max(xid) as xid from feed_consumer group by consumer")
    return {row["consumer"]: row["xid"] for row in rows}


async def put(service: Running, consumer: str, xid: int) -> None:
    """Write a position into the store."""
    async with service.service.database.transaction() as tx:
        await tx.raw.execute(
            "insert into feed_consumer (consumer, partition, epoch, day, xid, seq) values ($1, 1, 0, 0, $2, 0)",
            consumer,
            xid,
        )


async def reason(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), errors.reason_of(caught.value)


async def test_who_has_no_connection_neither_reads_the_feed_nor_moves_or_registers_a_position(
    ingestion: Running,
) -> None:
    refused = (grpc.StatusCode.PERMISSION_DENIED, "CONNECTION_NOT_ALLOWED")
    for caller in ("statistics", "risk", "revenue", "ingestion", "load", "clearance2", "Clearance"):
        stub = await feed(ingestion, caller)
        for named in (caller, "", "clearance", "made-up"):
            pull = feed_pb2.PullEventsRequest(consumer=named, after=[BEGINNING], committed=[FAR])
            assert await reason(stub.PullEvents(pull, timeout=10)) == refused, (caller, named)
            snapshot = feed_pb2.ReadSnapshotRequest(consumer=named, partitions=ALL)
            assert await reason(stub.ReadSnapshot(snapshot, timeout=10)) == refused, (caller, named)
    assert await positions(ingestion) == {}


async def test_a_consumer_cannot_take_another_name_than_its_own(ingestion: Running) -> None:
    stub = await feed(ingestion, "clearance")
    refused = (grpc.StatusCode.PERMISSION_DENIED, "FEED_CONSUMER_FOREIGN")
    for named in ("statistics", "made-up", "service/clearance", "clearance ", "x" * 64):
        pull = feed_pb2.PullEventsRequest(consumer=named, after=[BEGINNING], committed=[FAR])
        assert await reason(stub.PullEvents(pull, timeout=10)) == refused, named
        snapshot = feed_pb2.ReadSnapshotRequest(consumer=named, partitions=ALL)
        assert await reason(stub.ReadSnapshot(snapshot, timeout=10)) == refused, named
    assert await positions(ingestion) == {}


async def test_a_consumer_reads_and_moves_its_own_position_and_no_other(ingestion: Running) -> None:
    await put(ingestion, "other", 0)
    stub = await feed(ingestion, "clearance")
    before = 0
    for named in ("", "clearance"):
        begun = await stub.ReadSnapshot(feed_pb2.ReadSnapshotRequest(consumer=named, partitions=ALL), timeout=10)
        assert begun.payload
        page = await stub.PullEvents(feed_pb2.PullEventsRequest(consumer=named, after=[BEGINNING]), timeout=10)
        assert sum(len(each.rows) for each in page.batches) == 5
        await stub.PullEvents(
            feed_pb2.PullEventsRequest(consumer=named, after=page.next, committed=page.next), timeout=10
        )
        moved = await positions(ingestion)
        assert (moved["clearance"] > before, moved["other"]) == (not named, 0)
        before = moved["clearance"]


async def test_positions_that_were_registered_under_names_that_may_not_read_are_forgotten(ingestion: Running) -> None:
    await put(ingestion, "made-up", 7)
    await put(ingestion, "clearance", 7)
    readers = ingestion.service.server.chain.services_calling("/luxor.feed.v1.FeedService/PullEvents")
    await Maintenance(ingestion.service.database, consumers=readers).step()
    assert await positions(ingestion) == {"clearance": 7}


@pytest.mark.parametrize("damage", ["missing", "parts: ["])
def test_a_service_without_a_good_map_does_not_start_and_says_why(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    path = tmp_path / "map.yaml"
    if damage != "missing":
        path.write_text(damage)
    monkeypatch.setattr(deployment_map, "MAP", path)
    environ = {
        "LUXOR_DATA_DIR": str(tmp_path),
        "LUXOR_INGESTION_DATABASE_URL": "postgresql://a@b/c",
        "LUXOR_UVLOOP": "false",
    }
    assert launch("ingestion", assemble, environ=environ) == 2
    said = capfd.readouterr().err
    assert "NOT_STARTED" in said
    assert "the map of the connections" in said or "no map of the connections" in said
    assert str(path) in said
