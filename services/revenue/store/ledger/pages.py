"""The table ledger_page, and the views that show pages and former rows as one: all_entries, all_postings, page_postings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from libs.store.database import Transaction
from services.revenue.ledger.page import ENTRIES_MAX, Page, is_nested

COLUMN_TYPES: Final = {
    "partition": "int2", "first_number": "int8", "last_number": "int8", "hash_before": "bytea", "hash": "bytea",
    "currencies": "text[]", "destinations": "text[]", "kind": "int2[]", "reverses": "int2[]", "version": "int8[]",
    "mrn": "text[]", "reference": "text[]", "currency": "int2[]", "destination": "int2[]", "entry": "int2[]",
    "place": "int2[]", "account": "int4[]", "charge": "int2[]", "amount": "int8[]", "posting_currency": "int2[]",
}  # fmt: skip
"""The columns of a page, by the names of its fields, with their types."""
ENTRY_COLUMNS: Final = ("kind", "reverses", "version", "mrn", "reference", "currency", "destination")
"""Columns with a value for each entry."""
ELEMENT_BITS: Final = {"int2[]": 16, "int4[]": 32, "int8[]": 64, "text[]": 0}
_COLUMNS: Final = ", ".join(COLUMN_TYPES)
_ARRAYS: Final = [name for name, sql_type in COLUMN_TYPES.items() if sql_type.endswith("[]")]
# The views count places from 1 on, and the driver from where an array begins.
_FROM_ONE: Final = " and ".join(f"array_ndims({name}) = 1 and array_lower({name}, 1) = 1" for name in _ARRAYS)
_BEHIND: Final = f"""
select day, booked_at, coalesce({_FROM_ONE}, false) as from_one, {_COLUMNS} from ledger_page
where day = $1 and partition = $2 and last_number > $3 and last_number <= $4 order by last_number, first_number limit $5
"""  # noqa: S608  # our own names
_CONTAINING: Final = f"""
select distinct on (partition, last_number, first_number) found.*
from unnest((select $2::integer[]), (select $3::smallint[]), (select $4::bigint[])) as given(wanted_day, of_partition, wanted)
cross join lateral (
    select day, booked_at, true as from_one, {_COLUMNS} from ledger_page
    where day = any($1::integer[]) and day = given.wanted_day and partition = given.of_partition and first_number <= given.wanted
        and last_number between given.wanted and given.wanted + {ENTRIES_MAX - 1} offset 0
) found order by partition, last_number, first_number
"""  # noqa: S608  # our own names
_BOOKED_AT: Final = f"""
select min(found.booked_at) from unnest((select $2::integer[]), (select $3::smallint[]), (select $4::bigint[])) as given(day, partition, number)
cross join lateral (
    select booked_at from ledger_entry
    where day = any($1::integer[]) and day = given.day and partition = given.partition and number = given.number
    union all
    select booked_at from ledger_page
    where day = any($1::integer[]) and day = given.day and partition = given.partition and first_number <= given.number
        and last_number between given.number and given.number + {ENTRIES_MAX - 1} offset 0
) found
"""  # noqa: S608  # a number of our own


def row_postings(days: str) -> str:
    """Return the rows `r` of postings and `e` of entries that the view row_postings joins, of some days: a condition on a day without its left side.

    A plan for the view would have all partitions of the entries where the days are not one parameter.
    """
    return (
        f"ledger_posting r join ledger_entry e on r.day {days} and e.day {days} and e.day = r.day "
        "and e.partition = r.partition and e.number = r.number"
    )


def postings_of(days: str, day: str, partition: str, number: str) -> str:
    """Return a query for the postings of an entry, with the columns of all_postings that belong to entry and posting; the arguments are SQL
    expressions, the first one for the parameter with all days that are looked up. Of a page it reads the part of the entry alone.

    The days are in sight, so that a plan has their partitions alone.
    """
    return f"""
    select r.number, r.place, r.account, r.kind as charge, r.amount, r.currency, e.kind, e.reverses, e.version, e.mrn, e.reference
    from {row_postings(f"= any({days})")} where r.day = {day} and r.partition = {partition} and r.number = {number}
    union all
    select e.number, x.place, x.account, x.charge, x.amount, p.currencies[p.currency[e.at]], p.kind[e.at], p.reverses[e.at],
        p.version[e.at], p.mrn[e.at], p.reference[e.at]
    from ledger_page p
    cross join lateral (
        select {number}::bigint as number, ({number} - p.first_number + 1)::integer as at offset 0
    ) e
    cross join lateral (
        select array_position(p.entry, e.at::smallint) as first,
            coalesce(array_position(p.entry, (e.at + 1)::smallint), cardinality(p.entry) + 1) - 1 as last offset 0
    ) part
    cross join lateral unnest(
        p.place[part.first:part.last], p.account[part.first:part.last], p.charge[part.first:part.last],
        p.amount[part.first:part.last]
    ) as x(place, account, charge, amount)
    where p.day = any({days}) and p.day = {day} and p.partition = {partition} and p.first_number <= {number}
        and p.last_number between {number} and {number} + {ENTRIES_MAX - 1}
    """  # noqa: S608  # expressions of our own


class StoredPage:
    """A page, and when it was booked."""

    def __init__(self, row: Any) -> None:
        """Read a row of ledger_page."""
        values = dict(row)
        self.day: int = values.pop("day")
        self.booked_at: int = values.pop("booked_at")
        """Microseconds since 1970-01-01 UTC."""
        self.from_one: bool = values.pop("from_one")
        """Whether all columns are lists whose first place is 1; True where the page was not read to be proven."""
        self.page = Page(**values)

    @property
    def accounts(self) -> set[int]:
        """Return the accounts on which the page posts; none of a page whose column has lists in place of accounts."""
        return set() if is_nested(self.page.account) else set(self.page.account)


async def pages_behind(
    reader: Transaction, day: int, partition: int, after: int, last: int, pages_max: int
) -> list[StoredPage]:
    """Return pages of a day that end behind a number and up to `last`, by number."""
    return [StoredPage(row) for row in await reader.raw.fetch(_BEHIND, day, partition, after, last, pages_max)]


async def pages_containing(reader: Transaction, places: Sequence[Sequence[int]]) -> list[StoredPage]:
    """Return the pages in which entries stand, each once; `places` has three columns: day, partition and number."""
    return [StoredPage(row) for row in await reader.raw.fetch(_CONTAINING, sorted(set(places[0])), *places)]


async def booked_first(reader: Transaction, places: Sequence[Sequence[int]]) -> int | None:
    """Return when the first of some entries was booked, microseconds since 1970-01-01 UTC; None where none of them is stored.

    `places` as rows of day, partition and number.
    """
    if not places:
        return None
    columns = [list(column) for column in zip(*places, strict=True)]
    moment: int | None = await reader.raw.fetchval(_BOOKED_AT, sorted(set(columns[0])), *columns)
    return moment
