"""Search in the background for the goods of platforms that filed their first sale after them."""

from __future__ import annotations

import asyncio

from libs.server.process.following import repeat
from libs.store.errors import StoreError
from libs.telemetry import get_logger
from services.revenue.commands.sales.search import GoodsSearch

SECONDS = 1.0
"""Time between two looks at what is due."""
_log = get_logger()


class SaleSearchJob:
    """Searches as long as searches are due, and looks for them at intervals."""

    def __init__(self, search: GoodsSearch, *, pause_seconds: float = SECONDS) -> None:
        """Look for searches every so many seconds."""
        self._search = search
        self._pause_seconds = pause_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        await repeat(self._search.run, _failed, stop, self._pause_seconds)


def _failed(error: Exception) -> None:
    if isinstance(error, StoreError):
        _log.warning("SALE_SEARCH_POSTPONED", why=str(error))
    else:
        _log.error("SALE_SEARCH_FAILED", error)
