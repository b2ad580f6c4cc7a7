# ruff: noqa: PT012 (what is refused is a transaction, so the block is a transaction)
import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreMisuse
from libs.store.tables import schema
from libs.store.tables.assessments import AssessmentLog, Settled
from tests.support.databases import create_tables

LOG = AssessmentLog()
LOG_TABLES = schema.create_assessment_log, schema.add_assessment_trace, schema.create_assessment_pages
SCREENING = 1
FINAL = 2


@pytest.fixture
async def assessed(database: Database) -> Database:
    """A database with an assessment log."""
    await create_tables(database, *LOG_TABLES)
    return database


def _ones(count: int) -> np.ndarray:
    return np.ones(count, dtype=np.int32)


async def _settle(database: Database, mrns: list[str], payload: bytes, purpose: int = SCREENING) -> Settled:
    async with database.transaction() as tx:
        return await LOG.settle(tx, mrns, _ones(len(mrns)), purpose, payload)


async def _count(database: Database, table: str) -> int:
    async with database.connection() as reader:
        return int(await reader.raw.fetchval(f"select count(*) from {table}"))


async def _day(database: Database) -> int:
    """Give the day under which batches were stored, which may be over by now."""
    async with database.connection() as reader:
        return int(await reader.raw.fetchval("select max(day) from assessment_batch"))


def _answers(settled: Settled, own: bytes) -> list[tuple[bytes, int]]:
    """For each row, the batch and the row in it that bind."""
    return [
        (own, place) if fresh else (settled.payloads[batch], row)
        for place, (fresh, batch, row) in enumerate(
            zip(settled.fresh.tolist(), settled.batch.tolist(), settled.row.tolist(), strict=True)
        )
    ]


async def test_the_work_that_assessed_is_noted_and_a_release_that_knows_of_none_goes_on(assessed: Database) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with assessed.transaction() as tx:
        await LOG.settle(tx, ["a"], _ones(1), SCREENING, b"first", trace=header)
        # As the release before writes it.
        await tx.raw.execute(
            f"insert into assessment (mrn, version, purpose, day, batch, row) values ('b', 1, 1, {schema.TODAY}, 99, 0)"
        )
        await tx.raw.execute(f"insert into assessment_batch (day, batch, payload) values ({schema.TODAY}, 99, 'old')")
    async with assessed.connection() as reader:
        assert await LOG.trail(reader, "a") == [(1, header)]
        assert await LOG.trail(reader, "b") == [(1, "")]
        assert await LOG.trail(reader, "c") == []


async def test_the_first_answer_stays_the_answer(assessed: Database) -> None:
    first = await _settle(assessed, ["a", "b", "c"], b"first")
    assert first.all_fresh
    assert first.payloads == []
    mixed = await _settle(assessed, ["c", "x", "a"], b"second")
    assert _answers(mixed, b"second") == [(b"first", 2), (b"second", 1), (b"first", 0)]
    assert mixed.payloads == [b"first"], "a stored batch is given once, however many rows it answers"
    third = await _settle(assessed, ["x", "b"], b"third")
    assert _answers(third, b"third") == [(b"second", 1), (b"first", 1)]


async def test_a_wholly_repeated_call_stores_nothing(assessed: Database) -> None:
    await _settle(assessed, ["a", "b"], b"first")
    again = await _settle(assessed, ["a", "b"], b"second")
    assert not again.fresh.any()
    assert await _count(assessed, "assessment_batch") == 1


async def test_versions_and_purposes_are_assessed_apart(assessed: Database) -> None:
    await _settle(assessed, ["a"], b"first")
    assert (await _settle(assessed, ["a"], b"final", purpose=FINAL)).all_fresh
    async with assessed.transaction() as tx:
        versions = np.array([2], dtype=np.int32)
        assert (await LOG.settle(tx, ["a"], versions, SCREENING, b"second version")).all_fresh


async def test_a_consignment_named_twice_in_a_call_has_its_first_row_as_the_answer(assessed: Database) -> None:
    settled = await _settle(assessed, ["a", "b", "a"], b"own")
    assert _answers(settled, b"own") == [(b"own", 0), (b"own", 1), (b"own", 0)]
    assert settled.fresh.tolist() == [True, True, False]


async def test_a_look_up_changes_nothing(assessed: Database) -> None:
    await _settle(assessed, ["a", "b"], b"first")
    async with assessed.connection() as reader:
        found = await LOG.lookup(reader, ["x", "b"], _ones(2), SCREENING)
    assert found.fresh.tolist() == [True, False]
    assert (found.payloads, found.batch.tolist(), found.row.tolist()) == ([b"first"], [-1, 0], [-1, 1])
    assert await _count(assessed, "all_assessments") == 2


