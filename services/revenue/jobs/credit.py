"""Apply accounts' credit in the background: small transactions, one after the other, until nothing is left to apply."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.store.errors import StoreError
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger
from services.revenue.commands import apply_credit
from services.revenue.commands.rebalance import Ledger
from services.revenue.store.ledger import credit

ACCOUNTS_MAX: Final = 1_000
"""Accounts that one round of the background work looks at."""
_log = get_logger()


class CreditJob:
    """Applies accounts' credit at intervals; replicas that do so at once wait for one another's rows."""

    def __init__(self, ledger: Ledger, *, interval_seconds: float) -> None:
        """Look every so many seconds for credit that can pay a debt."""
        self._ledger = ledger
        self._interval = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                await self.step(stop)
            except StoreError as error:
                _log.warning("LEDGER_SETTLING_POSTPONED", why=str(error))
            await wait_for_stop(stop, self._interval)

    async def step(self, stop: asyncio.Event | None = None) -> int:
        """Use all that can be used now; return how many consignments that concerned."""
        async with self._ledger.database.connection() as reader:
            keys = await credit.applicable(reader, ACCOUNTS_MAX)
        total = 0
        for key in keys:
            while not (stop is not None and stop.is_set()):
                done = await apply_credit.settle_some(self._ledger, [key], 1)
                total += done
                if not done:
                    break
        return total
