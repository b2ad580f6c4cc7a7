"""What happens at its time by itself: green ones are released once nobody looked at them, yellow ones become blue."""

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.errors import StoreError
from libs.store.tables.leases import release_lease, try_lease
from libs.telemetry import counter, get_logger, span
from services.clearance.consignment.state import Happening, evolve
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import Row, Store
from services.clearance.store.work import due_times

LEASE: Final = "waits"
LEASE_SECONDS: Final = 30.0
INTERVAL_SECONDS: Final = 1.0
CHUNK_ROWS: Final = 1_000
"""Consignments that go on in one transaction: it must not hold the feed's horizon for long."""

_ended = counter(
    "luxor_clearance_waits_total",
    "Consignments whose wait ended automatically: released after the delay for an officer, or re-routed from yellow to blue",
    ("kind",),
)


class Waits:
    """Carries out what is due, on one replica at a time (table `job_lease`); all times are the database's."""

    def __init__(self, store: Store, replica: str, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Work in a store as `replica`."""
        self._store = store
        self._replica = replica
        self._interval_seconds = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Look every interval, until `stop`; what fails is tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("WAITS_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one consignment that cannot go on must not end the service
                get_logger().error("WAITS_FAILED", error)
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def step(self, *, at: int | None = None) -> int:
        """Carry out what was due until now (`at` stands in for the database's clock); gives how many went on."""
        until = at if at is not None else await self._store.database.now()
        done = 0
        token: int | None = None
        while mrns := await self._due(until):
            with span("clearance.waits", attributes={"luxor.rows": len(mrns)}) as told:
                async with self._store.database.transaction() as tx:
                    token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
                if token is None:
                    return done
                done += await self._go_on(mrns, until, at, told.traceparent)
        if token is not None:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        return done

    async def _due(self, until: int) -> list[str]:
        async with self._store.database.connection() as reading:
            mrns = await self._store.due(reading, until, CHUNK_ROWS)
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, mrns)).values()))
        return mrns

    async def _go_on(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Apply one chunk, each row as it stands now; a second replica at the same rows would wait for the locks and find nothing due."""
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            rows = list(locked.values())
            table = await self._store.states(tx, rows)
            due_at, due = due_times(table)
            ready = due & (due_at <= until)
            await self._store.forget_due(tx, [mrn for mrn in mrns if mrn not in locked])
            await self._note_again(tx, table, rows, np.flatnonzero(~ready))
            places = np.flatnonzero(ready)
            if not len(places):
                return 0
            table = table.take(places)
            waits = table.ints("state").values == State.AWAITING_ARRIVAL
            events = np.where(waits, np.int64(Event.WAIT_ENDED), np.int64(Event.REROUTED))
            now = at if at is not None else await self._store.now(tx)
            table, outcome = evolve(table, Happening(event=events, at=now))
            assert bool(outcome.effective.all()), "what is due goes on, or is held for its debt"
            await self._store.succeed(tx, table, [rows[place] for place in places.tolist()], trace=trace)
            tx.after_commit(lambda: _count(int(waits.sum()), int((~waits).sum())))
        return len(places)

    async def _note_again(self, tx: Transaction, table: Table, rows: Sequence[Row], places: NDArray[np.int64]) -> None:
        """Note anew what changed since it was looked up, or was changed by a release that knew of no waits."""
        if len(places):
            chosen = [rows[place] for place in places.tolist()]
            mrns, days = [row.mrn for row in chosen], [row.day for row in chosen]
            await self._store.note_work(tx, table.take(places), mrns, days, new=False)


def _count(released: int, rerouted: int) -> None:
    _ended.labels("wait_ended").inc(released)
    _ended.labels("rerouted").inc(rerouted)
