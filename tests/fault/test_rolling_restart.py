"""Each service is started anew under load: a user of the client library, with its defaults, sees no error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from libs.cli.local.supervisor import LocalSystem
from libs.client.client import READY_SECONDS
from libs.simulator import Simulator
from tests.fault import checks
from tests.support.databases import enterable_directory
from tests.support.flow import Flow

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

BATCH = 250


class Impatient(Flow):
    """Calls once, and leaves all waiting to the client library."""

    def __init__(self, system: LocalSystem) -> None:
        super().__init__(system)
        self.slowest = 0.0

    async def persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            return await call()
        finally:
            self.slowest = max(self.slowest, clock() - begun)


async def users(flow: Impatient, stop: asyncio.Event, calls: dict[str, int]) -> None:
    """Ask all services without end: status, a quote, figures, the rules."""
    rows = next(iter(Simulator(20_260_821, "everyday").batches(1, size=1)))
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "quote": lambda: flow.filer.quote(rows, as_of=1_800_000_000_000_000),
        "rules": lambda: flow.officer.rule_set(),
        "work": lambda: flow.officer.list_consignments(page_size=5),
        "figures": lambda: flow.counted("state"),
        "receipts": lambda: flow.filer.receipts(local_references=["nobody-filed-this"]),
        "notices": lambda: flow.filer.pull_notices(wait_millis=200, page_size=5),
    }
    while not stop.is_set():
        for name, call in asked.items():
            await flow.persist(call)
            calls[name] = calls.get(name, 0) + 1
        await asyncio.sleep(0)


async def test_a_restart_of_each_service_in_turn_under_load_is_no_error_to_a_user_of_the_client_library() -> None:
    system = LocalSystem(enterable_directory())
    batches = Simulator(20_260_822, "everyday").batches(400 * BATCH, size=BATCH)
    stop = asyncio.Event()
    calls: dict[str, int] = {}
    async with system, Impatient(system) as flow:

        async def file() -> None:
            for place, rows in enumerate(batches):
                await flow.run([rows], name=f"load-{place}")
                if stop.is_set():
                    return

        work = [asyncio.create_task(file()), asyncio.create_task(users(flow, stop, calls))]
        try:
            for service in ("ingestion", "risk", "revenue", "clearance", "statistics"):
                seen, filed = dict(calls), len(flow.filed.accepted)
                await asyncio.to_thread(system.restart, service)
                await asyncio.to_thread(system.wait_ready)

                async def goes_on(seen: dict[str, int] = seen, filed: int = filed) -> bool:
                    for task in work:
                        if task.done():
                            task.result()
                    answered = all(number > seen.get(name, 0) for name, number in calls.items())
                    return answered and len(flow.filed.accepted) > filed

                await checks.until(goes_on, f"all calls are answered after {service} was started anew")
        finally:
            stop.set()
        await asyncio.gather(*work)
        assert flow.filed.refused == []
        mrns = list(flow.filed.accepted.values())
        await flow.settled(len(mrns))
        statuses = await checks.histories(flow, mrns)
        checks.assert_decided_once(statuses)
        await checks.assert_statistics_agree(flow, statuses)
        await checks.assert_nothing_set_aside(system)
        assert flow.slowest < READY_SECONDS
        assert {name: count for name, count in system.restarts.items() if name != "postgres"} == dict.fromkeys(
            ("ingestion", "risk", "revenue", "clearance", "statistics"), 1
        )
