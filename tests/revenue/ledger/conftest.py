"""A store of revenue with an empty ledger."""

from __future__ import annotations

import pytest_asyncio

from libs.store.database import Database
from libs.store.migrate import migrate
from tests.revenue.ledger.books import Books


@pytest_asyncio.fixture
async def books(database: Database) -> Books:
    await migrate(database, "services.revenue")
    return Books(database)
