"""Several replicas of every service under load: of each service one dies and one stops while the answer to its COMMIT is on the way.

First a replica loses the connection to its store behind the COMMIT of a page, and is killed before it can look whether that took effect: another one
takes its partitions over. While its successor starts and gets its share, replicas that live on lose their connections; the COMMIT reaches the store
a moment later, when they are repeating the page or handing partitions over. At last one of them is told to stop at such a moment. The filings go
on meanwhile. `make replica-test` runs this with 1, 2 and 4 replicas of each service, the suite of faults with 2.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from libs.cli.local.state import CONNECTIONS_A_REPLICA, SERVICES, service_of
from libs.cli.local.supervisor import POSTGRES, LocalSystem
from libs.customs.partitions import PARTITIONS
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from tests.fault import checks
from tests.fault.health import metrics
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.databases import enterable_directory
from tests.support.flow import Flow

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

REPLICAS = [int(each) for each in os.environ.get("REPLICAS", "2").split()]
"""Replicas of each service, one system for each number."""
BATCH = 60
BATCHES_MAX = 400
PAUSE_SECONDS = 0.1
"""Between two batches of the filer: so that pages come all the time, and two cores have time for those that start."""
LATE_SECONDS = 0.3
LATE_CUTS = 2
PAGE_BYTES = 4_000
"""What a transaction sends at least that stores a page, or a call with a batch."""
WAVES = (("statistics", "ingestion", "revenue"), ("clearance", "risk"))
"""Services that lose replicas at the same time, and are complete again before the next do."""
SOURCES = {"clearance": "ingestion", "statistics": "clearance", "revenue": "clearance", "risk": "clearance"}
"""A feed that each consumer follows."""
MOVES = b"from_epoch"
"""A part of the statement that moves cursors: a transaction that runs it stores the effects of a page of a feed."""


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL in the data directory of a system, with connections for all replicas."""
    directory = enterable_directory()
    connections = str(CONNECTIONS_A_REPLICA * len(SERVICES) * max(REPLICAS) + 40)
    opened = EmbeddedPostgres(directory, settings={"max_connections": connections})
    try:
        opened.start()
        yield opened
    finally:
        opened.destroy()
        shutil.rmtree(directory, ignore_errors=True)


async def file_until(stop: asyncio.Event, flow: Flow) -> int:
    """File batch after batch, each with its arrivals, until `stop`; return the number of consignments."""
    for place, rows in enumerate(Simulator(20_261_129, "everyday").batches(BATCHES_MAX * BATCH, size=BATCH), 1):
        await flow.run([rows], name=f"load-{place}")
        if stop.is_set():
            return place * BATCH
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError(f"{BATCHES_MAX} batches were filed before all services had lost their replicas")


async def all_know_the_accounts(system: LocalSystem) -> None:
    """Wait until every replica of revenue knows the accounts that one of them has opened: it looks for them every few seconds."""

    async def known() -> bool:
        usable = {
            metrics(system, name)["luxor_revenue_accounts_usable"]
            for name in system.ports
            if service_of(name) == "revenue"
        }
        return len(usable) == 1 and usable.pop() > 0

    await checks.until(known, "all replicas of revenue know the accounts", seconds=20)


async def lose_replicas(system: LocalSystem, proxies: dict[str, CuttingProxy], services: tuple[str, ...]) -> None:
    """Cut and kill, cut, cut and stop, in each service; return when all of its replicas serve again."""
    before = Counter(system.restarts)
    for service in services:
        proxies[service].plan([Cut(client_signal=signal.SIGKILL), *[Cut(late_seconds=LATE_SECONDS)] * LATE_CUTS])
        proxies[service].plan([Cut(late_seconds=LATE_SECONDS, client_signal=signal.SIGTERM)])

    async def lost() -> bool:
        ended = Counter(service_of(name) for name in (Counter(system.restarts) - before).elements())
        return all((proxies[each].done, ended[each]) == (2 + LATE_CUTS, 2) for each in services)

    await checks.until(lost, f"two replicas each of {', '.join(services)} have ended and are started again")
    await asyncio.to_thread(system.wait_ready)


async def shared(system: LocalSystem, service: str) -> None:
    """Wait until all replicas of a service that run now have leases on equal parts."""
    count = sum(service_of(name) == service for name in system.ports)

    async def equal() -> bool:
        pids = [pid for name, pid in system.pids.items() if service_of(name) == service]
        held = await checks.partitions_held(system, service, SOURCES[service])
        return {pid: len(each) for pid, each in held.items()} == dict.fromkeys(pids, PARTITIONS // count)

    await checks.until(equal, f"the replicas of {service} have equal parts")


@pytest.mark.parametrize("each", REPLICAS)
async def test_replicas_that_die_and_stop_under_load_while_a_commit_is_unanswered_lose_and_repeat_nothing(
    server: EmbeddedPostgres, each: int
) -> None:
    async with AsyncExitStack() as stack:
        proxies = {
            service: await stack.enter_async_context(
                CuttingProxy(
                    server.url(f"luxor_{service}"),
                    transaction_bytes_min=PAGE_BYTES,
                    # Ingestion follows no feed, and the pages of risk's are rare: their calls are what they commit.
                    statement=b"" if service in {"ingestion", "risk"} else MOVES,
                )
            )
            for service in SERVICES
        }
        env = {f"LUXOR_{service.upper()}_DATABASE_URL": proxy.url for service, proxy in proxies.items()}
        system = await stack.enter_async_context(
            LocalSystem(server.data_dir, env=env, replicas=dict.fromkeys(SERVICES, each))
        )
        flow = await stack.enter_async_context(Flow(system))
        await all_know_the_accounts(system)
        for service in SOURCES:
            await shared(system, service)

        stop = asyncio.Event()
        filing = asyncio.create_task(file_until(stop, flow))
        try:
            for services in WAVES:
                await lose_replicas(system, proxies, services)
        finally:
            stop.set()
        filed = await filing

        assert flow.filed.refused == []
        mrns = list(flow.filed.accepted.values())
        assert len(set(mrns)) == len(mrns) == filed
        assert sum((await flow.settled(filed)).values()) == filed
        statuses = await checks.histories(flow, mrns)
        checks.assert_decided_once(statuses)
        await checks.assert_told_once(flow, statuses)
        await checks.assert_statistics_agree(flow, statuses)
        await checks.assert_nothing_set_aside(system)
        await checks.assert_ledger_whole(flow, filed)
        for service in SOURCES:
            await shared(system, service)
        ended = Counter(service_of(name) for name in Counter(system.restarts).elements())
        assert ended == dict.fromkeys(SERVICES, 2)
        assert POSTGRES not in system.pids
        # The moment itself: a page was repeated behind a COMMIT that took effect after all, or whose partitions had gone to another replica.
        assert [name for name in system.ports if checks.lost_leases(system, name)] != []
