"""What it costs to keep references unique as more of them are stored: as text or as keys of 64 bits. About five minutes.

Each form is a table that is filled in bulk, with an index as full as inserts leave it, and then takes batches of 500 behind a checkpoint,
so that the images of whole pages are in the log. Text is what ingestion stores: in the order in which a filer numbers its consignments, as
carriers and posts do, or at random. A key of 64 bits is a digest of the text and therefore random. One connection, fsync on.
"""

import asyncio
import shutil
from dataclasses import dataclass

import asyncpg
import figures
import psutil
from rich.console import Console
from rich.table import Table

from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from tests.support.databases import enterable_directory

BATCH, PIECES = 500, 8
SIZES, QUICK_SIZES = (1_000_000, 5_000_000, 20_000_000), (20_000, 100_000)
BATCHES, QUICK_BATCHES = 400, 40
_TEXT = """
    insert into stored (generation, partition, filer, local_reference, digest, mrn, accepted_at)
    select 0, n % 64, 'filer-' || {filer}, {reference}, ''::bytea, '26DE' || lpad(n::text, 14, '0'), n
    from generate_series($1::bigint, $2::bigint) n
"""
_KEY = "insert into stored (key, place) select hashtextextended(n::text, 0), n from generate_series($1::bigint, $2::bigint) n"


@dataclass(frozen=True, slots=True)
class Form:
    """A form of references."""

    name: str
    create: str
    """What makes the table `stored`."""
    primary_key: str
    stored: str
    """Inserts what was stored before, from $1 to $2."""
    taken: str
    """Inserts a batch."""


def text_form(name: str, reference: str) -> Form:
    """Return ingestion's own table, with references made by an expression over n."""
    return Form(
        name,
        "create table stored (like reference) partition by hash (partition)",
        "generation, partition, filer, local_reference",
        # Twenty filers have filed side by side; a batch is of one of them.
        _TEXT.format(filer="n % 20", reference=reference),
        _TEXT.format(filer=f"n / {BATCH} % 20", reference=reference),
    )


FORMS = (
    text_form("in_order", "lpad(n::text, 24, '0')"),
    text_form("random", "substr(md5(n::text), 1, 24)"),
    Form("key", "create table stored (key bigint not null, place bigint not null)", "key", _KEY, _KEY),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a reference costs: CPU of PostgreSQL, and bytes."""

    micros: float
    log: float
    stored_bytes: float


async def fill(connection: asyncpg.Connection, form: Form, first: int, last: int) -> None:
    """Store references from `first` to before `last`; the index is made afterwards, with room as inserts leave it."""
    if first:
        await connection.execute("alter table stored drop constraint stored_pkey")
    await connection.execute(form.stored.replace("$1", str(first)).replace("$2", str(last - 1)))
    await connection.execute(f"alter table stored add primary key ({form.primary_key}) with (fillfactor = 70)")


async def take(connection: asyncpg.Connection, form: Form, stored: int, batches: int) -> Cost:
    """Store batches of new references behind a checkpoint."""
    statement = await connection.prepare(f"{form.taken} on conflict do nothing")
    await connection.execute("checkpoint")
    log = await connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'")
    backend = psutil.Process(await connection.fetchval("select pg_backend_pid()"))
    before = backend.cpu_times()
    for number in range(batches):
        first = 1_000_000_000 + stored + number * BATCH
        await statement.fetch(first, first + BATCH - 1)
    after = backend.cpu_times()
    seconds = after.user + after.system - before.user - before.system
    rows = batches * BATCH
    log = await connection.fetchval("select pg_current_wal_insert_lsn() - '0/0'") - log
    assert await connection.fetchval("select count(*) from stored") >= stored + rows
    size = await connection.fetchval(
        "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and relname like 'stored%'"
    )
    return Cost(seconds / rows * 1e6, float(log) / rows, float(size) / (stored + rows))


async def run(server: EmbeddedPostgres, how: figures.Options) -> None:
    """Measure, and print the figures."""
    server.create_database("ingestion")
    sizes, batches = (QUICK_SIZES, QUICK_BATCHES) if how.quick else (SIZES, BATCHES)
    table = Table(title="A reference in a table that has so many")
    for column in ("form", "stored", "CPU, microseconds", "log, bytes", "stored bytes"):
        table.add_column(column, justify="right")
    costs: dict[str, list[Cost]] = {}
    async with Database(server.url("ingestion"), name="ingestion", pool_size=1) as database:
        await migrate(database, "services.ingestion")
        figures.machine({"postgresql": str(await database.durability()), "batch": f"{BATCH} references"})
    connection = await asyncpg.connect(server.url("ingestion"))
    try:
        await connection.execute("set maintenance_work_mem = '1GB'")
        for form in FORMS:
            await connection.execute(form.create)
            if "partition by" in form.create:
                for piece in range(PIECES):
                    await connection.execute(
                        f"create table stored_{piece} partition of stored for values with (modulus {PIECES}, remainder {piece})"
                    )
            before = 0
            for size in sizes:
                await fill(connection, form, before, size)
                before = size
                cost = await take(connection, form, size, batches)
                costs.setdefault(form.name, []).append(cost)
                table.add_row(
                    form.name, f"{size:,}", f"{cost.micros:.1f}", f"{cost.log:,.0f}", f"{cost.stored_bytes:.0f}"
                )
            await connection.execute("drop table stored")
    finally:
        await connection.close()
    Console(width=100).print(table)
    for name, found in costs.items():
        first, last = found[0], found[-1]
        facts = {"us": round(last.micros, 1), "log_bytes": round(last.log), "stored_bytes": round(last.stored_bytes)}
        figures.figure(f"references_{name}_growth", [last.micros / first.micros], "ratio", **facts)


def main() -> None:
    """Measure against an embedded server."""
    how = figures.options(__doc__ or "", runs=1)
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
