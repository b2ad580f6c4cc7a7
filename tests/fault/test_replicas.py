"""Two replicas of each consumer, one of each held up for longer than its leases while consignments flow.

Clearance's replica is stopped with filings in its hands that it has had assessed half; it finishes them when it is continued, long after the
other replica has taken its partitions over and decided them. That late commit must be rolled back.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from libs.cli.local.supervisor import LocalSystem
from libs.client.errors import LuxorError
from libs.customs.partitions import PARTITIONS
from libs.simulator import Simulator
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.fault import checks
from tests.support.flow import Flow, local_system

pytestmark = [pytest.mark.fault, pytest.mark.timeout(170)]

BATCH = 500
ANSWER_SECONDS = 3.0
SOURCES = {"clearance": "ingestion", "statistics": "clearance"}
"""Whose feed each consumer follows."""


class Caller(Flow):
    """Calls go to both replicas in turn: one that a stopped replica leaves unanswered is sent again, as its hint says."""

    def __init__(self, system: LocalSystem) -> None:
        """Wait for no answer for long."""
        super().__init__(system)
        for client in (self.filer, self.carrier, self.analyst, self.officer):
            client.timeout_seconds = ANSWER_SECONDS

    async def persist(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """As the other flows, and over answers that do not come."""
        while True:
            try:
                return await super().persist(call)
            except LuxorError as error:
                if error.reason != "CLIENT_DEADLINE":
                    raise


async def shared(system: LocalSystem, service: str) -> dict[int, set[int]]:
    """Wait until both replicas hold their halves; give them."""
    pids = {system.pids[service], system.pids[f"{service}-2"]}

    async def both() -> dict[int, set[int]] | None:
        found = await checks.partitions_held(system, service, SOURCES[service])
        halves = {pid: len(each) for pid, each in found.items()}
        return found if halves == dict.fromkeys(pids, PARTITIONS // 2) else None

    found: dict[int, set[int]] = await checks.until(both, f"both replicas of {service} hold half of the partitions")
    return found


async def taken_over(system: LocalSystem, service: str) -> None:
    """Wait until the first replica holds all."""

    async def all_its() -> bool:
        return (await checks.partitions_held(system, service, SOURCES[service])).keys() == {system.pids[service]}

    await checks.until(all_its, f"the first replica of {service} holds all partitions")


async def assert_right(flow: Flow, filed: int) -> None:
    """Everything that was filed is decided, told and counted once."""
    assert flow.filed.refused == []
    mrns = list(flow.filed.accepted.values())
    assert len(set(mrns)) == len(mrns) == filed
    states = await flow.settled(filed)
    assert sum(states.values()) == filed
    statuses = await checks.histories(flow, mrns)
    checks.assert_decided_once(statuses)
    await checks.assert_told_once(flow, statuses)
    await checks.assert_statistics_agree(flow, statuses)
    await checks.assert_nothing_set_aside(flow.system)


async def test_a_replica_stopped_past_its_lease_loses_and_repeats_nothing_and_its_late_commit_is_rolled_back() -> None:
    traffic = Simulator(20_260_702, "load").batches(100 * BATCH, size=BATCH)

    def take(count: int) -> list[Sequence[Consignment]]:
        return [next(traffic) for _ in range(count)]

    replicas = {"clearance": 2, "statistics": 2}
    # An answer of risk is awaited for longer than the replica is stopped: it comes to commit, not to a deadline.
    env = {"LUXOR_CLEARANCE_ASSESS_SECONDS": "60"}
    async with local_system(replicas=replicas, env=env) as system, Caller(system) as flow:
        await flow.run(take(4), name="before")
        # Before risk is stopped: a page that waits for it is in nobody's way then.
        await flow.decided(list(flow.filed.accepted.values()))
        halves = await shared(system, "clearance")
        await shared(system, "statistics")
        theirs = [f"{partition:02d}" for partition in halves[system.pids["clearance-2"] or 0]]

        system.kill("risk", signal.SIGSTOP)
        before = list(flow.filed.accepted.values())
        await flow.run(take(4), name="held-up")

        async def in_hand() -> bool:
            """Revenue has answered for filings that the second replica alone may have asked about."""
            rows = await checks.fetch(
                system,
                "revenue",
                "select from all_assessments where substr(mrn, 5, 2) = any($1) and mrn <> all($2) limit 1",
                theirs,
                before,
            )
            return bool(rows)

        await checks.until(in_hand, "the second replica has filings assessed")
        system.kill("clearance-2", signal.SIGSTOP)
        system.kill("risk", signal.SIGCONT)
        held_up = [number for number in flow.filed.accepted.values() if number not in set(before)]
        filing = asyncio.create_task(flow.run(take(12), name="meanwhile"))

        async def counting() -> bool:
            return sum((await flow.counted()).values()) > len(before)

        async def statistics_held_up() -> None:
            await checks.until(counting, "statistics counts what the first replica decides")
            system.kill("statistics-2", signal.SIGSTOP)
            await taken_over(system, "statistics")
            system.kill("statistics-2", signal.SIGCONT)

        statistics = asyncio.create_task(statistics_held_up())
        await taken_over(system, "clearance")

        async def decided() -> bool:
            """The first replica has decided what the second one had in hand. Asked of the store: no call waits for a stopped replica."""
            rows = await checks.fetch(
                system, "clearance", "select count(*) from consignment where mrn = any($1)", held_up
            )
            return bool(rows[0]["count"] == len(held_up))

        await checks.until(decided, "the first replica decides what was held up")
        # At once, whatever statistics waits for: a connection whose peer does not answer for ten seconds is closed, and the page would fail by that.
        system.kill("clearance-2", signal.SIGCONT)

        async def noticed() -> bool:
            return bool(checks.lost_leases(system, "clearance-2"))

        await checks.until(noticed, "the second replica of clearance had its commit rolled back")
        await statistics
        await filing
        filed = 20 * BATCH
        for service in SOURCES:
            await shared(system, service)
        await assert_right(flow, filed)
        await flow.run(take(4), name="after")
        await assert_right(flow, filed + 4 * BATCH)
        assert [name for name, count in system.restarts.items() if count] == []
