"""Too much load: refused before it is received, small filers go through, memory is bounded, and then all is as before.

How much this machine can do is measured first; everything is relative to that. `make bench-e2e` measures the same longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.cli.local.supervisor import LocalSystem
from libs.server.admission.receiving import WATCHES_PER_CALLER_MAX
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, Consignment
from luxor.ingestion.v1 import ingestion_pb2
from tests.support.bursts import GREEDY, ROUNDS, SMALL, violations_of_a_burst
from tests.support.databases import enterable_directory
from tests.support.flow import Flow
from tests.support.large_messages import send
from tests.support.open_loop import METHOD, Load

AMENDED = 20
"""Consignments that are amended during the burst."""
VERSIONS_MAX = 60
"""A status has at most 100 entries of history, and what is amended may be decided again."""
POLL_SECONDS = 0.1

pytestmark = [pytest.mark.alone, pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def system() -> Iterator[LocalSystem]:
    with LocalSystem(enterable_directory()) as started:
        yield started


def resident_mib(system: LocalSystem, service: str) -> float:
    pid = system.pids[service]
    assert pid is not None
    return psutil.Process(pid).memory_info().rss / 2**20


async def amend(flow: Flow, rows: list[Consignment], done: asyncio.Event) -> int:
    """Amend consignments, version by version, until the burst is over; return the newest version. Each amendment is accepted."""
    version = 1
    while not done.is_set() and version < VERSIONS_MAX:
        for row in rows:
            row.function, row.amended_version = MESSAGE_FUNCTION_AMEND, version
            row.gross_mass_mg += 1
        answer = await flow.submit(rows, f"amended-{version}")
        version += 1
        assert {(each.status, each.receipt.version) for each in answer.results} == {
            (ingestion_pb2.SUBMISSION_STATUS_ACCEPTED, version)
        }
    return version


async def assert_amended(flow: Flow, mrns: list[str], version: int) -> None:
    """Wait until clearance has applied the newest version of each; it applied no version twice."""
    ends_at = time.monotonic() + 60
    while True:
        found = await flow.statuses(mrns)
        if {each.filing.version for each in found} == {version}:
            break
        assert time.monotonic() < ends_at, [(each.mrn, each.filing.version) for each in found]
        await asyncio.sleep(POLL_SECONDS)
    queries = [clearance_pb2.StatusQuery(mrn=mrn) for mrn in mrns]
    answer = await flow.persist(lambda: flow.officer.status(queries, with_history=True))
    for (status,) in (result.consignments for result in answer.results):
        # Of several versions in one page of the feed the newest counts.
        assert 1 <= [each.change for each in status.history].count(clearance_pb2.CHANGE_AMENDED) <= version - 1


async def test_a_greedy_filer_is_refused_and_the_small_ones_beside_it_are_not_and_what_is_accepted_is_decided(
    system: LocalSystem,
) -> None:
    wrong: list[object] = []
    async with Flow(system) as flow, Load(system, (GREEDY, *SMALL)) as load:
        rows = next(Simulator(1, "load").batches(100, size=100))
        await flow.submit(rows, "amended-later")
        mrns = list(flow.filed.accepted.values())
        await flow.decided(mrns)
        waiting = {each.mrn for each in await flow.statuses(mrns) if each.state == clearance_pb2.STATE_AWAITING_ARRIVAL}
        amended = [row for row in rows if flow.filed.accepted.get(row.local_reference) in waiting][:AMENDED]
        done = asyncio.Event()
        amending = asyncio.create_task(amend(flow, amended, done))
        for number in range(ROUNDS):
            wrong = await violations_of_a_burst(flow.officer, load, 20_261_128 + 100 * number)
            if not wrong:
                break
        done.set()
        newest = await amending
        assert newest > 3
        await assert_amended(flow, [flow.filed.accepted[row.local_reference] for row in amended], newest)
    assert not wrong


async def test_large_messages_of_a_role_that_may_call_nothing_leave_memory_as_it_was(system: LocalSystem) -> None:
    before = resident_mib(system, "ingestion")
    most = before
    directory = system.data_dir / "tls"
    sending = asyncio.create_task(send(directory, system.endpoints["ingestion"], METHOD, "agency"))
    while not sending.done():
        most = max(most, resident_mib(system, "ingestion"))
        await asyncio.sleep(0.02)
    assert await sending == {"PERMISSION_DENIED": 120}
    assert most - before < 64


async def test_health_watches_are_bounded_and_health_is_answered_beside_them(system: LocalSystem) -> None:
    authority = LocalCA(system.data_dir / "tls")
    before = resident_mib(system, "ingestion")
    channels = [channel(system.endpoints["ingestion"], authority.issue("agency", "watcher")) for _ in range(8)]
    request = health_pb2.HealthCheckRequest()
    watches = [health_pb2_grpc.HealthStub(channels[number % 8]).Watch(request, timeout=60) for number in range(750)]
    try:
        firsts = await asyncio.gather(*(watch.read() for watch in watches), return_exceptions=True)
        codes = [first.code() for first in firsts if isinstance(first, grpc.aio.AioRpcError)]
        assert set(codes) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(firsts) - len(codes) == WATCHES_PER_CALLER_MAX
        async with channel(system.endpoints["ingestion"], authority.issue("filer", "other")) as other:
            answer = await health_pb2_grpc.HealthStub(other).Check(request, timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert resident_mib(system, "ingestion") - before < 100
    finally:
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*(each.close() for each in channels))
