"""Fold the deltas of pages into the daily cells every few seconds, on one replica at a time."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.store.errors import StoreUnavailable
from libs.store.tables.leases import release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger
from services.statistics.commands.fold import Fold
from services.statistics.store import deltas
from services.statistics.store.cells import Store

LEASE: Final = "fold"
LEASE_SECONDS: Final = 30.0
INTERVAL_SECONDS: Final = 10.0

_pending = gauge(
    "luxor_statistics_deltas_pending", "Changes of pages to the daily cells that are not folded into them yet"
)
log = get_logger()


class Folding:
    """Folds at intervals (table `job_lease`); queries add what is not folded yet, so nothing waits for it."""

    def __init__(self, store: Store, replica: str, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Work in a store as `replica`."""
        self._store = store
        self._replica = replica
        self._fold = Fold(store)
        self._interval_seconds = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreUnavailable as error:
                log.warning("FOLD_POSTPONED", store=self._store.database.name, why=str(error))
            except Exception as error:  # a delta that cannot be read or added must not end the service
                log.error("FOLD_FAILED", error, store=self._store.database.name)
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self) -> int:
        """Fold once what there is; return how many deltas were folded, 0 where another replica is at it."""
        database = self._store.database
        async with database.connection() as reader:
            waiting = await deltas.count(reader)
        _pending.set(waiting)
        if not waiting:
            return 0
        async with database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        if token is None:
            return 0
        folded = await self._fold.run()
        async with database.transaction() as tx:
            await release_lease(tx, LEASE, token)
        return folded
