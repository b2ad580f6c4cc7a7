"""Fixtures of clearance's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.store.database import Database
from tests.clearance.desk import Desk, neighbours_at_work
from tests.clearance.service_client import house

__all__ = ["house"]


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.clearance"


@pytest_asyncio.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    """An office over a fresh database, with neighbours that answer as the references ask."""
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        yield desk
        if desk.consistent:
            assert await desk.inconsistencies() == []
