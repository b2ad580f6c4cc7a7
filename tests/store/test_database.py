# ruff: noqa: PT012 (what is refused is a transaction, so the block is a transaction)
import asyncio
import socket
import traceback

import asyncpg
import pytest
import sqlalchemy

from libs.store import database as database_module
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreConflict, StoreMisuse, StoreUnavailable

SECRET = "Jane Roe, 5 Elm Street"


async def _prepare(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute("create table parcel (mrn text primary key, weight integer check (weight > 0))")


async def _count(database: Database) -> int:
    async with database.connection() as reader:
        return int(await reader.raw.fetchval("select count(*) from parcel"))


async def test_core_and_the_driver_share_one_transaction(database: Database) -> None:
    await _prepare(database)
    with pytest.raises(RuntimeError, match="our own"):
        async with database.transaction() as tx:
            await tx.raw.execute("insert into parcel values ('a', 1)")
            await tx.sql.execute(sqlalchemy.text("insert into parcel values ('b', 1)"))
            assert await tx.raw.fetchval("select count(*) from parcel") == 2
            raise RuntimeError("our own")
    assert await _count(database) == 0
    async with database.transaction() as tx:
        await tx.sql.execute(sqlalchemy.text("insert into parcel values ('b', 1)"))
        await tx.raw.execute("insert into parcel values ('a', 1)")
    assert await _count(database) == 2
    assert (database.counts.transactions, database.counts.rolled_back) == (2, 1)


@pytest.mark.parametrize("by", ["raw", "sql"])
async def test_a_refused_row_names_the_constraint_and_never_the_value(database: Database, by: str) -> None:
    await _prepare(database)
    async with database.transaction() as tx:
        await tx.raw.execute("insert into parcel values ($1, 1)", SECRET)
    with pytest.raises(StoreConflict) as caught:
        async with database.transaction() as tx:
            if by == "raw":
                await tx.raw.execute("insert into parcel values ($1, 1)", SECRET)
            else:
                await tx.sql.execute(sqlalchemy.text("insert into parcel values (:mrn, 1)"), {"mrn": SECRET})
    assert (caught.value.constraint, caught.value.table, caught.value.sqlstate) == ("parcel_pkey", "parcel", "23505")
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told
    assert "test_database.py" in told, "the trace must still lead to the statement's place"


@pytest.mark.parametrize(
    ("statement", "arguments", "said"),
    [
        ("select weight from parcel where mrn = $1 and wieght > 0", (SECRET,), 'column "wieght" does not exist'),
        ("insert into parcel values ($1, $2)", (SECRET, SECRET), "DataError"),
        ("select $1::text::integer", (SECRET,), "InvalidTextRepresentationError"),
        ("select repeat($1, 2)", (f"{SECRET}\0",), "CharacterNotInRepertoireError"),
    ],
)
async def test_our_own_mistakes_are_told_apart_and_hold_no_value(
    database: Database, statement: str, arguments: tuple[str, ...], said: str
) -> None:
    await _prepare(database)
    with pytest.raises(StoreMisuse, match=said) as caught:
        async with database.transaction() as tx:
            await tx.raw.fetch(statement, *arguments)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_statement_that_lasts_too_long_is_ended_and_the_connection_stays_good(database: Database) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        async with database.transaction(timeout_millis=100) as tx:
            await tx.raw.execute("select pg_sleep(60)")
    assert caught.value.reason == "timeout"
    async with database.transaction() as tx:
        assert await tx.raw.fetchval("select 1") == 1


async def test_a_block_that_idles_too_long_is_rolled_back(database: Database) -> None:
    await _prepare(database)
    with pytest.raises(StoreUnavailable) as caught:
        async with database.transaction(timeout_millis=100) as tx:
            await tx.raw.execute("insert into parcel values ('a', 1)")
            await asyncio.Event().wait()
    assert caught.value.reason == "timeout"
    assert await _count(database) == 0


async def test_the_server_ends_the_transaction_of_a_client_that_went_silent(database: Database) -> None:
    """What a stopped process (SIGSTOP) looks like to the server: nothing comes any more, and no deadline of the
    client's runs."""
    await _prepare(database)
    async with database.connection() as silent:
        await silent.raw.execute(database.begin_statement.format(limit=1_000))
        await silent.raw.execute("insert into parcel values ('a', 1)")
        async with database.transaction() as tx:
            # Waits for the silent one's end: it would wait for ever if the server kept that transaction.
            await tx.raw.execute("insert into parcel values ('a', 2)")
    async with database.connection() as reader:
        assert await reader.raw.fetchval("select weight from parcel") == 2


async def test_a_slow_transaction_is_counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "HORIZON_MILLIS_MAX", 0)
    async with database.transaction() as tx:
        await tx.raw.execute("select 1")
    assert database.counts.slow == 1
    assert database.counts.slowest_millis > 0


