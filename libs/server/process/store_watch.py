"""What a service says of its own store: ready, writable, full; in health, in metrics, in the log, and to callers."""

import time
from typing import Final

from libs import telemetry
from libs.server.errors import Refusal
from libs.server.process.health import Health
from libs.store.checks import require_writable
from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.store.monitoring.space import has_space, is_full_here

FULL_RETRY_SECONDS: Final = 2.0
"""When a caller who was refused since the disk is full comes back: about as often as the store is looked at."""
RETRY_SECONDS: Final = 0.5

_log = telemetry.get_logger()
_full = telemetry.gauge("luxor_store_full", "1 while the service's own store refuses writes because its disk is full")
_writable = telemetry.gauge("luxor_store_writable", "1 while the service's own store answers and accepts writes")


def refusal_of_store(error: BaseException) -> Refusal:
    """Return what a caller is told when the store failed in a way that passes: the same request may be sent again."""
    if isinstance(error, StoreUnavailable) and error.full:
        return Refusal("STORE_FULL", store=error.database, retry_after_seconds=FULL_RETRY_SECONDS)
    return Refusal("STORE_UNAVAILABLE", retry_after_seconds=RETRY_SECONDS)


class StoreWatch:
    """Looks at the own store whenever it is asked what is missing."""

    def __init__(self, database: Database, health: Health) -> None:
        """Look at an open database and say so in `health`."""
        self._database = database
        self._health = health
        self._full_since: float | None = None

    async def missing(self) -> list[str]:
        """Return what the service waits for; raise StoreUnavailable where the store is not there.

        A full disk does not make the service unready: it answers reads, and a caller that wants to write must reach it
        to be told why it cannot. A store that is read-only does.
        """
        database = self._database
        writable = False
        try:
            await require_writable(database)
            writable = not database.full or await self._space()
            return []
        except StoreUnavailable as error:
            if error.reason != "read_only":
                database.full = database.full or is_full_here(database.url)
                raise
            # The name may lead to another server by now: a standby was promoted, and this one is the standby.
            await database.reconnect()
            return [str(error)]
        finally:
            self.report_full()
            _writable.set(1 if writable else 0)
            await self._health.store(writable)

    async def _space(self) -> bool:
        if await has_space(self._database):
            self._database.full = False
            return True
        return False

    def report_full(self) -> None:
        full = self._database.full
        _full.set(1 if full else 0)
        if full and self._full_since is None:
            self._full_since = time.monotonic()
            _log.error(
                "STORE_FULL",
                store=self._database.name,
                what="the disk of the store's server is full, so nothing that writes is taken",
                hint="make space on that disk, or give it a larger one; work goes on by itself then",
            )
        elif not full and self._full_since is not None:
            seconds = time.monotonic() - self._full_since
            self._full_since = None
            _log.info("STORE_HAS_SPACE", store=self._database.name, full_for_seconds=round(seconds, 1))
