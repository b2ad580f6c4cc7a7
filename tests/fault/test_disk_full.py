"""The disk under one store is full: that service says so and takes nothing, the others go on, and it recovers by itself.

The store stands on a small file system of its own, which a ballast fills to the last byte while consignments are filed. Then either the
tables cannot grow (PostgreSQL refuses writes), or its log of commits cannot (PostgreSQL ends, and cannot recover before there is space).
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime

import asyncpg
import pytest

from libs.client.client import TIMEOUT_SECONDS
from libs.client.errors import LuxorError
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.fault import checks
from tests.fault.health import NOT_SERVING, SERVING, health, metrics
from tests.support.databases import enterable_directory
from tests.support.flow import Flow, local_system
from tests.support.small_store import SmallStore, small_file_system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

BATCH = 500
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")


@pytest.fixture
def store() -> Iterator[SmallStore]:
    """A PostgreSQL on a small file system."""
    logs = enterable_directory()
    try:
        with small_file_system() as directory, SmallStore(directory, logs) as opened:
            yield opened
    finally:
        shutil.rmtree(logs, ignore_errors=True)


async def write_log_until_it_is_full(store: SmallStore, service: str) -> None:
    """Write to the log of commits until the server ends: a statement that is refused alone, as space was given back, is not that."""
    connection = await asyncpg.connect(store.server.url(f"luxor_{service}"))

    async def ended() -> bool:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            while True:
                await connection.execute("select pg_logical_emit_message(false, 'test', repeat('x', 8000000))")
        return connection.is_closed()

    await checks.until(ended, f"the server of {service} has no room for its log")


async def begun(store: SmallStore, service: str) -> datetime:
    """When the server's process for checkpoints began, by the server's clock."""
    connection = await asyncpg.connect(store.server.url(f"luxor_{service}"))
    try:
        found = await connection.fetchval(
            "select backend_start from pg_stat_activity where backend_type = 'checkpointer'"
        )
        assert isinstance(found, datetime)
        return found
    finally:
        await connection.close()


def arrivals(round_: int) -> list[clearance_pb2.Arrival]:
    """The arrival of goods that nobody filed: many, since one row still finds a place on a page that is there."""
    told = []
    for number in range(1000):
        arrival = clearance_pb2.Arrival(master_document_number=f"{round_:03d}-{number:08d}", conveyance_reference="LX1")
        arrival.arrived_at.GetCurrentTime()
        told.append(arrival)
    return told


async def arrive_until_refused(flow: Flow) -> None:
    """Announce more and more arrivals."""
    for round_ in range(30):
        await flow.carrier.record_arrivals(arrivals(round_))


async def file_until_refused(flow: Flow, rows: Sequence[Consignment]) -> None:
    """File a batch that nobody filed yet."""
    await flow.filer.submit(rows, request_id="refused", timeout_seconds=12)


@pytest.mark.parametrize(("service", "what"), [("ingestion", "tables"), ("ingestion", "log"), ("clearance", "log")])
async def test_a_full_disk_under_one_store_stops_that_service_alone_and_it_goes_on_by_itself_with_nothing_lost(
    store: SmallStore, service: str, what: str
) -> None:
    batches = list(Simulator(20_260_801, "everyday").batches(24 * BATCH, size=BATCH))
    env = {f"LUXOR_{service.upper()}_DATABASE_URL": store.server.url(f"luxor_{service}")}
    async with local_system(env=env) as system, Flow(system, patience_seconds=150) as flow, AsyncExitStack() as stack:
        await flow.run(batches[:4], name="before")
        await flow.settled(4 * BATCH)

        before = await begun(store, service)
        await asyncio.to_thread(store.fill)
        filing = asyncio.create_task(flow.run(batches[4:16], name="meanwhile"))
        stack.callback(filing.cancel)
        if what == "log":
            await write_log_until_it_is_full(store, service)
            await asyncio.to_thread(store.fill)

        async def told() -> bool:
            found = metrics(system, service)
            return found["luxor_store_full"] == 1 and await health(system, service, "store") == NOT_SERVING

        await checks.until(told, f"{service} says that its disk is full")
        assert await health(system, service, "alive") == SERVING
        flow.carrier.timeout_seconds = 12
        with pytest.raises(LuxorError) as refused:
            await (file_until_refused(flow, batches[-1]) if service == "ingestion" else arrive_until_refused(flow))
        assert (refused.value.reason, refused.value.code) == ("STORE_FULL", "RESOURCE_EXHAUSTED")
        assert f"The disk of the store of {service} is full" in str(refused.value)
        assert "same request_id" in refused.value.hint

        # The others go on.
        for other in SERVICES:
            if other != service:
                assert await health(system, other) == SERVING
                assert await health(system, other, "store") == SERVING
                assert metrics(system, other)["luxor_store_full"] == 0
        assert (await flow.analyst.statistics(0, 1)).counts is not None
        assert (await flow.filer.quote([batches[0][0]], as_of=1_800_000_000_000_000)).quotes
        if service == "clearance":  # what is filed is accepted all the same
            await flow.submit(batches[16], "accepted")
        flow.carrier.timeout_seconds = TIMEOUT_SECONDS
        counted = sum((await flow.counted()).values())

        await asyncio.to_thread(store.empty)
        await filing
        if service == "clearance":
            await flow.arrive(batches[16], name="accepted-arrival")
        await flow.run(batches[16 + (service == "clearance") : 20], name="after")
        states = await flow.settled(20 * BATCH)
        assert sum(states.values()) == 20 * BATCH > counted

        async def calm() -> bool:
            found = metrics(system, service)
            return found["luxor_store_full"] == 0 and await health(system, service, "store") == SERVING

        await checks.until(calm, f"{service} takes writes again")
        assert flow.filed.refused == []
        mrns = list(flow.filed.accepted.values())
        assert len(set(mrns)) == len(mrns) == 20 * BATCH
        statuses = await checks.histories(flow, mrns)
        checks.assert_decided_once(statuses)
        await checks.assert_statistics_agree(flow, statuses)
        await checks.assert_nothing_set_aside(system)
        assert {name: count for name, count in system.restarts.items() if count} == {}
        if what == "log":  # its processes are others than before: it ended, and recovered
            assert await begun(store, service) > before
        lines = [json.loads(line) for line in system.log(service, 5_000_000).splitlines() if line.startswith("{")]
        full = [line for line in lines if line["reason"] == "STORE_FULL" and "what" in line]
        assert 1 <= len(full) <= 5
        assert full[0]["store"] == service
