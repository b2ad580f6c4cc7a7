"""Databases of these tests have the schema of statistics."""

import pytest


@pytest.fixture(scope="session")
def schema_of() -> str:
    return "services.statistics"
