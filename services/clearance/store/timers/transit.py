"""The list of goods in transit, with the end of their time limit."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.consignment.columns import in_transit, was_moved
from services.clearance.store.rows import days_of
from services.clearance.store.timers.storage import Place
from services.clearance.transit.movement import due_times

_OF_OFFICE: Final = """
    select due_at, day, mrn from transit
    where {office} = $1 and (due_at, day, mrn) > ($2, $3, $4) and (not $5 or next_at is null) order by due_at, day, mrn limit $6
"""


class TransitTable:
    """The list of goods in transit."""

    async def note(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store which of these states are in transit; nothing happens where none was ever moved."""
        moved = was_moved(table)
        if not moved.any():
            return
        moving = in_transit(table)
        await self.forget(tx, [mrns[row] for row in np.flatnonzero(moved & ~moving).tolist()])
        rows = np.flatnonzero(moving).tolist()
        if not rows:
            return
        due, following = (each.tolist() for each in due_times(table))
        departures, destinations = (
            table.strings(name).tolist() for name in ("transit_departure_office", "transit_destination_office")
        )
        await bulk.insert(
            tx,
            "transit",
            {
                "day": bulk.int4([days[row] for row in rows]),
                "mrn": bulk.text([mrns[row] for row in rows]),
                "departure_office": bulk.text([departures[row] for row in rows]),
                "destination_office": bulk.text([destinations[row] for row in rows]),
                "due_at": bulk.int8([due[row] for row in rows]),
                "next_at": bulk.int8([following[row] for row in rows]),
            },
            on_conflict="(day, mrn) do update set departure_office = excluded.departure_office, "
            "destination_office = excluded.destination_office, due_at = excluded.due_at, next_at = excluded.next_at",
        )

    async def forget(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Delete consignments from the list."""
        if mrns:
            await tx.raw.execute(
                "delete from transit t using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where t.day = any(array[w.day]) and t.mrn = w.mrn",
                days_of(mrns),
                list(mrns),
            )

    async def due(self, tx: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of goods whose limit ended before an instant without a record of it, the longest due first."""
        records = await tx.raw.fetch("select mrn from transit_find($1, $2)", until, limit)
        return [record["mrn"] for record in records]

    async def of_office(
        self, tx: Transaction, office: str, after: Place, limit: int, *, departing: bool, overdue: bool
    ) -> list[Place]:
        """Return goods that move to an office, or left it, after a place, the earliest end of the limit first; "" stands for every office."""
        column = ("departure_office" if departing else "destination_office") if office else "''"
        records = await tx.raw.fetch(_OF_OFFICE.format(office=column), office, *after, overdue, limit)
        return [(record["due_at"], record["day"], record["mrn"]) for record in records]
