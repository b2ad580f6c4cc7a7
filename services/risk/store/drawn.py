"""What consignments were drawn into, kept apart from the answers: a few of a hundred, looked up when one is amended."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from libs.columns import Strings
from libs.store.database import Database, Transaction
from libs.store.housekeeping import Step
from libs.store.requests import PURGE_ROWS_MAX, purge_before
from libs.store.schema import TODAY, today
from services.risk.conditions.vectors import IntArray
from services.risk.selection import Drawn, NewlyDrawn

_BEFORE: Final = """
select (given.place - 1)::integer as place, found.lane, found.cause, found.chance_ppm
from unnest($1::text[]) with ordinality as given(mrn, place) join drawn found on found.mrn = given.mrn
"""

# In the order of the key, so that two calls wait for one another in one order. A call may name a consignment twice.
_KEEP: Final = f"""
insert into drawn as kept (mrn, day, lane, cause, chance_ppm)
select distinct on (given.mrn collate "C") given.mrn, {TODAY}, given.lane, given.cause, given.chance
from unnest($1::text[], $2::smallint[], $3::smallint[], $4::integer[]) as given(mrn, lane, cause, chance)
order by given.mrn collate "C", given.lane desc
on conflict (mrn) do update
set day = excluded.day, lane = excluded.lane, cause = excluded.cause, chance_ppm = excluded.chance_ppm
where kept.lane < excluded.lane
"""  # noqa: S608  # an expression of our own


async def drawn_before(reader: Any, mrns: Strings, rows: IntArray) -> Drawn:
    """What earlier versions of those `rows` of a batch were drawn into, on a connection of a Database."""
    found = await reader.raw.fetch(_BEFORE, mrns.take(rows).tolist())
    drawn = Drawn(*(np.zeros(len(mrns), np.int64) for _ in range(3)))
    for each in found:
        # The batch may name a consignment more than once, each of them as another version.
        same = mrns.indices == mrns.indices[rows[each["place"]]]
        drawn.lane[same], drawn.cause[same], drawn.chance_ppm[same] = each["lane"], each["cause"], each["chance_ppm"]
    return drawn


async def keep_drawn(tx: Transaction, drawn: NewlyDrawn) -> None:
    """Keep what was drawn, in the transaction that makes it binding; a graver lane that was drawn before stays."""
    if drawn.mrns:
        await tx.raw.execute(_KEEP, drawn.mrns, drawn.lanes, drawn.causes, drawn.chances_ppm)


def purge_drawn(days: int) -> Step:
    """Make a step of housekeeping that forgets what was drawn more than `days` ago."""

    async def step(database: Database) -> None:
        async with database.connection() as reader:
            now = await today(reader)
        await purge_before(database, "drawn", now - days, rows_max=PURGE_ROWS_MAX)

    return step
