"""What consignments were drawn into, kept apart from the answers: a few of a hundred, looked up when one is amended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from libs.columns import Strings
from libs.store.database import Database, Transaction
from libs.store.housekeeping import Step
from libs.store.requests import PURGE_ROWS_MAX, purge_before
from libs.store.schema import TODAY, today
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.conditions.vectors import IntArray
from services.risk.selection import Chances, Drawn, NewlyDrawn
from services.risk.store.chances import vector_of

# The chances are those of the newest version: they have what all versions before it leave.
_BEFORE: Final = f"""
select (given.place - 1)::integer as place, coalesce(found.lane, 0) as lane, coalesce(found.cause, 0) as cause,
    coalesce(found.chance_ppm, 0) as chance_ppm, coalesce(found.inclusion_ppm, 0) as inclusion_ppm, newest.day,
    {vector_of("newest.row")} as vector
from unnest($1::text[]) with ordinality as given(mrn, place) left join drawn found on found.mrn = given.mrn
left join lateral (
    select each.day, each.batch, each."row" from assessment each where each.mrn = given.mrn and each.purpose = $2
    order by each.version desc limit 1
) newest on true
left join selection_batch kept on kept.day = newest.day and kept.batch = newest.batch
"""  # noqa: S608  # an expression of our own

# In the order of the key, so that two calls wait for one another in one order. A call may name a consignment twice.
_KEEP: Final = f"""
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


async def drawn_before(reader: Any, mrns: Strings, rows: IntArray) -> Drawn:
    """What earlier versions of those `rows` of a batch were drawn into, on a connection of a Database."""
    found = await reader.raw.fetch(_BEFORE, mrns.take(rows).tolist(), PURPOSE_CLEARANCE)
    chances = Chances.none(len(mrns))
    stored = [each for each in found if each["vector"] is not None]
    unpacked = Chances.unpack([each["vector"] for each in stored], np.array([each["day"] for each in stored], np.int64))
    for place, each in enumerate(stored):
        same = np.flatnonzero(mrns.indices == mrns.indices[rows[each["place"]]])
        chances.set(same, unpacked, np.full(len(same), place))
    drawn = replace(Drawn.none(len(mrns)), chances=chances)
    for each in found:
        if not each["lane"]:
            continue
        # The batch may name a consignment more than once, each of them as another version.
        same = mrns.indices == mrns.indices[rows[each["place"]]]
        drawn.lane[same], drawn.cause[same] = each["lane"], each["cause"]
        drawn.chance_ppm[same], drawn.inclusion_ppm[same] = each["chance_ppm"], each["inclusion_ppm"]
    return drawn


async def keep_drawn(tx: Transaction, drawn: NewlyDrawn) -> None:
    """Keep what was drawn, in the transaction that makes it binding; a graver lane that was drawn before stays."""
    if drawn.mrns:
        await tx.raw.execute(_KEEP, drawn.mrns, drawn.lanes, drawn.causes, drawn.chances_ppm, drawn.inclusions_ppm)


def purge_drawn(days: int) -> Step:
    """Make a step of housekeeping that forgets what was drawn more than `days` ago."""

    async def step(database: Database) -> None:
        async with database.connection() as reader:
            now = await today(reader)
        await purge_before(database, "drawn", now - days, rows_max=PURGE_ROWS_MAX)

    return step
