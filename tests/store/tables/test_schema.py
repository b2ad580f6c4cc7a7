import asyncio

import pytest

from libs.store.database import Database
from libs.store.errors import StoreConflict, StoreMisuse, StoreUnavailable
from libs.store.tables import schema
from libs.store.tables.schema import Operations
from tests.support.databases import create_tables


def _journal(op: Operations) -> None:
    schema.create_day_partitioned(
        op,
        "journal",
        "day integer not null, number bigint not null, payload bytea not null, weight bigint default 7 check (weight "
        "> 0)",
        key="day, number",
        external=("payload",),
        days_ahead=2,
    )
    op.execute("create index journal_weight on journal (weight)")


@pytest.fixture
async def journal(database: Database) -> Database:
    """A database with a table cut by day."""
    await create_tables(database, _journal)
    return database


async def _days(database: Database) -> list[int]:
    async with database.connection() as reader:
        today = await schema.today(reader)
        return [day - today for day in await schema.day_partitions(reader, "journal")]


async def test_days_are_made_ahead_once_and_alike(journal: Database) -> None:
    assert await _days(journal) == [-1, 0, 1, 2]
    async with journal.transaction() as tx:
        today = await schema.today(tx)
        assert await schema.make_day_partitions(tx, "journal", days_ahead=4) == [today + 3, today + 4]
    async with journal.transaction() as tx:
        assert await schema.make_day_partitions(tx, "journal", days_ahead=4) == []
        await tx.raw.execute(
            "insert into journal (day, number, payload) values ($1, 1, ''), ($2, 1, '')", today, today + 4
        )
        assert await tx.raw.fetchval("select min(weight) from journal") == 7
        indexed = "select count(*) from pg_index where indrelid = to_regclass($1)"
        assert await tx.raw.fetchval(indexed, f"journal_{today + 4}") == 2
        stored = "select attstorage::text from pg_attribute where attname = 'payload' and attrelid = to_regclass($1)"
        for day in (today, today + 4):
            assert await tx.raw.fetchval(stored, f"journal_{day}") == "e"
    for row in ((today + 4, 1, 7), (today + 4, 2, 0)):
        with pytest.raises(StoreConflict):
            async with journal.transaction() as tx:
                await tx.raw.execute("insert into journal values ($1, $2, '', $3)", *row)


