"""Twice and three times the load: what is decided, how long the accepted wait, and how soon everything is as before.

The peak of this system and machine is found in closed loop: twice, with a calm between, which shows how much a peak changes
without a burst, and again behind each burst. In a burst, in open loop, eight filers offer two and three times the peak before
it: one of them nine tenths of that, one of them small batches. What is kept is a share of the same peak. All but the small
filer send batches as large as those of the peak, since the smaller the calls that are accepted, the more a consignment costs;
in a last burst the six others send batches of 100, and what is kept tells of both. About three and a half minutes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import figures
import psutil
from rich.console import Console
from rich.table import Table

from libs.cli.local.state import SERVICES
from libs.cli.local.supervisor import LocalSystem
from tests.support.flow import Flow, local_system
from tests.support.open_loop import Call, Load, Pool, fill, goodput

GREEDY, SMALL = "greedy", "small"
OTHERS = tuple(f"filer-{number}" for number in range(1, 7))
FILERS = (GREEDY, *OTHERS, SMALL)
ROWS = dict.fromkeys(FILERS, 500) | {SMALL: 10}
MIXED = ROWS | dict.fromkeys(OTHERS, 100)
AT_ONCE = 8
BURSTS = ((2, ROWS), (3, ROWS), (3, MIXED))
"""How many times the peak is offered, in batches of how many consignments."""
MEMORY_MIB = 512
"""The smallest limit of a service's container: that of the chart, whose services but risk have no more."""
NORMAL_SECONDS = 1.0
"""A call is as in quiet times where it is accepted and decided within this, or within twice the median of quiet times."""


def rates(total: float) -> dict[str, float]:
    """Return what each filer offers a second: the greedy one nine tenths."""
    return {GREEDY: total * 0.9, SMALL: total * 0.005} | dict.fromkeys(OTHERS, total * 0.1 / len(OTHERS))


def accepted_share(calls: Sequence[Call], filer: str) -> float:
    """Return the share of a filer's calls that were accepted."""
    own = [call.accepted for call in calls if call.filer == filer]
    return sum(own) / len(own) if own else 1.0


@asynccontextmanager
async def watched(system: LocalSystem, most: dict[str, float]) -> AsyncIterator[None]:
    """Note the most memory, MiB, that each service has had meanwhile."""

    async def look() -> None:
        while True:
            for name in SERVICES:
                pid = system.pids[name]
                if pid is not None:
                    most[name] = max(most.get(name, 0.0), psutil.Process(pid).memory_info().rss / 2**20)
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


async def measure(quick: bool) -> None:
    """Run all parts and print the figures."""
    peak_seconds, burst_seconds, calm_seconds = (1.5, 2.0, 1.0) if quick else (10.0, 15.0, 15.0)
    pools = {filer: Pool(20_261_128 + place, ROWS[filer]) for place, filer in enumerate(FILERS)}
    mixed = pools | {filer: Pool(20_261_228 + place, MIXED[filer]) for place, filer in enumerate(OTHERS)}
    table = Table(title="Overload, eight filers, one of them with nine tenths of the load")
    for column in (
        "offered",
        "rows of others",
        "decided/s",
        "of the peak",
        "longest wait s",
        "accepted",
        "greedy",
        "others",
        "small",
        "recovery s",
    ):
        table.add_column(column, justify="right")
    kept, waits, recoveries, small = [], [], [], []
    memory: dict[str, float] = {}
    async with local_system(on_disk=True) as system, Flow(system) as flow, Load(system, FILERS) as load:
        alone = {GREEDY: pools[GREEDY]}
        await load.closed(alone, AT_ONCE, peak_seconds / 3)  # the first calls meet cold caches

        async def peak() -> float:
            closed = await load.closed(alone, AT_ONCE, peak_seconds)
            await load.decided(flow.officer)
            return goodput(closed)

        peaks = [await peak()]
        half = rates(peaks[0] / 2)
        fill(pools, (half, calm_seconds))
        calm = await load.run(pools, half, calm_seconds)
        await load.decided(flow.officer)
        usual = statistics.median([wait for call in calm for wait in call.waits] or [NORMAL_SECONDS])
        normal = max(NORMAL_SECONDS, 2 * usual)
        peaks.append(await peak())
        for multiple, rows in BURSTS:
            offers, offered = mixed if rows is MIXED else pools, peaks[-1] * multiple
            # What is offered after the burst is made before it: the system has no pause between them.
            fill(pools, (half, calm_seconds))
            fill(offers, (rates(offered), burst_seconds), (half, calm_seconds))
            async with watched(system, memory):
                burst = await load.run(offers, rates(offered), burst_seconds)
            ended = time.time()
            after = await load.run(pools, half, calm_seconds)
            await load.decided(flow.officer)
            decided = goodput(burst)
            longest = max((wait for call in burst for wait in call.waits), default=0.0)
            unusual = [call.due for call in after if not call.accepted or max(call.waits, default=0.0) > normal]
            recovery = max((due - ended for due in unusual), default=0.0)
            peaks.append(await peak())
            kept.append(decided / peaks[-2])
            waits.append(longest)
            recoveries.append(recovery)
            small.append(accepted_share(burst, SMALL))
            others = [accepted_share(burst, filer) for filer in OTHERS]
            table.add_row(
                f"{offered:,.0f}", f"{rows[OTHERS[0]]}", f"{decided:,.0f}", f"{kept[-1]:.2f}", f"{longest:.2f}",
                f"{sum(call.accepted for call in burst) / len(burst):.2f}", f"{accepted_share(burst, GREEDY):.2f}",
                f"{min(others):.2f}", f"{small[-1]:.2f}", f"{recovery:.1f}",
            )  # fmt: skip
            refusals = Counter((call.code, call.reason) for call in burst if not call.accepted)
            unspoken = sum(call.retry_after is None for call in burst if not call.accepted)
            print(f"refused   {dict(refusals)}, of them without RetryInfo {unspoken}")
        restarts = sum(system.restarts.values())
    Console(width=120).print(table)
    listed = ", ".join(f"{each:.0f}" for each in peaks)
    facts: dict[str, float | str] = {"peaks_cps": listed, "late_s": round(load.late, 3), "restarts": restarts}
    figures.figure("overload_kept", [min(kept[:2])], "share of the peak before", target=0.9, **facts)
    figures.figure("overload_kept_mixed", [kept[2]], "share of the peak before, others in batches of 100")
    figures.figure("overload_small_accepted", [min(small)], "share of a small filer's calls", target=1.0)
    figures.figure("overload_wait_s", [max(waits)], "s", target=2, usual_s=round(usual, 3))
    services = {name: round(mib) for name, mib in memory.items()}
    figures.figure("overload_memory_mib", [max(memory.values())], "MiB of a service", target=MEMORY_MIB, **services)
    figures.figure("overload_recovery_s", [max(recoveries)], "s", target=10, normal_s=round(normal, 2))


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine({"PostgreSQL": "embedded, fsync = on, synchronous_commit = on, full_page_writes = on"})
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
