"""The list of goods that are to be presented, or lie in temporary storage with a known time limit, and how far the pass over the lists has come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.consignment.transitions import Change
from services.clearance.store.rows import days_of
from services.clearance.temporary_storage.limits import ends, next_times

Place = tuple[int, int, str]
"""End of the limit, or acceptance; day of acceptance and MRN: the order of an office's list."""


@dataclass(frozen=True, slots=True)
class ListPass:
    """How far the pass over a work list has come."""

    day: int = 0
    mrn: str = ""
    """Day and MRN up to which the pass under way has come; 0 and "" where none is under way."""
    passed_at: int | None = None
    """When the list was passed last, microseconds since 1970-01-01 UTC; None where it never was."""


class StorageTable:
    """The list of goods in temporary storage."""

    async def note(
        self,
        tx: Transaction,
        table: Table,
        mrns: list[str],
        days: list[int],
        *,
        in_lists: NDArray[np.bool_] | np.bool_ = np.True_,
    ) -> None:
        """Store the time limits of these states. `in_lists` marks states with a former version that may be in the list; by default all may be."""
        may_be = in_lists & table.ints("arrived_at").valid
        may_be |= in_lists & (table.ints("change").values == Change.ARRIVAL_REVERSED)
        found = ends(table)
        left = [mrns[row] for row in np.flatnonzero(may_be & ~found.at.valid).tolist()]
        await self.forget(tx, left)
        rows = np.flatnonzero(found.at.valid).tolist()
        if not rows:
            return
        next_at, offices = next_times(table, found).tolist(), table.strings("office").tolist()
        end = found.at.values.tolist()
        await bulk.insert(
            tx,
            "storage",
            {
                "day": bulk.int4([days[row] for row in rows]),
                "mrn": bulk.text([mrns[row] for row in rows]),
                "office": bulk.text([offices[row] for row in rows]),
                "ends_at": bulk.int8([end[row] for row in rows]),
                "next_at": bulk.int8([next_at[row] for row in rows]),
            },
            on_conflict="(day, mrn) do update set office = excluded.office, ends_at = excluded.ends_at, next_at = excluded.next_at",
        )

    async def forget(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete consignments from the list."""
        if mrns:
            await tx.raw.execute(
                "delete from storage s using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where s.day = any(array[w.day]) and s.mrn = w.mrn",
                days_of(mrns),
                list(mrns),
            )

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of goods with a reminder or an end before an instant, the longest due first."""
        records = await tx.raw.fetch("select mrn from storage_find($1, $2)", until, limit)
        return [record["mrn"] for record in records]

    async def entries(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, tuple[int, int | None]]:
        """Return the end and the next time of those of some consignments that the list has."""
        records = await tx.raw.fetch(
            "select w.mrn, s.ends_at, s.next_at from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn) "
            "cross join lateral (select * from storage t where t.day = w.day and t.mrn = w.mrn limit 1) s",
            days_of(mrns),
            list(mrns),
        )
        return {record["mrn"]: (record["ends_at"], record["next_at"]) for record in records}

    async def of_office(self, tx: Transaction, office: str, until: int, after: Place, limit: int) -> list[Place]:
        """Return the goods of an office whose limit ends before an instant, after a place, the earliest end first."""
        records = await tx.raw.fetch(
            "select ends_at, day, mrn from storage where office = $1 and ends_at <= $2 and (ends_at, day, mrn) > ($3, $4, $5) "
            "order by ends_at, day, mrn limit $6",
            office,
            until,
            *after,
            limit,
        )
        return [(record["ends_at"], record["day"], record["mrn"]) for record in records]

    async def passes(self, tx: Transaction) -> dict[str, ListPass]:
        """Return the passes over the work lists."""
        records = await tx.raw.fetch("select list, day, mrn, passed_at from storage_pass")
        return {each["list"]: ListPass(each["day"], each["mrn"], each["passed_at"]) for each in records}

    async def note_pass(self, tx: Transaction, name: str, progress: ListPass) -> None:
        """Store how far the pass over a work list has come."""
        await tx.raw.execute(
            "insert into storage_pass (list, day, mrn, passed_at) values ($1, $2, $3, $4) "
            "on conflict (list) do update set day = excluded.day, mrn = excluded.mrn, passed_at = excluded.passed_at",
            name,
            progress.day,
            progress.mrn,
            progress.passed_at,
        )
