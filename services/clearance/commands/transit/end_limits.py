"""Records that goods in transit did not arrive within their time limit."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.columns import Ints
from libs.store.database import Transaction
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Event
from services.clearance.store import Store
from services.clearance.transit.movement import due_times


class EndTransitLimits:
    """Records the ends of time limits of movements; all times are the database's."""

    chunk_rows: Final = 1_000
    """Consignments of one transaction, which must not hold the feed's horizon for long."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of goods whose limit ended before an instant, the longest due first."""
        return await self._store.transits.due(reading, until, limit)

    async def run(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Record the limits that ended, of each consignment as it stands now; return how many. `at` replaces the database's clock.

        One transaction: a second replica at the same rows waits for the locks and finds nothing due.
        """
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            await self._store.transits.forget(tx, [mrn for mrn in mrns if mrn not in locked])
            rows = list(locked.values())
            states = await self._store.states(tx, rows)
            # A clock that was set back since the look-up must not leave what is due undone.
            now = at if at is not None else max(until, await self._store.now(tx))
            _, due = due_times(states)
            ready = due.valid & (due.values <= now)
            others = np.flatnonzero(~ready)
            if len(others):
                chosen = [rows[place] for place in others.tolist()]
                await self._store.transits.forget(tx, [row.mrn for row in chosen])
                await self._store.transits.note(
                    tx, states.take(others), [row.mrn for row in chosen], [row.day for row in chosen]
                )
            places = np.flatnonzero(ready)
            if not len(places):
                return 0
            details = EventDetails(
                event=Event.TRANSIT_OVERDUE,
                at=now,
                columns={"transit_overdue_at": Ints.constant(now, len(places))},
            )
            table, outcome = apply_event(states.take(places), details)
            assert bool(outcome.effective.all()), "goods in transit have arrived and are not released"
            await self._store.succeed(tx, table, [rows[place] for place in places.tolist()], trace=trace)
        return len(places)
