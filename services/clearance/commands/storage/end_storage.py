"""Reminds of the time limit of temporary storage, and records its end and that of the time in which goods are to be presented."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.columns import Ints
from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.consignment.columns import choose
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Event
from services.clearance.store import Store
from services.clearance.temporary_storage.limits import ends, next_times

_timed = counter(
    "luxor_clearance_storage_total",
    "Consignments of which filer and carrier were reminded that temporary storage ends, whose time limit ended, or that were not presented in time",
    ("kind",),
)


class EndStorage:
    """Carries out reminders and ends of temporary storage; all times are the database's."""

    chunk_rows: Final = 1_000
    """Consignments of one transaction, which must not hold the feed's horizon for long."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of goods with a reminder or an end before an instant, the longest due first."""
        return await self._store.storage.due(reading, until, limit)

    async def run(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Carry out what is due of these goods, each as it stands now; return how many changed. `at` replaces the database's clock.

        One transaction: a second replica at the same rows waits for the locks and finds nothing due. Where both are due, the end counts.
        """
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            await self._store.storage.forget(tx, [mrn for mrn in mrns if mrn not in locked])
            rows = list(locked.values())
            states = await self._store.states(tx, rows)
            # A clock that was set back since the look-up must not leave what is due undone.
            now = at if at is not None else max(until, await self._store.now(tx))
            found = ends(states)
            due = next_times(states, found)
            ready = due.valid & (due.values <= now)
            others = np.flatnonzero(~ready)
            if len(others):
                chosen = [rows[place] for place in others.tolist()]
                await self._store.storage.note(
                    tx,
                    states.take(others),
                    [row.mrn for row in chosen],
                    [row.day for row in chosen],
                    in_lists=np.ones(len(others), np.bool_),
                )
            places = np.flatnonzero(ready)
            if not len(places):
                return 0
            over = found.at.values[places] <= now
            times = Ints.constant(now, len(places))
            table = states.take(places)
            late = unpresented(table)
            ended = np.where(late, np.int64(Event.PRESENTATION_OVERDUE), np.int64(Event.STORAGE_ENDED))
            events = np.where(over, ended, np.int64(Event.STORAGE_REMINDED))
            table = table.with_columns(
                {
                    "storage_reminded_at": choose(~over, times, table.ints("storage_reminded_at")),
                    "storage_ended_at": choose(over & ~late, times, table.ints("storage_ended_at")),
                    "presentation_overdue_at": choose(late, times, table.ints("presentation_overdue_at")),
                }
            )
            table, outcome = apply_event(table, EventDetails(event=events, at=now))
            assert bool(outcome.effective.all()), "goods in temporary storage are held and were presented"
            await self._store.succeed(tx, table, [rows[place] for place in places.tolist()], trace=trace)
            tx.after_commit(lambda: _count(int((over & ~late).sum()), int(late.sum()), len(over)))
        return len(places)


def _count(ended: int, overdue: int, consignments: int) -> None:
    _timed.labels("ended").inc(ended)
    _timed.labels("presentation_overdue").inc(overdue)
    _timed.labels("reminded").inc(consignments - ended - overdue)
