"""A store of a release before pages: a row of `counted` for each consignment."""

from __future__ import annotations

from libs.store.database import Database
from libs.store.tables import schema

_ROWS = """
insert into counted_{day} (day, mrn, version, batch_day, batch, "row", epoch)
select distinct on (x.mrn) p.day, x.mrn, x.version, p.batch_day, p.batch, x."row", case when $2 then p.epoch else 0 end
from counted_page p cross join lateral unnest(p.mrn, p.version, p."row") as x(mrn, version, "row")
where p.day = $1 order by x.mrn, p.epoch desc, x.version desc
"""


async def turn_into_rows(database: Database, *, with_epochs: bool = True) -> None:
    """Store what was counted as a release before did, the first ones without epochs, and delete the pages."""
    async with database.transaction() as tx:
        days = [row["day"] for row in await tx.raw.fetch("select distinct day from counted_page")]
        await schema.ensure_day_partitions(tx, "counted", days)
        for day in days:
            # Into the partition itself: the table takes none any more.
            await tx.raw.execute(_ROWS.format(day=day), day, with_epochs)
        await tx.raw.execute("truncate counted_page")
