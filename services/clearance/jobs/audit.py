"""Chains and seals the records of the audit trail, and looks at how old the oldest one is that no seal covers."""

import asyncio
import time
from typing import Final

from libs.store.database import Database
from libs.store.errors import StoreError
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.store import Store
from services.clearance.store.audit.trail import AuditTables

CHAIN_SECONDS: Final = 2.0

_unsealed = gauge(
    "luxor_clearance_audit_unsealed_seconds",
    "Age of the oldest record of the audit trail that is not chained or that no seal covers; 0 if all are covered",
)
_log = get_logger()


class AuditJob:
    """Chains at short intervals and seals at longer ones. Every replica tries; the lock of the head admits one at a time."""

    def __init__(self, store: Store, *, seal_seconds: float, interval_seconds: float = CHAIN_SECONDS) -> None:
        """Work in a store; seal every so many seconds what was chained since."""
        self._store = store
        self._chain = ChainRecords(store)
        self._seal_seconds = seal_seconds
        self._interval_seconds = interval_seconds
        self._sealed_at = float("-inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                _log.warning("AUDIT_POSTPONED", store=self._store.database.name, why=str(error))
            except Exception as error:  # whatever somebody wrote into the store must not end the service
                _log.error("AUDIT_FAILED", error, store=self._store.database.name)
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self) -> None:
        """Chain what waits, which seals full parts, and seal the rest if it is time. An idle trail is only read."""
        unsealed, waits = await self._left()
        if waits:
            await self._chain.chain_all()
            unsealed, _ = await self._left()
        now = time.monotonic()
        if unsealed and now - self._sealed_at >= self._seal_seconds:
            await self._chain.seal()
            self._sealed_at = now

    async def _left(self) -> tuple[int, bool]:
        async with self._store.database.connection() as reading:
            return await self._store.audit.outstanding(reading)


async def look(database: Database) -> None:
    """Read the age of the oldest record that no seal covers."""
    async with database.connection(timeout_millis=5_000) as reading:
        oldest = await AuditTables().oldest_unsealed(reading)
        _unsealed.set(0 if oldest is None else max(0, await reading.now() - oldest) / 1e6)
