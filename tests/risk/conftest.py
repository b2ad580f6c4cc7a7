"""A store of risk whose log is old enough for history to know its windows, and a replica that has read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from libs.store.database import Database
from services.risk.store.assessment_log import AssessmentLogStore
from tests.risk.aged import age_log
from tests.risk.replicas import SECRET, Replica
from tests.risk.service_client import risk

__all__ = ["risk"]


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.risk"


@pytest_asyncio.fixture
async def store(database: Database) -> AssessmentLogStore:
    await age_log(database)
    return AssessmentLogStore(database)


@pytest_asyncio.fixture
async def replica(store: AssessmentLogStore, tmp_path: Path) -> Replica:
    made = Replica(store, tmp_path / "one", secret=SECRET)
    await made.memory.follow()
    return made
