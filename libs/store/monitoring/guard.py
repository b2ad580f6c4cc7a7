"""The identity of a store: a process must not continue with a restored one, since its memory of the former one is not true of it.

Numbers that a store hands out (accounts, batches, rows) are handed out again after a restore, and a process holds many of them in memory. So a
database that is guarded gives out no connection to another store than the one that it was opened on, and the service ends and is started again.
"""

import asyncio
import contextlib
from typing import Final

from libs import telemetry
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.tasks.stop import wait_for_stop

INTERVAL_SECONDS: Final = 2.0
_log = telemetry.get_logger()


class StoreReplaced(Exception):
    """The store is another one than the process began with; raised by a background task, it ends the process."""


class Guard:
    """Ends the service when its store was replaced by another one, an older copy or a standby that was promoted."""

    def __init__(self, database: Database) -> None:
        """Look at a guarded database."""
        self._database = database

    async def run(self, stop: asyncio.Event) -> None:
        """Look every interval how far the log is, until `stop`. Raises StoreReplaced."""
        while not stop.is_set():
            # If it is absent, the next server is checked at the connection.
            with contextlib.suppress(StoreError):
                await self._database.look_at_identity()
            if self._database.replaced:
                _log.error(
                    "STORE_REPLACED",
                    store=self._database.name,
                    text=self._database.replaced,
                    hint="the process ends and is started again, because its cached data are of the former store",
                )
                raise StoreReplaced(f"database {self._database.name}: {self._database.replaced}")
            await wait_for_stop(stop, INTERVAL_SECONDS)
