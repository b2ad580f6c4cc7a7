"""References to answers stand in pages by blocks of MRNs, and the rows of releases before are read beside them."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables import schema
from libs.store.tables.assessment_pages import references
from libs.store.tables.assessments import AssessmentLog, Settled
from libs.store.tables.mrn_blocks import DENSE_MIN, Blocks
from tests.support.databases import create_tables

LOG = AssessmentLog()
LOG_TABLES = schema.create_assessment_log, schema.add_assessment_trace, schema.create_assessment_pages
DAY = 20_400


def mrns_of(first: int, count: int, *, country: str = "DE", day: int = DAY) -> list[str]:
    """MRNs with consecutive serials, spread over the partitions."""
    return make_mrns([country] * count, [row % 64 for row in range(count)], day, first)


@pytest.fixture
async def log(database: Database) -> Database:
    """A database with an assessment log."""
    await create_tables(database, *LOG_TABLES)
    return database


async def settle(database: Database, mrns: list[str], payload: bytes, version: int = 1, purpose: int = 1) -> Settled:
    async with database.transaction() as tx:
        return await LOG.settle(tx, mrns, np.full(len(mrns), version, np.int32), purpose, payload)


async def pages(database: Database) -> list[tuple[int, int]]:
    """Slot and number of consignments of each page, in the order of the calls."""
    async with database.connection() as reader:
        rows = await reader.raw.fetch(
            "select slot, cardinality(mrn) as entries from assessment_page order by batch, block"
        )
    return [(row["slot"], row["entries"]) for row in rows]


async def answers(database: Database, mrns: list[str], version: int = 1, purpose: int = 1) -> list[tuple[bytes, int]]:
    """The stored answers: payload and row in it, (b"", -1) for none."""
    async with database.connection() as reader:
        found = await LOG.lookup(reader, mrns, np.full(len(mrns), version, np.int32), purpose)
    return [
        (b"", -1) if fresh else (found.payloads[batch], row)
        for fresh, batch, row in zip(found.fresh.tolist(), found.batch.tolist(), found.row.tolist(), strict=True)
    ]


async def add_rows(database: Database, mrns: list[str], payload: bytes, *, version: int = 1, purpose: int = 1) -> None:
    """Store answers as the release before stores them."""
    async with database.transaction() as tx:
        batch = await tx.raw.fetchval("select nextval('assessment_batch_number')")
        await tx.raw.execute(
            'insert into assessment (mrn, version, purpose, day, batch, "row") '
            f"select mrn, $2, $3, {schema.TODAY}, $4, place - 1 from unnest($1::text[]) with ordinality as u(mrn, place)",
            mrns, version, purpose, batch,
        )  # fmt: skip
        await tx.raw.execute(
            f"insert into assessment_batch (day, batch, payload) values ({schema.TODAY}, $1, $2)", batch, payload
        )


async def test_a_call_over_a_filing_writes_one_page_and_one_for_each_further_block(log: Database) -> None:
    await settle(log, mrns_of(5_000, 1_000), b"one filing")
    await settle(log, mrns_of(7_990, 20), b"two blocks")
    await settle(log, mrns_of(5_000, 1_000), b"repeated")
    found = await pages(log)
    assert [entries for _, entries in found] == [1_000, 10, 10]


def test_pages_follow_the_time_in_the_mrn_and_other_forms_have_a_partition_of_their_own() -> None:
    first = Blocks.located(mrns_of(0, 1)).slots[0]
    assert Blocks.located(mrns_of(36**7 - 1, 1)).slots[0] == first, "the serial does not change the partition"
    near = {int(Blocks.located(mrns_of(0, 1, day=DAY + day)).slots[0]) for day in range(64)}
    year = {int(Blocks.located(mrns_of(0, 1, day=DAY + day)).slots[0]) for day in range(400)}
    assert len(near) <= 2
    assert near <= year <= set(range(schema.ASSESSMENT_SLOTS))
    days = Blocks.located([mrns_of(36**7 - 1, 1)[0], mrns_of(0, 1, day=DAY + 1)[0]]).numbers
    assert len(days) == 2, "the last block of a day is not the first of the next one"
    others = [
        "22ITZXBZYUTJFLJXK6",
        "",
        "26DE",
        "26DE17x0000000001R",
        mrns_of(36**7 - 1, 1)[0].lower(),
        "２６DE1730000000001R0",
    ]
    assert set(Blocks.located(others).slots.tolist()) == {schema.ASSESSMENT_SLOTS}


async def test_consignments_that_share_a_place_in_a_block_have_each_its_own_answer(log: Database) -> None:
    german, french = mrns_of(42, 1), mrns_of(42, 1, country="FR")
    # Two texts with the same checksum, 4DDB0C25.
    same_block = ["plumless", "buckeroo"]
    assert len(Blocks.located(german + french).numbers) == len(Blocks.located(same_block).numbers) == 1
    for number, mrn in enumerate([*german, *french, *same_block]):
        assert (await settle(log, [mrn], b"%d" % number)).all_fresh
    assert await answers(log, [*german, *french, *same_block]) == [(b"%d" % number, 0) for number in range(4)]


async def test_few_and_many_consignments_of_a_block_are_found_alike_among_the_pages_of_many_calls(
    log: Database,
) -> None:
    filed = mrns_of(3_000, 4 * DENSE_MIN)
    for number, mrn in enumerate(filed):
        await settle(log, [mrn], b"%d" % number)
    await settle(log, filed, b"amended", version=2)
    await settle(log, filed, b"other purpose", purpose=2)
    expected = [(b"%d" % number, 0) for number in range(len(filed))]
    for count in (1, DENSE_MIN - 1, DENSE_MIN, len(filed)):
        assert await answers(log, filed[-count:]) == expected[-count:]
        assert await answers(log, filed[:count], 2) == [(b"amended", row) for row in range(count)]
        assert await answers(log, filed[:count], 3) == [(b"", -1)] * count
        async with log.connection() as reader:
            found = await references(reader, filed[:count])
        assert len(found) == 3 * count


async def test_a_replaced_answer_is_the_newer_one_and_others_stay(log: Database) -> None:
    filed = mrns_of(0, 10)
    await settle(log, filed[:5], b"pages")
    await add_rows(log, filed[5:], b"rows")
    async with log.transaction() as tx:
        await LOG.lock(tx, filed)
        one = np.ones(2, np.int32)
        await LOG.replace(tx, [filed[1], filed[6]], one, 1, np.array([7, 3]), b"newer")
    expected = [(b"pages", row) for row in range(5)] + [(b"rows", row) for row in range(5)]
    expected[1], expected[6] = (b"newer", 7), (b"newer", 3)
    assert await answers(log, filed) == expected
    assert [answer for mrn in filed for answer in await answers(log, [mrn])] == expected
    assert not (await settle(log, filed, b"late")).fresh.any()


async def test_what_a_release_before_stored_binds_and_is_purged(log: Database) -> None:
    filed = [*mrns_of(0, 3), "other form"]
    await add_rows(log, filed[1:], b"rows")
    await add_rows(log, filed[1:2], b"other purpose", purpose=2)
    settled = await settle(log, filed, b"own")
    assert settled.fresh.tolist() == [True, False, False, False]
    assert settled.payloads == [b"rows"]
    assert settled.row.tolist() == [-1, 0, 1, 2]
    assert await pages(log) == [(Blocks.located(filed[:1]).slots[0], 1)]
    async with log.connection() as reader:
        today = await schema.today(reader)
        assert await LOG.trail(reader, filed[1]) == [(1, ""), (1, "")]
        assert await reader.raw.fetchval("select count(*) from all_assessments") == 5
    assert await LOG.purge(log, today) == 0
    assert await LOG.purge(log, today + 1, rows_max=1) == 5
    assert await answers(log, filed) == [(b"", -1)] * 4


async def test_calls_over_the_same_block_wait_and_calls_over_others_do_not(log: Database) -> None:
    mine, other = mrns_of(0, 10), mrns_of(1_000, 10)
    async with log.transaction(timeout_millis=60_000) as tx:
        await LOG.settle(tx, mine[:5], np.ones(5, np.int32), 1, b"first")
        assert (await settle(log, other, b"other block")).all_fresh
        waiting = asyncio.create_task(settle(log, mine, b"second"))
        async with log.connection() as reader:
            while not await reader.raw.fetchval("select exists (select from pg_locks where not granted)"):
                pass
        assert not waiting.done()
    assert (await waiting).fresh.tolist() == [False] * 5 + [True] * 5
    assert await answers(log, mine) == [(b"first", row) for row in range(5)] + [
        (b"second", row) for row in range(5, 10)
    ]


async def test_the_first_answer_binds_whatever_isolation_the_server_has_as_its_default(
    log: Database, database_url: str
) -> None:
    async with Database(f"{database_url}&options=-c%20default_transaction_isolation%3Dserializable", name="own") as own:
        async with log.transaction(timeout_millis=60_000) as tx:
            await LOG.settle(tx, mrns_of(0, 2), np.ones(2, np.int32), 1, b"first")
            waiting = asyncio.create_task(settle(own, mrns_of(0, 2), b"second"))
            async with log.connection() as reader:
                while not await reader.raw.fetchval("select exists (select from pg_locks where not granted)"):
                    pass
        assert not (await waiting).fresh.any()


@pytest.fixture(scope="module")
def long_lived(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database that the examples of a property share."""
    postgres.start()
    postgres.create_database("assessment_pages")
    url = postgres.url("assessment_pages")

    async def prepare() -> None:
        async with Database(url, name="property") as database:
            await create_tables(database, *LOG_TABLES)

    asyncio.run(prepare())
    yield url
    postgres.start()
    postgres.drop_database("assessment_pages")


