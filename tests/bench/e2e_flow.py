"""The whole flow on one machine: filed, arrived, assessed, decided, released and counted.

Five services, one PostgreSQL with fsync on and the load generator, each a process, share the cores. First as fast as it goes for 60 s (filing
waits while more than 30,000 are on their way), then in open loop at half of the target rate. About two and a half minutes.
Latency is from the moment that ingestion accepts with to the one that clearance decides with, both inside their transactions.
"""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import figures
import psutil
from rich.console import Console
from rich.table import Table

from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentsRequest
from tests.support.flow import Flow, local_system

TARGET_CPS = 6_000
BATCH = 500
CPS_MAX = 9_000
"""Batches for so many consignments a second are made ahead."""
ON_THE_WAY_MAX = 30_000
SAMPLED = 10_000
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")


def prepared(count: int) -> Iterator[Sequence[Consignment]]:
    """Make batches ahead, as bytes, so that making traffic up is no part of what is measured; give them one by one."""
    batches = Simulator(20_261_125, "load").batches(count * BATCH, size=BATCH)
    raws = [SubmitConsignmentsRequest(consignments=rows).SerializeToString() for rows in batches]
    return (list(SubmitConsignmentsRequest.FromString(raw).consignments) for raw in raws)


class Usage:
    """CPU seconds of each part of a system, and what each holds in memory."""

    def __init__(self, system: LocalSystem) -> None:
        """Look now."""
        self.cpu: dict[str, float] = {}
        self.rss: dict[str, float] = {}
        for name, pid in system.pids.items():
            if pid is None:
                continue
            process = psutil.Process(pid)
            if name == "postgres":
                self._postgres(process)
                continue
            times = process.cpu_times()
            self.cpu[name] = times.user + times.system
            self.rss[name] = process.memory_info().rss / 2**20
        own = resource.getrusage(resource.RUSAGE_SELF)
        self.rss["load generator"] = psutil.Process().memory_info().rss / 2**20
        self.cpu["load generator"] = own.ru_utime + own.ru_stime

    def _postgres(self, postmaster: psutil.Process) -> None:
        for process in (postmaster, *postmaster.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                name = next((each for each in SERVICES if f"luxor_{each}" in title), "shared")
                times = process.cpu_times()
                key = f"postgres {name}"
                # Shared buffers count in each backend that touched them, so what is its own is told.
                self.rss["postgres (own pages)"] = (
                    self.rss.get("postgres (own pages)", 0.0) + process.memory_info().data / 2**20
                )
                self.cpu[key] = self.cpu.get(key, 0.0) + times.user + times.system


async def fast(flow: Flow, batches: Iterator[Sequence[Consignment]], seconds: float, before: int) -> tuple[int, float]:
    """File as fast as the system takes it; give how many were filed and the seconds until all of them were counted."""
    started = time.monotonic()
    filed = before
    behind = asyncio.Event()
    behind.set()

    async def watch() -> None:
        while True:
            counted = sum((await flow.counted()).values())
            (behind.set if filed - counted < ON_THE_WAY_MAX else behind.clear)()
            await asyncio.sleep(0.25)

    async def one(place: int, rows: Sequence[Consignment]) -> None:
        await flow.submit(rows, f"fast-{place}")
        await flow.arrive(rows, name=f"fast-arrival-{place}")

    watching = asyncio.create_task(watch())
    waiting: set[asyncio.Task[None]] = set()
    place = 0
    while time.monotonic() - started < seconds:
        await behind.wait()
        rows = next(batches)
        waiting.add(asyncio.create_task(one(place, rows)))
        place += 1
        filed += len(rows)
        if len(waiting) >= 4:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    for task in waiting:
        await task
    await flow.settled(filed - len(flow.filed.refused))
    elapsed = time.monotonic() - started
    watching.cancel()
    return filed - before, elapsed


async def paced(flow: Flow, batches: Iterator[Sequence[Consignment]], seconds: float, rate: int) -> list[str]:
    """File on a schedule, whatever the answers do; give the MRNs."""
    started = time.monotonic()
    known = set(flow.filed.accepted)
    tasks = []

    async def one(place: int, rows: Sequence[Consignment]) -> None:
        await flow.submit(rows, f"paced-{place}")
        await flow.arrive(rows, name=f"paced-arrival-{place}")

    for place in range(int(seconds * rate / BATCH)):
        rows = next(batches)
        due = started + place * BATCH / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(place, rows)))
    for task in tasks:
        await task
    return [number for reference, number in flow.filed.accepted.items() if reference not in known]


