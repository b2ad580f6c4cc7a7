"""What each part of a system uses: CPU, memory, bytes of databases and of the write-ahead log, and the cost of statements."""

from __future__ import annotations

import asyncio
import resource
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from libs.cli.local.state import SERVICES
from libs.cli.local.supervisor import LocalSystem
from libs.store.embedded.server import EmbeddedPostgres

STATEMENTS_SHOWN = 5
"""Statements of each service that the table of steps names: the most expensive ones."""
WITHIN_SECONDS = 0.1
"""No write transaction should take longer."""
_TEXT_CHARACTERS = 70


class Usage:
    """CPU seconds of each part of a system, and what each holds in memory."""

    def __init__(self, system: LocalSystem, *, without: Collection[int] = ()) -> None:
        """Read it now. `without` are process ids that do not count: PostgreSQL's own for connections of the benchmark."""
        self.cpu: dict[str, float] = {}
        self.rss: dict[str, float] = {}
        for name, pid in system.pids.items():
            if pid is None:
                continue
            process = psutil.Process(pid)
            if name == "postgres":
                self._postgres(process, without)
                continue
            times = process.cpu_times()
            self.cpu[name] = times.user + times.system
            self.rss[name] = process.memory_info().rss / 2**20
        own = resource.getrusage(resource.RUSAGE_SELF)
        self.rss["load generator"] = psutil.Process().memory_info().rss / 2**20
        self.cpu["load generator"] = own.ru_utime + own.ru_stime

    def _postgres(self, postmaster: psutil.Process, without: Collection[int]) -> None:
        for process in (postmaster, *postmaster.children(recursive=True)):
            if process.pid in without:
                continue
            with suppress(psutil.NoSuchProcess):
                title = " ".join(process.cmdline())
                name = next((each for each in SERVICES if f"luxor_{each}" in title), "shared")
                times = process.cpu_times()
                key = f"postgres {name}"
                # Shared buffers count in each backend that touched them, so only its own pages are counted.
                self.rss["postgres (own pages)"] = (
                    self.rss.get("postgres (own pages)", 0.0) + process.memory_info().data / 2**20
                )
                self.cpu[key] = self.cpu.get(key, 0.0) + times.user + times.system

    def micros(self, before: Usage, count: int) -> dict[str, float]:
        """Return CPU microseconds a consignment by part since an earlier reading."""
        return {name: (self.cpu[name] - before.cpu.get(name, 0.0)) / count * 1e6 for name in self.cpu}


