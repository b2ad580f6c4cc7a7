"""Fixtures for tests that need a real PostgreSQL: `tests/conftest.py` imports them.

postgres        one embedded server for the whole session (of each worker of pytest-xdist), fsync on as in earnest
database_url    a fresh, empty database of it, dropped after the test
database        the same, opened
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from libs.store.database import Database
from libs.store.embedded import EmbeddedPostgres
from libs.store.processes import run_apart
from libs.store.schema import Operations

_numbers = count()
_free: list[str] = []


def enterable_directory() -> Path:
    """A temporary directory that other accounts may enter: pytest's own are closed, and as root PostgreSQL is
    another account."""
    directory = Path(tempfile.mkdtemp(prefix="luxor-test-"))
    directory.chmod(0o711)
    return directory


class _Operations:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sqltext: str) -> None:
        self._connection.execute(text(sqltext))


async def create_tables(database: Database, *definitions: Callable[[Operations], None]) -> None:
    """Runs definitions of `libs.store.schema` and their like, as a migration would, in one transaction."""

    def run(connection: Connection) -> None:
        for define in definitions:
            define(_Operations(connection))

    async with database.transaction() as tx:
        await tx.sql.run_sync(run)


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
    """The URL of an empty database. They are emptied and used again, which takes a tenth of making one."""
    postgres.start()  # a test may have killed it
    name = _free.pop() if _free else None
    if name is None:
        name = f"test_{next(_numbers)}"
        postgres.create_database(name)
    else:
        run_apart(partial(_empty, postgres.url(name)))
    yield postgres.url(name)
    _free.append(name)


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid(); "
            "drop schema public cascade; create schema public"
        )
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database, opened."""
    opened = Database(database_url, name="test")
    await opened.open()
    yield opened
    await opened.close()
