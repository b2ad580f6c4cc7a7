"""Folding changes no answer: not before, while or after it, not where it breaks, and not where several replicas do it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import sqlalchemy as sa

from libs.columns import Strings
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database, Transaction
from libs.store.errors import StoreError
from libs.store.tables.leases import release_lease, try_lease
from services.statistics.commands.count import Count
from services.statistics.commands.fold import CELLS_MAX, DELTAS_MAX, Fold
from services.statistics.counting.cells import Cells, Key
from services.statistics.jobs import folding
from services.statistics.jobs.folding import LEASE, Folding
from services.statistics.store import deltas
from services.statistics.store.cells import CELLS, COUNT_CELL, Store
from tests.fault.checks import until
from tests.statistics.states import State, states_table
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy

DAY = 20_782
EVER = (0, 100_000)
WHOLE = 10_000


@pytest_asyncio.fixture
async def store(database: Database) -> Store:
    found = Store(database)
    await Count(found).make_days({DAY, DAY + 1})
    return found


@pytest_asyncio.fixture
async def proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(database_url) as opened:
        yield opened


async def count(store: Store, states: list[State]) -> None:
    async with store.database.transaction() as tx:
        await Count(store).run(tx, states_table(states), 1)


def numbers(rows: int, day: int = DAY) -> list[str]:
    return make_mrns(["DE"] * rows, [number % 64 for number in range(rows)], day, 0)


def lives(rows: int, seed: int) -> list[list[State]]:
    """Make pages of states: each consignment has versions in several pages, of two days and all kinds of cells."""
    rng = random.Random(seed)
    pages: list[list[State]] = [[] for _ in range(6)]
    for place, number in enumerate([*numbers(rows), *numbers(rows, DAY + 1)]):
        for version, page in enumerate(sorted(rng.sample(range(6), 3)), 1):
            state = State(
                number, version, DAY + place // rows, lane=rng.randint(1, 4), state=rng.choice([2, 3, 4, 10]),
                destination=rng.choice(["DE", "FR"]), arrived=5000, released=rng.choice([None, 10**6]),
                items=[(rng.choice(["CN", "US"]), rng.choice(["620630", "950300"]), rng.randint(0, 9)) for _ in range(2)],
                charges=[(1, 2, rng.randint(1, 3), rng.randint(0, 5))], cause=rng.randint(0, 6), inspected=[1, 2] if rng.random() < 0.5 else None,
            )  # fmt: skip
            pages[page].append(state)
    return pages


async def answers(store: Store, *, whole: bool = True) -> list[list[tuple[Any, ...]]]:
    """Return the answers to queries by many dimensions, filters, periods and limits, of all tables; without `whole`, all cells alone."""
    found = []
    for table in CELLS:
        keys = [column.name for column in table.primary_key]
        asked: list[tuple[list[str], dict[str, list[Any]], tuple[int, int], int]] = [(keys, {}, EVER, WHOLE)]
        if whole:
            asked += [
                ([], {}, EVER, WHOLE),
                ([], {"lane": ["RED", "BLUE"]}, (DAY + 1, DAY + 1), 1),
                (["day"], {"destination": ["FR"]}, EVER, WHOLE),
                (["lane", "day"], {"destination": ["FR"], "day": [DAY, DAY + 5]}, EVER, WHOLE),
                (keys[::-1], {}, (DAY, DAY), 3),
                (keys[::-1], {"day": [DAY + 5]}, EVER, WHOLE),
            ]
        found += [[tuple(row) for row in await store.query(table, *each)] for each in asked]
    return found


async def stored(database: Database, table: str) -> int:
    async with database.connection() as reader:
        return int(await reader.raw.fetchval(f"select count(*) from {table}"))


async def test_every_answer_is_the_same_whether_all_some_or_no_deltas_are_folded(store: Store) -> None:
    pages = lives(12, seed=3)
    for page in pages:
        await count(store, page)
    unfolded = await answers(store)
    assert await stored(store.database, "count_cell") == 0
    assert await Fold(store).run() == await stored(store.database, "cell_delta") + 4 * len(pages)
    assert await stored(store.database, "cell_delta") == 0
    folded = await answers(store)
    async with store.database.transaction() as tx:
        await tx.raw.execute(f"truncate counted_page, {', '.join(table.name for table in CELLS)}")
    for place, page in enumerate(pages):
        await count(store, page)
        if place == 2:
            await Fold(store).run()
    some = await answers(store)
    assert unfolded == folded == some
    # One page of newest states is all that they are the sum of.
    newest = {state.mrn: state for page in pages for state in page}
    async with store.database.transaction() as tx:
        await tx.raw.execute(f"truncate counted_page, cell_delta, {', '.join(table.name for table in CELLS)}")
    await count(store, list(newest.values()))
    assert await answers(store) == unfolded


@pytest.mark.parametrize("cells", [CELLS_MAX - 1, CELLS_MAX, CELLS_MAX + 1])
async def test_a_transaction_changes_so_many_cells_and_leaves_the_others_as_a_delta(store: Store, cells: int) -> None:
    class Breaks(Store):
        """Folds once, then stops."""

        tables: list[str]

        async def add_cells(self, tx: Transaction, table: sa.Table, cells: Cells) -> None:
            self.tables.append(table.name)
            if self.tables.count(COUNT_CELL.name) > 1 or table is not COUNT_CELL:
                raise RuntimeError("the process ends here")
            await super().add_cells(tx, table, cells)

    chapters = [(f"{origin:02d}", f"{chapter:02d}") for origin, chapter in product(range(40), range(40))][:cells]
    await count(store, [State(numbers(1)[0], items=[(*chapter, 7) for chapter in chapters])])
    whole = ["origin", "chapter"]
    before = await store.query(COUNT_CELL, whole, {}, EVER, WHOLE)
    assert [(row.origin, row.chapter) for row in before] == chapters
    breaks = Breaks(store.database)
    breaks.tables = []
    with pytest.raises(RuntimeError):
        await Fold(breaks).run()
    assert await stored(store.database, "count_cell") == min(cells, CELLS_MAX)
    assert await store.query(COUNT_CELL, whole, {}, EVER, WHOLE) == before
    await Fold(store).run()
    assert await stored(store.database, "count_cell") == cells
    assert await store.query(COUNT_CELL, whole, {}, EVER, WHOLE) == before


async def test_more_deltas_than_are_summed_at_once_are_folded_in_turn(store: Store) -> None:
    mrns = numbers(DELTAS_MAX + 2)
    for number in mrns:
        await count(store, [State(number, charges=[])])
    assert await Fold(store).run() == 2 * len(mrns)
    assert [tuple(row)[:2] for row in await store.query(COUNT_CELL, ["lane"], {}, EVER, WHOLE)] == [
        ("GREEN", len(mrns))
    ]
    assert await stored(store.database, "cell_delta") == 0


@pytest.mark.parametrize("cut", [Cut(sent=3), Cut(), Cut(answered=len(ANSWER) - 1), Cut(late_seconds=0.1)])
async def test_a_fold_whose_commit_got_no_answer_counts_once(store: Store, proxy: CuttingProxy, cut: Cut) -> None:
    pages = lives(3, seed=5)
    assert len(COMMIT) > 3
    async with Database(proxy.url, name="statistics") as behind:
        for passing in range(3):
            for page in pages[2 * passing : 2 * passing + 2]:
                await count(store, page)
            before = await answers(store, whole=False)
            proxy.plan([*[None] * passing, cut])
            with pytest.raises(StoreError):
                await Fold(Store(behind)).run()
            await asyncio.sleep(2 * cut.late_seconds)
            assert await answers(store, whole=False) == before
    assert proxy.done == 3
    await Fold(store).run()
    assert await answers(store, whole=False) == before
    assert await stored(store.database, "cell_delta") == 0


async def test_counting_queries_and_folds_of_several_replicas_at_once_count_each_page_once(
    store: Store, database_url: str
) -> None:
    mrns = numbers(30)
    counting = True

    async def fold(replica: Store) -> None:
        while counting:
            await Fold(replica).run()
            await asyncio.sleep(0)

    async with Database(database_url, name="one") as one, Database(database_url, name="two") as two:
        folds = [asyncio.create_task(fold(Store(database))) for database in (one, two)]
        for place, number in enumerate(mrns, 1):
            await count(store, [State(number, 1, lane=1), *([State(mrns[place - 2], 2, lane=2)] if place > 1 else [])])
            rows = await store.query(COUNT_CELL, ["lane"], {}, EVER, WHOLE)
            assert {row.lane: row.consignments for row in rows} == {"GREEN": 1} | (
                {"BLUE": place - 1} if place > 1 else {}
            )
        counting = False
        await asyncio.gather(*folds)
    await Fold(store).run()
    assert await stored(store.database, "cell_delta") == 0
    rows = await store.query(COUNT_CELL, ["lane"], {}, EVER, WHOLE)
    assert {row.lane: row.consignments for row in rows} == {"GREEN": 1, "BLUE": 29}


async def test_folding_ends_although_a_page_is_counted_in_each_of_its_transactions(store: Store) -> None:
    waiting = [State(number, charges=[]) for number in numbers(20)]

    class Counts(Store):
        """Counts one more state while it folds, as other replicas do."""

        async def add_cells(self, tx: Transaction, table: sa.Table, cells: Cells) -> None:
            await count(store, [waiting.pop()])
            await super().add_cells(tx, table, cells)

    await count(store, [waiting.pop()])
    # Of each of the two tables what was stored before: one delta, then two.
    assert await Fold(Counts(store.database)).run() == 1 + 2
    assert len(waiting) == 17
    assert await Fold(store).run() == 2 * 3 - (1 + 2)
    assert [tuple(row)[:2] for row in await store.query(COUNT_CELL, ["lane"], {}, EVER, WHOLE)] == [("GREEN", 3)]


async def test_one_replica_folds_at_a_time_and_nothing_is_folded_in_an_empty_store(store: Store) -> None:
    job = Folding(store, "one")
    assert await job.step() == 0
    await count(store, [State(numbers(1)[0], charges=[])])
    async with store.database.transaction() as tx:
        token = await try_lease(tx, LEASE, "other", 30)
    assert token is not None
    assert await job.step() == 0
    assert await stored(store.database, "cell_delta") == 2
    async with store.database.transaction() as tx:
        await release_lease(tx, LEASE, token)
    assert await job.step() == 2
    assert await job.step() == 0
    # Its lease is free again.
    await count(store, [State(numbers(1)[0], 2, charges=[], lane=2)])
    assert await Folding(store, "other").step() == 2


async def test_a_delta_that_cannot_be_read_or_added_stops_no_service_and_no_other_table(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    log = SimpleNamespace(
        error=lambda event, error, **_: seen.append((event, type(error).__name__)),
        warning=lambda event, **_: seen.append((event, "")),
    )
    monkeypatch.setattr(folding, "log", log)
    first, third = (table.name for table in (CELLS[0], CELLS[2]))
    await count(store, [State(numbers(1)[0], charges=[])])
    # A cell of another day, which has as much as it can have, and a delta that adds 1.
    keys: tuple[Key, ...] = (np.array([DAY + 1]), *(Strings.of(["x"]) for _ in range(6)))
    full, more = (Cells(keys, (np.array([number]), *[np.zeros(1, np.int64)] * 6)) for number in (2**63 - 1, 1))
    async with store.database.transaction() as tx:
        await store.add_cells(tx, COUNT_CELL, full)
        await deltas.append(tx, {first: more})
    stop = asyncio.Event()

    async def folded(table: str, rows: int) -> bool:
        return await stored(store.database, table) == rows

    async def logged(error: str) -> bool:
        return ("FOLD_FAILED", error) in seen

    running = asyncio.create_task(Folding(store, "one", interval_seconds=0.01).run(stop))
    await until(lambda: folded(third, 1), "the table after it is folded", seconds=10)
    assert await stored(store.database, first) == 1
    async with store.database.transaction() as tx:
        await tx.raw.execute("update cell_delta set payload = 'nonsense' where id = (select max(id) from cell_delta)")
    await until(lambda: logged("InputError"), "the error is logged", seconds=10)
    with pytest.raises(ValueError, match="delta of a page"):
        await store.query(COUNT_CELL, [], {}, EVER, WHOLE)
    async with store.database.transaction() as tx:
        await tx.raw.execute("delete from cell_delta where payload = 'nonsense'")
    await until(lambda: folded(first, 2), "the others are folded", seconds=10)
    stop.set()
    await running
    assert set(seen) == {("FOLD_FAILED", "StoreMisuse"), ("FOLD_FAILED", "InputError")}


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 3 * 2**90])
async def test_sums_of_cells_are_exact_beyond_64_bits_folded_or_not_and_go_back(store: Store, value: int) -> None:
    sums = {
        "count_cell": ("value_minor", "net_mass_mg", "paid_minor", "refunded_minor"),
        "revenue_cell": ("amount_minor",),
        "time_cell": ("sum_micros",),
    }
    for table in CELLS:
        names = [column.name for column in table.columns if not column.primary_key]
        keys: list[Any] = [
            [DAY] if column.name == "day" else [1] if str(column.type) == "SMALLINT" else ["X"]
            for column in table.primary_key
        ]
        expected = [value if name in sums.get(table.name, ()) else 1 for name in names]

        async def change(by: list[int], table: sa.Table = table, keys: list[Any] = keys) -> None:
            columns = tuple(Strings.of(key) if isinstance(key[0], str) else np.array(key) for key in keys)
            totals = tuple(np.array([each], object if abs(each) >= 2**62 else np.int64) for each in by)
            async with store.database.transaction() as tx:
                await deltas.append(tx, {table.name: Cells(columns, totals)})

        async def total(table: sa.Table = table) -> list[tuple[int, ...]]:
            return [tuple(map(int, row)) for row in await store.query(table, [], {}, EVER, WHOLE)]

        await change(expected)
        assert await total() == [tuple(expected)]
        await Fold(store).run()
        assert await total() == [tuple(expected)]
        await change(expected)
        assert await total() == [tuple(2 * each for each in expected)]
        await change([7 - each for each in expected])
        await Fold(store).run()
        assert await total() == [tuple(each + 7 for each in expected)]
    assert await stored(store.database, "cell_delta") == 0


async def test_the_largest_masses_that_ingestion_accepts_are_counted_folded_and_taken_back(store: Store) -> None:
    """An item may weigh 10^14 mg and a consignment have 999 items, so 93 consignments of one cell exceed 64 bits."""
    items, mass = [("CN", "620630", 10**12)] * 999, 10**14
    filed = numbers(96)
    for start in range(0, 96, 48):
        await count(store, [State(each, items=items, masses=[mass] * 999) for each in filed[start : start + 48]])
    assert 96 * 999 * mass > 2**63 > 92 * 999 * mass
    for _ in range(2):
        rows = await store.query(COUNT_CELL, [], {}, EVER, WHOLE)
        assert [(row.consignments, row.items, row.value_minor, row.net_mass_mg) for row in rows] == [
            (96, 96 * 999, 96 * 999 * 10**12, 96 * 999 * mass)
        ]
        await Fold(store).run()
    await count(store, [State(each, version=2, masses=[5]) for each in filed])
    await Fold(store).run()
    rows = await store.query(COUNT_CELL, [], {}, EVER, WHOLE)
    assert [(row.consignments, row.items, row.net_mass_mg) for row in rows] == [(96, 96, 96 * 5)]
