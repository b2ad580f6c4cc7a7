"""The ledger: postings booked per second, and whether 50 million of them slow it. `make bench-revenue`.

One process books pages of states as clearance's feed brings them (500 consignments, 8 postings each, 64 partitions, 20 deferred accounts), on
one core that it shares with its PostgreSQL, fsync on; what is timed is a page from its columns to its commit. What 50 million postings
are is filled in by SQL, over ten days up to today, in the tables that booking reads and writes.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import figures
import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.feed.types import BEGINNING, FeedBatch
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from libs.store.tables.schema import ensure_day_partitions, today
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.clearance.v1.clearance_pb2 import STATE_AWAITING_ARRIVAL
from luxor.common.v1.common_pb2 import DEBT_STATUS_DEFERRED
from services.revenue.commands.post import Posting
from services.revenue.commands.rebalance import Ledger
from services.revenue.feeds.clearance_states import StateHandler
from services.revenue.ledger.refund import RefundRules
from services.revenue.store.ledger.entries import PARTITIONED
from services.revenue.store.positions.stored import RECORD
from tests.support.databases import enterable_directory

PAGE = 500
POSTINGS_EACH = 8
SMALL, LARGE = 1_000_000, 50_000_000
GIB = 20.0
DAYS = 10
ACCOUNTS = [f"deferred:carrier-{number}" for number in range(20)]
CHUNK = 50_000
_NAMES = {*ACCOUNTS, "declarant:DE1", "treasury:EU:duty", "treasury:EU:tax"}

_RECORD = np.zeros(1, RECORD)
_RECORD["version"] = _RECORD["filing_version"] = _RECORD["standing"] = 1
_RECORD["currency"], _RECORD["jurisdiction"] = 1, 2
# Entries of positions are as long as real ones, and nobody reads them.
_FILL = """
with n as materialized (
    select i, (i % 64)::smallint as p, i / 64 as k,
        $3::integer - $4::integer + 1 + ((i - $5::bigint) * $4::integer / ($6::bigint - $5::bigint))::integer as day
    from generate_series($1::bigint, $2::bigint - 1) as i
), e as materialized (
    select n.*, k / 31 as block, s, k * 2 + s as number, day::bigint * 86400000000 + k / 31 as at from n, generate_series(1, 2) as s
), p as materialized (
    select e.*, place::smallint as place, 1 + place % 2 as charge, case when place < 2 then 300 else -300 end as amount,
        case when place < 2 then ($7::integer[])[1 + (i % 20)::integer] when s = 1 then $8::integer else $9::integer end as account
    from e, generate_series(0, 3) as place
), entries as (
    select day, p, block, min(number) as first_number, max(number) as last_number, max(at) as at, count(*)::integer as count,
        array_agg(s::smallint order by number) as kind,
        array_agg('26FR' || lpad(p::text, 2, '0') || '329' || lpad(i::text, 7, '0') || 'R0' order by number) as mrn
    from e group by day, p, block
), postings as (
    select day, p, block, array_agg((number - first_number + 1)::smallint order by number, place) as entry,
        array_agg(place order by number, place) as place, array_agg(account order by number, place) as account,
        array_agg(charge::smallint order by number, place) as charge, array_agg(amount::bigint order by number, place) as amount
    from p join (select day, p, block, first_number from entries) e using (day, p, block) group by day, p, block
), pages as (
    insert into ledger_page (day, partition, first_number, last_number, booked_at, slot, batch, hash_before, hash, currencies,
        destinations, kind, reverses, version, mrn, reference, currency, destination, entry, place, account, charge, amount,
        posting_currency)
    select day, p, first_number, last_number, at, 0, block, sha256(first_number::text::bytea), sha256(last_number::text::bytea),
        array['EUR'], array['DE'], kind, array_fill(0::smallint, array[count]), array_fill(1::bigint, array[count]), mrn,
        array_fill(''::text, array[count]), array_fill(1::smallint, array[count]), array_fill(1::smallint, array[count]), entry,
        place, account, charge, amount, array_fill(1::smallint, array[count * 4])
    from entries join postings using (day, p, block)
), lists as (
    insert into ledger_account_page (day, account, currency, booked_at, slot, batch, partitions, lines, debit, credit)
    select day, account, 'EUR', max(at), 0, $1::bigint + block, bit_or(1::bigint << p::integer), count(*), sum(greatest(amount, 0)),
        sum(greatest(-amount, 0)) from p group by day, account, block
)
insert into ledger_position_page (block, number, day, first, last, mrn, texts, records, line_ends, lines, entry_ends, entries)
select (day::bigint << 27 | i / 1000) * 4 + i % 1000 / 250, 1, day, min(i % 250), max(i % 250),
    array_agg('26FR' || lpad(p::text, 2, '0') || '329' || lpad(i::text, 7, '0') || 'R0' order by i), array['DE', 'EUR', 'EU'],
    decode(repeat($10::text, count(*)::integer), 'hex'), array_agg((2 * place)::integer order by i),
    string_agg(decode(repeat(md5(i::text), 7), 'hex'), '' order by i), array_agg((2 * place)::integer order by i),
    string_agg(int8send(k * 2 + 1) || int4send(day) || int8send(k * 2 + 2) || int4send(day), '' order by i)
