"""Fixtures for tests that need a real PostgreSQL: `tests/conftest.py` imports them.

postgres        one embedded server for the whole session (of each worker of pytest-xdist), fsync on as in earnest
database_url    a fresh, empty database of it, dropped after the test
database        the same, opened
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from libs.store.database import Database
from libs.store.embedded import EmbeddedPostgres

_numbers = count()


def enterable_directory() -> Path:
    """A temporary directory that other accounts may enter: pytest's own are closed, and as root PostgreSQL is "
    "another account."""
    directory = Path(tempfile.mkdtemp(prefix="luxor-test-"))
    directory.chmod(0o711)
    return directory


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """An embedded server of this session."""
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=())
    try:
        server.start()
        yield server
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a fresh database."""
    postgres.start()  # a test may have killed it
    name = f"test_{os.getpid()}_{next(_numbers)}"
    postgres.create_database(name)
    yield postgres.url(name)
    postgres.start()
    postgres.drop_database(name)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh database, opened."""
    opened = Database(database_url, name="test")
    await opened.open()
    yield opened
    await opened.close()