# Two blocks with six consignments, one on another day, and other forms of MRNs.
POOL = [
    *mrns_of(995, 12),
    *mrns_of(995, 2, day=DAY + 1),
    *mrns_of(995, 2, country="FR"),
    "a",
    "b",
    "plumless",
    "buckeroo",
]
CALL = st.tuples(
    st.sampled_from(["settle", "settle", "rows", "replace"]),
    st.lists(st.tuples(st.sampled_from(POOL), st.integers(1, 2)), max_size=20),
    st.integers(1, 2),
)


@settings(max_examples=25)
@given(st.lists(CALL, min_size=1, max_size=6))
def test_any_calls_over_both_forms_agree_with_a_dictionary(
    long_lived: str, calls: list[tuple[str, list[tuple[str, int]], int]]
) -> None:
    async def run() -> None:
        kept: dict[tuple[str, int, int], tuple[bytes, int]] = {}
        async with Database(long_lived, name="property", pool_size=1) as database:
            async with database.transaction() as tx:
                await tx.raw.execute("truncate assessment, assessment_page, assessment_batch")
            for number, (kind, entries, purpose) in enumerate(calls):
                payload = b"call %d" % number
                mrns, versions = [mrn for mrn, _ in entries], np.array([version for _, version in entries], np.int32)
                if kind == "settle":
                    async with database.transaction() as tx:
                        await LOG.settle(tx, mrns, versions, purpose, payload)
                    for row, (mrn, version) in enumerate(entries):
                        kept.setdefault((mrn, version, purpose), (payload, row))
                elif kind == "rows":  # only before anything else, as after an upgrade
                    new = [] if kept else sorted({mrn for mrn, version in entries if version == 1})
                    if new:
                        await add_rows(database, new, payload, purpose=purpose)
                        kept |= {(mrn, 1, purpose): (payload, row) for row, mrn in enumerate(new)}
                else:
                    rows = {key: row for row, key in enumerate(entries) if (*key, purpose) in kept}
                    if rows:
                        async with database.transaction() as tx:
                            await LOG.lock(tx, [mrn for mrn, _ in rows])
                            numbers = np.array([version for _, version in rows], np.int32)
                            places = np.array(list(rows.values()))
                            await LOG.replace(tx, [mrn for mrn, _ in rows], numbers, purpose, places, payload)
                        kept |= {(*key, purpose): (payload, row) for key, row in rows.items()}
            for purpose in (1, 2):
                for version in (1, 2):
                    expected = [kept.get((mrn, version, purpose), (b"", -1)) for mrn in POOL]
                    assert await answers(database, POOL, version, purpose) == expected
                    assert [
                        one for mrn in POOL[::5] for one in await answers(database, [mrn], version, purpose)
                    ] == expected[::5]

    asyncio.run(run())
