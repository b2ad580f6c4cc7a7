"""What stored consignments cost new ones: the full path with 1 million stored, and again with 20 million. `make bench-history`.

The stores are filled by SQL while the services are stopped (`history.py` describes what and how), over 200 past days. At each size the
full path runs for 30 s at full speed, with PostgreSQL's statements counted and a checkpoint at the beginning and halfway, so that
pages are written in full to the log as they are in operation. References and document numbers of the traffic are random: each goes
to a page of its index that nothing else touches, which is the most expensive case. About fifteen minutes and 25 GiB of disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import asyncpg
import figures
import usage
from history import History
from rich.console import Console
from rich.table import Table
from traffic import BATCH, CPS_MAX, cost_of, counted_server, full_path, prepared

from libs.cli.local.state import SERVICES
from libs.cli.local.supervisor import LocalSystem
from libs.simulator.numbers import air_waybill
from libs.store.embedded.server import EmbeddedPostgres
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.store.filings import GENERATION_DAYS

SIZES, QUICK_SIZES = (1_000_000, 20_000_000), (20_000, 100_000)
DAYS, QUICK_DAYS = 200, 10
SECONDS, QUICK_SECONDS = 30.0, 3.0
QUICK_CPS_MAX = 3_000
WARM = 5_000
GIB = 25.0
TARGET = 1.15
FILER = "flow-filer"
STATEMENTS_SHOWN = 8
_FILLING = {"max_wal_size": "'8GB'", "autovacuum": "off"}


def random_keys(salt: str) -> Callable[[Consignment], None]:
    """Return what gives a consignment a reference and document numbers that are random, and other ones for each salt."""

    def digest(text: str) -> str:
        return hashlib.md5(f"{salt} {text}".encode(), usedforsecurity=False).hexdigest().upper()

    @lru_cache(maxsize=1_024)
    def master(number: str) -> str:
        return air_waybill(number[:3], int(digest(number)[:8], 16) % 10_000_000)

    def change(row: Consignment) -> None:
        row.local_reference = digest(row.local_reference)[:16]
        row.house_document.number = f"H{row.local_reference}"
        row.master_document.number = master(row.master_document.number)

    return change


async def checkpoint(system: LocalSystem) -> None:
    """Write a checkpoint, after which the log has each changed page once in full."""
    connection = await asyncpg.connect(usage.server_url(system, "postgres"))
    try:
        await connection.execute("checkpoint")
    finally:
        await connection.close()


async def measure_full_path(server: EmbeddedPostgres, name: str, quick: bool, counts: bool) -> usage.Cost:
    """Start the services, take the full path at full speed, stop them, and return what a consignment cost."""
    seconds, warm, most = (QUICK_SECONDS, 500, QUICK_CPS_MAX) if quick else (SECONDS, WARM, CPS_MAX)
    async with LocalSystem(server.data_dir) as system, full_path(system, quick) as (flow, watch, path):
        batches = prepared(int((warm + most * seconds) / BATCH), random_keys(name))
        await path.closed(batches, warm / CPS_MAX, f"{name}-warm")
        await path.settled()
        await checkpoint(system)

        async def halfway() -> None:
            await asyncio.sleep(seconds / 2)
            await checkpoint(system)

        async def work() -> None:
            await asyncio.gather(path.closed(batches, seconds, name), halfway())

        cost = await cost_of(system, watch, path, work(), counts=counts)
        if flow.filed.refused:
            raise AssertionError(f"filings were refused: {flow.filed.refused[:3]}")
        return cost


async def first_day(server: EmbeddedPostgres, quick: bool) -> None:
    """Have the services make their tables, and file what the past days copy."""
    async with LocalSystem(server.data_dir) as system, full_path(system, quick) as (_, _, path):
        await path.closed(prepared(4, random_keys("first")), 60.0, "first")
        await path.settled()


async def fill(server: EmbeddedPostgres, history: History, consignments: int) -> None:
    """Fill up to so many stored consignments, and print what that took."""
    began = time.monotonic()
    await asyncio.to_thread(server.start)
    for name, value in _FILLING.items():
        await server.execute(f"alter system set {name} = {value}")
    await server.execute("select pg_reload_conf()")
    if not history.stored:
        await history.begin()
    await history.fill(consignments)
    await history.forget_changes()
    for name in _FILLING:
        await server.execute(f"alter system reset {name}")
    await server.execute("select pg_reload_conf()")
    await server.execute("checkpoint")
    await asyncio.to_thread(server.stop)
    gib = sum(each.stat().st_size for each in server.cluster.rglob("*") if each.is_file()) / 2**30
    print(f"filled    {consignments:,} consignments in {time.monotonic() - began:.0f} s, {gib:.1f} GiB", flush=True)


def cpu(cost: usage.Cost, service: str) -> float:
    """Return the microseconds of CPU that a service and its PostgreSQL take for a consignment."""
    return cost.micros.get(service, 0.0) + cost.micros.get(f"postgres {service}", 0.0)


def cpu_of_all(cost: usage.Cost) -> float:
    """Return the microseconds of CPU that all services and PostgreSQL take for a consignment, with PostgreSQL's own processes."""
    return sum(value for name, value in cost.micros.items() if name != "load generator")


