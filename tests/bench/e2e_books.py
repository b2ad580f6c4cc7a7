"""How long `luxor revenue reconcile` takes over a day of parcels: right after the last was booked, again, and with `--all`.

The parcels are filed and settled first, as fast as the system takes them; the background proof works beside that.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import figures
from traffic import BATCH, prepared

from libs.cli.local.supervisor import LocalSystem
from tests.support.flow import Flow, local_system

PARCELS = 129_000
SLICE = 20_000
BEFORE_SECONDS = 305
"""What comparing so many parcels took before the proofs."""


def reconcile(system: LocalSystem, *more: str) -> tuple[float, dict[str, object]]:
    """Run the command over today; return its seconds and what it found. Raise ValueError where anything differs."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    program = str(Path(sys.executable).with_name("luxor"))
    started = time.perf_counter()
    done = subprocess.run(
        [program, "revenue", "reconcile", "--from", today, "--to", today, "--json", *more],
        capture_output=True, text=True, check=False, timeout=1_200, env=os.environ | {"LUXOR_DATA_DIR": str(system.data_dir)},
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        raise ValueError(f"reconcile ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    found: dict[str, object] = json.loads(done.stdout)
    return seconds, found


async def measure(quick: bool) -> None:
    """File, and print how long each comparison took."""
    count = 4_000 if quick else PARCELS
    async with local_system(on_disk=True) as system, Flow(system) as flow:
        batches = prepared(count // BATCH)
        for begin in range(0, count, SLICE):
            await flow.run([next(batches) for _ in range(min(SLICE, count - begin) // BATCH)], name=f"books-{begin}")
            await flow.settled(len(flow.filed.accepted))
        for name, more in (("first", ()), ("again", ()), ("all", ("--all",))):
            seconds, found = await asyncio.to_thread(reconcile, system, *more)
            consignments = found["consignments"]
            assert consignments == len(flow.filed.accepted), (name, consignments, len(flow.filed.accepted))
            figures.figure(
                f"reconcile_{name}_s", [seconds], "s", consignments=count, before=BEFORE_SECONDS,
            )  # fmt: skip


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine({"PostgreSQL": "embedded, fsync = on"})
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
