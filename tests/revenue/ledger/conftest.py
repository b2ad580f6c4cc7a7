"""A store of revenue with an empty ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from libs.store.database import Database
from tests.revenue.ledger.books import Books, guarded, unguarded
from tests.revenue.ledger.service_client import house, kept

__all__ = ["books", "house", "kept"]


@pytest_asyncio.fixture
async def books(database: Database) -> AsyncIterator[Books]:
    await unguarded(database)
    yield Books(database)
    await guarded(database)
