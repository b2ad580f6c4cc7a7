"""SIGKILL of each service, and a crash of PostgreSQL, while consignments are on their way through the system.

One system lives through all six deaths, as one in service would. Around each death 3,500 consignments are filed, 21,000 in all; each death
comes while the 3,500 of its own are in flight. Statistics must agree with clearance over everything that was filed since the system began,
the ledger with assessments and statistics, and the last test asks for all of it once more.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2
from tests.fault import checks
from tests.support.databases import enterable_directory
from tests.support.flow import Flow

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

VICTIMS = ("ingestion", "risk", "revenue", "clearance", "statistics", "postgres")
LEDGER_VICTIMS = ("revenue", "postgres")
"""Who takes the ledger down; once they are back it must be as whole as statistics are."""
BATCH = 500
BATCHES = 7
KILLED_AT = 1_000
"""Accepted consignments of a test's own after which the victim dies: most of the others are being filed or decided then."""


@dataclass
class Ledger:
    """What was filed since the system began."""

    system: LocalSystem
    traffic: Iterator[Sequence[Consignment]]
    accepted: dict[str, str] = field(default_factory=dict)
    """MRN by local reference."""
    told: list[clearance_pb2.ConsignmentStatus] = field(default_factory=list)
    """What clearance told of them once all were released or held."""


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    """One system for all tests of this module."""
    directory = enterable_directory()
    try:
        with LocalSystem(directory) as system:
            yield Ledger(system, Simulator(20_260_701, "everyday").batches(BATCH * BATCHES * len(VICTIMS), size=BATCH))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture
async def flow(ledger: Ledger) -> AsyncIterator[Flow]:
    """One filer a test, whose notices are its own."""
    async with Flow(ledger.system, filer=f"filer-{len(ledger.accepted)}") as opened:
        yield opened
        ledger.accepted.update(opened.filed.accepted)


async def kill_in_flight(flow: Flow, victim: str, filing: asyncio.Task[None]) -> None:
    """Kill once enough is accepted; it must still be in the middle of it, and the supervisor must bring the victim back."""
    system = flow.system
    before, restarts = system.pids[victim], system.restarts[victim]
    while len(flow.filed.accepted) < KILLED_AT and not filing.done():
        await asyncio.wait({filing}, timeout=0.005)
    assert not filing.done()
    await asyncio.to_thread(system.kill, victim)

    async def back() -> bool:
        return system.restarts[victim] > restarts and system.pids[victim] not in (None, before)

    await checks.until(back, f"{victim} runs again")


@pytest.mark.parametrize("victim", VICTIMS)
async def test_after_a_kill_in_flight_all_are_decided_exactly_once_and_statistics_agree_to_the_cent(
    ledger: Ledger, flow: Flow, victim: str
) -> None:
    batches = [next(ledger.traffic) for _ in range(BATCHES)]
    filing = asyncio.create_task(flow.run(batches, name=victim))
    await kill_in_flight(flow, victim, filing)
    await filing
    assert flow.filed.refused == []
    accepted = dict(flow.filed.accepted)
    assert len(accepted) == len(set(accepted.values())) == BATCH * BATCHES
    everything = ledger.accepted | accepted
    assert len(everything) == len(ledger.accepted) + len(accepted)
    states = await flow.settled(len(everything))
    assert sum(states.values()) == len(everything)
    own = await checks.histories(flow, list(accepted.values()))
    checks.assert_decided_once(own)
    await checks.assert_told_once(flow, own)
    ledger.told += own
    assert len(ledger.told) == len(everything)
    await checks.assert_statistics_agree(flow, ledger.told)
    await checks.assert_nothing_set_aside(ledger.system)
    if victim in LEDGER_VICTIMS:
        await checks.assert_ledger_whole(flow, len(everything))

    for name, place in ((f"{victim}-0", 0), (f"{victim}-{BATCHES - 1}", BATCHES - 1), (f"{victim}-anew", 2)):
        again = await flow.submit(batches[place], name)
        assert {result.status for result in again.results} == {ingestion_pb2.SUBMISSION_STATUS_ACCEPTED}
        assert [result.receipt.mrn for result in again.results] == [
            accepted[row.local_reference] for row in batches[place]
        ]


async def test_filing_again_after_all_kills_changed_nothing_and_all_are_still_told_once(
    ledger: Ledger, flow: Flow
) -> None:
    if len(ledger.accepted) < BATCH * BATCHES * len(VICTIMS):
        pytest.skip("asks for what the tests of all six kills filed, and not all of them have run")
    states = await flow.settled(len(ledger.accepted))
    assert sum(states.values()) == len(ledger.accepted) >= 20_000
    statuses = await checks.histories(flow, list(ledger.accepted.values()))
    checks.assert_decided_once(statuses)
    await checks.assert_statistics_agree(flow, statuses)
    await checks.assert_nothing_set_aside(ledger.system)
    await checks.assert_ledger_whole(flow, len(ledger.accepted))
