"""Which deferred accounts and guarantees may be used: those that were opened, are not closed, and have room."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.server.following import repeat
from libs.store.database import Database
from libs.telemetry import gauge, get_logger
from services.revenue.law.accounts import Securities
from services.revenue.store.accounts import Account, Accounts
from services.revenue.store.balances import Balances

SECONDS: Final = 5.0
"""Between two looks; what was secured in between is known at the next."""
PAGE: Final = 1_000

_usable = gauge("luxor_revenue_accounts_usable", "Deferred accounts and guarantees that may secure a debt now")
_exhausted = gauge(
    "luxor_revenue_accounts_exhausted",
    "Deferred accounts and guarantees whose limit is reached, so that they secure nothing new",
)
_log = get_logger()


class SecuritiesInForce:
    """What this replica knows of accounts that were opened, by their last known balance."""

    def __init__(self, database: Database, *, everyone: bool) -> None:
        """Follow a database's accounts and balances; where everyone has a deferred account there is nothing to follow."""
        self._accounts = Accounts(database)
        self._balances = Balances(database)
        self._securities = Securities(everyone=everyone)
        self._looking = asyncio.Lock()

    @property
    def securities(self) -> Securities:
        """The accounts that may be used; a batch takes them once."""
        return self._securities

    async def look(self) -> None:
        """Read accounts and balances anew."""
        if self._securities.everyone:
            return
        async with self._looking:
            usable: set[str] = set()
            exhausted = 0
            after = ""
            while page := await self._accounts.page(after=after, rows_max=PAGE):
                after = page[-1].name
                full = await self._full([each for each in page if not each.closed and each.limit_minor is not None])
                exhausted += len(full)
                usable |= {each.name for each in page if not each.closed} - full
            if usable != self._securities.usable:
                self._securities = Securities(everyone=False, usable=frozenset(usable))
                _log.info("ACCOUNTS_IN_FORCE", usable=len(usable), exhausted=exhausted)
            _usable.set(len(usable))
            _exhausted.set(exhausted)

    async def _full(self, limited: list[Account]) -> set[str]:
        """Those of some accounts with limits whose limit is reached: what they stand for in the limit's currency."""
        limits = {(each.name, each.currency): each.limit_minor or 0 for each in limited}
        full = {name for (name, _), limit in limits.items() if limit <= 0}
        if not limits:
            return full
        holdings = []
        after = ("", "")
        while page := await self._balances.holdings(after=after, names=[name for name, _ in limits], rows_max=PAGE):
            after = (page[-1].name, page[-1].currency)
            holdings += [each for each in page if (each.name, each.currency) in limits]
        for each in await self._balances.at(holdings) if holdings else ():
            if each.minor >= limits[each.name, each.currency]:
                full.add(each.name)
        return full

    async def run(self, stop: asyncio.Event, seconds: float = SECONDS) -> None:
        """Look every so many seconds until `stop`. What fails is logged and tried again."""
        await repeat(self.look, lambda error: _log.error("ACCOUNTS_NOT_LOOKED_AT", error), stop, seconds)
