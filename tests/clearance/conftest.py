"""Fixtures of clearance's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from libs.store.database import Database
from services.clearance import __main__ as clearance
from tests.clearance.desk import Desk, neighbours_at_work
from tests.clearance.service_client import house
from tests.support.process import read_once

__all__ = ["house"]


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.clearance"


@pytest.fixture(scope="session", autouse=True)
def texts_read_once() -> Iterator[None]:
    """Read the included texts of notices once in a process: it takes a tenth of a second of CPU time."""
    with pytest.MonkeyPatch.context() as patch:
        read_once(patch, clearance, "load_texts")
        yield


@pytest_asyncio.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    """An office over a fresh database, with neighbours that answer as the references ask."""
    async with neighbours_at_work() as (neighbours, channel):
        desk = Desk(database, neighbours, channel)
        yield desk
        if desk.consistent:
            assert await desk.inconsistencies() == []
