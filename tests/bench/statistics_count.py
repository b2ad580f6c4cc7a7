"""Counting: CPU and log of statistics for a consignment, in a store with 400 days. `make bench-statistics`.

One process counts pages of states as clearance's feed brings them: first versions, then second versions of the same consignments, then third
versions of pages with one consignment of each filing. Its PostgreSQL has fsync on and one connection.
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

import figures
import numpy as np
import psutil

from libs.columns import Ints, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.statistics.commands.count import Count
from services.statistics.counting.cells import only_counted
from services.statistics.store.cells import Store
from tests.statistics.states import State, states_table
from tests.support.databases import enterable_directory

FILING, SERIALS, PAGE = 500, 1_000, 2_000
FEW = 40
DAYS = 400


@dataclass(frozen=True, slots=True)
class Cost:
    """What some pages cost for a consignment."""

    python: float
    postgresql: float
    log: float


def states(mrns: Sequence[str], day: int) -> Table:
    """Return states as they arrive from the feed."""
    table = states_table([State(mrn, day=day, lane=1 + place % 4) for place, mrn in enumerate(mrns)])
    return only_counted(Table.parse(ClearanceColumns, table.serialize(ClearanceColumns)))


async def cost(store: Store, pages: Sequence[Table], version: int) -> Cost:
    """Count pages as this version of their consignments."""
    async with store.database.connection() as reader:
        backend = psutil.Process(await reader.raw.fetchval("select pg_backend_pid()"))
        await reader.raw.execute("checkpoint")
        log = await reader.raw.fetchval("select pg_current_wal_insert_lsn() - '0/0'")
    before, python, counted = backend.cpu_times(), time.process_time(), 0
    for page in pages:
        async with store.database.transaction() as tx:
            counted += await Count(store).run(tx, page.with_columns({"version": Ints.constant(version, page.rows)}), 1)
    python, after = time.process_time() - python, backend.cpu_times()
    async with store.database.connection() as reader:
        log = await reader.raw.fetchval("select pg_current_wal_insert_lsn() - '0/0'") - log
    assert counted == sum(page.rows for page in pages)
    server = after.user + after.system - before.user - before.system
    return Cost(python * 1e6 / counted, server * 1e6 / counted, float(log) / counted)


async def run(server: EmbeddedPostgres, how: figures.Options) -> None:
    """Measure, and print the figures."""
    server.create_database("statistics")
    filings = 8 if how.quick else 160
    costs: dict[str, list[Cost]] = {}
    async with Database(server.url("statistics"), name="statistics", pool_size=1) as database:
        await migrate(database, "services.statistics")
        figures.machine({"postgresql": str(await database.durability()), "page": f"{PAGE} consignments"})
        store = Store(database)
        today = await store.today()
        for day in range(today - (9 if how.quick else DAYS), today):
            await Count(store).make_days({day})
        for run in range(how.runs + 1):
            serials = (np.arange(filings) + run * filings)[:, None] * SERIALS + np.arange(FILING)
            rows = serials.size
            mrns = np.array(make_mrns(["DE"] * rows, serials.reshape(-1) % 64, today, serials.reshape(-1)))
            pages = [states(mrns[start : start + PAGE].tolist(), today) for start in range(0, rows, PAGE)]
            few = [states(mrns[place::FILING].tolist(), today) for place in range(min(FEW, FILING))]
            for name, version, counted in (("first", 1, pages), ("second", 2, pages), ("scattered", 3, few)):
                costs.setdefault(name, []).append(await cost(store, counted, version))
    for name, found in costs.items():
        for part, unit in (("python", "us"), ("postgresql", "us"), ("log", "bytes")):
            # The first run fills caches.
            figures.figure(f"count_{name}_{part}", [getattr(each, part) for each in found[1:]], unit)


def main() -> None:
    """Measure against an embedded server."""
    how = figures.options(__doc__ or "", runs=3)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=())
    try:
        server.start()
        asyncio.run(run(server, how))
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
