"""Steps of a consumer at which tests let it die."""

from contextlib import asynccontextmanager
from typing import Any

from libs.store.database import Database
from tests.feed.failures import Died


class DiesAfterCommit:
    """A database whose next commits succeed, but nobody is left to hear of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.name = database.name
        self.deaths = 0

    def connection(self, **more: Any) -> Any:
        return self._database.connection(**more)

    @asynccontextmanager
    async def transaction(self, **more: Any) -> Any:
        async with self._database.transaction(**more) as tx:
            yield tx
        if self.deaths:
            self.deaths -= 1
            raise Died
