"""What a system that nobody calls uses of a core: the five services, and their PostgreSQL beside them."""

from __future__ import annotations

import asyncio
import time

import figures
import psutil
from usage import Usage

from libs.cli.local.state import SERVICES
from tests.support.flow import local_system

TARGET_CORES = 0.05
SETTLE_SECONDS = 25.0
"""What is done once after a start is over by then."""


async def measure(quick: bool) -> None:
    """Leave a system alone and print what it used."""
    settle, seconds = (1.0, 3.0) if quick else (SETTLE_SECONDS, 60.0)
    async with local_system() as system:
        await asyncio.sleep(settle)
        started = time.monotonic()
        before = Usage(system).cpu
        await asyncio.sleep(seconds)
        after = Usage(system).cpu
        elapsed = time.monotonic() - started
    used = {name: (after[name] - before.get(name, 0.0)) / elapsed for name in after if name != "load generator"}
    services = {name: round(used[name], 4) for name in SERVICES}
    store = sum(value for name, value in used.items() if name.startswith("postgres"))
    figures.figure("idle_services_cores", [sum(services.values())], "cores", target=TARGET_CORES, **services)
    figures.figure("idle_store_cores", [store], "cores", seconds=round(elapsed, 1))


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine({"PostgreSQL": "embedded", "cores of the machine": str(psutil.cpu_count())})
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