async def test_partitions_of_a_week_begin_at_multiples_of_seven_and_hold_all_of_its_days(database: Database) -> None:
    def weekly(op: Operations) -> None:
        schema.create_day_partitioned(op, "weekly", "day integer not null", key="day", days_ahead=7, span=7)

    await create_tables(database, weekly)
    async with database.transaction() as tx:
        today = await schema.today(tx)
        expected = sorted({day // 7 * 7 for day in range(today - 1, today + 8)})
        assert await schema.day_partitions(tx, "weekly") == expected
        assert await schema.make_day_partitions(tx, "weekly", 7, span=7) == []
        after = expected[-1] + 7
        assert await schema.make_day_partitions(tx, "weekly", after - today, span=7) == [after]
        assert await schema.ensure_day_partitions(tx, "weekly", [702, 699, 700], span=7) == [693, 700]
        await tx.raw.executemany("insert into weekly values ($1)", [(day,) for day in range(693, 707)])
        for week in (693, 700):
            days = await tx.raw.fetch(f"select day from weekly_{week} order by day")
            assert [row["day"] for row in days] == list(range(week, week + 7))
    assert await schema.drop_days_before(database, "weekly", 699, span=7) == []
    assert await schema.drop_days_before(database, "weekly", 706, span=7) == [693]
    assert await schema.drop_days_before(database, "weekly", 707, span=7) == [700]


async def test_a_new_day_has_the_fillfactor_of_the_newest_one_so_that_an_update_stays_in_its_page(
    database: Database,
) -> None:
    def tables(op: Operations) -> None:
        _journal(op)
        schema.set_parameter(op, "journal", "fillfactor", 50)
        schema.create_day_partitioned(op, "dense", "day integer not null, number bigint not null", key="day, number")

    await create_tables(database, tables)
    options = "select reloptions from pg_class where oid = to_regclass($1)"
    async with database.transaction() as tx:
        today = await schema.today(tx)
        for table in ("journal", "dense"):
            assert await schema.ensure_day_partitions(tx, table, [today - 9, today + 30]) == [today - 9, today + 30]
        for day in (today - 9, today, today + 30):
            assert await tx.raw.fetchval(options, f"journal_{day}") == ["fillfactor=50"]
            assert await tx.raw.fetchval(options, f"dense_{day}") is None
        await tx.raw.execute("insert into journal select $1, n, '', n from generate_series(1, 500) n", today + 30)
        await tx.raw.execute("update journal set payload = ''")
        updates = "select n_tup_upd, n_tup_hot_upd from pg_stat_xact_user_tables where relname = $1"
        assert tuple(await tx.raw.fetchrow(updates, f"journal_{today + 30}")) == (500, 500)


async def test_a_row_of_a_day_that_was_not_made_is_refused(journal: Database) -> None:
    with pytest.raises(StoreConflict) as caught:
        async with journal.transaction() as tx:
            await tx.raw.execute(f"insert into journal values ({schema.TODAY} + 30, 1, '')")
    assert caught.value.sqlstate == "23514"


async def test_replicas_that_make_days_at_once_do_not_clash(journal: Database) -> None:
    async def make() -> int:
        async with journal.transaction() as tx:
            return len(await schema.make_day_partitions(tx, "journal", days_ahead=6))

    assert sorted(await asyncio.gather(*(make() for _ in range(4)))) == [0, 0, 0, 4]


async def test_days_are_made_while_writers_write(journal: Database) -> None:
    async with journal.transaction() as writer:
        await writer.raw.execute(f"insert into journal values ({schema.TODAY}, 1, '')")
        # Were it to wait for the writer, one of the two would come to its limit.
        async with journal.transaction() as tx:
            await schema.make_day_partitions(tx, "journal", days_ahead=3)


async def test_a_day_is_dropped_with_its_rows(journal: Database) -> None:
    async with journal.transaction() as tx:
        today = await schema.today(tx)
        await tx.raw.execute("insert into journal values ($1, 1, ''), ($2, 1, '')", today, today + 1)
        assert await schema.drop_day(tx, "journal", today)
        assert not await schema.drop_day(tx, "journal", today)
    assert await _days(journal) == [-1, 1, 2]
    async with journal.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from journal") == 1


async def test_a_busy_table_is_let_alone_and_the_transaction_goes_on(journal: Database) -> None:
    async with journal.transaction() as writer:
        await writer.raw.execute(f"insert into journal values ({schema.TODAY}, 1, '')")
        async with journal.transaction() as tx:
            today = await schema.today(tx)
            with pytest.raises(StoreUnavailable) as caught:
                await schema.drop_day(tx, "journal", today)
            assert caught.value.reason == "lock"
            await tx.raw.execute("insert into journal values ($1, 2, '')", today)
    async with journal.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from journal") == 2


async def test_old_days_are_dropped_as_soon_as_the_table_is_free(journal: Database) -> None:
    async with journal.transaction(timeout_millis=60_000) as writer:
        today = await schema.today(writer)
        await writer.raw.execute("insert into journal values ($1, 1, '')", today + 1)
        dropping = asyncio.create_task(schema.drop_days_before(journal, "journal", today + 1))
        async with journal.connection() as reader:
            # Until a try was refused: it rolled back, which the counter tells.
            refused = journal.counts.rolled_back
            while journal.counts.rolled_back == refused:
                await reader.raw.fetchval("select 1")
        assert not dropping.done()
    assert await dropping == [today - 1, today]
    assert await _days(journal) == [1, 2]


async def test_dropping_gives_up_where_the_table_never_comes_free(journal: Database) -> None:
    async with journal.transaction() as writer:
        today = await schema.today(writer)
        await writer.raw.execute("insert into journal values ($1, 1, '')", today)
        with pytest.raises(StoreUnavailable):
            await schema.drop_days_before(journal, "journal", today, tries=1)


async def test_tables_with_a_page_are_named_in_their_order_also_where_all_rows_are_in_a_partition(
    journal: Database,
) -> None:
    names = ("journal", "empty", "plain")
    async with journal.transaction() as tx:
        await tx.raw.execute("create table plain (day integer); create table empty (day integer)")
        assert await schema.tables_with_pages(tx, names) == []
        await tx.raw.execute("insert into plain values (1)")
        assert await schema.tables_with_pages(tx, names) == ["plain"]
        await tx.raw.execute("insert into journal (day, number, payload) values ($1, 1, '')", await schema.today(tx))
        assert await schema.tables_with_pages(tx, names) == ["journal", "plain"]


async def test_a_day_is_the_databases_day(database: Database) -> None:
    async with database.transaction() as tx:
        assert await schema.today(tx) == await tx.now() // 86_400_000_000


@pytest.mark.parametrize("name", ["Journal", "journal; drop table x", "", "1st", "x" * 49])
async def test_a_name_that_cannot_stand_in_sql_is_refused(database: Database, name: str) -> None:
    async with database.transaction() as tx:
        with pytest.raises(StoreMisuse, match="is no name for a table"):
            await schema.drop_day(tx, name, 1)


async def test_a_table_cut_by_hash_holds_uniqueness_over_all_parts(database: Database) -> None:
    def define(op: Operations) -> None:
        schema.create_hash_partitioned(op, "reference", "name text not null", key="name", by="name", partitions=4)

    await create_tables(database, define)
    insert = "insert into reference select n::text from generate_series(1, 100) n"
    async with database.transaction() as tx:
        await tx.raw.execute(insert)
        assert await tx.raw.fetchval("select count(distinct tableoid) from reference") == 4
    with pytest.raises(StoreConflict):
        async with database.transaction() as tx:
            await tx.raw.execute(insert)
