"""Stored consignments of past days, filled into the five stores of a local system by SQL.

Filled are the tables that have rows or index entries for consignments, filings or documents, so that their indexes are as large as
those of a store with so many consignments: ingestion's references, filings and requests; clearance's states, references, documents,
arrivals and requests; the pages of assessments of risk and revenue; pages and days of the ledger, positions, payments and debt
events; pages of counted states. Cells of statistics and balances of accounts are those of the first day, copied to each past day.
Not filled are payloads, which new filings never read: stored batches (their partitions of past days are there, and are empty), the
input of assessments, and the arrays inside of pages, which have one value. References and document numbers are random, all of
the filer of the traffic.

References and house documents of clearance are of later weeks than their consignments, so that the week of the traffic is as full as others.
The indexes that random keys spread over are made after the rows, with leaves filled to 70 %, as random inserts leave them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import asyncpg

from libs.cli.local.state import SERVICES
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.schema import ensure_day_partitions, today
from services.clearance.store.references import WEEK_DAYS, WEEKLY

FILING = 500
"""Consignments of a filing."""
BESIDE_DAYS = 15
"""Days before today that stay empty: clearance compares the last 14 with ingestion."""
LEAF_PERCENT = 70
CHUNK = 100
"""Filings of one transaction."""

# Parameters of all: first and last filing (exclusive) of the chunk, of the stage, first day, number of days, filer.
_FILINGS = """
with filing as materialized (
    select f, ($5::integer + (f - $3::bigint) * $6::integer / ($4::bigint - $3::bigint))::integer as day, $7::text as filer
    from generate_series($1::bigint, $2::bigint - 1) as f
), head as materialized (
    select f, day, day::bigint * 86400000000 as at, filer, to_char(date '1970-01-01' + day, 'YY') as year,
        to_char(date '1970-01-01' + day, 'DDD') as place, upper(left(md5('filing ' || f), 12)) as name
    from filing
), filed as materialized (
    select *, (year::bigint * 366 + place::bigint) << 27 | f as block, year || 'DE00' || place || lpad(upper(to_hex(f * 1000)), 7, '0') || 'R0' as mrn
    from head
)
"""
_ROWS = (
    _FILINGS
    + """
, consignment_row as materialized (
    select f, r, day, at, filer, c.p, name as filing, year || (array['DE', 'FR', 'NL', 'PL', 'IT', 'ES', 'BE', 'GB'])[1 + c.n * 7919 % 8]
        || lpad(c.p::text, 2, '0') || place || lpad(upper(to_hex(f * 1000 + r)), 7, '0') || 'R' || c.n % 10 as mrn,
        upper(left(md5(c.n::text), 16)) as reference
    from head cross join generate_series(0, 499) as r
    cross join lateral (select f * 500 + r as n, ((f * 500 + r) * 2654435761 >> 7 & 63)::smallint as p) c
)
"""
)
_REQUESTS = """
    insert into request_log (caller, request_id, digest, answer, day)
    select filer, name || kind, sha256(name::bytea), ''::bytea, day from filed, generate_series(1, {requests}) as kind
"""
# A generation is 100 days: the store is as it is in the middle of one.
_INGESTION = (
    _ROWS
    + f""", submitted as (
    insert into submission (day, block, filer, accepted_at, batch_day, batch, partitions, counts, digests)
    select day, f, filer, at, day, f, array_fill(0::smallint, array[64]), array_fill(8::smallint, array[64]),
        array_fill(f, array[64]) from filed
), requested as ({_REQUESTS.format(requests=1)})
insert into reference (generation, partition, filer, local_reference, digest, mrn, accepted_at)
select $8::integer - case when 4 * (day - $5) >= 3 * $6 then 0 when 4 * (day - $5) >= $6 then 1 else 2 end, p, filer, reference, ''::bytea,
    mrn, at from consignment_row
"""
)
_ASSESSMENTS = (
    _FILINGS
    + """
