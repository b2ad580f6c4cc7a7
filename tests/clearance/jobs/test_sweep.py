"""Accepted filings compared with decided ones: what the feed passed over is decided, what ingestion lost is reported, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from libs.customs.partitions import PARTITIONS
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.port import GrpcPort
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.leases import LeaseLost, try_lease
from libs.store.tables.migrate import migrate
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from services.clearance.commands import sweep as sweeping
from services.clearance.commands.sweep import KEYS_MAX
from services.clearance.jobs.sweep import LEASE, Sweep, Undecided, look
from services.ingestion.__main__ import assemble
from services.ingestion.feeds import snapshot
from tests.clearance.desk import Desk, mrns
from tests.ingestion.consignments import consignment
from tests.support.databases import reused_database
from tests.support.services import running

ACCEPTED = "services.ingestion"
"""The package whose schema the store of accepted filings has."""


@dataclass
class Pair:
    """Ingestion with its own store, and clearance's consumer and sweep on the desk's."""

    desk: Desk
    accepted: Database
    stub: Any
    consumer: Consumer
    sweep: Sweep
    filed: int = 0

    async def file(self, count: int) -> list[str]:
        rows = [consignment(self.filed + place) for place in range(count)]
        self.filed += count
        request = pb.SubmitConsignmentsRequest(request_id=f"r{self.filed}", consignments=rows)
        answer = await self.stub.SubmitConsignments(request, timeout=60)
        return [each.receipt.mrn for each in answer.results]

    async def follow(self) -> None:
        """Take what there is, and let the quiet partitions' cursors be stored."""
        for _ in range(3):
            self.consumer.due.quiet_at = self.consumer.requested_days.due_at = float("-inf")
            while await self.consumer.step() or self.consumer.requested_days.current is not None:
                self.consumer.due.quiet_at = float("-inf")

    async def compare(self) -> bool:
        """Compare while the feed is followed, as in a running service, long after the last comparison."""
        async with self.desk.store.database.connection() as writing:
            await writing.raw.execute("update swept set swept_at = swept_at - interval '1 hour'")
        return await self.step()

    async def step(self) -> bool:
        """Take the sweep's turn while the feed is followed."""
        comparing = asyncio.create_task(self.sweep.step())
        while not comparing.done():
            await self.follow()
            await asyncio.sleep(0.05)
        return comparing.result()

    async def pass_over(self) -> None:
        """Move the cursors to the end of the feed, as if what lies before had been read."""
        async with self.accepted.connection() as reading:
            place = await reading.raw.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        async with self.desk.store.database.connection() as writing:
            await writing.raw.execute("update feed_cursor set xid = $1, seq = 0 where source = 'ingestion'", place)
        await self.consumer.close()

    async def decided(self) -> set[str]:
        async with self.desk.store.database.connection() as reading:
            return {row["mrn"] for row in await reading.raw.fetch("select mrn from consignment")}

    async def values(self) -> tuple[float | None, ...]:
        await look(self.desk.store.database)
        names = ("filings_missing", "filings_unknown", "filings_requested_total")
        return tuple(REGISTRY.get_sample_value(f"luxor_clearance_{name}") for name in names)


async def leased(database: Database) -> bool:
    """Return whether a replica has its turn to compare."""
    async with database.connection() as reading:
        return bool(
            await reading.raw.fetchval(
                "select exists (select from job_lease where name = $1 and lease_until > clock_timestamp())", LEASE
            )
        )


