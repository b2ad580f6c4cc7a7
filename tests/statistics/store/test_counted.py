"""Counted states stand in pages by blocks of consignments, and the rows of releases before are read beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.customs.identifiers import mrn
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.errors import StoreError
from libs.store.tables import schema
from libs.store.tables.migrate import migrate
from libs.store.tables.mrn_blocks import DENSE_MIN
from services.statistics.commands.count import Count
from services.statistics.commands.fold import Fold
from services.statistics.store.cells import CELLS, COUNT_CELL, Store
from services.statistics.store.counted import ENTRIES_QUERY, PAGES_QUERY, ROWS_QUERY, Consignments
from tests.statistics.counted_rows import turn_into_rows
from tests.statistics.states import State, states_table
from tests.support.cutting_proxy import ANSWER, Cut, CuttingProxy

DAY = 20_782
EVER = (0, 100_000)


def mrns_of(first: int, count: int, *, day: int = DAY, country: str = "DE") -> list[str]:
    """MRNs with consecutive serials, spread over the partitions."""
    return make_mrns([country] * count, [row % 64 for row in range(count)], day, first)


def state(number: str, version: int, epoch: int = 1) -> State:
    """A state with a value that says what it is."""
    return State(number, version, mrn.parse(number).day, items=[("CN", "62", 1_000 * epoch + version)])


@pytest_asyncio.fixture
async def store(database: Database) -> Store:
    found = Store(database)
    await Count(found).make_days({DAY, DAY + 1})
    return found


@pytest_asyncio.fixture
async def proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(database_url) as opened:
        yield opened


async def count(store: Store, states: Sequence[State], epoch: int = 1) -> int:
    async with store.database.transaction() as tx:
        return await Count(store).run(tx, states_table(states), epoch)


async def found(store: Store, mrns: Sequence[str]) -> list[tuple[int, int] | None]:
    """Epoch and version of what was counted last, which is also what stands in its batch and row."""
    consignments = Consignments.located(mrns)
    async with store.database.connection() as reader:
        counted = await store.counted(reader, consignments)
        known = np.flatnonzero(counted.version)
        table, _ = await store.states(reader, counted.among(known))
    stored = (
        {} if table is None else dict(zip(table.strings("mrn").tolist(), table.ints("version").tolist(), strict=True))
    )
    assert stored == {mrns[place]: int(counted.version[place]) for place in known.tolist()}
    pairs = zip(counted.epoch.tolist(), counted.version.tolist(), strict=True)
    return [(epoch, version) if version else None for epoch, version in pairs]


async def pages(store: Store) -> list[tuple[int, int, int, int]]:
    """Day, first and last place and number of consignments of each page."""
    async with store.database.connection() as reader:
        rows = await reader.raw.fetch(
            "select day, first, last, cardinality(mrn) from counted_page order by batch, day, block"
        )
    return [tuple(row) for row in rows]


async def test_a_page_of_states_writes_one_row_for_each_block(store: Store) -> None:
    filed = [*mrns_of(5_000, 500), *mrns_of(7_990, 20), *mrns_of(5_000, 3, day=DAY + 1)]
    assert await count(store, [state(number, 1) for number in filed]) == len(filed)
    assert await count(store, [state(number, 1) for number in filed]) == 0
    assert await count(store, [state(number, 2) for number in filed[:2]]) == 2
    first = [(DAY, 0, 499, 500), (DAY, 990, 999, 10), (DAY, 0, 9, 10), (DAY + 1, 0, 2, 3)]
    assert await pages(store) == [*first, (DAY, 0, 1, 2)]


async def test_few_and_many_consignments_of_a_block_are_found_alike_among_the_pages_of_many_calls(store: Store) -> None:
    filed = mrns_of(3_000, 4 * DENSE_MIN)
    for number in filed:
        await count(store, [state(number, 1)])
    await count(store, [state(number, 2) for number in filed[::2]])
    expected = [(1, 2 - place % 2) for place in range(len(filed))]
    for rows in (1, DENSE_MIN - 1, DENSE_MIN, len(filed)):
        assert await found(store, filed[:rows]) == expected[:rows]
        assert await found(store, filed[-rows:]) == expected[-rows:]
        others = mrns_of(3_000 + len(filed), rows)
        assert await found(store, others) == [None] * rows
        assert await found(store, mrns_of(3_000, rows, country="FR")) == [None] * rows


async def test_replicas_count_consignments_of_one_block_at_the_same_time(store: Store) -> None:
    filed = mrns_of(0, 20)
    other = Store(store.database)
    async with store.database.transaction() as mine, store.database.transaction() as its:
        for version in (1, 2):
            await Count(other).run(its, states_table([state(number, version) for number in filed[1::2]]), 1)
            await Count(store).run(mine, states_table([state(number, version) for number in filed[::2]]), 1)
    assert await found(store, filed) == [(1, 2)] * 20
    assert await count(store, [state(number, 2) for number in filed]) == 0
    assert [tuple(row)[:3] for row in await store.query(COUNT_CELL, [], {}, EVER, 10)] == [(20, 20, 20 * 1_002)]


@pytest.mark.parametrize("cut", [Cut(sent=3), Cut(answered=len(ANSWER) - 1)])
async def test_a_page_whose_commit_got_no_answer_counts_once(store: Store, proxy: CuttingProxy, cut: Cut) -> None:
    filed = mrns_of(0, 20)
    await count(store, [state(number, 1) for number in filed])
    async with Database(proxy.url, name="statistics") as behind:
        proxy.plan([cut])
        with pytest.raises(StoreError):
            await count(Store(behind), [state(number, 2) for number in filed])
        assert proxy.done == 1
        await count(Store(behind), [state(number, 2) for number in filed])
    assert await found(store, filed) == [(1, 2)] * 20
    assert [tuple(row)[:3] for row in await store.query(COUNT_CELL, [], {}, EVER, 10)] == [(20, 20, 20 * 1_002)]


async def test_look_ups_read_the_days_of_their_consignments_alone_and_no_day_whole(store: Store) -> None:
    """Also on a fresh day: no statistics exist of what is filled in here."""
    await Count(store).make_days(set(range(DAY - 50, DAY)))
    async with store.database.transaction() as tx:
        await schema.ensure_day_partitions(tx, "counted", range(DAY - 50, DAY))
        await tx.raw.execute(
            "insert into counted_page select $1, n, 0, 9, n, $1, 1, array['MRN'], array[1], array[0] from generate_series(1, 20000) n",
            DAY,
        )
    numbers = f"'{{{', '.join(map(str, range(1, 501)))}}}'"
    days = {day: f"'{{{day}}}', '{{{', '.join([str(day)] * 500)}}}'" for day in (DAY, DAY - 3)}
    calls = {
        PAGES_QUERY: ("bigint[], smallint[], smallint[]", f"{days[DAY]}, {numbers}, {numbers}, {numbers}"),
        ENTRIES_QUERY: ("bigint[], smallint[], text[]", f"{days[DAY]}, {numbers}, {numbers}, {numbers}"),
        ROWS_QUERY: ("text[]", f"{days[DAY - 3]}, {numbers}"),
    }
    async with store.database.connection() as reader:
        for statement, (types, arguments) in calls.items():
            await reader.raw.execute(f"prepare looked_up(integer[], integer[], {types}) as {statement}")
            for _ in range(7):  # a plan is chosen for good after five
                await reader.raw.fetch(f"execute looked_up({arguments})")
            plan = "\n".join(row[0] for row in await reader.raw.fetch(f"explain execute looked_up({arguments})"))
            await reader.raw.execute("deallocate looked_up")
            assert plan.count("Index Scan") == 1, plan
            assert "Seq Scan" not in plan, plan


@pytest.fixture(scope="module")
def long_lived(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database that the examples of a property share."""
    postgres.start()
    postgres.create_database("counted_pages")
    url = postgres.url("counted_pages")

    async def prepare() -> None:
        async with Database(url, name="property") as database:
            await migrate(database, "services.statistics")

    asyncio.run(prepare())
    yield url
    postgres.start()
    postgres.drop_database("counted_pages")


