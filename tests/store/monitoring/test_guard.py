"""A process does no work in a store that is another one than it began with."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator

import asyncpg
import pytest

from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreMisuse, StoreUnavailable
from libs.store.identity import Identity
from libs.store.monitoring.guard import Guard, StoreReplaced
from tests.support.databases import enterable_directory
from tests.support.set_back import copied, promote, put_back, standby_of


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedPostgres]:
    directory = enterable_directory()
    own = EmbeddedPostgres(directory, databases=("own",), settings={"shared_buffers": "16MB"})
    own.start()
    yield own
    own.destroy()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def server(own_server: EmbeddedPostgres) -> EmbeddedPostgres:
    """A server that a test may kill and set back, with an empty database."""
    if not own_server.running:
        own_server.start()
    own_server.drop_database("own")
    own_server.create_database("own")
    return own_server


async def write(database: Database) -> None:
    async with database.transaction(timeout_millis=60_000) as tx:
        await tx.raw.execute("insert into number select generate_series(1, 1000)")


async def test_an_older_copy_gets_no_work_of_the_process_and_ends_it(server: EmbeddedPostgres) -> None:
    async with Database(server.url("own"), name="own", guarded=True) as database:
        async with database.connection() as work:
            await work.raw.execute("create table number (n integer)")
        copy = copied(server)
        await database.reconnect()
        await write(database)
        await database.look_at_identity()
        # A crash alone changes nothing.
        server.kill()
        server.start()
        await database.reconnect()
        await write(database)
        await database.look_at_identity()
        put_back(server, copy)
        await database.reconnect()
        with pytest.raises(StoreUnavailable, match="older copy"):
            await write(database)
        with pytest.raises(StoreReplaced, match="older copy"):
            await Guard(database).run(asyncio.Event())
    async with Database(server.url("own"), name="own", guarded=True) as database:
        await write(database)  # a process that begins anew takes the store as it is


async def test_an_older_copy_that_lacks_a_single_commit_is_known_before_anybody_looks(server: EmbeddedPostgres) -> None:
    async with Database(server.url("own"), name="own", guarded=True) as database:
        async with database.connection() as work:
            await work.raw.execute("create table number (n integer)")
        copy = copied(server)
        await database.reconnect()
        async with database.transaction(timeout_millis=60_000) as tx:  # connected before this is written
            await tx.raw.execute("insert into number select generate_series(1, 1000)")
        put_back(server, copy)
        await database.reconnect()
        with pytest.raises(StoreUnavailable, match="older copy"):
            await write(database)


async def go_on_after_a_failure(database: Database) -> None:
    async with database.transaction(timeout_millis=60_000) as tx:
        with contextlib.suppress(asyncpg.PostgresError):
            await tx.raw.execute("select 1 / 0")


@pytest.mark.parametrize(
    "instead",
    [
        "select pg_terminate_backend(pg_backend_pid())",
        "do $$ begin raise exception using errcode = '57014'; end $$",  # as if its time was over
        "do $$ begin raise exception using errcode = '40001'; end $$",
        "do $$ begin raise exception using errcode = '53200'; end $$",
    ],
)
async def test_a_commit_behind_which_the_log_is_not_known_may_have_happened(
    database_url: str, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    async with Database(database_url, name="own", guarded=True) as database:
        async with database.connection() as work:
            await work.raw.execute("create table number (n integer)")
        monkeypatch.setattr("libs.store.database.POSITION", instead)
        with pytest.raises(StoreUnavailable) as failure:
            await write(database)
        assert failure.value.commit_unknown
        async with database.connection() as reading:
            assert await reading.raw.fetchval("select count(*) from number") == 1000


async def test_a_standby_is_no_other_store_until_it_is_promoted(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = enterable_directory()
    standby = standby_of(server, home)
    try:
        async with Database(server.url("own"), name="own", guarded=True) as database:
            async with database.connection() as work:
                await work.raw.execute("create table number (n integer)")
            monkeypatch.setattr("libs.store.database.POSITION", "select pg_terminate_backend(pg_backend_pid())")
            with pytest.raises(StoreUnavailable) as failure:  # the primary goes down behind a COMMIT
                await write(database)
            assert failure.value.commit_unknown
            monkeypatch.undo()
            server.kill()
            monkeypatch.setattr(database, "url", standby.url("own"))  # the name leads to the standby from now on
            await database.reconnect()
            async with database.transaction(timeout_millis=60_000) as tx:
                assert await tx.raw.fetchval("select 1") == 1, (
                    "it has no log of its own, and what writes nothing is done"
                )
            await database.look_at_identity()
            assert not database.replaced
            promote(standby)
            await database.reconnect()
            with pytest.raises(StoreUnavailable, match="promoted"):
                await write(database)
    finally:
        standby.destroy()
        shutil.rmtree(home, ignore_errors=True)


async def test_where_nothing_was_committed_the_log_is_not_asked(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Database(database_url, name="own", guarded=True) as database:
        monkeypatch.setattr("libs.store.database.POSITION", "select pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(StoreMisuse, match="nothing was committed"):
            await go_on_after_a_failure(database)


async def test_answers_of_connections_that_overtake_one_another_are_no_older_copy(database_url: str) -> None:
    async with Database(database_url, name="own", guarded=True) as database:

        async def look() -> None:
            for _ in range(10):
                await database.look_at_identity()
                async with database.transaction(timeout_millis=60_000) as tx:
                    await tx.raw.execute("select pg_current_xact_id()")

        await asyncio.gather(*(look() for _ in range(6)))
        assert not database.replaced


@pytest.mark.parametrize(
    ("later", "why"),
    [
        (Identity(1, 2, "00000001", 100), ""),
        (Identity(1, 2, "00000001", 101), ""),
        (Identity(1, 2, "00000001", 99), "older copy"),
        (Identity(1, 2, "00000002", 100), "promoted"),
        (Identity(1, 3, "00000001", 100), "another database"),
        (Identity(2, 2, "00000001", 100), "another server"),
    ],
)
def test_what_makes_a_store_another_one(later: Identity, why: str) -> None:
    found = Identity(1, 2, "00000001", 100).difference(later)
    assert (why in found) if why else not found