from (select n.*, row_number() over (partition by day, i / 250 order by i) as place from n) n group by day, i / 1000, i % 1000 / 250
"""
_BALANCES = """
insert into ledger_balance
select account, 'EUR', slot, day, 1000 * day, 1000 * day
from unnest($1::integer[]) as account, generate_series(0, 63) as slot,
    generate_series($2::integer - $3::integer + 1, $2::integer) as day on conflict do nothing
"""
_HEADS = """
update ledger_head set number = greatest(number, $1::bigint) where partition between 0 and 63
"""


def pages(first: int, count: int, day: int) -> list[FeedBatch]:
    """Pages of states of new consignments, each with a duty and a tax that a deferred account stands for."""
    schema = schema_of(ClearanceColumns)
    found = []
    for page in range(count):
        serials = np.arange(first + page * PAGE, first + (page + 1) * PAGE)
        partitions = (serials * 2_654_435_761 >> 7) % 64
        rows = len(serials)
        charges = Table(
            schema.children["charges"],
            2 * rows,
            {
                "item_number": Ints.constant(1, 2 * rows),
                "kind": Ints.of(np.tile([1, 2], rows)),
                "charge": Strings(["EU.flat_duty", "EU.vat_low_value"], np.tile([0, 1], rows).astype(np.int32)),
                "amount": Ints.of(np.tile([300, 1_900], rows)),
                "collector": Ints.constant(1, 2 * rows),
                "debtor": Ints.constant(1, 2 * rows),
            },
        )
        columns: dict[str, Column] = {
            "mrn": Strings.of(make_mrns(["DE"] * rows, partitions, day, serials)),
            "version": Ints.constant(1, rows),
            "filing_version": Ints.constant(1, rows),
            "state": Ints.constant(STATE_AWAITING_ARRIVAL, rows),
            "accepted_at": Ints.constant(day * 86_400_000_000, rows),
            "decided_at": Ints.constant(day * 86_400_000_000 + 1, rows),
            "destination_country": Strings.constant("DE", rows),
            "declarant_identifier": Strings.constant("DE1", rows),
            "debt_account": Strings.of([ACCOUNTS[serial % len(ACCOUNTS)] for serial in serials.tolist()]),
            "debt_status": Ints.constant(DEBT_STATUS_DEFERRED, rows),
            "revenue_currency": Strings.constant("EUR", rows),
            "rulebook_version": Strings.constant("EU/2026.1/00000000", rows),
            "charges": Ragged.of_lengths(np.full(rows, 2), charges),
        }
        table = Table.parse(ClearanceColumns, Table(schema, rows, columns).serialize(ClearanceColumns))
        found.append(
            FeedBatch(table, partitions, BEGINNING, np.arange(rows), 0, "", ClearanceColumns.DESCRIPTOR.full_name)
        )
    return found


async def book(ledger: Ledger, batches: Sequence[FeedBatch]) -> float:
    """Book pages one after the other; gives postings per second."""
    intake = StateHandler(Posting(ledger, lambda: RefundRules([])))
    began = time.perf_counter()
    for batch in batches:
        prepared = await intake.prepare([batch])
        async with ledger.database.transaction() as tx:
            await intake.apply(tx, prepared)
    return len(batches) * PAGE * POSTINGS_EACH / (time.perf_counter() - began)


async def fill(ledger: Ledger, first: int, last: int) -> None:
    """Fill in consignments `first` to `last` by SQL, and what belongs to them."""
    database = ledger.database
    ids = await ledger.name_ids(_NAMES)
    accounts = [ids[name] for name in ACCOUNTS]
    async with database.transaction() as tx:
        now = await today(tx)
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, range(now - DAYS, now + 1))
        await tx.raw.execute(_BALANCES, sorted(ids.values()), now, DAYS)
    began = time.perf_counter()
    for start in range(first, last, CHUNK):
        end = min(start + CHUNK, last)
        async with database.transaction(timeout_millis=600_000) as tx:
            await tx.raw.execute("set local synchronous_commit = off")
            await tx.raw.execute(
                _FILL,
                start,
                end,
                now,
                DAYS,
                first,
                last,
                accounts,
                ids["declarant:DE1"],
                ids["treasury:EU:tax"],
                _RECORD.tobytes().hex(),
            )
        done = end - first
        if (start - first) // CHUNK % 10 == 0:
            left = (time.perf_counter() - began) / done * (last - end)
            print(f"  filled    {done * POSTINGS_EACH:>12,} postings, {left:.0f} s left", flush=True)
    async with database.transaction() as tx:
        await tx.raw.execute(_HEADS, last // 64 * 2 + 2)
    async with database.connection(timeout_millis=1_800_000) as reader:
        await reader.raw.execute("vacuum analyze")
        await reader.raw.execute("checkpoint")


async def run(server: EmbeddedPostgres, directory: Path, how: figures.Options) -> None:
    """Measure, and print the figures."""
    server.create_database("ledger")
    count = 4 if how.quick else 100
    small, large = (20_000, 60_000) if how.quick else (SMALL, LARGE)
    async with Database(server.url("ledger"), name="revenue") as database:
        await migrate(database, "services.revenue")
        ledger = Ledger(database)
        figures.machine({"postgresql": str(await database.durability()), "page": f"{PAGE} consignments"})
        day = await database.now() // 86_400_000_000
        serial = 0

        async def measured() -> list[float]:
            nonlocal serial
            rates = []
            for _ in range(how.runs + 1):
                batches = pages(serial, count, day)
                serial += count * PAGE
                rates.append(await book(ledger, batches))
            return rates[1:]  # the first fills caches

        await fill(ledger, 0, small // POSTINGS_EACH)
        at_small = await measured()
        figures.figure("ledger_rate_pps", at_small, "postings/s", target=20_000, held=small)
        if not how.quick and not figures.has_space(directory, GIB):
            figures.not_measured(
                "ledger_growth", f"50 million postings take {GIB:.0f} GiB, which the disk has not free"
            )
            return
        await fill(ledger, small // POSTINGS_EACH, large // POSTINGS_EACH)
        at_large = await measured()
        print(f"  {small:,} postings held: {np.median(at_small):,.0f}/s; {large:,} held: {np.median(at_large):,.0f}/s")
        figures.figure(
            "ledger_growth", [float(np.median(at_small) / np.median(at_large))], "times", target=1.10, held=large
        )


def main() -> None:
    """Measure against an embedded server on one core."""
    how = figures.options(__doc__ or "", runs=5)
    # The server is a child and keeps to the same core.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=())
    try:
        server.start()
        asyncio.run(run(server, directory, how))
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