def show_sizes(costs: Mapping[int, usage.Cost]) -> None:
    """Print the cost of a consignment by service with each number of stored consignments."""
    table = Table(title="Cost of a consignment by what is stored")
    table.add_column("")
    for what in ("Python us", "PostgreSQL us", "log B"):
        for size in costs:
            table.add_column(f"{what}\n{size:,}", justify="right")
    for name in SERVICES:
        values = [cost.micros.get(name, 0.0) for cost in costs.values()]
        values += [cost.micros.get(f"postgres {name}", 0.0) for cost in costs.values()]
        values += [cost.logged(name) for cost in costs.values()]
        table.add_row(name, *(f"{value:,.1f}" for value in values))
    shared = [f"{cost.micros.get('postgres shared', 0.0):,.1f}" for cost in costs.values()]
    table.add_row("PostgreSQL's own processes", *["-"] * len(costs), *shared, *["-"] * len(costs))
    python = [sum(cost.micros.get(name, 0.0) for name in SERVICES) for cost in costs.values()]
    sums = [*python, *(cpu_of_all(cost) - own for cost, own in zip(costs.values(), python, strict=True))]
    table.add_row("all", *(f"{value:,.1f}" for value in (*sums, *(cost.log_bytes for cost in costs.values()))))
    table.add_row("consignments a second", *(f"{cost.count / cost.seconds:,.0f}" for cost in costs.values()))
    Console(width=120).print(table)


class Pair(NamedTuple):
    """A value with few and with many consignments stored."""

    few: float
    many: float

    @property
    def growth(self) -> float:
        """Return by how much it is higher with many."""
        return self.many - self.few


class Growth(NamedTuple):
    """What a statement costs a consignment."""

    service: str
    text: str
    micros: Pair
    log_bytes: Pair


def growths(few: usage.Cost, many: usage.Cost) -> list[Growth]:
    """Return what each statement costs a consignment at both sizes."""
    texts = {(each.service, each.number): each.text for cost in (few, many) for each in cost.statements}
    micros: dict[tuple[str, int], list[float]] = {key: [0.0, 0.0] for key in texts}
    logged: dict[tuple[str, int], list[float]] = {key: [0.0, 0.0] for key in texts}
    for place, cost in enumerate((few, many)):
        for each in cost.statements:
            micros[each.service, each.number][place] += each.seconds / cost.count * 1e6
            logged[each.service, each.number][place] += each.log_bytes / cost.count
    return [Growth(key[0], text, Pair(*micros[key]), Pair(*logged[key])) for key, text in texts.items()]


def show_growths(found: Sequence[Growth]) -> None:
    """Print the statements that grow most, by time and by bytes of log."""
    by_title: dict[str, Callable[[Growth], Pair]] = {
        "Time of statements that grows most, us": lambda each: each.micros,
        "Log of statements that grows most, bytes": lambda each: each.log_bytes,
    }
    for title, value in by_title.items():
        table = Table(title=f"{title}, a consignment")
        for column in ("service", "statement", "few stored", "many", "growth"):
            table.add_column(column, justify="left" if column in ("service", "statement") else "right", no_wrap=True)
        for each in sorted(found, key=lambda each: -value(each).growth)[:STATEMENTS_SHOWN]:
            pair = value(each)
            table.add_row(
                each.service, each.text[:80], f"{pair.few:,.1f}", f"{pair.many:,.1f}", f"{pair.growth:+,.1f}",
            )  # fmt: skip
        Console(width=150).print(table)


async def measure(quick: bool) -> None:
    """Fill and measure at both sizes, and print the figures."""
    sizes = QUICK_SIZES if quick else SIZES
    costs: dict[int, usage.Cost] = {}
    async with counted_server() as (server, counts):
        if not quick and not figures.has_space(server.data_dir, GIB):
            for name in ("history_20m_vs_1m", "history_log_20m_vs_1m"):
                figures.not_measured(
                    name, f"20 million stored consignments take {GIB:.0f} GiB, which the disk has not free"
                )
            return
        await first_day(server, quick)
        generation = int(time.time() // 86_400) // GENERATION_DAYS
        history = History(server, FILER, days=QUICK_DAYS if quick else DAYS, generation=generation)
        for size in sizes:
            await fill(server, history, size)
            costs[size] = await measure_full_path(server, f"stored-{size}", quick, counts)
            print(f"measured  {costs[size].count:,} consignments with {size:,} stored", flush=True)
    small, large = costs.values()
    show_sizes(costs)
    if counts:
        show_growths(growths(small, large))
    facts = {name: round(cpu(large, name) / cpu(small, name), 3) for name in SERVICES}
    rates = {f"rate_{size}": round(cost.count / cost.seconds) for size, cost in costs.items()}
    figures.figure(
        "history_20m_vs_1m", [cpu_of_all(large) / cpu_of_all(small)], "times", target=TARGET, **facts, **rates,
    )  # fmt: skip
    logs = {name: round(large.logged(name) / small.logged(name), 3) for name in SERVICES} if counts else {}
    figures.figure("history_log_20m_vs_1m", [large.log_bytes / small.log_bytes], "times", **logs)


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine(
        {"PostgreSQL": "embedded, fsync = on, synchronous_commit = on, full_page_writes = on", "batch": str(BATCH)}
    )
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
