"""Seal the ledger's chains at intervals, and look at how old the oldest entry is that no seal covers."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.monitoring.gauges import Look
from libs.store.tables.leases import release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger
from services.revenue.commands.seal import seal
from services.revenue.store.proofs.seals import oldest_unsealed

LEASE: Final = "ledger-seals"
_sealed = gauge("luxor_revenue_ledger_sealed_timestamp_seconds", "When the ledger's chains were last found sealed")
_unsealed = gauge(
    "luxor_revenue_ledger_unsealed_seconds",
    "Age of the oldest entry of the ledger that no seal covers yet; 0 if all are covered",
)
_log = get_logger()


class SealJob:
    """Seals at intervals; of all replicas one at a time."""

    def __init__(self, database: Database, replica: str, *, interval_seconds: float) -> None:
        """Seal every so many seconds what was booked since."""
        self._database = database
        self._replica = replica
        self._interval = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        token: int | None = None
        while not stop.is_set():
            try:
                token = await self.step()
            except StoreError as error:
                _log.warning("LEDGER_SEAL_POSTPONED", store=self._database.name, why=str(error))
            await wait_for_stop(stop, self._interval)
        if token is not None:
            await self._give_back(token)

    async def step(self) -> int | None:
        """Seal once; return the lease's token, None where another replica seals."""
        async with self._database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, 3 * self._interval)
        if token is None:
            return None
        await seal(self._database, LEASE, token)
        _sealed.set_to_current_time()
        return token

    async def _give_back(self, token: int) -> None:
        try:
            async with self._database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        except StoreError as error:
            _log.warning("LEDGER_SEAL_LEASE_NOT_RELEASED", store=self._database.name, why=str(error))


def unsealed() -> Look:
    """Return a look at the age of the oldest entry that no seal covers."""

    async def look(database: Database) -> None:
        async with database.connection(timeout_millis=5_000) as reader:
            booked_at = await oldest_unsealed(reader)
            age = 0 if booked_at is None else max(0, await reader.now() - booked_at)
        _unsealed.set(age / 1e6)

    return look
