"""The table draw_seed: the seeds of the draws, one for each UTC day."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from libs.store.database import Database, Transaction
from libs.store.tables.schema import TODAY
from services.risk.selection.draws import SEED_BYTES, MadeSeed

_PAGE: Final = f"""
select period, seed, floor(extract(epoch from made_at) * 1000000)::bigint as made_at, {TODAY} as today
from draw_seed where period < $1 order by period desc limit $2
"""  # noqa: S608  # an expression of our own


class SeedStore:
    """The seeds of the deployment."""

    def __init__(self, database: Database) -> None:
        """Use risk's own database."""
        self.database = database

    async def today(self) -> int:
        """Return the present day by the database's clock."""
        async with self.database.connection() as reader:
            day: int = await reader.raw.fetchval(f"select {TODAY}")
        return day

    async def page(self, before: int, rows_max: int) -> list[MadeSeed]:
        """Return the latest seeds of days before a day, the latest first."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_PAGE, before, rows_max)
        return [MadeSeed(row["period"], row["seed"], row["made_at"], row["today"]) for row in rows]

    async def make(self, tx: Transaction, days: Sequence[int]) -> dict[int, bytes]:
        """Return the seeds of some days; those that are not there yet are made, at random."""
        # Another replica may make them now: then this waits for it, and the one that was first counts.
        await tx.raw.execute(
            "insert into draw_seed (period, seed) select * from unnest($1::integer[], $2::bytea[]) as made(period, seed) "
            "order by period on conflict do nothing",
            days,
            [secrets.token_bytes(SEED_BYTES) for _ in days],
        )
        rows = await tx.raw.fetch("select period, seed from draw_seed where period = any($1::integer[])", days)
        return {row["period"]: row["seed"] for row in rows}

    async def forget(self, tx: Transaction, before: int) -> None:
        """Forget the seeds of days before a day."""
        await tx.raw.execute("delete from draw_seed where period < $1", before)