insert into assessment_page (slot, block, batch, day, purpose, first, last, newest_version, mrn, version, "row")
select (block >> 27) / 64 % 8, block, -1 - f, day, 1, 0, 499, 1, array[mrn], array[1], array[1] from filed
"""
)
_REVENUE = (
    _FILINGS
    + """, assessed as (
    insert into assessment_page (slot, block, batch, day, purpose, first, last, newest_version, mrn, version, "row")
    select (block >> 27) / 64 % 8, block, -1 - f, day, 1, 0, 499, 1, array[mrn], array[1], array[1] from filed
), positions as (
    insert into ledger_position_page (block, number, day, first, last, mrn, texts, records, line_ends, lines, entry_ends, entries)
    select block * 4 + part, -1 - f, day, 0, 249, array[mrn], array['DE'], ''::bytea, array[1], ''::bytea, array[1], ''::bytea
    from filed, generate_series(0, 1) as part
), paged as (
    insert into ledger_position (mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, announced,
        lines, standing, generation, adjusted, adjusted_at, paid_out, payee, entries, days, epoch, paged)
    select mrn, 2, 1, day, 'DE', 'EUR', 'EU', 0, 0, 0, 0, ''::bytea, 1, 0, 0, 0, 0, 0, array[1::bigint], array[day], 1, true from filed
), booked as (
    insert into ledger_page (day, partition, first_number, last_number, booked_at, slot, batch, hash_before, hash, currencies, destinations,
        kind, reverses, version, mrn, reference, currency, destination, entry, place, account, charge, amount, posting_currency)
    select day, p, -2 - f, -1 - f, at, 0, -1 - f, sha256(mrn::bytea), sha256(mrn::bytea), array['EUR'], array['DE'], array[1::smallint],
        array[0::smallint], array[1::bigint], array[mrn], array[''], array[1::smallint], array[1::smallint], array[1::smallint],
        array[0::smallint], array[1], array[1::smallint], array[1::bigint], array[1::smallint]
    from filed, generate_series(0, 63) as p where f % 4 = 0
), announced as (
    insert into news (mrn, partition, number, day) select left(mrn, 4) || lpad(p::text, 2, '0') || substr(mrn, 7), p, f, day
    from filed, generate_series(f % 32, f % 32 + 1) as p
)
insert into ledger_payment (jurisdiction, id, reference, currency, amount, account, outcome, matched, over, still_owed, booked_at, booked_by,
    request, reverses_id, reversed_by, returned_by, mrns, amounts)
select 'EU', 'bank-' || left(mrn, 4) || lpad(p::text, 2, '0') || substr(mrn, 7), mrn, 'EUR', 900, 'declarant:DE1', 1, 900, 0, 0, at,
    'officer', name, '', '', '', array[mrn], array[900::bigint] from filed, generate_series(f % 32, f % 32 + 1) as p
"""
)
_CLEARANCE = (
    _ROWS
    + f""", decided as (
    insert into consignment (day, mrn, partition, filer, version, filing_version, state, lane, batch_day, batch_id, batch_row)
    select day, mrn, p, filer, 2, 1, 4, 1, day, f, r from consignment_row
), referred as (
    insert into local_reference (filer, local_reference, mrn, day) select filer, reference, mrn, day + $8::integer from consignment_row
), documented as (
    insert into master_document (document_number, batch_day, batch_id, mrns, day, filers, names)
    select name || part, day, f, array[mrn], day, array[filer], array['carrier'] from filed, generate_series(1, 4) as part
), arrived as (
    insert into arrival (document_number, carrier, request_id, conveyance_reference, arrived_at, place, recorded_at, pending, day)
    select name || part, 'carrier', name, 'LX0188', at, '', at, false, day from filed, generate_series(1, 4) as part
), requested as ({_REQUESTS.format(requests=2)})
insert into house_document (document_number, mrn, day) select 'H' || reference, mrn, day + $8::integer from consignment_row
"""
)
_STATISTICS = (
    _FILINGS
    + """, stored as (
    insert into counted_batch (day, id, payload, traceparent, formula) select day, -1 - f, ''::bytea, '', 1 from filed where f % 4 = 0
)
insert into counted_page (day, block, first, last, batch, batch_day, epoch, mrn, version, "row")
select day, block, 0, 499, version - 3 - 2 * f, day, 1, array[mrn], array[version], array[1] from filed, generate_series(1, 2) as version
"""
)
# The proofs of the ledger begin behind what is filled, and the sums of its days exist.
_PROVEN = """
with days as (
    insert into ledger_day (partition, day, first_number, last_number)
    select p, d, -1, -1 from generate_series(0, 63) as p, generate_series($1::integer, $2::integer) as d
), summed as (
    insert into ledger_turnover_day (day) select generate_series($1::integer, $2::integer)
), marks as (
    update ledger_proof set day = $2::integer
)
update ledger_proof_state set assessed_day = $2::integer, full_began_at = (extract(epoch from now()) * 1000000)::bigint,
    full_ended_at = (extract(epoch from now()) * 1000000)::bigint