def show(before: Usage, after: Usage, count: int) -> None:
    """Print CPU microseconds a consignment by part, as DESIGN.md's budget does."""
    spent = {name: (after.cpu[name] - before.cpu.get(name, 0.0)) / count * 1e6 for name in after.cpu}
    table = Table(title="CPU microseconds a consignment")
    columns = [*SERVICES, "load generator", "shared"]
    table.add_column("")
    for column in (*columns, "sum"):
        table.add_column(column, justify="right")
    python = [spent.get(name, 0.0) for name in columns[:-1]]
    store = [spent.get(f"postgres {name}", 0.0) for name in columns]
    table.add_row("Python", *(f"{value:.1f}" for value in python), "-", f"{sum(python):.1f}")
    table.add_row("PostgreSQL", *(f"{value:.1f}" for value in store), f"{sum(store):.1f}")
    Console(width=120).print(table)


async def measure(quick: bool) -> None:
    """Run both parts and print the figures."""
    seconds, paced_seconds = (4.0, 3.0) if quick else (60.0, 30.0)
    async with local_system() as system, Flow(system) as flow:
        warm = 2_000 if quick else 20_000
        batches = prepared(int((warm + CPS_MAX * (seconds + paced_seconds)) / BATCH))
        await flow.run((next(batches) for _ in range(warm // BATCH)), name="warm")
        await flow.settled(warm - len(flow.filed.refused))
        before = Usage(system)
        count, elapsed = await fast(flow, batches, seconds, warm)
        after = Usage(system)
        show(before, after, count)
        restarts = sum(system.restarts.values())
        figures.figure(
            "e2e_rate_cps",
            [count / elapsed],
            "consignments/s",
            target=TARGET_CPS,
            consignments=count,
            restarts=restarts,
        )
        known = len(flow.filed.accepted)
        mrns = await paced(flow, batches, paced_seconds, TARGET_CPS // 2)
        await flow.settled(known + len(mrns))
        sample = random.Random(1).sample(mrns, min(SAMPLED, len(mrns)))
        statuses = await flow.statuses(sample)
        waits = sorted(
            (each.decision.decided_at.ToMicroseconds() - each.filing.accepted_at.ToMicroseconds()) / 1000
            for each in statuses
        )
        for name, share, target in (("e2e_p50_ms", 0.5, 60), ("e2e_p95_ms", 0.95, None), ("e2e_p99_ms", 0.99, 1000)):
            figures.figure(
                name, [waits[int(share * (len(waits) - 1))]], "ms", target=target, offered_cps=TARGET_CPS // 2
            )
        end = Usage(system)
    memory = Table(title="Memory of each process, MiB")
    for column in ("process", "warm", "after the run", "at the end"):
        memory.add_column(column, justify="left" if column == "process" else "right")
    for name in sorted(end.rss):
        memory.add_row(name, *(f"{usage.rss.get(name, 0.0):.0f}" for usage in (before, after, end)))
    Console(width=100).print(memory)
    growth = {name: round(after.rss[name] - before.rss.get(name, 0.0), 1) for name in SERVICES}
    total = sum(end.rss[name] for name in SERVICES)
    figures.figure(
        "rss_services_mb", [total], "MiB", target=1500, **{f"grown_{name}": mib for name, mib in growth.items()}
    )


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine(
        {"PostgreSQL": "embedded, fsync = on, synchronous_commit = on, full_page_writes = on", "batch": str(BATCH)}
    )
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
