"""A store whose log is old enough for history to know its windows."""

from __future__ import annotations

from libs.store.database import Database


async def age_log(database: Database, days: int = 40) -> None:
    """Let risk's log have begun so many days ago."""
    async with database.transaction() as tx:
        await tx.raw.execute("update assessed_epoch set begun_at = begun_at - make_interval(days => $1)", days)
