"""Tests of ingestion begin with the schema of its store."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def migrations_of() -> str:
    return "services.ingestion"