async def test_an_answer_that_was_rolled_back_never_was(assessed: Database) -> None:
    with pytest.raises(InterruptedError):
        async with assessed.transaction() as tx:
            await LOG.settle(tx, ["a"], _ones(1), SCREENING, b"lost")
            raise InterruptedError
    assert (await _settle(assessed, ["a"], b"kept")).all_fresh


async def test_a_second_caller_waits_for_the_first_and_gets_its_answers(assessed: Database) -> None:
    async with assessed.transaction(timeout_millis=60_000) as tx:
        await LOG.settle(tx, ["a", "b"], _ones(2), SCREENING, b"first")
        second = asyncio.create_task(_settle(assessed, ["b", "c", "a"], b"second"))
        async with assessed.connection() as reader:
            while not await reader.raw.fetchval("select exists (select from pg_locks where not granted)"):
                pass
        assert not second.done()
    assert _answers(await second, b"second") == [(b"first", 1), (b"second", 1), (b"first", 0)]


async def test_callers_that_settle_the_same_rows_in_any_order_agree_and_never_block_each_other_for_ever(
    assessed: Database,
) -> None:
    mrns = [f"mrn {number:03}" for number in range(200)]
    order = np.random.default_rng(7)

    async def call(number: int) -> dict[str, tuple[bytes, int]]:
        own = order.permutation(mrns).tolist()
        payload = f"payload {number}".encode()
        return dict(zip(own, _answers(await _settle(assessed, own, payload), payload), strict=True))

    told = await asyncio.gather(*(call(number) for number in range(8)))
    assert all(each == told[0] for each in told)
    assert assessed.counts.unavailable == 0
    assert await _count(assessed, "all_assessments") == 200


async def test_columns_that_are_not_aligned_are_a_mistake(assessed: Database) -> None:
    with pytest.raises(StoreMisuse, match="2 MRNs but 3 versions"):
        async with assessed.transaction() as tx:
            await LOG.settle(tx, ["a", "b"], _ones(3), SCREENING, b"")


async def test_an_empty_call_settles_nothing(assessed: Database) -> None:
    assert (await _settle(assessed, [], b"")).all_fresh
    assert await _count(assessed, "assessment_batch") == 0


async def test_a_purge_forgets_references_before_the_batches_that_they_name(assessed: Database) -> None:
    await _settle(assessed, ["a", "b"], b"first")
    today = await _day(assessed)
    assert await LOG.purge(assessed, today, rows_max=1) == 0
    assert await LOG.purge(assessed, today + 1, rows_max=1) == 2
    assert await _count(assessed, "assessment_batch") == 0
    async with assessed.connection() as reader:
        assert today not in await schema.day_partitions(reader, "assessment_batch")


async def test_a_batch_dropped_behind_the_logs_back_is_an_error_and_no_answer(assessed: Database) -> None:
    await _settle(assessed, ["a"], b"first")
    day = await _day(assessed)
    async with assessed.transaction() as tx:
        await schema.drop_day(tx, "assessment_batch", day)
    with pytest.raises(StoreMisuse, match=r"drop days only by AssessmentLog\.purge"):
        async with assessed.connection() as reader:
            await LOG.lookup(reader, ["a"], _ones(1), SCREENING)


@pytest.fixture(scope="module")
def long_lived(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database that the examples of a property share."""
    postgres.start()
    postgres.create_database("assessments")
    url = postgres.url("assessments")

    async def prepare() -> None:
        async with Database(url, name="property") as database:
            await create_tables(database, *LOG_TABLES)

    asyncio.run(prepare())
    yield url
    postgres.start()
    postgres.drop_database("assessments")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), max_size=8), min_size=1, max_size=5))
def test_any_sequence_of_calls_agrees_with_a_dictionary(long_lived: str, calls: list[list[tuple[int, int]]]) -> None:
    async def run() -> None:
        kept: dict[tuple[int, int], tuple[bytes, int]] = {}
        async with Database(long_lived, name="property", pool_size=1) as database:
            async with database.transaction() as tx:
                await tx.raw.execute("truncate assessment_page, assessment_batch")
            for number, call in enumerate(calls):
                payload = f"call {number}".encode()
                for place, key in enumerate(call):
                    kept.setdefault(key, (payload, place))
                async with database.transaction() as tx:
                    settled = await LOG.settle(
                        tx,
                        [str(mrn) for mrn, _ in call],
                        np.array([version for _, version in call], dtype=np.int32),
                        FINAL,
                        payload,
                    )
                assert _answers(settled, payload) == [kept[key] for key in call]

    asyncio.run(run())
