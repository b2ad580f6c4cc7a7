"""What selection stores beside the answers: by what chance consignments got into each lane, and what they were drawn into.

Chances are a few bytes a consignment beside its batch. An amendment reads those of the version before, since both are drawn by the same
numbers; the estimate of violations reads those of what was inspected, and how many consignments each lane had. What was drawn, a few of
a hundred, is stored apart, and looked up when a consignment is amended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from libs.columns import Strings
from libs.columns.arrays import IntArray
from libs.store.database import Transaction
from libs.store.tables.assessment_pages import Reference
from libs.store.tables.schema import TODAY
from services.risk.assessment.lane_selection import BatchChances
from services.risk.selection import VECTOR_BYTES, Chances, NewDraws, PriorDraws

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
    """Return the SQL of the vector of a row of the joined selection_batch `stored`; null where there is none."""
    code = f"(get_byte(stored.codes, 2 * {row}) + 256 * get_byte(stored.codes, 2 * {row} + 1))"
    return f"substring(stored.vectors from 1 + {VECTOR_BYTES} * {code} for {VECTOR_BYTES})"


# The chances are those of the newest version: they have what all versions before it leave. The days are in sight, so that a plan has their
# partitions alone.
_BEFORE: Final = f"""
select (given.place - 1)::integer as place, coalesce(found.lane, 0) as lane, coalesce(found.cause, 0) as cause,
    coalesce(found.chance_ppm, 0) as chance_ppm, coalesce(found.inclusion_ppm, 0) as inclusion_ppm, given.day,
    {vector_of("given.row")} as vector
from unnest((select $2::text[]), (select $3::integer[]), (select $4::bigint[]), (select $5::integer[]))
    with ordinality as given(mrn, day, batch, "row", place)
left join lateral (select * from drawn where drawn.mrn = given.mrn offset 0) found on true
left join lateral (
    select * from selection_batch s where s.day = any($1::integer[]) and s.day = given.day and s.batch = given.batch offset 0
) stored on true
"""  # noqa: S608  # an expression of our own

# In the order of the key, so that two calls wait for one another in one order. A call may name a consignment twice.
_INSERT: Final = f"""
insert into drawn as kept (mrn, day, lane, cause, chance_ppm, inclusion_ppm)
select distinct on (given.mrn collate "C") given.mrn, {TODAY}, given.lane, given.cause, given.chance, given.inclusion
from unnest($1::text[], $2::smallint[], $3::smallint[], $4::integer[], $5::integer[])
    as given(mrn, lane, cause, chance, inclusion)
order by given.mrn collate "C", given.lane desc
on conflict (mrn) do update
set day = excluded.day, lane = excluded.lane, cause = excluded.cause, chance_ppm = excluded.chance_ppm,
    inclusion_ppm = excluded.inclusion_ppm
where kept.lane < excluded.lane
"""  # noqa: S608  # an expression of our own


async def store_chances(tx: Transaction, place: tuple[int, int], chances: BatchChances) -> None:
    """Store the chances of a batch, in the transaction that stores its answers under the same place."""
    days, cells, supports, counts = zip(*chances.counts, strict=True) if chances.counts else ((), (), (), ())
    await tx.raw.execute(
        _STORE, *place, chances.codes, chances.vectors, list(days), list(cells), list(supports), list(counts)
    )


async def sum_counts(tx: Transaction, rows_max: int) -> int:
    """Add up counts of days that have ended, at most so many; return how many there were."""
    return int(await tx.raw.fetchval(_SUM, rows_max))


async def forget_counts(tx: Transaction, days: int) -> None:
    """Forget the counts of more than `days` ago."""
    await tx.raw.execute(_FORGET, days)


async def prior_draws(reader: Any, mrns: Strings, rows: IntArray, newest: Sequence[Reference]) -> PriorDraws:
    """What earlier versions of those `rows` of a batch were drawn into, on a connection of a Database.

    `newest` says where the answer to the newest version of each of these rows stands.
    """
    places = [each.day for each in newest], [each.batch for each in newest], [each.row for each in newest]
    found = await reader.raw.fetch(_BEFORE, sorted(set(places[0])), mrns.take(rows).tolist(), *places)
    chances = Chances.none(len(mrns))
    stored = [each for each in found if each["vector"] is not None]
    unpacked = Chances.unpack([each["vector"] for each in stored], np.array([each["day"] for each in stored], np.int64))
    for place, each in enumerate(stored):
        same = np.flatnonzero(mrns.indices == mrns.indices[rows[each["place"]]])
        chances.set(same, unpacked, np.full(len(same), place))
    drawn = replace(PriorDraws.none(len(mrns)), chances=chances)
    for each in found:
        if not each["lane"]:
            continue
        # The batch may name a consignment more than once, each of them as another version.
        same = mrns.indices == mrns.indices[rows[each["place"]]]
        drawn.lane[same], drawn.cause[same] = each["lane"], each["cause"]
        drawn.chance_ppm[same], drawn.inclusion_ppm[same] = each["chance_ppm"], each["inclusion_ppm"]
    return drawn


async def store_draws(tx: Transaction, draws: NewDraws) -> None:
    """Keep what was drawn, in the transaction that makes it binding; a graver lane that was drawn before stays."""
    if draws.mrns:
        await tx.raw.execute(_INSERT, draws.mrns, draws.lanes, draws.causes, draws.chances_ppm, draws.inclusions_ppm)
