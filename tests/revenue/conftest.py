"""Databases of these tests have revenue's schema."""

import pytest


@pytest.fixture(scope="session")
def schema_of() -> str:
    return "services.revenue"
