"""A store of risk whose log is old enough for history to know its windows, and a replica that has read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from libs.store.database import Database
from services.risk import __main__ as risk_service
from services.risk.store.assessment_log import AssessmentLogStore
from tests.risk.aged import age_log
from tests.risk.replicas import SECRET, Replica
from tests.risk.service_client import risk
from tests.support.process import read_once

__all__ = ["risk"]


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.risk"


@pytest.fixture(scope="session", autouse=True)
def rules_and_controls_compiled_once() -> Iterator[None]:
    """Compile the included rules and controls once in a process: it takes half a second of CPU time."""
    with pytest.MonkeyPatch.context() as patch:
        read_once(patch, risk_service, "load_rule_set")
        read_once(patch, risk_service, "load_controls")
        yield


@pytest_asyncio.fixture
async def store(database: Database) -> AssessmentLogStore:
    await age_log(database)
    return AssessmentLogStore(database)


@pytest_asyncio.fixture
async def replica(store: AssessmentLogStore, tmp_path: Path) -> Replica:
    made = Replica(store, tmp_path / "one", secret=SECRET)
    await made.memory.follow()
    return made
