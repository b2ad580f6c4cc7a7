"""Databases of these tests have the schema of ingestion."""

import pytest


@pytest.fixture(scope="session")
def schema_of() -> str:
    return "services.ingestion"