def process_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def server_seconds(server: EmbeddedPostgres) -> float:
    """Return the CPU seconds that the processes of a PostgreSQL have used."""
    main = psutil.Process(server.pid)
    seconds = 0.0
    for process in (main, *main.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seconds += process_seconds(process.pid)
    return seconds


@dataclass
class Stored:
    """Bytes in each service's database and in the write-ahead log, read at one moment."""

    databases: dict[str, int] = field(default_factory=dict)
    log: int = 0
    """Position of the log of the whole server."""


def server_url(system: LocalSystem, database: str) -> str:
    """Return the URL of a database for the server's own account, which may read everything."""
    return EmbeddedPostgres(system.data_dir).url(database)


async def stored(system: LocalSystem) -> Stored:
    """Read the sizes of the databases and the position of the log."""
    connection = await asyncpg.connect(server_url(system, "postgres"))
    try:
        found = Stored()
        for service in SERVICES:
            found.databases[service] = await connection.fetchval(
                "select pg_database_size($1::text::name)", f"luxor_{service}"
            )
        found.log = int(await connection.fetchval("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
        return found
    finally:
        await connection.close()


async def metrics(port: int) -> str:
    """Ask a service for its metrics, as Prometheus does."""
    wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=wanted)
    return await asyncio.to_thread(lambda: urllib.request.urlopen(asked, timeout=5).read().decode())


@dataclass(frozen=True, slots=True)
class Transactions:
    """Write transactions of a service so far."""

    count: int
    within: int
    """Those that took at most `WITHIN_SECONDS`."""


async def transactions(system: LocalSystem) -> dict[str, Transactions]:
    """Read how many write transactions each service has had."""
    found = {}
    for service in SERVICES:
        values: dict[str, float] = {}
        for line in (await metrics(system.ports[service].metrics)).splitlines():
            if line.startswith("luxor_store_transaction_seconds"):
                name, value = line.split(" # ")[0].rsplit(" ", 1)
                values[name] = float(value)
        found[service] = Transactions(
            int(values["luxor_store_transaction_seconds_count"]),
            int(values[f'luxor_store_transaction_seconds_bucket{{le="{WITHIN_SECONDS}"}}']),
        )
    return found


async def count_statements(server: EmbeddedPostgres) -> bool:
    """Have a running server count its statements from its next start on; return whether it has the extension for that."""
    connection = await asyncpg.connect(server.url("postgres"))
    try:
        if not await connection.fetchval(
            "select count(*) from pg_available_extensions where name = 'pg_stat_statements'"
        ):
            return False
        await connection.execute("alter system set shared_preload_libraries = 'pg_stat_statements'")
        await connection.execute("create extension if not exists pg_stat_statements")
        return True
    finally:
        await connection.close()


@dataclass(frozen=True, slots=True)
class Statement:
    """What one statement of a service cost over a run."""

    service: str
    number: int
    """By which PostgreSQL knows it, also after another start."""
    text: str
    calls: int
    rows: int
    seconds: float
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What some consignments cost."""

    count: int
    seconds: float
    """Until the last of them was settled and posted."""
    micros: Mapping[str, float]
    """Of CPU a consignment, by part of the system."""
    before: Stored
    after: Stored
    statements: Sequence[Statement]
    """Empty if the server cannot count them."""

    def database_bytes(self, service: str) -> float:
        """Return the bytes by which a service's database grew for a consignment."""
        return (self.after.databases[service] - self.before.databases[service]) / self.count

    @property
    def log_bytes(self) -> float:
        """Bytes of write-ahead log of the whole server for a consignment."""
        return (self.after.log - self.before.log) / self.count

    def logged(self, service: str) -> float:
        """Return the bytes of write-ahead log that a service's statements wrote for a consignment."""
        return sum(each.log_bytes for each in self.statements if each.service == service) / self.count


async def reset_statements(system: LocalSystem) -> None:
    """Set the counts of all statements to zero."""
    connection = await asyncpg.connect(server_url(system, "postgres"))
    try:
        await connection.execute("select pg_stat_statements_reset()")
    finally:
        await connection.close()


async def statements(system: LocalSystem) -> list[Statement]:
    """Return what the statements of the services have cost since the counts were reset; not those of the benchmark."""
    connection = await asyncpg.connect(server_url(system, "postgres"))
    try:
        records = await connection.fetch(
            "select d.datname, s.queryid, s.query, s.calls, s.rows, s.total_exec_time, s.wal_bytes "
            "from pg_stat_statements s join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.userid "
            "where d.datname like 'luxor\\_%' and r.rolname = d.datname"
        )
    finally:
        await connection.close()
    found = []
    for record in records:
        service, text = record["datname"].removeprefix("luxor_"), " ".join(record["query"].split())
        seconds, log_bytes = record["total_exec_time"] / 1000, int(record["wal_bytes"])
        found.append(
            Statement(service, record["queryid"] or 0, text, record["calls"], record["rows"], seconds, log_bytes)
        )
    return found


def show_services(cost: Cost) -> None:
    """Print the cost of a consignment by service: microseconds of CPU, and bytes of database and log."""
    table = Table(title="Cost of a consignment, both of its versions")
    for column in ("", "Python us", "PostgreSQL us", "database B", "log B"):
        table.add_column(column, justify="left" if not column else "right")
    sums = [0.0, 0.0, 0.0]
    for name in SERVICES:
        values = [cost.micros.get(name, 0.0), cost.micros.get(f"postgres {name}", 0.0), cost.database_bytes(name)]
        sums = [total + value for total, value in zip(sums, values, strict=True)]
        logged = f"{cost.logged(name):,.0f}" if cost.statements else "-"
        table.add_row(name, *(f"{value:,.1f}" for value in values[:2]), f"{values[2]:,.0f}", logged)
    table.add_row("load generator", f"{cost.micros.get('load generator', 0.0):,.1f}", "-", "-", "-")
    table.add_row("PostgreSQL's own processes", "-", f"{cost.micros.get('postgres shared', 0.0):,.1f}", "-", "-")
    table.add_row("all services", f"{sums[0]:,.1f}", f"{sums[1]:,.1f}", f"{sums[2]:,.0f}", f"{cost.log_bytes:,.0f}")
    Console(width=110).print(table)


def show_statements(measured: Sequence[Statement], count: int) -> None:
    """Print the most expensive statements of each service, and the sum of its others."""
    table = Table(title="Steps in PostgreSQL, a consignment")
    for column in ("service", "statement", "calls", "rows a call", "us", "log B"):
        table.add_column(column, justify="left" if column in ("service", "statement") else "right", no_wrap=True)
    for service in SERVICES:
        own = sorted((each for each in measured if each.service == service), key=lambda each: -each.seconds)
        for each in own[:STATEMENTS_SHOWN]:
            table.add_row(
                service, each.text[:_TEXT_CHARACTERS], f"{each.calls:,}", f"{each.rows / each.calls:,.0f}",
                f"{each.seconds / count * 1e6:.1f}", f"{each.log_bytes / count:,.0f}",
            )  # fmt: skip
        rest = own[STATEMENTS_SHOWN:]
        seconds, logged = sum(each.seconds for each in rest), sum(each.log_bytes for each in rest)
        table.add_row(service, f"{len(rest)} others", "", "", f"{seconds / count * 1e6:.1f}", f"{logged / count:,.0f}")
    Console(width=150).print(table)


def show_memory(readings: Mapping[str, Usage]) -> None:
    """Print the memory of each process at some moments."""
    table = Table(title="Memory of each process, MiB")
    table.add_column("process")
    for column in readings:
        table.add_column(column, justify="right")
    names = sorted({name for usage in readings.values() for name in usage.rss})
    for name in names:
        table.add_row(name, *(f"{usage.rss.get(name, 0.0):.0f}" for usage in readings.values()))
    Console(width=100).print(table)