# Two blocks with six consignments each, the next day, and another country with the same serials.
POOL = [*mrns_of(994, 12), *mrns_of(994, 2, day=DAY + 1), *mrns_of(994, 2, country="FR")]
PAGE = st.tuples(
    st.sampled_from(["count", "count", "count", "roll back", "clear"]),
    st.lists(st.tuples(st.sampled_from(POOL), st.integers(1, 4)), max_size=24),
    st.integers(1, 3),
)


@settings(max_examples=25)
@given(st.lists(PAGE, max_size=4), st.booleans(), st.lists(PAGE, max_size=4))
def test_any_pages_over_both_forms_agree_with_a_dictionary(
    long_lived: str, before: list[tuple[str, list[tuple[str, int]], int]], with_epochs: bool, after: list[tuple[str, list[tuple[str, int]], int]]
) -> None:  # fmt: skip
    counted: dict[str, tuple[int, int]] = {}
    values: dict[str, int] = {}

    def is_newer(number: str, version: int, epoch: int) -> bool:
        """A version counts within its epoch, a later epoch replaces an earlier one, and of a row without epoch the version counts."""
        if number not in counted:
            return True
        stored_epoch, stored = counted[number]
        return version > stored if stored_epoch in (0, epoch) else epoch > stored_epoch

    async def apply(store: Store, kind: str, entries: list[tuple[str, int]], epoch: int) -> None:
        if kind == "clear":
            await Fold(store).run()
            async with store.database.transaction() as tx:
                await store.clear(tx, [DAY])
            for number in [each for each in counted if mrn.parse(each).day == DAY]:
                del counted[number], values[number]
            return
        newest = dict(sorted(entries))
        fresh = {number: version for number, version in newest.items() if is_newer(number, version, epoch)}
        try:
            async with store.database.transaction() as tx:
                table = states_table([state(number, version, epoch) for number, version in entries])
                assert await Count(store).run(tx, table, epoch) == len(fresh)
                if kind == "roll back":
                    raise InterruptedError
        except InterruptedError:
            return
        counted.update({number: (epoch, version) for number, version in fresh.items()})
        values.update({number: 1_000 * epoch + version for number, version in fresh.items()})

    async def check(store: Store) -> None:
        expected = [counted.get(number) for number in POOL]
        assert await found(store, POOL) == expected
        assert [one for number in POOL[::5] for one in await found(store, [number])] == expected[::5]
        cells = await store.query(COUNT_CELL, ["day"], {}, EVER, 10)
        by_day = Counter(mrn.parse(number).day for number in counted)
        assert {row.day: row.consignments for row in cells} == by_day
        assert sum(row.value_minor for row in cells) == sum(values.values())

    async def run() -> None:
        async with Database(long_lived, name="property", pool_size=1) as database:
            store = Store(database)
            await Count(store).make_days({DAY, DAY + 1})
            tables = "counted_page, counted, counted_batch, cell_delta", *(table.name for table in CELLS)
            async with database.transaction() as tx:
                await tx.raw.execute(f"truncate {', '.join(tables)}")
                for day in await schema.day_partitions(tx, "counted"):
                    await tx.raw.execute(f"drop table counted_{day}")
            for place, page in enumerate([*before, None, *after]):
                async with database.transaction() as tx:
                    # The numbers of batches fall here: they do not say which state is the newest.
                    await tx.raw.execute("select setval('counted_batch_id', $1)", 1_000 - place)
                if page is not None:
                    await apply(store, *page)
                else:
                    await turn_into_rows(database, with_epochs=with_epochs)
                    if not with_epochs:
                        counted.update({number: (0, version) for number, (_, version) in counted.items()})
                await check(store)

    asyncio.run(run())