"""
_GENERATIONS = """
do $$ begin
    for number in {first} .. {last} loop
        if to_regclass('reference_g' || number) is null then
            execute format('create table reference_g%s partition of reference for values in (%s) partition by hash (partition)', number, number);
            for piece in 0 .. 7 loop
                execute format('create table reference_g%s_h%s partition of reference_g%s for values with (modulus 8, remainder %s)',
                    number, piece, number, piece);
            end loop;
        end if;
    end loop;
end $$
"""
_BATCH_DAYS = """
do $$ begin
    for number in {first} .. {last} loop
        execute format('create table batch_d%s partition of batch for values in (%s)', number, number);
    end loop;
end $$
"""
_LEAVES = """
select c.oid::regclass::text as name from pg_partition_tree($1::text::regclass) t join pg_class c on c.oid = t.relid where t.isleaf
"""


@dataclass(frozen=True, slots=True)
class Part:
    """What is filled in one service's store."""

    sql: str
    days: Sequence[str] = ()
    """Tables by day that get partitions for the past days."""
    copied: Sequence[str] = ()
    """Tables whose rows of today are copied to each past day."""
    spread: Sequence[tuple[str, str]] = ()
    """Tables whose primary key has random values, and the key's columns."""
    workers: int = 1
    """Connections that fill at once, at least one for each of `spread`."""


CELLS = ("count_cell", "time_cell", "revenue_cell", "inspection_cell")
PARTS = {
    "ingestion": Part(
        _INGESTION, ("submission",), spread=(("reference", "generation, partition, filer, local_reference"),)
    ),
    "risk": Part(_ASSESSMENTS, ("assessment_batch", "selection_batch")),
    "revenue": Part(
        _REVENUE,
        ("assessed_input", "assessment_batch", "ledger_entry", "ledger_posting", "ledger_page", "ledger_account_page"),
        ("ledger_balance", "ledger_account_page"),
    ),
    "clearance": Part(
        _CLEARANCE,
        ("consignment",),
        spread=(
            ("local_reference", "filer, local_reference, day"), ("house_document", "document_number, mrn, day"),
        ),
        workers=2,
    ),
    "statistics": Part(_STATISTICS, (*CELLS, "counted", "counted_page", "counted_batch"), CELLS),
}  # fmt: skip


