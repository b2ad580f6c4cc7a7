"""A database under a process of clearance that ends between two statements, before a COMMIT, or behind one whose answer nobody hears."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from libs.store.database import Database, Transaction

_STATEMENTS = frozenset(
    {"execute", "executemany", "fetch", "fetchrow", "fetchval", "copy_records_to_table", "copy_to_table"}
)


class Died(BaseException):
    """The process ended here; nothing catches it, as nothing catches a signal."""


class DyingDatabase:
    """A database of a process that ends after so many further statements and COMMITs, or COMMITs alone; None: it lives."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database
        self.left: int | None = None
        """Statements and COMMITs until it ends."""
        self.commits: int | None = None
        """COMMITs until it ends, before anybody hears of the last one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @property
    def as_database(self) -> Database:
        """Itself."""
        return cast(Database, self)

    def tick(self) -> None:
        """End the process if it is time; what is over stays over."""
        if self.left is not None:
            if self.left <= 0:
                raise Died
            self.left -= 1
        if self.commits == 0:
            raise Died

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Transaction]:
        """As `Database.transaction`."""
        self.tick()
        async with self._database.transaction(**options) as tx:
            raw = tx.raw
            tx.raw = _Statements(raw, self)
            try:
                yield tx
                self.tick()
            finally:
                tx.raw = raw
        if self.commits is not None:
            self.commits -= 1
        self.tick()

    @asynccontextmanager
    async def connection(self, **options: Any) -> AsyncIterator[Transaction]:
        """As `Database.connection`."""
        self.tick()
        async with self._database.connection(**options) as reader:
            yield reader


class _Statements:
    """A connection that counts its statements."""

    def __init__(self, raw: Any, database: DyingDatabase) -> None:
        self._raw = raw
        self._database = database

    def __getattr__(self, name: str) -> Any:
        if name in _STATEMENTS:
            self._database.tick()
        return getattr(self._raw, name)
