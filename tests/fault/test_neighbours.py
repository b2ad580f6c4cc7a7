"""A neighbour away: what needs it says so by its own health name, the rest serves on, and it recovers by itself."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator

import pytest

from libs.cli.local.processes import Backoff
from libs.cli.local.supervisor import POSTGRES, LocalSystem
from tests.fault import checks
from tests.fault.health import NOT_SERVING, SERVING, health, metrics
from tests.support.databases import enterable_directory

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

NOTICED_SECONDS = 10.0


@pytest.fixture(scope="module")
def system() -> Iterator[LocalSystem]:
    """A system that leaves dead what died."""
    directory = enterable_directory()
    try:
        with LocalSystem(directory, backoff=Backoff(first_seconds=3_600, most_seconds=3_600)) as started:
            yield started
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("how", ["dead", "hanging"])
@pytest.mark.parametrize(
    ("away", "service", "work"),
    [("risk", "clearance", "clearance/intake"), ("clearance", "statistics", "statistics/intake")],
)
async def test_work_that_needs_a_neighbour_is_not_serving_while_it_is_away_and_serves_again_by_itself(
    system: LocalSystem, away: str, service: str, work: str, how: str
) -> None:
    up = f'luxor_neighbour_up{{neighbour="{away}"}}'

    async def goes_on() -> bool:
        return await health(system, service, work) == SERVING and metrics(system, service)[up] == 1

    async def stands() -> bool:
        return await health(system, service, work) == NOT_SERVING and metrics(system, service)[up] == 0

    await checks.until(goes_on, f"{work} serves", seconds=NOTICED_SECONDS)
    pid = system.pids[service]
    system.kill(away, signal.SIGSTOP if how == "hanging" else signal.SIGKILL)
    await checks.until(stands, f"{work} does not serve while {away} is {how}", seconds=NOTICED_SECONDS)
    assert await health(system, service) == SERVING
    assert await health(system, service, "alive") == SERVING
    assert await health(system, service, "store") == SERVING
    if how == "hanging":
        system.kill(away, signal.SIGCONT)
    else:
        system.restart(away)
    await checks.until(goes_on, f"{work} serves again", seconds=30)
    assert system.pids[service] == pid

    def said() -> list[str]:
        return [line for line in system.log(service, 200_000).splitlines() if f'"neighbour":"{away}"' in line]

    async def said_last() -> bool:
        return '"NEIGHBOUR_RETURNED"' in said()[-1]

    # The log is written behind the metric and the health.
    await checks.until(said_last, f"{service} says that {away} is there", seconds=NOTICED_SECONDS)
    assert any('"NEIGHBOUR_ABSENT"' in line for line in said())


async def test_a_process_is_alive_while_its_store_is_away(system: LocalSystem) -> None:
    async def unready() -> bool:
        return await health(system, "ingestion") == NOT_SERVING

    async def ready() -> bool:
        return await health(system, "ingestion") == SERVING

    await checks.until(ready, "ingestion is ready")
    pids = {name: pid for name, pid in system.pids.items() if name != POSTGRES}
    system.kill(POSTGRES)
    await checks.until(unready, "ingestion notices", seconds=NOTICED_SECONDS)
    for service in pids:
        assert await health(system, service, "alive") == SERVING
        assert await health(system, service, "store") == NOT_SERVING or service != "ingestion"
    assert metrics(system, "ingestion")["luxor_store_writable"] == 0
    system.restart(POSTGRES)
    await checks.until(ready, "ingestion is ready again", seconds=30)
    assert await health(system, "ingestion", "store") == SERVING
    assert {name: pid for name, pid in system.pids.items() if name != POSTGRES} == pids