class History:
    """The stored consignments of past days in the stores of one server, whose services do not run meanwhile."""

    def __init__(
        self,
        server: EmbeddedPostgres,
        filer: str,
        *,
        days: int,
        generation: int,
        services: Sequence[str] = SERVICES,
    ) -> None:
        """Fill for a filer, over so many days; `generation` of references is the present one. `services` are those whose stores are filled."""
        self._services = services
        self._server = server
        self._filer = filer
        self._days = days
        self._generation = generation
        self.first_day = 0
        self._shift = 0
        """Days by which references of clearance are later than their consignments: the week of the traffic is as full as those before."""
        self.stored = 0

    async def begin(self) -> None:
        """Make the partitions of the past days, and copy to each what the first day has."""
        await asyncio.gather(*map(self._begin, self._services))

    async def _begin(self, service: str) -> None:
        part = PARTS[service]
        url = self._server.account_url(f"luxor_{service}")
        async with Database(url, name=service) as database:
            async with database.connection() as reader:
                now = await today(reader)
            first, last = now - BESIDE_DAYS - self._days, now - BESIDE_DAYS - 1
            self.first_day = first
            self._shift = (now // WEEK_DAYS - (last + 1) // WEEK_DAYS + 1) * WEEK_DAYS
            for table in part.days:
                async with database.transaction(timeout_millis=60_000) as tx:
                    await ensure_day_partitions(tx, table, range(first, last + 1))
            for table in WEEKLY if service == "clearance" else ():
                async with database.transaction(timeout_millis=60_000) as tx:
                    days = range(first + self._shift, last + self._shift + 1)
                    await ensure_day_partitions(tx, table, days, span=WEEK_DAYS)
        connection = await self._connect(service)
        try:
            if service in ("ingestion", "clearance", "revenue"):
                await connection.execute(_BATCH_DAYS.format(first=first, last=last))
            if service == "ingestion":
                await connection.execute(_GENERATIONS.format(first=self._generation - 2, last=self._generation))
            for table in part.copied:
                columns = await connection.fetchval(
                    "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute "
                    "where attrelid = $1::text::regclass and attnum > 0 and not attisdropped and attname <> 'day'",
                    table,
                )
                await connection.execute(
                    f"insert into {table} (day, {columns}) select past, {columns} from (select * from {table}) as known, "
                    f"generate_series({first}, {last}) as past where known.day > {last} on conflict do nothing"
                )
            if service == "revenue":
                await connection.execute(_PROVEN, first, last)
        finally:
            await connection.close()

    async def fill(self, consignments: int) -> None:
        """Fill until so many consignments are stored, all services at once; print how far it has come."""
        first, last = self.stored // FILING, consignments // FILING
        await asyncio.gather(*(self._fill(service, first, last) for service in self._services))
        self.stored = consignments

    async def _fill(self, service: str, first: int, last: int) -> None:
        part, began = PARTS[service], time.monotonic()
        connections = [await self._connect(service) for _ in range(part.workers)]
        try:
            for table, _ in part.spread:
                await connections[0].execute(f"alter table {table} drop constraint {table}_pkey")
            chunks = iter(range(first, last, CHUNK))
            await asyncio.gather(*(self._chunks(each, service, chunks, first, last, began) for each in connections))
            await asyncio.gather(*map(self._index, connections, part.spread))
            await connections[0].execute("analyze")
        finally:
            for each in connections:
                await each.close()
        print(f"  filled    {service}: {last * FILING:,} stored after {time.monotonic() - began:.0f} s", flush=True)

    async def _chunks(
        self, connection: asyncpg.Connection, service: str, chunks: Iterator[int], first: int, last: int, began: float
    ) -> None:
        part = PARTS[service]
        arguments: list[object] = [first, last, self.first_day, self._days, self._filer]
        if service == "ingestion":
            arguments.append(self._generation)
        if service == "clearance":
            arguments.append(self._shift)
        for start in chunks:
            await connection.execute(part.sql, start, min(start + CHUNK, last), *arguments)
            done = start + CHUNK - first
            if part.spread and done // CHUNK % 50 == 0:
                left = (time.monotonic() - began) / done * (last - first - done)
                print(f"  filling   {service}: {(first + done) * FILING:>12,} stored, {left:.0f} s left", flush=True)

    @staticmethod
    async def _index(connection: asyncpg.Connection, spread: tuple[str, str]) -> None:
        table, key = spread
        await connection.execute(f"alter table {table} add primary key ({key}) with (fillfactor = {LEAF_PERCENT})")
        for leaf in await connection.fetch(_LEAVES, f"{table}_pkey"):
            await connection.execute(f"alter index {leaf['name']} reset (fillfactor)")

    async def forget_changes(self) -> None:
        """Have PostgreSQL forget the number of new rows, so that no vacuum of what was filled runs beside the measurement."""
        for service in self._services:
            connection = await asyncpg.connect(self._server.url(f"luxor_{service}"))
            try:
                await connection.execute("select pg_stat_reset()")
            finally:
                await connection.close()

    async def _connect(self, service: str) -> asyncpg.Connection:
        settings = {
            "synchronous_commit": "off", "work_mem": "128MB", "maintenance_work_mem": "1GB", "default_statistics_target": "10",
        }  # fmt: skip
        url = self._server.account_url(f"luxor_{service}")
        return await asyncpg.connect(url, server_settings=settings, command_timeout=None)
