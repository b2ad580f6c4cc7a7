"""By what chance consignments got into each lane: a few bytes a consignment beside its batch, and how many there were.

An amendment reads the chances of the version before, since both are drawn by the same numbers; the estimate of violations reads those
of what was inspected, and how many consignments each lane had.
"""

from __future__ import annotations

from typing import Final

from libs.store.database import Database, Transaction
from libs.store.housekeeping import Step
from libs.store.schema import TODAY
from services.risk.selecting import BatchChances
from services.risk.selection import VECTOR_BYTES

_ROWS_MAX: Final = 20_000

_STORE: Final = """
with counted as (
    insert into selection_count (day, cell, support, count)
    select case when given.day < 0 then $1 else given.day end, given.cell, given.support, given.count
    from unnest($5::integer[], $6::smallint[], $7::smallint[], $8::integer[]) as given(day, cell, support, count)
)
insert into selection_batch (day, batch, codes, vectors) values ($1, $2, $3, $4)
"""

# Counts of days that have ended become one row for each kind, a part at a time.
_SUM: Final = f"""
with taken as (
    delete from selection_count where ctid = any(array(
        select ctid from selection_count where not summed and day < {TODAY} limit $1 for update skip locked))
    returning day, cell, support, count
), added as (
    insert into selection_count (day, cell, support, count, summed)
    select day, cell, support, sum(count), true from taken group by day, cell, support
)
select count(*) from taken
"""  # noqa: S608  # an expression of our own

_FORGET: Final = f"delete from selection_count where day < {TODAY} - $1::integer"  # noqa: S608  # an expression of our own


def vector_of(row: str) -> str:
    """Return the SQL of the vector of a row of the joined selection_batch `kept`; null where there is none."""
    code = f"(get_byte(kept.codes, 2 * {row}) + 256 * get_byte(kept.codes, 2 * {row} + 1))"
    return f"substring(kept.vectors from 1 + {VECTOR_BYTES} * {code} for {VECTOR_BYTES})"


async def store_chances(tx: Transaction, place: tuple[int, int], chances: BatchChances) -> None:
    """Store the chances of a batch, in the transaction that stores its answers under the same place."""
    days, cells, supports, counts = zip(*chances.counts, strict=True) if chances.counts else ((), (), (), ())
    await tx.raw.execute(
        _STORE, *place, chances.codes, chances.vectors, list(days), list(cells), list(supports), list(counts)
    )


def sum_counts(days: int) -> Step:
    """Make a step of housekeeping that adds up the counts of days that have ended, and forgets those of more than `days` ago."""

    async def step(database: Database) -> None:
        while True:
            async with database.transaction() as tx:
                taken = await tx.raw.fetchval(_SUM, _ROWS_MAX)
            if taken < _ROWS_MAX:
                break
        async with database.transaction() as tx:
            await tx.raw.execute(_FORGET, days)

    return step
