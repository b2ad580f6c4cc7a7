"""Fixtures of clearance's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from libs.store.database import Database
from libs.store.migrate import migrate
from tests.clearance.desk import Desk, neighbours_at_work


@pytest_asyncio.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    """An office over a fresh database, with neighbours that answer as the references ask."""
    await migrate(database, "services.clearance")
    async with neighbours_at_work() as (neighbours, channel):
        yield Desk(database, neighbours, channel)
