"""Which deferred accounts and guarantees may be used, and by whom: those that were opened, are not closed, and have room."""

from __future__ import annotations

import asyncio
from typing import Final

from libs.server.process.following import repeat
from libs.store.database import Database
from libs.telemetry import gauge, get_logger
from services.revenue.law.assess.securities import Opened, Room, Securities
from services.revenue.ledger.account import SECURING, prefix_of
from services.revenue.store.ledger.accounts import Account, Accounts
from services.revenue.store.ledger.balances import Balances

SECONDS: Final = 5.0
"""Between two looks; what was secured in between is known at the next, so that for so long a limit may be gone beyond."""
PAGE: Final = 1_000

_usable = gauge("luxor_revenue_accounts_usable", "Deferred accounts and guarantees that may secure a debt now")
_exhausted = gauge(
    "luxor_revenue_accounts_exhausted",
    "Deferred accounts and guarantees whose limit is reached, so that they secure nothing new",
)
_log = get_logger()


class ActiveSecurities:
    """What this replica knows of accounts that were opened, by their last known balance."""

    def __init__(self, database: Database, *, everyone: bool) -> None:
        """Follow a database's accounts and balances; where everyone has a deferred account there is nothing to follow."""
        self._accounts = Accounts(database)
        self._balances = Balances(database)
        self._securities = Securities(everyone=everyone)
        self._looking = asyncio.Lock()

    @property
    def securities(self) -> Securities:
        """Return the accounts that may be used; a batch takes them once."""
        return self._securities

    async def look(self) -> None:
        """Read accounts and balances anew."""
        if self._securities.everyone:
            return
        async with self._looking:
            opened: dict[str, Opened] = {}
            exhausted = 0
            after = ""
            while page := await self._accounts.page(after=after, rows_max=PAGE):
                after = page[-1].name
                rooms = await self._rooms([each for each in page if not each.closed and each.limit_minor is not None])
                full = {name for name, room in rooms.items() if room.minor <= 0}
                exhausted += len(full)
                for each in page:
                    # Filers see the accounts of vendors and carriers that list them, and nothing is secured by these.
                    if prefix_of(each.name) not in SECURING:
                        continue
                    usable = not each.closed and each.name not in full
                    opened[each.name] = Opened(frozenset(each.filers), usable, rooms.get(each.name))
            before, self._securities = self._securities, Securities(everyone=False, opened=opened)
            usable_by = _usable_by(self._securities)
            if usable_by != _usable_by(before):
                _log.info("ACCOUNTS_IN_FORCE", usable=len(usable_by), exhausted=exhausted)
            _usable.set(len(usable_by))
            _exhausted.set(exhausted)

    async def _rooms(self, limited: list[Account]) -> dict[str, Room]:
        """Return the amounts that accounts with limits may still secure, in the limit's currency."""
        rooms = {each.name: Room(each.currency, each.limit_minor or 0) for each in limited}
        if not rooms:
            return rooms
        holdings = []
        after = ("", "")
        while page := await self._balances.holdings(after=after, names=list(rooms), rows_max=PAGE):
            after = (page[-1].name, page[-1].currency)
            holdings += [each for each in page if each.currency == rooms[each.name].currency]
        for each in await self._balances.at(holdings) if holdings else ():
            rooms[each.name] = Room(each.currency, rooms[each.name].minor - each.minor)
        return rooms

    async def run(self, stop: asyncio.Event, seconds: float = SECONDS) -> None:
        """Look every so many seconds until `stop`. What fails is logged and tried again."""
        await repeat(self.look, lambda error: _log.error("ACCOUNTS_NOT_LOOKED_AT", error), stop, seconds)


def _usable_by(securities: Securities) -> dict[str, frozenset[str]]:
    """Return the filers that may draw on each usable account."""
    return {name: each.filers for name, each in securities.opened.items() if each.usable}
