"""Too much load: refused before it is received, small filers go through, memory is bounded, and then all is as before.

How much this machine can do is measured first; everything is relative to that. `make bench-e2e` measures the same longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from libs.cli.local.supervisor import LocalSystem
from libs.server.admission.receiving import WATCHES_PER_CALLER_MAX
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA
from tests.support.bursts import GREEDY, ROUNDS, SMALL, violations_of_a_burst
from tests.support.databases import enterable_directory
from tests.support.flow import Flow
from tests.support.large_messages import send
from tests.support.open_loop import METHOD, Load

pytestmark = [pytest.mark.alone, pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def system() -> Iterator[LocalSystem]:
    with LocalSystem(enterable_directory()) as started:
        yield started


def resident_mib(system: LocalSystem, service: str) -> float:
    pid = system.pids[service]
    assert pid is not None
    return psutil.Process(pid).memory_info().rss / 2**20


async def test_a_greedy_filer_is_refused_and_the_small_ones_beside_it_are_not_and_what_is_accepted_is_decided(
    system: LocalSystem,
) -> None:
    wrong: list[object] = []
    async with Flow(system) as flow, Load(system, (GREEDY, *SMALL)) as load:
        for number in range(ROUNDS):
            wrong = await violations_of_a_burst(flow.officer, load, 20_261_128 + 100 * number)
            if not wrong:
                break
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
