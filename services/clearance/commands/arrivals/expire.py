"""Ends declarations whose goods did not arrive in time, and exports whose exit was not confirmed in time."""

from collections.abc import Sequence

import numpy as np

from libs.columns import Table
from libs.store.database import Transaction
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.expiry import EXIT_NOT_CONFIRMED, exit_overdue, expirable, expiring
from services.clearance.consignment.state.transport_numbers import numbers_of, travels_under
from services.clearance.consignment.transitions import Event
from services.clearance.store import Row, Store
from services.clearance.store.work import Pass


class Expire:
    """Ends declarations, a chunk in a transaction; all times are the database's."""

    def __init__(self, store: Store, exit_days: int) -> None:
        """Work in a store; an exit has to be confirmed within `exit_days` of the release."""
        self._store = store
        self._exit_days = exit_days

    async def run(self, mrns: Sequence[str], progress: Pass, trace: str, now: int) -> int:
        """End those of some declarations that expire as they stand now, and store how far the pass of their day has come; return how many ended.

        The exits of exports have to be confirmed by `now`, microseconds since 1970-01-01 UTC.

        An arrival or an officer that comes at the same time has its effect before or after: both lock the consignment, and the state then decides.
        """
        async with self._store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, mrns)).values()))
        async with self._store.database.transaction() as tx:
            rows = list((await self._store.lock(tx, mrns)).values())
            states = await self._store.states(tx, rows)
            ended = await self._end_exports(tx, states, rows, trace, now) if rows else 0
            places = np.flatnonzero(expirable(states)) if rows else np.zeros(0, np.int64)
            if len(places):
                # What was reported as arrived waits for the arrival's work or for a binding, not for the goods.
                waiting = states.take(places)
                places = places[~travels_under(waiting, set(await self._store.arrivals.find(tx, numbers_of(waiting))))]
            if len(places):
                details = EventDetails(event=Event.EXPIRED, at=await self._store.now(tx))
                after, outcome = apply_event(expiring(states.take(places)), details)
                assert bool(outcome.effective.all()), "what expires has neither arrived nor a hold"
                await self._store.succeed(tx, after, [rows[place] for place in places.tolist()], trace=trace)
            await self._store.work.note_pass(tx, progress)
        return len(places) + ended

    async def _end_exports(self, tx: Transaction, states: Table, rows: Sequence[Row], trace: str, now: int) -> int:
        """Invalidate the exports of a chunk whose exit was not confirmed in time; return how many."""
        places = np.flatnonzero(exit_overdue(states, self._exit_days, now))
        if len(places):
            details = EventDetails(event=Event.EXIT_OVERDUE, at=await self._store.now(tx))
            after, outcome = apply_event(expiring(states.take(places), EXIT_NOT_CONFIRMED), details)
            assert bool(outcome.effective.all()), "a released export can end"
            await self._store.succeed(tx, after, [rows[place] for place in places.tolist()], trace=trace)
        return len(places)
