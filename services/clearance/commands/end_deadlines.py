"""Reminds of controls and ends their deadlines."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.consignment.controls import steps
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.store import Store

_ended = counter(
    "luxor_clearance_control_deadlines_total",
    "Consignments of which a control was answered or concluded too late, or whose addressee was reminded",
    ("kind",),
)


class EndDeadlines:
    """Carries out reminders and deadlines of controls; all times are the database's."""

    chunk_rows: Final = 200
    """Consignments of one transaction: each may have twenty controls."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of consignments with a reminder or a deadline before an instant, the longest due first."""
        return await self._store.controls.due(reading, until, limit)

    async def run(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Carry out what is due of these consignments, each as it stands now; return how many changed. `at` stands in for the database's clock.

        One transaction: a second replica at the same rows would wait for the locks and find nothing due."""
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            await self._store.controls.forget(tx, [mrn for mrn in mrns if mrn not in locked])
            rows = list(locked.values())
            states = await self._store.states(tx, rows)
            # A clock that was set back since the look-up must not leave what is due undone.
            now = at if at is not None else max(until, await self._store.now(tx))
            table, events, changed, silent = steps.due(states, now)
            others = np.flatnonzero(~changed)
            if len(others):
                chosen = [rows[place] for place in others.tolist()]
                await self._store.controls.note(
                    tx, states.take(others), [row.mrn for row in chosen], [row.day for row in chosen]
                )
            places = np.flatnonzero(changed)
            if not len(places):
                return 0
            details = EventDetails(event=events[places], at=now, hidden=silent[places])
            table, outcome = apply_event(table.take(places), details)
            assert bool(outcome.effective.all()), (
                "an open control has an effect: goods that end or are seized end their controls"
            )
            await self._store.succeed(tx, table, [rows[place] for place in places.tolist()], trace=trace)
            late = table.child("controls").ints("overdue_at").filled(0) == now
            overdue = len(set(table.ragged("controls").owners()[late].tolist()))
            tx.after_commit(lambda: _count(len(places), overdue))
        return len(places)


def _count(consignments: int, overdue: int) -> None:
    _ended.labels("overdue").inc(overdue)
    _ended.labels("reminded").inc(consignments - overdue)