@pytest_asyncio.fixture
async def pair(desk: Desk, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(snapshot, "SETTLED_MICROS", 0)
    with reused_database(postgres, ACCEPTED, lambda database: migrate(database, ACCEPTED)) as url:
        async with running("ingestion", assemble, url) as service:
            port = GrpcPort(
                await service.channel("service", "clearance"), consumer="clearance", message_class=ConsignmentColumns
            )
            consumer = Consumer(
                "ingestion",
                database=desk.store.database,
                pull=port,
                handler=desk.intake,
                key=mrns,
                message_class=ConsignmentColumns,
                replica="one",
                wait_millis=0,
                continues_after_restore=True,
                missing=Undecided(desk.store),
            )
            async with Database(url, name="accepted") as accepted:
                stub = IngestionServiceStub(await service.channel("filer", "shop"))
                sweep = Sweep(desk.store, port, "one", interval_seconds=5)
                yield Pair(desk, accepted, stub, consumer, sweep)
            await consumer.close()


@pytest.mark.long
@pytest.mark.parametrize("keys_max", [KEYS_MAX, 1])
async def test_what_the_feed_passed_over_is_found_asked_for_and_decided_once(
    pair: Pair, keys_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "KEYS_MAX", keys_max)
    await pair.follow()
    first = await pair.file(40)
    await pair.follow()
    assert await pair.decided() == set(first)
    requested = (await pair.values())[2] or 0
    assert await pair.compare()
    assert await pair.values() == (0, 0, requested)

    lost = await pair.file(30)
    await pair.pass_over()
    await pair.follow()
    assert await pair.decided() == set(first), "the feed says nothing of them any more"
    assert await pair.compare()
    assert await pair.values() == (30, 0, requested + 30)
    await pair.follow()
    assert await pair.decided() == {*first, *lost}
    async with pair.desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from feed_request") == 0
        assert await reading.raw.fetchval("select max(version) from consignment") == 1
    assert await pair.compare()
    assert await pair.values() == (0, 0, requested + 30)

    # Ingestion loses a call that clearance has decided.
    async with pair.accepted.connection() as writing:
        await writing.raw.execute(
            "delete from submission where block = (select max(block) from submission where day = (select max(day) from submission))"
        )
    await pair.file(1)
    await pair.follow()
    assert await pair.compare()
    assert await pair.values() == (0, 30, requested + 30)
    asked = pair.desk.neighbours.calls
    assert await pair.compare()
    assert await pair.values() == (0, 30, requested + 30), "reported, and compared no more"
    assert pair.desk.neighbours.calls == asked
    async with pair.desk.store.database.connection() as reading:
        assert {row["mrn"] for row in await reading.raw.fetch("select mrn from filing_unknown")} == set(lost)


async def test_a_backlog_is_no_loss_and_one_replica_compares_at_a_time(pair: Pair) -> None:
    await pair.follow()
    await pair.file(10)
    pair.sweep.interval_seconds = 0.1
    assert not await pair.sweep.step(), "what is on its way is not missing"
    async with pair.desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from swept") == 0
        held = await reading.raw.fetchval("select count(*) from feed_cursor where source = 'ingestion'")
        await reading.raw.execute(
            "insert into job_lease values ('sweep', 'two', 1, clock_timestamp() + interval '1 minute') "
            "on conflict (name) do update set owner = 'two', lease_until = excluded.lease_until"
        )
    assert held == PARTITIONS
    await pair.follow()
    assert not await pair.sweep.step()


async def test_a_stop_ends_a_comparison_and_releases_its_turn(pair: Pair) -> None:
    await pair.follow()
    await pair.file(10)
    pair.sweep.interval_seconds = 300.0
    stop = asyncio.Event()
    # It waits up to a minute for the feed, which nobody follows here.
    running = asyncio.create_task(pair.sweep.run(stop))
    database = pair.desk.store.database
    async with asyncio.timeout(5):
        while not await leased(database):  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.01)
        stop.set()
        await running
    assert not await leased(database)
    async with database.transaction() as tx:
        assert await try_lease(tx, LEASE, "two", 60.0) is not None


async def test_a_replica_compares_only_where_nobody_has_within_the_interval(pair: Pair) -> None:
    await pair.follow()
    await pair.file(5)
    await pair.follow()
    assert await pair.compare()
    pair.sweep.interval_seconds = 300.0
    database = pair.desk.store.database
    for age, due in ((0, False), (290, False), (310, True)):
        async with database.connection() as writing:
            await writing.raw.execute("update swept set swept_at = clock_timestamp() - make_interval(secs => $1)", age)
        assert await pair.step() is due


async def test_a_comparison_ends_where_another_replica_has_taken_it_over(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pair.follow()
    await pair.file(5)
    await pair.pass_over()
    await pair.follow()
    database = pair.desk.store.database
    snapshot_of = pair.sweep.ingestion.snapshot

    async def taken(*given: Any) -> Any:
        async with database.connection() as writing:
            await writing.raw.execute("update job_lease set owner = 'two', token = token + 1 where name = $1", LEASE)
        return await snapshot_of(*given[:2], 1, *given[3:])

    monkeypatch.setattr(pair.sweep.ingestion, "snapshot", taken)
    with pytest.raises(LeaseLost):
        await pair.compare()
    async with database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from feed_request") == 0
        assert await reading.raw.fetchval("select owner from job_lease where name = $1", LEASE) == "two"


@pytest.mark.parametrize(
    ("sizes", "most", "groups"),
    [
        ({}, 10, []),
        ({1: 4, 2: 6}, 10, [[1, 2]]),
        ({1: 4, 2: 7}, 10, [[1], [2]]),
        ({1: 11, 2: 1, 3: 9, 4: 1}, 10, [[1], [2, 3], [4]]),
        ({1: 10, 2: 10}, 10, [[1], [2]]),
    ],
)
def test_keys_that_are_compared_at_once_are_bounded(sizes: dict[int, int], most: int, groups: list[list[int]]) -> None:
    assert sweeping.groups_of(sizes, most) == groups


async def test_what_the_release_before_accepted_is_summarized_when_it_is_asked_for(pair: Pair) -> None:
    await pair.follow()
    await pair.file(20)
    async with pair.accepted.connection() as writing:
        await writing.raw.execute("update submission set partitions = null, counts = null, digests = null")
    await pair.pass_over()
    await pair.follow()
    assert await pair.compare()
    assert (await pair.values())[0] == 20
    await pair.follow()
    assert len(await pair.decided()) == 20
