"""The seeds of the draws: one for each UTC day, made ahead at random by whichever replica comes first.

A seed is made a week before its day, so that what is published of it can be archived by others before anything is drawn by
it. A day that no seed was made ahead for, as the first one of a deployment, gets it when it is asked for, and the instant
at which it was made tells so.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final

from libs.store.database import Database
from libs.store.tables.schema import TODAY
from services.risk.selection.draws import PERIODS_BACK, SEED_BYTES, MadeSeed

DAYS_AHEAD: Final = 7
_HELD_MAX: Final = 2 * PERIODS_BACK

_TOLD: Final = f"""
select period, seed, floor(extract(epoch from made_at) * 1000000)::bigint as made_at, {TODAY} as today
from draw_seed where period < $1 order by period desc limit $2
"""  # noqa: S608  # an expression of our own


class SeedStore:
    """The seeds of the deployment, as one replica knows them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._held: dict[int, bytes] = {}

    async def of(self, days: Iterable[int]) -> Mapping[int, bytes]:
        """Seeds that have those of `days` among them; the ones that are not there yet are made."""
        missing = [day for day in days if day not in self._held]
        if missing:
            if len(self._held) > _HELD_MAX:
                self._held.clear()
            self._held |= await self._made(missing)
        return self._held

    async def present(self) -> tuple[int, bytes]:
        """The present day by the database's clock, and its seed."""
        async with self.database.connection() as reader:
            day: int = await reader.raw.fetchval(f"select {TODAY}")
        return day, (await self.of([day]))[day]

    async def made_ahead(self) -> int:
        """Make the seeds of the present day and of the week ahead, where they are not there; gives the present day."""
        today, _ = await self.present()
        await self.of(range(today, today + DAYS_AHEAD + 1))
        return today

    async def page(self, before: int, rows_max: int) -> list[MadeSeed]:
        """The latest seeds of days before a day, the latest first."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_TOLD, before, rows_max)
        return [MadeSeed(row["period"], row["seed"], row["made_at"], row["today"]) for row in rows]

    async def _made(self, days: list[int]) -> dict[int, bytes]:
        async with self.database.transaction() as tx:
            # Another replica may make them now: then this waits for it, and the one that was first counts.
            await tx.raw.execute(
                "insert into draw_seed (period, seed) select * from unnest($1::integer[], $2::bytea[]) as made(period, seed) "
                "order by period on conflict do nothing",
                days,
                [secrets.token_bytes(SEED_BYTES) for _ in days],
            )
            rows = await tx.raw.fetch("select period, seed from draw_seed where period = any($1::integer[])", days)
        return {row["period"]: row["seed"] for row in rows}


async def maintain_seeds(database: Database) -> None:
    """Make the seeds of the present day and the week ahead, and forget those that no answer refers to any more."""
    today = await SeedStore(database).made_ahead()
    async with database.transaction() as tx:
        # A day more than consignments are drawn by, for those who assess at midnight.
        await tx.raw.execute("delete from draw_seed where period < $1", today - PERIODS_BACK - 1)
