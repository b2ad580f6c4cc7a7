import pytest


@pytest.fixture(scope="session")
def migrations_of() -> str:
    """Each test here runs the migrations itself."""
    return ""
