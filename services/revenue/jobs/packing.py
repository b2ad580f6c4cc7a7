"""Pack the ledger's former rows in the background: short transactions with pauses, until nothing is left to pack."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Final

from libs.columns.stored import InputError
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.leases import LeaseLost, release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger
from services.revenue.commands.pack_rows import Packing
from services.revenue.store.ledger.names import Names

LEASE: Final = "ledger-packing"
LEASE_SECONDS: Final = 300.0
SHARE: Final = 0.2
"""Of the time it works so much; posting waits for none of it, but shares the cores and the disk."""
REPORT_SECONDS: Final = 60.0
ROUND_SECONDS: Final = 86_400.0
"""A round ends with nothing left, or with chains that somebody must look at: the next one looks at them once more."""
log = get_logger()


class PackingJob:
    """Packs former rows, of all replicas one at a time."""

    def __init__(self, database: Database, names: Names, replica: str) -> None:
        """Pack the rows of a database."""
        self._database = database
        self._packing = Packing(database, names)
        self._replica = replica

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            pause = LEASE_SECONDS
            try:
                if await self.round(stop):
                    pause = ROUND_SECONDS
            except (StoreError, InputError) as error:
                log.warning("LEDGER_PACKING_POSTPONED", store=self._database.name, why=str(error))
            except Exception as error:  # whatever somebody wrote into the ledger must not end the service
                log.error("LEDGER_PACKING_FAILED", error, store=self._database.name)
            await wait_for_stop(stop, pause)

    async def round(self, stop: asyncio.Event) -> bool:
        """Pack all that can be packed, or until `stop`; False where another replica is at it."""
        token = await self._lease()
        if token is None:
            return False
        began = renewed = reported = time.monotonic()
        packed, left = 0, 0
        try:
            async with aclosing(self._packing.parts(LEASE, token)) as parts:
                async for part in parts:
                    packed, left = packed + part.entries, part.left
                    now = time.monotonic()
                    if now - reported > REPORT_SECONDS:
                        log.info("LEDGER_ROWS_PACKED", entries=packed, left=left)
                        reported = now
                    if now - renewed > LEASE_SECONDS / 3:
                        if await self._lease() != token:
                            raise LeaseLost(f"the lease of {LEASE} is lost", database=self._database.name)
                        renewed = now
                    await wait_for_stop(stop, min(LEASE_SECONDS / 3, (now - began) / SHARE - (now - began)))
                    if stop.is_set():
                        break
                    began = time.monotonic()
        finally:
            await self._give_back(token)
        if packed or left:
            log.info("LEDGER_ROWS_PACKED", entries=packed, left=left)
        return True

    async def _lease(self) -> int | None:
        async with self._database.transaction() as tx:
            return await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)

    async def _give_back(self, token: int) -> None:
        try:
            async with self._database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        except StoreError as error:
            log.warning("LEDGER_PACKING_LEASE_NOT_RELEASED", store=self._database.name, why=str(error))
