"""What all telemetry together costs: the share of throughput that goes to spans, records of traces, metrics and logs.

Two whole systems stand beside each other, each with five services and a PostgreSQL: one tells all that it tells by
default, its spans go to a collector and its metrics are scraped every five seconds; from the other everything was taken
out. Both idle but for the one that is filled; slices of filing, arrival and counting go to them in turn, in the order
ABBA, so that what the machine does beside them falls on both. The cost of a pair is 1 - (rate with) / (rate without),
the figure is the median of the pairs. About three minutes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import figures
import psutil
from rich.console import Console
from rich.table import Table
from traffic import BATCH, prepared
from usage import metrics

from libs.cli.local.supervisor import LocalSystem
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.support.flow import Flow, local_system
from tests.telemetry.receiver import receiving

SLICE = 15_000
PAIRS = 8
SCRAPE_SECONDS = 5.0
SILENT = Path(__file__).resolve().parent / "silent"


class Side:
    """One of the two systems, and what was measured of it."""

    def __init__(self, name: str, system: LocalSystem, flow: Flow) -> None:
        """Begin with nothing filed."""
        self.name = name
        self.flow = flow
        self.system = system
        self.slices = 0
        self.rates: list[float] = []
        self.cpu: list[float] = []

    def cpu_seconds(self) -> float:
        """CPU that its processes have used so far."""
        total = 0.0
        for pid in self.system.pids.values():
            if pid is None:
                continue
            process = psutil.Process(pid)
            for each in (process, *process.children(recursive=True)):
                times = each.cpu_times()
                total += times.user + times.system
        return total

    async def fill(self, batches: Iterator[Sequence[Consignment]], count: int) -> None:
        """File a slice, wait until the last of it is counted, and keep the rate."""
        rows = [next(batches) for _ in range(count // BATCH)]
        self.slices += 1
        cpu, began = self.cpu_seconds(), time.perf_counter()
        await self.flow.run(rows, name=f"{self.name}-{self.slices}")
        await self.flow.settled(len(self.flow.filed.accepted))
        self.rates.append(count / (time.perf_counter() - began))
        self.cpu.append((self.cpu_seconds() - cpu) / count * 1e6)


async def scrape(system: LocalSystem) -> None:
    """Ask every service again and again, until cancelled."""
    while True:
        for ports in system.ports.values():
            await metrics(ports.metrics)
        await asyncio.sleep(SCRAPE_SECONDS)


async def observed(system: LocalSystem) -> bool:
    """Tell whether ingestion counts its calls."""
    return "luxor_call_seconds_count" in await metrics(system.ports["ingestion"].metrics)


async def measure(quick: bool, pairs: int) -> None:
    """Run the pairs and print the figure."""
    size = 1_000 if quick else SLICE
    count = 1 if quick else pairs
    silent = os.pathsep.join(filter(None, [str(SILENT), os.environ.get("PYTHONPATH", "")]))
    with receiving() as collector:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_EXPORTER_OTLP_INSECURE": "true"}
        async with (
            local_system(env=told, on_disk=True) as one,
            local_system(env={"PYTHONPATH": silent}, on_disk=True) as other,
            Flow(one) as one_flow,
            Flow(other) as other_flow,
        ):
            telling, mute = Side("with", one, one_flow), Side("without", other, other_flow)
            batches = prepared((2 * count + 2) * size // BATCH)
            scraping = asyncio.create_task(scrape(one))
            await telling.fill(batches, size)
            await mute.fill(batches, size)
            for side in (telling, mute):  # the first slice warms up
                side.rates.clear()
                side.cpu.clear()
            for place in range(count):
                order = (telling, mute) if place % 2 == 0 else (mute, telling)
                for side in order:
                    await side.fill(batches, size)
            scraping.cancel()
            if not await observed(one) or await observed(other):
                raise RuntimeError("one side must tell everything and the other nothing: the comparison means nothing")
        exported = len(collector.spans)
    show(telling, mute)
    costs = [1 - ours / theirs for ours, theirs in zip(telling.rates, mute.rates, strict=True)]
    cpu = [1 - theirs / ours for ours, theirs in zip(telling.cpu, mute.cpu, strict=True)]
    figures.figure("telemetry_cost", costs, "share of throughput", target=0.05, exported_spans=exported)
    figures.figure("telemetry_cpu", cpu, "share of CPU time", pairs=len(cpu))


def show(telling: Side, mute: Side) -> None:
    """Print the pairs."""
    table = Table(title="Pairs of slices")
    for column in ("pair", "with, a second", "without, a second", "with, CPU us each", "without, CPU us each"):
        table.add_column(column, justify="right")
    rows: Any = zip(telling.rates, mute.rates, telling.cpu, mute.cpu, strict=True)
    for place, row in enumerate(rows, start=1):
        table.add_row(str(place), *(f"{value:,.0f}" for value in row))
    Console(width=120).print(table)


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=PAIRS)
    figures.machine({"PostgreSQL": "embedded, fsync = on, synchronous_commit = on", "batch": str(BATCH)})
    asyncio.run(measure(given.quick, given.runs))


if __name__ == "__main__":
    main()
