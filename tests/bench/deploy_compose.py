"""The whole flow in Compose against the same build as processes: the same load, one after the other, each alone on the machine.

Five services and five PostgreSQL servers in containers, filed from outside through the published ports; then five processes with one embedded
PostgreSQL. As fast as it goes for 30 s each, as traffic.py does. About three minutes, and the time to build the image. Needs an engine that
runs; a smoke run starts containers only where LUXOR_CONTAINERS is set, as `make compose-test` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import figures
import traffic

from libs.store.errors import StoreError
from tests.containers import engine as engines
from tests.containers.composed import Composed, composed
from tests.containers.engine import Images, NoEngine
from tests.support.flow import Flow, local_system

FIGURE = "compose_vs_processes"
TARGET = 0.8
TAG = "luxor:under-test"
SECONDS, WARM = 30.0, 20_000
QUICK_SECONDS, QUICK_WARM = 2.0, 1_000

System = Callable[[], AbstractAsyncContextManager[Any]]


async def rate(start: System, seconds: float, warm: int) -> tuple[float, int]:
    """Give consignments a second, from the first filing until the last was counted, and how many there were."""
    batches = traffic.prepared(int((warm + traffic.CPS_MAX * seconds) / traffic.BATCH))
    async with start() as system, Flow(system) as flow:
        await flow.run((next(batches) for _ in range(warm // traffic.BATCH)), name="warm")
        await flow.settled(warm - len(flow.filed.refused))
        count, elapsed = await traffic.fast(flow, batches, seconds, warm)
    return count / elapsed, count


def in_containers(client: Any, images: Images) -> System:
    """Return what starts a system in Compose with the limits that it is shipped with."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Composed]:
        stack = contextlib.ExitStack()
        system = await asyncio.to_thread(stack.enter_context, composed(client, images))
        try:
            yield system
        finally:
            await asyncio.to_thread(stack.close)

    return start


def measure(client: Any, images: Images, quick: bool, runs: int) -> None:
    """Measure in pairs and print the figure."""
    seconds, warm = (QUICK_SECONDS, QUICK_WARM) if quick else (SECONDS, WARM)
    ratios, rates = [], []
    for _ in range(runs):
        contained, filed = asyncio.run(rate(in_containers(client, images), seconds, warm))
        print(f"in Compose    {contained:,.0f} consignments/s ({filed:,})", flush=True)
        bare, filed = asyncio.run(rate(local_system, seconds, warm))
        print(f"as processes  {bare:,.0f} consignments/s ({filed:,})", flush=True)
        ratios.append(contained / bare)
        rates.append((contained, bare))
    compose_cps, processes_cps = (round(max(each[place] for each in rates), 1) for place in (0, 1))
    figures.figure(FIGURE, ratios, "ratio", target=TARGET, compose_cps=compose_cps, processes_cps=processes_cps)


def main() -> None:
    """Read the command line; measure, or say why not."""
    given = figures.options(__doc__ or "", runs=1)
    durable = "fsync = on, synchronous_commit = on, full_page_writes = on"
    figures.machine(
        {"PostgreSQL": f"both {durable}; five servers in Compose, one embedded", "batch": str(traffic.BATCH)}
    )
    if given.quick and not os.environ.get("LUXOR_CONTAINERS"):
        figures.not_measured(FIGURE, "a smoke run starts containers only where LUXOR_CONTAINERS is set")
        return
    try:
        with engines.engine(install=False) as client:
            measure(client, engines.images(client, TAG), given.quick, given.runs)
    except (NoEngine, StoreError) as reason:
        figures.not_measured(FIGURE, str(reason))


if __name__ == "__main__":
    main()
