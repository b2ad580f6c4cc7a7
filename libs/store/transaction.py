"""What runs inside a transaction, or a read: the connection in two forms, savepoints, and what is to be done after the commit."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.store.errors import StoreMisuse

logger = logging.getLogger(__name__)

NOW_MICROS: Final = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
"""The server's clock as SQL: microseconds since 1970-01-01 UTC."""


class Transaction:
    """What runs inside `Database.transaction` or `Database.connection`.

    `database` is the database's name, `raw` the driver's connection (unnest, COPY), `sql` SQLAlchemy's over the very same
    connection (Core). Both take part in the one transaction; neither may begin, commit or roll back itself: a part that
    may fail alone goes under `savepoint`.
    """

    __slots__ = ("_after", "database", "raw", "sql")

    def __init__(self, database: str, raw: asyncpg.Connection, sql: AsyncConnection) -> None:
        self.database = database
        self.raw = raw
        self.sql = sql
        self._after: list[Callable[[], object]] | None = None

    async def now(self) -> int:
        """The server's clock at this moment, microseconds since 1970-01-01 UTC."""
        value = await self.raw.fetchval(f"select {NOW_MICROS}")
        return int(value)

    def after_commit(self, work: Callable[[], object]) -> None:
        """Has `work` done once this transaction has committed, in the order of asking; never where it, or the savepoint
        around the asking, is rolled back, or where nobody knows whether it committed.

        For what counts or remembers what is true now. It may not await, and what it raises is logged, not passed on:
        the commit cannot be undone any more. Raises `StoreMisuse` where nothing is going to be committed.
        """
        if self._after is None:
            raise StoreMisuse(
                f"database {self.database}: after_commit outside of a write transaction; use transaction()",
                database=self.database,
            )
        self._after.append(work)

    def will_commit(self) -> None:
        """Takes what is to be done after the commit from now on; the database says so when it begins."""
        self._after = []

    def committed(self) -> None:
        """Does what was to be done after the commit; the database says so once it has committed."""
        work, self._after = self._after or [], None
        for each in work:
            try:
                each()
            except Exception:
                logger.exception("database %s: what was to be done after a commit failed", self.database)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undoes what was done inside it when the block raises, and leaves the transaction usable."""
        asked = len(self._after or ())
        await self.raw.execute("savepoint part")
        try:
            yield
        except BaseException:
            del (self._after or [])[asked:]
            if not self.raw.is_closed():
                await self.raw.execute("rollback to savepoint part; release savepoint part")
            raise
        await self.raw.execute("release savepoint part")
