"""Ends due delays: green consignments that no officer held are released, yellow ones become blue."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import Row, Store
from services.clearance.store.work import due_times

_ended = counter(
    "luxor_clearance_waits_total",
    "Consignments that changed automatically at their time: released after the delay of the green lane, or re-routed from yellow to blue",
    ("kind",),
)


class EndWaits:
    """Ends waits; all times are the database's."""

    chunk_rows: Final = 1_000
    """Consignments of one transaction, which must not hold the feed's horizon for long."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs whose delays ended before an instant, the longest due first."""
        return await self._store.work.due(reading, until, limit)

    async def run(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """End the waits of consignments that were due `until` an instant, each as it stands now; return how many went on.

        `at` stands in for the database's clock. One transaction: a second replica at the same rows would wait for the locks and find nothing due."""
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            rows = list(locked.values())
            table = await self._store.states(tx, rows)
            due_at, due = due_times(table)
            ready = due & (due_at <= until)
            await self._store.work.forget_due(tx, [mrn for mrn in mrns if mrn not in locked])
            await self._reschedule(tx, table, rows, np.flatnonzero(~ready))
            places = np.flatnonzero(ready)
            if not len(places):
                return 0
            table = table.take(places)
            waits = table.ints("state").values == State.AWAITING_ARRIVAL
            events = np.where(waits, np.int64(Event.WAIT_ENDED), np.int64(Event.REROUTED))
            now = at if at is not None else await self._store.now(tx)
            table, outcome = apply_event(table, EventDetails(event=events, at=now))
            assert bool(outcome.effective.all()), "what is due goes on, or is held for its debt"
            await self._store.succeed(tx, table, [rows[place] for place in places.tolist()], trace=trace)
            tx.after_commit(lambda: _count(int(waits.sum()), int((~waits).sum())))
        return len(places)

    async def _reschedule(self, tx: Transaction, table: Table, rows: Sequence[Row], places: NDArray[np.int64]) -> None:
        """Update the due times of what has changed since it was looked up, or was changed by a release without waits."""
        if len(places):
            chosen = [rows[place] for place in places.tolist()]
            mrns, days = [row.mrn for row in chosen], [row.day for row in chosen]
            await self._store.work.note(tx, table.take(places), mrns, days, in_lists=np.ones(len(places), np.bool_))


def _count(released: int, rerouted: int) -> None:
    _ended.labels("wait_ended").inc(released)
    _ended.labels("rerouted").inc(rerouted)
