"""Lists of work: what is held, and all consignments in the order of day and MRN."""

from libs.columns import Table
from libs.store import bulk
from libs.store.database import Transaction
from libs.store.schema import day_partitions
from services.clearance.lifecycle import State
from services.clearance.store.rows import Row, row_of


class Work:
    """What somebody has to look at."""

    async def note_held(self, tx: Transaction, table: Table, mrns: list[str], days: list[int], *, new: bool) -> None:
        held = (table.ints("state").values == State.HELD).tolist()
        lanes = table.ints("lane").values.tolist()
        if not new:
            gone = [place for place, is_held in enumerate(held) if not is_held]
            await tx.raw.execute(
                "delete from held h using unnest($1::integer[], $2::text[]) as w(day, mrn) where h.day = w.day and h.mrn = w.mrn",
                [days[place] for place in gone],
                [mrns[place] for place in gone],
            )
        there = [place for place, is_held in enumerate(held) if is_held]
        await bulk.insert(
            tx,
            "held",
            {
                "day": bulk.int4([days[place] for place in there]),
                "mrn": bulk.text([mrns[place] for place in there]),
                "lane": bulk.int2([lanes[place] for place in there]),
            },
            on_conflict="(day, mrn) do update set lane = excluded.lane",
        )

    async def held(self, tx: Transaction, after: tuple[int, str], lane: int, limit: int) -> list[str]:
        """Give the MRNs of what is held, by day and MRN, after a place."""
        records = await tx.raw.fetch(
            "select mrn from held where (day, mrn) > ($1, $2) and ($3 = 0 or lane = $3) order by day, mrn limit $4",
            after[0],
            after[1],
            lane,
            limit,
        )
        return [record["mrn"] for record in records]

    async def scan(self, tx: Transaction, after: tuple[int, str], limit: int) -> list[Row]:
        """Give consignments in the order of day and MRN, after a place."""
        days = await self._days_from(tx, after[0])
        rows: list[Row] = []
        for day in days:
            records = await tx.raw.fetch(
                "select mrn, partition, filer, version, filing_version, state, lane, batch_day, batch_id, batch_row "
                "from consignment where day = $1 and mrn > $2 order by mrn limit $3",
                day,
                after[1] if day == after[0] else "",
                limit - len(rows),
            )
            rows.extend(row_of(record, record["mrn"], day) for record in records)
            if len(rows) >= limit:
                break
        return rows

    async def _days_from(self, tx: Transaction, day: int) -> list[int]:
        return [each for each in await day_partitions(tx, "consignment") if each >= day]
