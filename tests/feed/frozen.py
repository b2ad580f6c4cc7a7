"""A database's clock that stands still until a test moves it, so that leases end at an instant and not around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from libs.store.database import Database

_CLOCK = """
    create schema frozen;
    create table frozen.clock (at timestamptz);
    insert into frozen.clock values ('2026-11-28T12:00:00Z');
    create function frozen.clock_timestamp() returns timestamptz language sql as 'select at from frozen.clock'
"""


class Frozen:
    """A database with such a clock."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def sql(self, statement: str, *values: Any) -> list[Any]:
        async with self.database.connection() as work:
            return list(await work.raw.fetch(statement, *values))

    async def one(self, statement: str, *values: Any) -> Any:
        """Return the only column of the only row."""
        ((found,),) = await self.sql(statement, *values)
        return found

    async def pass_by(self, span: str) -> None:
        """Let time pass: an interval of SQL."""
        await self.sql("update frozen.clock set at = at + $1::text::interval", span)


@asynccontextmanager
async def frozen_clock(url: str) -> AsyncIterator[Frozen]:
    """Open a database; what its statements call `clock_timestamp()` is a row that a test writes."""
    edge = await asyncpg.connect(url)
    try:
        name = await edge.fetchval("select quote_ident(current_database())")
        await edge.execute(f"drop schema if exists frozen cascade; {_CLOCK}")
        await edge.execute(f"alter database {name} set search_path = frozen, public, pg_catalog")
        try:
            async with Database(url, name="follower") as database:
                yield Frozen(database)
        finally:
            await edge.execute(f"alter database {name} reset search_path")
            await edge.execute("drop schema frozen cascade")
    finally:
        await edge.close()
