"""A revenue that serves, for tests of its edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.revenue.__main__ import assemble
from services.revenue.jobs.sale_searches import SaleSearchJob
from tests.support.services import Running, running


@pytest_asyncio.fixture
async def house(database_url: str) -> AsyncIterator[Running]:
    async with running("revenue", assemble, database_url) as service:
        yield service


@pytest.fixture
def searches_of_the_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service itself does not search for goods before their sale."""

    async def idle(_job: SaleSearchJob, stop: asyncio.Event) -> None:
        await stop.wait()

    monkeypatch.setattr(SaleSearchJob, "run", idle)
