"""The tables ledger_entry and ledger_posting: entries and postings that were booked before there were pages, and how they become pages.

A page of former rows has consecutive entries of one partition with one time of booking, and ends where a seal names an entry. Its partition
is its slot, as that of the balances of these rows is, and its first number its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import Transaction

POSTINGS_MAX: Final = 1_000
"""Postings that are packed in one transaction, unless one entry has more."""
TABLES: Final = ("ledger_entry", "ledger_posting")
# Of each partition and day the rows that are left; a day has numbers without gap, and pages of a day stand behind its rows.
_LEFT: Final = """
select d.partition, d.day, first.number as first, last.number as last from ledger_day d
cross join lateral (
    select number from ledger_entry where day = d.day and partition = d.partition order by number limit 1
) first
cross join lateral (
    select number from ledger_entry where day = d.day and partition = d.partition order by number desc limit 1
) last
where d.day = any($1::integer[]) order by d.partition, d.day
"""
# The last rows of a partition's day that are packed in one transaction.
_FIRST: Final = f"""
select min(number) from (
    select e.number, sum(own.postings) over (order by e.number desc) as postings from (
        select number from ledger_entry where day = $1 and partition = $2 and number <= $3 order by number desc limit $4
    ) e cross join lateral (
        select count(*) as postings from ledger_posting where day = $1 and partition = $2 and number = e.number
    ) own
) counted where postings <= {POSTINGS_MAX} or number = $3
"""  # noqa: S608  # a number of our own
_PACK: Final = """
with own as (
    select *, lag(hash) over w as hash_before, (
        lag(number) over w is distinct from number - 1 or lag(booked_at) over w <> booked_at
        or lag(number) over w = any($5::bigint[])
    ) as begins
    from ledger_entry where day = $1 and partition = $2 and number >= $3 and number <= $4 window w as (order by number)
), placed as materialized (
    select *, max(number) filter (where begins) over (order by number) as first from own
), page as (
    select first, max(number) as last, min(booked_at) as booked_at, array_agg(distinct currency) as currencies,
        array_agg(distinct destination) as destinations, array_agg(hash_before order by number) as hashes_before,
        array_agg(hash order by number) as hashes, array_agg(kind order by number) as kind,
        array_agg(reverses order by number) as reverses, array_agg(version order by number) as version,
        array_agg(mrn order by number) as mrn, array_agg(reference order by number) as reference,
        array_agg(currency order by number) as currency, array_agg(destination order by number) as destination
    from placed group by first
)
insert into ledger_page (day, partition, first_number, last_number, booked_at, slot, batch, hash_before, hash, currencies, destinations,
    kind, reverses, version, mrn, reference, currency, destination, entry, place, account, charge, amount, posting_currency)
select $1, $2, first, last, booked_at, $2, first, coalesce(hashes_before[1], $6), hashes[cardinality(hashes)], currencies, destinations,
    kind, reverses, version, mrn, reference,
    (select array_agg(array_position(currencies, x.text)::smallint order by place)
        from unnest(page.currency) with ordinality as x(text, place)),
    (select array_agg(array_position(destinations, x.text)::smallint order by place)
        from unnest(page.destination) with ordinality as x(text, place)),
    posted.entry, posted.place, posted.account, posted.charge, posted.amount, posted.currency
from page cross join lateral (
    select array_agg((number - first + 1)::smallint order by number, place) as entry, array_agg(place order by number, place) as place,
        array_agg(account order by number, place) as account, array_agg(kind order by number, place) as charge,
        array_agg(amount order by number, place) as amount,
        array_agg(array_position(currencies, p.currency)::smallint order by number, place) as currency
    from ledger_posting p where day = $1 and partition = $2 and number between first and last
) posted
"""
# What the list of an account has of pages, by the definition by which the proof compares it.
_LIST: Final = """
insert into ledger_account_page (day, account, currency, booked_at, slot, batch, partitions, lines, debit, credit)
select day, account, currency, booked_at, slot, batch, bit_or(1::bigint << partition::integer), count(*),
    sum(greatest(amount, 0)), sum(greatest(-amount, 0))
from page_postings where day = $1 and partition = $2 and last_number >= $3 and last_number <= $4
group by day, account, currency, booked_at, slot, batch
"""
_DELETE: Final = "delete from {} where day = $1 and partition = $2 and number >= $3 and number <= $4"


@dataclass(frozen=True, slots=True)
class DayRows:
    """The rows that are left of a partition's day: its entries from `first` to `last`."""

    partition: int
    day: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


async def left(reader: Transaction, days: Sequence[int]) -> list[DayRows]:
    """Return the rows that are left of some days, by partition and day."""
    return [DayRows(*row) for row in await reader.raw.fetch(_LEFT, days)]


async def first_of_part(tx: Transaction, rows: DayRows, entries_max: int) -> int:
    """Return the first of the last entries that are packed in one transaction, `entries_max` at most."""
    return int(await tx.raw.fetchval(_FIRST, rows.day, rows.partition, rows.last, entries_max))


async def pack(tx: Transaction, rows: DayRows, hash_before: bytes, sealed: Sequence[int]) -> tuple[int, int]:
    """Store rows as pages, list these, and delete the rows; return how many entries and postings those were.

    `hash_before` is the hash before the first of them, and `sealed` has the numbers that seals name: a page ends with each.
    """
    part = (rows.day, rows.partition, rows.first, rows.last)
    await tx.raw.execute(_PACK, *part, sealed, hash_before)
    await tx.raw.execute(_LIST, *part)
    deleted = [await tx.raw.execute(_DELETE.format(table), *part) for table in TABLES]
    entries, postings = (int(each.rpartition(" ")[2]) for each in deleted)
    return entries, postings


async def emptied(reader: Transaction, day: int) -> bool:
    """Return whether nobody sees a row of a day, as of any instant: then a vacuum leaves nothing of its files."""
    for table in TABLES:
        part = f"{table}_{day}"
        if await reader.raw.fetchval("select pg_relation_size(to_regclass($1))", part):
            if await reader.raw.fetchval(f"select exists(select from {part})"):  # noqa: S608  # a table of our own
                return False
            await reader.raw.execute(f"vacuum {part}")
            if await reader.raw.fetchval("select pg_relation_size(to_regclass($1))", part):
                return False
    return True
