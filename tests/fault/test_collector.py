"""A collector that takes connections and never answers, or answers very slowly: filing does not notice, and neither does a stop."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from tests.fault import checks
from tests.fault.health import SERVING, health, metrics
from tests.support.databases import enterable_directory
from tests.support.flow import Flow, local_system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

BATCH = 500
TRIES = 3
"""What else runs on the machine makes a try longer, never shorter; one that is waited for makes each of them so."""
STOP_SECONDS = 12.0
"""What a stop may take: the pause, what is running, and two seconds in which spans may still leave."""


class Silent:
    """Takes connections, reads what comes, and says nothing."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self.taken = 0
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._door.accept()
                self.taken += 1
                self._held.append(peer)

    def close(self) -> None:
        """Let everybody go."""
        # Closing alone does not wake the thread that waits for a connection.
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._thread.join()
        for peer in self._held:
            peer.close()


@contextmanager
def silent_collector() -> Iterator[Silent]:
    """Run one."""
    collector = Silent()
    try:
        yield collector
    finally:
        collector.close()


async def filed_in(flow: Flow, seed: int, name: str) -> float:
    """File, and return the seconds until all is counted."""
    before = len(flow.filed.accepted)
    begun = time.monotonic()
    await flow.run(Simulator(seed, "load").batches(6 * BATCH, size=BATCH), name=name)
    await flow.settled(before + 6 * BATCH)
    return time.monotonic() - begun


async def test_a_collector_that_never_answers_slows_neither_filing_nor_a_stop() -> None:
    async with local_system() as system, Flow(system) as flow:
        await filed_in(flow, 20_260_841, "warm")
        without = await filed_in(flow, 20_260_842, "without")
    # Not a benchmark: a collector that is waited for costs ten seconds an export.
    most = 2 * without + 5
    with silent_collector() as collector:
        env = {
            "LUXOR_TRACE_RATIO": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
        }
        system = LocalSystem(enterable_directory(), env=env)
        async with system:
            async with Flow(system) as flow:
                await filed_in(flow, 20_260_841, "warm")
                for each in range(TRIES):
                    spent = await filed_in(flow, 20_260_842 + each, f"silent-{each}")
                    if spent < most:
                        break
                assert spent < most
                assert collector.taken >= 5
                for service in ("ingestion", "risk", "revenue", "clearance", "statistics"):
                    assert await health(system, service) == SERVING
                statuses = await checks.histories(flow, list(flow.filed.accepted.values()))
                checks.assert_decided_once(statuses)

                async def dropped() -> bool:
                    found = metrics(system, "ingestion")
                    return any(value > 0 for name, value in found.items() if name.startswith(DROPPED))

                await checks.until(dropped, "what the collector does not take is dropped and counted", seconds=90)
                assert [name for name, times in system.restarts.items() if times] == []
            begun = time.monotonic()
            await system.astop()
            assert time.monotonic() - begun < 3 * STOP_SECONDS  # three groups of processes, one after the other


DROPPED = "luxor_spans_dropped_total"
