"""The list of goods whose filing risk could not judge before loading, by acceptance."""

import numpy as np

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.consignment.controls.pre_loading import is_unjudged, waits_for_judgement
from services.clearance.store.rows import days_of
from services.clearance.store.timers.storage import Place


class UnjudgedTable:
    """The list of goods that wait for an officer's judgement before they are loaded."""

    async def note(self, tx: Transaction, table: Table, mrns: list[str], days: list[int]) -> None:
        """Store which of these states wait for a judgement; nothing happens where risk judged all of them."""
        unjudged = is_unjudged(table)
        if not unjudged.any():
            return
        waits = waits_for_judgement(table)
        await self.forget(tx, table.take(np.flatnonzero(unjudged & ~waits)))
        rows = np.flatnonzero(waits).tolist()
        if not rows:
            return
        offices, accepted = table.strings("office").tolist(), table.ints("accepted_at").values.tolist()
        await bulk.insert(
            tx,
            "unjudged",
            {
                "day": bulk.int4([days[row] for row in rows]),
                "mrn": bulk.text([mrns[row] for row in rows]),
                "office": bulk.text([offices[row] for row in rows]),
                "accepted_at": bulk.int8([accepted[row] for row in rows]),
            },
            on_conflict="(day, mrn) do update set office = excluded.office, accepted_at = excluded.accepted_at",
        )

    async def forget(self, tx: Transaction, states: Table) -> None:
        """Delete those of some states from the list that may be in it: a new version of the filing replaces them, or they do not wait any more."""
        mrns = states.take(np.flatnonzero(is_unjudged(states))).strings("mrn").tolist()
        if mrns:
            await tx.raw.execute(
                "delete from unjudged u using unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "where u.day = any(array[w.day]) and u.mrn = w.mrn",
                days_of(mrns),
                mrns,
            )

    async def page(self, tx: Transaction, office: str, after: Place, limit: int) -> list[Place]:
        """Return the goods of an office after a place, the oldest acceptance first; "" stands for every office."""
        records = await tx.raw.fetch("select * from unjudged_find($1, $2, $3, $4, $5)", office, *after, limit)
        return [(record["accepted_at"], record["day"], record["mrn"]) for record in records]
