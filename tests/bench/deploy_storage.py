"""What a consignment takes on disk: bytes of each service's database and of the write-ahead log, after its release was counted
and booked.

For sizing an installation (docs/operating/size.md). 40,000 consignments of the load scenario, some 1.6 items each; half a minute.
"""

from __future__ import annotations

import asyncio

import asyncpg
import figures

from libs.cli.local.supervisor import LocalSystem
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from tests.fault.checks import until
from tests.support.flow import Flow, local_system

CONSIGNMENTS = 40_000
BATCH = 500
BOOKED_SECONDS_MAX = 120
SERVICES = ("ingestion", "risk", "revenue", "clearance", "statistics")


async def sizes(system: LocalSystem) -> tuple[dict[str, int], int]:
    """Give the bytes of each database, and of the log written so far."""
    server = EmbeddedPostgres(system.data_dir)
    found: dict[str, int] = {}
    written = 0
    for service in SERVICES:
        connection = await asyncpg.connect(server.url(f"luxor_{service}"))
        try:
            found[service] = await connection.fetchval("select pg_database_size(current_database())")
            written = int(await connection.fetchval("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
        finally:
            await connection.close()
    return found, written


async def booked(system: LocalSystem, count: int) -> None:
    """Wait until the ledger holds so many consignments."""
    connection = await asyncpg.connect(EmbeddedPostgres(system.data_dir).url("luxor_revenue"))
    try:

        async def all_of_them() -> bool:
            return bool(await connection.fetchval("select count(*) from ledger_position") >= count)

        await until(all_of_them, f"the ledger holds {count} consignments", seconds=BOOKED_SECONDS_MAX)
    finally:
        await connection.close()


async def measure(quick: bool) -> None:
    """File, wait until all are counted, and print what the databases grew by."""
    count = 2_000 if quick else CONSIGNMENTS
    async with local_system() as system, Flow(system) as flow:
        batches = list(Simulator(7, "load").batches(count, size=BATCH))
        before, log_before = await sizes(system)
        await flow.run(batches)
        await flow.settled(len(flow.filed.accepted))
        await booked(system, len(flow.filed.accepted))
        after, log_after = await sizes(system)
        filed = len(flow.filed.accepted)
    grown = {service: (after[service] - before[service]) / filed for service in SERVICES}
    items = sum(len(row.items) for rows in batches for row in rows) / count
    facts = {service: round(value) for service, value in grown.items()}
    figures.figure("stored_bytes", [sum(grown.values())], "bytes per consignment", items=round(items, 2), **facts)
    figures.figure("log_bytes", [(log_after - log_before) / filed], "bytes of write-ahead log per consignment")


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine({"PostgreSQL": "embedded, full_page_writes = on", "batch": str(BATCH)})
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
