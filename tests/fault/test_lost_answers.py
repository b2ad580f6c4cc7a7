"""Connections to all five stores break at chosen bytes of COMMITs and of their answers, while consignments flow.

Each process learns of a broken connection and of nothing else: its transaction was rolled back, was committed, or will be committed a moment
later. Everything is still decided, booked and counted exactly once.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from tests.fault import checks
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy
from tests.support.databases import enterable_directory
from tests.support.flow import Flow

pytestmark = [pytest.mark.fault, pytest.mark.timeout(170)]

BATCH = 150
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")
LATE_SECONDS = 0.3
PAGE_BYTES = 4_000
"""What a transaction sends at least that stores a page, or a call with a batch."""
CUTS_A_SERVICE = 6
BATCHES = 14
"""Batches that are filed one behind the other."""
BATCHES_MAX = 34


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL in the data directory of a system that is told where its stores are, and so starts none."""
    directory = enterable_directory()
    opened = EmbeddedPostgres(directory)
    try:
        opened.start()
        yield opened
    finally:
        opened.destroy()
        shutil.rmtree(directory, ignore_errors=True)


def cuts(seed: int) -> Iterator[Cut | None]:
    """Yield what happens to COMMITs one after the other: most pass; of those that are lost, half are carried out late."""
    rng = random.Random(seed)
    kinds = ["late", "heard", "unheard", "late", "cut", "late"]
    for kind in kinds[:CUTS_A_SERVICE]:
        yield from [None] * rng.randint(0, 1)
        if kind == "late":
            yield Cut(late_seconds=LATE_SECONDS)
        elif kind == "cut":
            yield Cut(sent=rng.randrange(len(COMMIT)))
        elif kind == "unheard":
            yield Cut()
        else:
            yield Cut(answered=rng.randrange(1, len(ANSWER)))


async def test_commits_whose_answers_are_lost_in_every_service_lose_nothing_and_do_nothing_twice(
    server: EmbeddedPostgres,
) -> None:
    async with AsyncExitStack() as stack:
        proxies = {
            service: await stack.enter_async_context(
                CuttingProxy(server.url(f"luxor_{service}"), transaction_bytes_min=PAGE_BYTES)
            )
            for service in SERVICES
        }
        env = {f"LUXOR_{service.upper()}_DATABASE_URL": proxy.url for service, proxy in proxies.items()}
        system = await stack.enter_async_context(LocalSystem(server.data_dir, env=env))
        flow = await stack.enter_async_context(Flow(system))
        batches = list(Simulator(20_261_128, "everyday").batches(BATCHES_MAX * BATCH, size=BATCH))
        await flow.run(batches[:1], name="before")
        await flow.settled(BATCH)

        for seed, proxy in enumerate(proxies.values()):
            proxy.plan(cuts(seed))
        filed = 1
        # A consumer that fails to commit reads what piled up in few pages; so some batches come one at a time until all cuts were made.
        while filed < BATCHES or (any(proxy.planned for proxy in proxies.values()) and filed < BATCHES_MAX):
            await flow.run([batches[filed]], name=f"meanwhile-{filed}")
            filed += 1
            if filed >= BATCHES:
                await flow.settled(filed * BATCH)
        states = await flow.settled(filed * BATCH)

        assert sum(states.values()) == filed * BATCH == len(flow.filed.accepted)
        assert {service: proxy.done for service, proxy in proxies.items()} == dict.fromkeys(SERVICES, CUTS_A_SERVICE)
        statuses = await checks.histories(flow, list(flow.filed.accepted.values()))
        checks.assert_decided_once(statuses)
        await checks.assert_told_once(flow, statuses)
        await checks.assert_statistics_agree(flow, statuses)
        await checks.assert_nothing_set_aside(system)
        await checks.assert_ledger_whole(flow, filed * BATCH)
        assert {name: times for name, times in system.restarts.items() if times} == {}
