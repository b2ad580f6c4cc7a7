"""The list of goods whose filing contradicts parts of other parties, by acceptance."""

from typing import Final

import numpy as np

from libs.columns import Table, among
from libs.columns.arrays import BoolArray
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.consignment.contradictions.contradiction import has_contradictions, stands
from services.clearance.consignment.transitions import FINAL, State
from services.clearance.store.rows import days_of
from services.clearance.store.timers.storage import Place

_UNLISTED: Final = (*FINAL, State.RELEASED)
"""States of goods that no officer decides on any more because of a contradiction."""


def in_list(states: Table) -> BoolArray:
    """Return which states are in the list, shape (n,): they have contradictions, and are neither released nor final."""
    return stands(states) & ~among(states.ints("state").values, _UNLISTED)


class ContradictedTable:
    """The list of goods with contradictions."""

    async def note(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store which of these states are in the list; nothing happens where none ever had contradictions."""
        if not has_contradictions(table):
            return
        listed = in_list(table)
        ended = table.ints("contradiction_count").valid & ~listed
        await self.forget(tx, [mrns[row] for row in np.flatnonzero(ended).tolist()])
        rows = np.flatnonzero(listed).tolist()
        if not rows:
            return
        offices, accepted = table.strings("office").tolist(), table.ints("accepted_at").values.tolist()
        await bulk.insert(
            tx,
            "contradicted",
            {
                "day": bulk.int4([days[row] for row in rows]),
                "mrn": bulk.text([mrns[row] for row in rows]),
                "office": bulk.text([offices[row] for row in rows]),
                "accepted_at": bulk.int8([accepted[row] for row in rows]),
            },
            on_conflict="(day, mrn) do update set office = excluded.office, accepted_at = excluded.accepted_at",
        )

    async def forget(self, tx: Transaction, mrns: list[str]) -> None:
        """Delete consignments from the list."""
        if mrns:
            await tx.raw.execute(
                "delete from contradicted c using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where c.day = any(array[w.day]) and c.mrn = w.mrn",
                days_of(mrns),
                mrns,
            )

    async def page(self, tx: Transaction, office: str, after: Place, limit: int) -> list[Place]:
        """Return the goods of an office after a place, the oldest acceptance first; "" stands for every office."""
        records = await tx.raw.fetch("select * from contradicted_find($1, $2, $3, $4, $5)", office, *after, limit)
        return [(record["accepted_at"], record["day"], record["mrn"]) for record in records]
