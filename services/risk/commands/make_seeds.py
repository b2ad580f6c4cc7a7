"""Make the seeds of the draws: one for each UTC day, made ahead at random by whichever replica comes first.

A seed is made a week before its day, so that what is published of it can be archived by others before anything is drawn by
it. A day that no seed was made ahead for, as the first one of a deployment, gets it when it is asked for, and the instant
at which it was made shows so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from libs.store.database import Database
from services.risk.selection.draws import PERIODS_BACK
from services.risk.store.seeds import SeedStore

DAYS_AHEAD: Final = 7
_CACHED_MAX: Final = 2 * PERIODS_BACK


class Seeds:
    """The seeds of the deployment, as one replica knows them."""

    def __init__(self, database: Database) -> None:
        """Use risk's own database."""
        self.store = SeedStore(database)
        self._cached: dict[int, bytes] = {}

    async def ensure(self, days: Iterable[int]) -> Mapping[int, bytes]:
        """Return seeds that have those of `days` among them; the ones that are not there yet are made."""
        missing = [day for day in days if day not in self._cached]
        if missing:
            if len(self._cached) > _CACHED_MAX:
                self._cached.clear()
            async with self.store.database.transaction() as tx:
                made = await self.store.make(tx, missing)
            self._cached |= made
        return self._cached

    async def present(self) -> tuple[int, bytes]:
        """Return the present day by the database's clock, and its seed."""
        day = await self.store.today()
        return day, (await self.ensure([day]))[day]

    async def made_ahead(self) -> int:
        """Make the seeds of the present day and of the week ahead, where they are not there; return the present day."""
        today, _ = await self.present()
        await self.ensure(range(today, today + DAYS_AHEAD + 1))
        return today


async def maintain_seeds(database: Database) -> None:
    """Make the seeds of the present day and the week ahead, and forget those that no answer refers to any more."""
    seeds = Seeds(database)
    today = await seeds.made_ahead()
    async with database.transaction() as tx:
        # A day more than consignments are drawn by, for those who assess at midnight.
        await seeds.store.forget(tx, today - PERIODS_BACK - 1)
