"""Fixtures for tests that need a real PostgreSQL: `tests/conftest.py` imports them.

postgres        one embedded server for the whole session (of each worker of pytest-xdist), fsync on as in earnest
migrations_of       whose schema the databases of a directory's tests begin with: the service's package, or "" for none
database_url    a database of that server, with that schema and as its migrations leave it
database        the same, opened
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import asyncpg
import psutil
import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from libs.feed.epochs import STAMP_IF_ANY
from libs.store.database import Database
from libs.store.embedded.processes import run_apart
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreError
from libs.store.tables.migrate import migrate
from libs.store.tables.schema import Operations
from tests.support.pristine import cleared, remember

SHARED: Final = "LUXOR_TEST_POSTGRES"
"""The variable that names the directory of a running server: sessions that follow each other use it and its databases, and leave them."""
SETTINGS: Final = {"autovacuum": "off", "max_wal_size": "512MB"}
"""What differs from a server in earnest: what is announced waits while any transaction is open, also that of ANALYZE at a moment of its
own choice, and tests read at once what they announced; and the log of a server in memory stays small."""
MEMORY: Final = Path("/dev/shm")
MEMORY_BYTES_MIN: Final = 8 << 30
"""What must be free for all workers' servers: those of three took less than half."""
_numbers = count()
_free: dict[str, list[str]] = {}
"""Databases that no test uses now, by the kind of their schema."""

Define = Callable[[Database], Awaitable[object]]
"""Makes the schema of an empty database."""


def enterable_directory() -> Path:
    """A temporary directory that other accounts may enter: pytest's own are closed, and as root PostgreSQL is another account.

    It is in memory where there is room, so that a server syncs as in earnest and waits for no disk.
    """
    directory = Path(tempfile.mkdtemp(prefix="luxor-test-", dir=memory()))
    directory.chmod(0o711)
    return directory


def memory() -> Path | None:
    """The file system in memory, None where it has no room or TMPDIR names another place."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return None
    free = min(psutil.disk_usage(str(MEMORY)).free, psutil.virtual_memory().available)
    return MEMORY if free >= MEMORY_BYTES_MIN else None


class _Operations:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sqltext: str) -> None:
        self._connection.execute(text(sqltext))


async def create_tables(database: Database, *definitions: Callable[[Operations], None]) -> None:
    """Runs definitions of `libs.store.tables.schema` and their like, as a migration would, in one transaction."""

    def run(connection: Connection) -> None:
        for define in definitions:
            define(_Operations(connection))

    async with database.transaction() as tx:
        await tx.sql.run_sync(run)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """An embedded server of this session, or the one that it shares with sessions before and after it."""
    if shared := os.environ.get(SHARED):
        yield EmbeddedPostgres(shared, databases=(), settings=SETTINGS)
        return
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=(), settings=SETTINGS)
    try:
        server.start()
        yield server
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def migrations_of() -> str:
    """An empty database; a directory of tests whose services would migrate theirs one by one names the package."""
    return ""


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrations_of: str) -> Iterator[str]:
    """The URL of a database as the migrations of `migrations_of` leave it."""
    package = migrations_of
    with reused_database(postgres, package, (lambda database: migrate(database, package)) if package else None) as url:
        yield url


@contextlib.contextmanager
def reused_database(postgres: EmbeddedPostgres, kind: str, define: Define | None) -> Iterator[str]:
    """Yield the URL of a database as `define` leaves it, an empty one without it; databases of one kind have one definition.

    They are cleared and used again, which takes a tenth of making one.
    """
    if not postgres.running:  # a test may have killed it
        postgres.start()
    free = _free.setdefault(kind, [])
    name = free.pop() if free else None
    if name is None:
        name = f"test_{kind.replace('.', '_')}_{next(_numbers)}"
        # What a session before this one made on a shared server is there already.
        known = (StoreError, asyncpg.DuplicateDatabaseError) if SHARED in os.environ else ()
        with contextlib.suppress(*known):
            postgres.create_database(name)
    url = postgres.url(name)
    run_apart(partial(bring_back, url, define))
    yield url
    free.append(name)


async def bring_back(url: str, define: Define | None) -> None:
    """Bring a database back to what `define` made, or empty it and make that; all other sessions of it end."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        if define is not None and await cleared(connection):
            await connection.execute(STAMP_IF_ANY)
            return
        await connection.execute(
            "drop schema public cascade; create schema public; drop schema if exists pristine cascade"
        )
        if define is not None:
            database = Database(url, name="test", pool_size=1)
            await database.open()
            await define(database)
            await database.close()
            await remember(connection)
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database of `database_url`, opened."""
    opened = Database(database_url, name="test")
    await opened.open()
    yield opened
    await opened.close()
