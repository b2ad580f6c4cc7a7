import asyncio

import pytest

from libs.store.database import Database
from libs.store.errors import StoreConflict, StoreMisuse
from libs.store.tables import schema
from libs.store.tables.requests import RequestLog, RequestReused
from tests.support.databases import create_tables

LOG = RequestLog()


@pytest.fixture
async def requests(database: Database) -> Database:
    """A database with a request log and a table that the work of a request fills."""
    await create_tables(database, schema.create_request_log)
    async with database.transaction() as tx:
        await tx.raw.execute("create table effect (number serial)")
    return database


async def _serve(database: Database, request_id: str, digest: bytes, answer: bytes, *, fail: bool = False) -> bytes:
    async with database.transaction() as tx:
        before = await LOG.recall(tx, "filer", request_id, digest)
        if before is not None:
            return before
        await tx.raw.execute("insert into effect default values")
        await LOG.remember(tx, "filer", request_id, digest, answer)
        if fail:
            raise ConnectionAbortedError
    return answer


async def _effects(database: Database) -> int:
    async with database.connection() as reader:
        return int(await reader.raw.fetchval("select count(*) from effect"))


async def test_a_repeated_request_gets_its_first_answer_and_changes_nothing(requests: Database) -> None:
    assert await _serve(requests, "r1", b"same", b"first") == b"first"
    assert await _serve(requests, "r1", b"same", b"second") == b"first"
    assert await _effects(requests) == 1


async def test_a_reused_request_id_with_other_content_is_refused(requests: Database) -> None:
    await _serve(requests, "r1", b"same", b"first")
    with pytest.raises(RequestReused) as caught:
        await _serve(requests, "r1", b"other", b"second")
    assert caught.value.request_id == "r1"
    with pytest.raises(RequestReused):
        async with requests.transaction() as tx:
            await LOG.remember(tx, "filer", "r1", b"other", b"second")
    assert await _serve(requests, "r1", b"same", b"third") == b"first"


async def test_callers_do_not_share_their_request_ids(requests: Database) -> None:
    await _serve(requests, "r1", b"same", b"first")
    async with requests.transaction() as tx:
        assert await LOG.recall(tx, "another filer", "r1", b"other") is None


async def test_each_caller_and_each_id_gets_its_own_first_answer(requests: Database) -> None:
    asked = [("one", "r1"), ("other", "r1"), ("one", "r2")]
    for _ in range(2):
        for caller, request_id in asked:
            digest = f"{caller} {request_id}".encode()
            async with requests.transaction() as tx:
                before = await LOG.recall(tx, caller, request_id, digest)
                if before is None:
                    await LOG.remember(tx, caller, request_id, digest, digest)
                else:
                    assert before == digest
    async with requests.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from request_log") == len(asked)


async def test_work_that_was_rolled_back_is_done_again(requests: Database) -> None:
    with pytest.raises(Exception, match=r"."):
        await _serve(requests, "r1", b"same", b"first", fail=True)
    assert await _serve(requests, "r1", b"same", b"second") == b"second"
    assert await _effects(requests) == 1


@pytest.mark.parametrize("commits", [True, False])
async def test_of_two_equal_requests_at_once_the_second_waits_for_the_first(requests: Database, commits: bool) -> None:
    second: asyncio.Task[bytes] | None = None
    try:
        async with requests.transaction(timeout_millis=60_000) as tx:
            assert await LOG.recall(tx, "filer", "r1", b"same") is None
            second = asyncio.create_task(_serve(requests, "r1", b"same", b"second"))
            # The second waits for the lock of this transaction's row, as the server itself tells.
            async with requests.connection() as reader:
                while not await reader.raw.fetchval("select exists (select from pg_locks where not granted)"):
                    pass
            assert not second.done()
            await LOG.remember(tx, "filer", "r1", b"same", b"first")
            if not commits:
                raise asyncio.InvalidStateError
    except asyncio.InvalidStateError:
        assert not commits
    assert second is not None
    assert await second == (b"first" if commits else b"second")


async def test_many_equal_requests_at_once_take_effect_once(requests: Database) -> None:
    answers = await asyncio.gather(*(_serve(requests, "r1", b"same", f"{number}".encode()) for number in range(8)))
    assert len(set(answers)) == 1
    assert await _effects(requests) == 1


@pytest.mark.parametrize("request_id", ["x", "x" * 512])
async def test_an_id_within_its_bounds_is_accepted(requests: Database, request_id: str) -> None:
    assert await _serve(requests, request_id, b"same", b"first") == b"first"


@pytest.mark.parametrize("request_id", ["", "x" * 513])
async def test_an_id_out_of_bounds_is_refused_before_the_server_sees_it(requests: Database, request_id: str) -> None:
    with pytest.raises(StoreMisuse, match="1 to 512 bytes"):
        await _serve(requests, request_id, b"same", b"first")


async def test_old_requests_are_purged_in_chunks_and_young_ones_kept(requests: Database) -> None:
    async with requests.transaction() as tx:
        today = await schema.today(tx)
        await tx.raw.execute(
            "insert into request_log (caller, request_id, digest, answer, day) "
            "select 'filer', n::text, 'd', 'a', $1 - n % 3 from generate_series(1, 300) n",
            today,
        )
    committed = requests.counts.transactions
    assert await LOG.purge(requests, today, rows_max=5) == 200
    assert requests.counts.transactions - committed > 200 / 5 - 1, "each chunk must be a transaction of its own"
    async with requests.connection() as reader:
        assert await reader.raw.fetch("select distinct day from request_log") == [(today,)]


async def test_the_table_holds_one_row_for_a_request(requests: Database) -> None:
    await _serve(requests, "r1", b"same", b"first")
    with pytest.raises(StoreConflict):
        async with requests.transaction() as tx:
            await tx.raw.execute("insert into request_log select * from request_log")