async def test_a_swallowed_failure_is_not_taken_for_a_commit(database: Database) -> None:
    await _prepare(database)
    with pytest.raises(StoreMisuse, match="nothing was committed"):
        async with database.transaction() as tx:
            await tx.raw.execute("insert into parcel values ('a', 1)")
            with pytest.raises(Exception, match="parcel"):
                await tx.raw.execute("insert into parcel values ('b', 0)")
    assert await _count(database) == 0


async def test_a_part_may_fail_alone_under_a_savepoint(database: Database) -> None:
    await _prepare(database)
    async with database.transaction() as tx:
        await tx.raw.execute("insert into parcel values ('a', 1)")
        with pytest.raises(Exception, match="parcel"):
            async with tx.savepoint():
                await tx.raw.execute("insert into parcel values ('b', 0)")
        async with tx.savepoint():
            await tx.raw.execute("insert into parcel values ('c', 1)")
    assert await _count(database) == 2


async def test_what_is_to_be_done_after_a_commit_is_done_once_it_is_and_never_after_a_rollback(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await _prepare(database)
    done: list[str] = []
    async with database.transaction() as tx:
        tx.after_commit(lambda: done.append("first"))
        with pytest.raises(StoreConflict, match="parcel"):
            async with database.transaction() as other:
                other.after_commit(lambda: done.append("rolled back"))
                await other.raw.execute("insert into parcel values ('b', 0)")
        with pytest.raises(asyncpg.CheckViolationError):
            async with tx.savepoint():
                tx.after_commit(lambda: done.append("part rolled back"))
                await tx.raw.execute("insert into parcel values ('b', 0)")
        async with tx.savepoint():
            tx.after_commit(lambda: done.append("second"))
        tx.after_commit(lambda: 1 // 0)
        tx.after_commit(lambda: done.append("third"))
        assert done == []
    assert done == ["first", "second", "third"], "a failure of the one must not keep the others from being done"
    assert "after a commit" in caplog.text
    async with database.connection() as reader:
        with pytest.raises(StoreMisuse, match="after_commit outside of a write transaction"):
            reader.after_commit(lambda: done.append("nothing was committed"))


async def test_what_is_to_be_done_after_a_commit_is_left_alone_where_a_failure_was_swallowed(
    database: Database,
) -> None:
    await _prepare(database)
    done: list[str] = []
    with pytest.raises(StoreMisuse, match="nothing was committed"):
        async with database.transaction() as tx:
            tx.after_commit(lambda: done.append("never"))
            with pytest.raises(asyncpg.CheckViolationError):
                await tx.raw.execute("insert into parcel values ('b', 0)")
    assert done == []


async def test_a_cancelled_transaction_leaves_nothing_behind(database: Database) -> None:
    await _prepare(database)
    reached = asyncio.Event()

    async def work() -> None:
        async with database.transaction() as tx:
            await tx.raw.execute("insert into parcel values ('a', 1)")
            reached.set()
            await tx.raw.execute("select pg_sleep(60)")

    task = asyncio.create_task(work())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as tx:
        await tx.raw.execute("insert into parcel values ('a', 1)")
    assert await _count(database) == 1


async def test_a_snapshot_sees_one_moment_and_may_not_write(database: Database) -> None:
    await _prepare(database)
    async with database.connection(snapshot=True) as reader:
        assert await reader.raw.fetchval("select count(*) from parcel") == 0
        async with database.transaction() as tx:
            await tx.raw.execute("insert into parcel values ('a', 1)")
        assert await reader.raw.fetchval("select count(*) from parcel") == 0
    with pytest.raises(StoreUnavailable) as caught:
        async with database.connection(snapshot=True) as reader:
            await reader.raw.execute("insert into parcel values ('b', 1)")
    assert caught.value.reason == "read_only"


async def test_transactions_that_lock_in_a_circle_are_told_to_come_again(database: Database) -> None:
    await _prepare(database)
    async with database.transaction() as tx:
        await tx.raw.execute("insert into parcel values ('a', 1), ('b', 1)")
    barrier = asyncio.Barrier(2)

    async def work(first: str, second: str) -> str:
        try:
            async with database.transaction() as tx:
                await tx.raw.execute("update parcel set weight = weight + 1 where mrn = $1", first)
                await barrier.wait()
                await tx.raw.execute("update parcel set weight = weight + 1 where mrn = $1", second)
        except StoreUnavailable as error:
            return error.reason
        return "committed"

    assert sorted(await asyncio.gather(work("a", "b"), work("b", "a"))) == ["committed", "deadlock"]


async def test_an_exhausted_pool_is_passing_trouble(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "POOL_SECONDS_MAX", 0.05)
    async with Database(database_url, name="small", pool_size=1) as small, small.transaction():
        with pytest.raises(StoreUnavailable) as caught:
            async with small.connection():
                pass
    assert caught.value.reason == "pool"


async def test_a_missing_server_and_a_missing_database_are_told_apart(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(StoreUnavailable) as away:
        await Database("postgresql://luxor@/none?host=/nowhere", name="away").open()
    assert away.value.reason == "connection"
    with pytest.raises(StoreMisuse, match=r'database "none" does not exist'):
        await Database(postgres.url("none"), name="missing").open()


async def test_a_server_that_takes_a_connection_and_never_answers_is_passing_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "CONNECT_SECONDS_MAX", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = Database(f"postgresql://nobody@127.0.0.1:{mute.getsockname()[1]}/mute", name="mute")
        with pytest.raises(StoreUnavailable, match=r"database mute: no server answers \(TimeoutError\)") as caught:
            await silent.open()
        assert (caught.value.reason, silent.counts.unavailable) == ("connection", 1)
        # It may be about to come, so it is awaited as one that is not there yet.
        with pytest.raises(StoreUnavailable):
            await silent.open(wait_seconds=2.0)
        assert silent.counts.unavailable > 2


async def test_the_clock_and_the_durability_are_the_servers(database: Database) -> None:
    before = await database.now()
    async with database.transaction() as tx:
        assert await tx.now() >= before > 1_700_000_000_000_000
    assert str(await database.durability()).endswith("fsync=on synchronous_commit=on full_page_writes=on")


@pytest.mark.fault
async def test_a_pool_outlives_its_server(postgres: EmbeddedPostgres, database: Database) -> None:
    await _prepare(database)
    async with database.transaction() as tx:
        await tx.raw.execute("insert into parcel values ('kept', 1)")
    with pytest.raises(StoreUnavailable) as caught:
        async with database.transaction() as tx:
            await tx.raw.execute("insert into parcel values ('lost', 1)")
            await asyncio.to_thread(postgres.kill)
            await tx.raw.execute("insert into parcel values ('lost too', 1)")
    assert caught.value.reason == "connection"
    with pytest.raises(StoreUnavailable):
        await _count(database)
    await asyncio.to_thread(postgres.start)
    async with database.connection() as reader:
        assert await reader.raw.fetch("select mrn from parcel") == [("kept",)]


async def test_a_connection_that_the_driver_lost_track_of_is_cut_and_counts_as_passing_trouble(
    database: Database,
) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        async with database.transaction() as tx:
            lost = await tx.raw.fetchval("select pg_backend_pid()")
            raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    assert caught.value.reason == "connection"
    async with database.transaction() as tx:
        assert await tx.raw.fetchval("select pg_backend_pid()") != lost
