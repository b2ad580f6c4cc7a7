"""Risk away, hanging or dead, while filings come: nothing is decided, nothing is set aside, and all is made up for."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from libs.cli.local.processes import Backoff
from libs.cli.local.supervisor import LocalSystem
from libs.feed.consume.consumer import UNEXPECTED_TRIES
from libs.simulator import Simulator
from tests.fault import checks
from tests.support.databases import enterable_directory
from tests.support.flow import Flow

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

BATCH = 500


@pytest.fixture(scope="module")
def system() -> Iterator[LocalSystem]:
    """A system that calls a neighbour silent after half a second, and leaves dead what died."""
    directory = enterable_directory()
    try:
        with LocalSystem(
            directory,
            env={"LUXOR_CLEARANCE_ASSESS_SECONDS": "0.5"},
            backoff=Backoff(first_seconds=3_600, most_seconds=3_600),
        ) as started:
            yield started
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture
async def flow(system: LocalSystem, request: pytest.FixtureRequest) -> AsyncIterator[Flow]:
    """One filer a test."""
    async with Flow(system, filer=f"filer-{request.node.callspec.id}") as opened:
        yield opened


def failures(system: LocalSystem) -> list[bool]:
    """For each page that clearance could not apply so far, whether it took the cause for one that passes."""
    lines = [json.loads(line) for line in system.log("clearance", 1_000_000).splitlines() if line.startswith("{")]
    return [line["passing"] for line in lines if line["reason"] == "FEED_PAGE_FAILED"]


@pytest.mark.parametrize("how", ["hanging", "dead"])
async def test_while_risk_is_away_filing_goes_on_and_nothing_is_decided_or_set_aside_and_then_all_is_decided(
    system: LocalSystem, flow: Flow, how: str
) -> None:
    counted_before = sum((await flow.counted()).values())
    seen = len(failures(system))
    system.kill("risk", signal.SIGSTOP if how == "hanging" else signal.SIGKILL)
    batches = Simulator(20_260_703 + len(how), "everyday").batches(6 * BATCH, size=BATCH)
    await flow.run(batches, name=how)
    assert len(flow.filed.accepted) == 6 * BATCH

    async def tried_in_vain() -> bool:
        """More often than an event that is at fault itself would be tried."""
        return len(failures(system)) >= seen + UNEXPECTED_TRIES + 2

    await checks.until(tried_in_vain, "clearance has tried again and again")
    assert all(failures(system)[seen:])
    await checks.assert_nothing_set_aside(system)
    mrns = list(flow.filed.accepted.values())
    assert await checks.fetch(system, "clearance", "select from consignment where mrn = any($1) limit 1", mrns) == []
    assert sum((await flow.counted()).values()) == counted_before

    if how == "hanging":
        system.kill("risk", signal.SIGCONT)
    else:
        system.restart("risk")
    states = await flow.settled(counted_before + len(mrns))
    assert sum(states.values()) == counted_before + len(mrns)
    statuses = await checks.histories(flow, mrns)
    checks.assert_decided_once(statuses)
    await checks.assert_told_once(flow, statuses)
    await checks.assert_nothing_set_aside(system)
