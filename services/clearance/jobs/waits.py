"""Ends what waits at its time: green consignments that no officer held are released, yellow ones become blue, controls are reminded of
or overdue, proposals lapse, temporary storage ends, goods in transit become overdue, return orders are fulfilled or expire, and licences end."""

import asyncio
from typing import Final

from libs.store.errors import StoreError
from libs.store.tables.leases import release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger, span
from services.clearance.commands.bulk.due import DueCommand
from services.clearance.commands.end_deadlines import EndDeadlines
from services.clearance.commands.end_waits import EndWaits
from services.clearance.commands.goods.end_licences import EndLicences
from services.clearance.commands.returns.end_orders import EndReturnOrders
from services.clearance.commands.storage.end_storage import EndStorage
from services.clearance.commands.transit.end_limits import EndTransitLimits
from services.clearance.commands.work.proposals import EndProposals
from services.clearance.store import Store

LEASE: Final = "waits"
LEASE_SECONDS: Final = 30.0
INTERVAL_SECONDS: Final = 1.0
Timer = EndWaits | DueCommand | EndReturnOrders | EndLicences


class Waits:
    """Ends due delays and deadlines, on one replica at a time (table `job_lease`), by the clock of the database."""

    def __init__(self, store: Store, replica: str, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Work in a store as `replica`."""
        self._store = store
        self._replica = replica
        self._timers = (
            EndWaits(store),
            EndDeadlines(store),
            EndProposals(store),
            EndStorage(store),
            EndTransitLimits(store),
            EndReturnOrders(store),
            EndLicences(store),
        )
        self._interval_seconds = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Run every interval until `stop`; failures are tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("WAITS_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one consignment that fails must not end the service
                get_logger().error("WAITS_FAILED", error)
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self, *, at: int | None = None) -> int:
        """End the delays and deadlines that are over now (`at` replaces the database's clock); return the number of consignments, and of
        licences whose agency is notified.
        """
        async with self._store.database.connection() as reading:
            until = at if at is not None else await reading.now()
            timers = [timer for timer in self._timers if await timer.due(reading, until, 1)]
        done = 0
        token: int | None = None
        for timer in timers:
            while due := await self._due(timer, until):
                with span("clearance.waits", attributes={"luxor.rows": len(due)}) as work:
                    async with self._store.database.transaction() as tx:
                        token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
                    if token is None:
                        return done
                    done += await timer.run(due, until, at, work.traceparent)
        if token is not None:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        return done

    async def _due(self, timer: Timer, until: int) -> list[str]:
        async with self._store.database.connection() as reading:
            due = await timer.due(reading, until, timer.chunk_rows)
            if not isinstance(timer, EndLicences):
                # Read outside of the transaction, so that inside it the batches come from memory.
                await self._store.states(reading, list((await self._store.find(reading, due)).values()))
        return due
