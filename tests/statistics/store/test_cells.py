"""What the store counts of a page, reads again, forgets, and answers of its cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn import MrnError
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from luxor.statistics.v1 import statistics_pb2 as pb
from services.statistics.commands.count import Count
from services.statistics.commands.fold import Fold
from services.statistics.store import cells as stored_cells
from services.statistics.store.cells import CELLS, COUNT_CELL, REVENUE_CELL, TIME_CELL, Store
from tests.statistics.states import State, states_table

DAY = 20_782
TODAY_ON = (0, 100_000)


@pytest_asyncio.fixture
async def store(database: Database) -> Store:
    found = Store(database)
    await Count(found).make_days({DAY, DAY + 1, DAY + 2})
    return found


async def count(store: Store, states: Sequence[State] | Table, epoch: int = 1) -> int:
    """Count states in a transaction; return how many were newer than what was counted."""
    table = states if isinstance(states, Table) else states_table(states)
    async with store.database.transaction() as tx:
        return await Count(store).run(tx, table, epoch)


async def cells(store: Store, *group_by: str, table: Any = COUNT_CELL, **options: Any) -> list[tuple[Any, ...]]:
    """Return cells as the store answers them."""
    period, rows_max = options.get("period", TODAY_ON), options.get("rows_max", 1_000)
    return [tuple(row) for row in await store.query(table, group_by, options.get("filters", {}), period, rows_max)]


def numbers(count: int, day: int = DAY, country: str = "DE") -> list[str]:
    """Return MRNs of a day."""
    return make_mrns([country] * count, [number % 64 for number in range(count)], day, 0)


async def test_counting_says_how_many_states_were_newer_and_counts_only_these(store: Store) -> None:
    one, two, three = numbers(3)
    assert await count(store, [State(one, 1, state=2), State(two, 1, state=2)]) == 2
    assert await count(store, [State(one, 1, state=2), State(two, 1, state=2)]) == 0
    assert await count(store, []) == 0
    # Of a page the newest version counts, wherever it stands; what is known and what is older does not.
    page = [
        State(two, 3, state=4), State(one, 1, state=9), State(three, 1, state=2), State(two, 2, state=3), State(three, 1, state=2),
    ]  # fmt: skip
    assert await count(store, page) == 2
    found = {"AWAITING_ARRIVAL": 2, "RELEASED": 1}
    assert {row[0]: row[1] for row in await cells(store, "state")} == found
    assert await count(store, [State(two, 2, state=3)]) == 0
    assert {row[0]: row[1] for row in await cells(store, "state")} == found


async def test_a_page_that_writes_one_number_twice_in_its_dictionary_counts_it_once(store: Store) -> None:
    one, two = numbers(2)
    table = states_table([State(one, 1, lane=1), State(two, 1, lane=2), State(one, 2, lane=3)])
    assert await count(store, table.with_columns({"mrn": Strings([one, two, one], np.arange(3, dtype=np.int32))})) == 2
    assert [row[:2] for row in await cells(store, "lane")] == [("BLUE", 1), ("YELLOW", 1)]


async def test_a_number_that_is_none_refuses_its_page_whatever_stands_beside_it(store: Store) -> None:
    (good,) = numbers(1)
    bad = good[:17] + str((int(good[17]) + 1) % 10)
    with pytest.raises(MrnError):
        await count(store, [State(good), State(bad)])
    assert await cells(store) == []


async def test_what_was_counted_is_taken_out_as_it_went_in_by_whichever_process(store: Store) -> None:
    one, two = numbers(2)
    # The decision in force is not the first: only by the first does it leave the bucket that it is in.
    life = [
        State(one, version, lane=version, state=3, first=3_000, decided=9_000_000, arrived=1_000, released=70_000_000)
        for version in (1, 2, 3, 4)
    ]
    beside = State(two, 1, lane=4, first=40, decided=50)
    assert await count(store, [life[0], beside]) == 2
    other = Store(store.database)
    for each, process in ((life[1], store), (life[2], store), (life[3], other)):
        assert await count(process, [each]) == 1
    # From the batch that the first one left, which is read by now.
    assert await count(store, [State(two, 2, lane=4, first=40, decided=60)]) == 1
    assert await cells(store, "lane", "stretch", "bucket", table=TIME_CELL) == [
        ("RED", int(pb.INTERVAL_DECISION), 0, 1, 40, 0),
        ("RED", int(pb.INTERVAL_DECISION), 2, 1, 3_000, 0),
        ("RED", int(pb.INTERVAL_RELEASE), 15, 1, 69_999_000, 0),
    ]
    async with store.database.connection() as reader:
        assert {row["formula"] for row in await reader.raw.fetch("select formula from counted_batch")} == {3}


async def test_states_of_more_batches_than_are_remembered_are_taken_out_all_the_same(store: Store) -> None:
    every = numbers(70)
    for mrn in every:
        assert await count(store, [State(mrn, 1, lane=1)]) == 1
    for version in (2, 3):
        assert await count(store, [State(mrn, version, lane=version) for mrn in every]) == 70
        assert [row[:3] for row in await cells(store, "lane")] == [(("", "", "BLUE", "YELLOW")[version], 70, 70)]


async def test_the_trail_of_a_consignment_is_its_own_last_work(store: Store) -> None:
    one, two, other_day = *numbers(2), numbers(1, DAY + 1)[0]
    header = f"00-{'ab' * 16}-{'cd' * 8}-01"
    await count(store, [State(one, 1), State(other_day, 5)])
    await count(store, [State(one, 2)])
    await count(store, [State(two, 7)])
    async with store.database.transaction() as tx:
        await tx.raw.execute(
            "update counted_batch set traceparent = case when id = (select max(id) from counted_batch) then '' else $1 end",
            header,
        )
    for mrn, version, trace in ((one, 2, header), (two, 7, ""), (other_day, 5, header)):
        assert [(fact.version, fact.traceparent) for fact in await store.trail(mrn)] == [(version, trace)]
    async with store.database.transaction() as tx:
        await tx.raw.execute("truncate counted_batch")
    assert [(fact.version, fact.traceparent) for fact in await store.trail(one)] == [(2, "")]
    assert await store.trail(numbers(1, DAY + 2)[0]) == await store.trail("nonsense") == []


async def test_cells_are_answered_by_day_and_value_in_order_and_one_more_than_asked_for_tells_of_more(
    store: Store,
) -> None:
    rows = [
        State(
            numbers(3, DAY + day)[place],
            day=DAY + day,
            lane=lane,
            destination=country,
            items=[("CN", "620630", 10 ** (day + 1))],
        )
        for day, place, lane, country in ((0, 0, 4, "DE"), (1, 0, 1, "FR"), (1, 1, 4, "DE"), (2, 0, 1, "DE"))
    ]
    assert await count(store, rows) == 4
    assert [row[:2] for row in await cells(store, "day")] == [(DAY, 1), (DAY + 1, 2), (DAY + 2, 1)]
    assert [row[0] for row in await cells(store, "day", period=(DAY, DAY + 1))] == [DAY, DAY + 1]
    assert [row[0] for row in await cells(store, "day", period=(DAY + 1, DAY + 1))] == [DAY + 1]
    assert await cells(store, "lane", "day", filters={"destination": ["DE"]}) == [
        ("GREEN", DAY + 2, 1, 1, 1_000, 0, 0, 0, 0), ("RED", DAY, 1, 1, 10, 0, 0, 0, 0), ("RED", DAY + 1, 1, 1, 100, 0, 0, 0, 0),
    ]  # fmt: skip
    both = {"destination": ["DE", "FR"], "lane": ["GREEN"]}
    assert [row[0] for row in await cells(store, "destination", filters=both)] == ["DE", "FR"]
    for rows_max, answered in ((1, 2), (2, 3), (3, 3), (4, 3)):
        assert len(await cells(store, "day", rows_max=rows_max)) == answered
    assert await cells(store, filters={"lane": ["BLUE"]}) == []


async def test_a_cell_that_everything_left_is_not_answered_and_one_with_any_measure_is(store: Store) -> None:
    (one,) = numbers(1)
    await count(store, [State(one, 1, lane=1, items=[("CN", "62", 0), ("US", "95", 1)], charges=[(1, 1, 1, 0)])])
    assert await cells(store, "origin") == [("CN", 1, 1, 0, 0, 0, 0, 0), ("US", 0, 1, 1, 0, 0, 0, 0)]
    assert await cells(store, "kind", table=REVENUE_CELL) == [("DUTY", 1, 0)]
    await count(store, [State(one, 2, lane=2, items=[("CN", "62", 0), ("US", "95", 1)], charges=[])])
    assert [row[:2] for row in await cells(store, "lane")] == [("BLUE", 1)]
    assert await cells(store, "kind", table=REVENUE_CELL) == []


async def test_days_are_cleared_alone_and_a_day_without_a_place_is_none_of_them(store: Store) -> None:
    states = [State(numbers(1, DAY + day)[0], day=DAY + day, inspected=[1], arrived=1, released=2) for day in range(3)]
    await count(store, states)
    await Fold(store).run()
    assert {DAY, DAY + 1, DAY + 2} <= set(await store.days())
    async with store.database.transaction() as tx:
        await store.clear(tx, [])
        await store.clear(tx, [DAY - 9_000])
        await store.clear(tx, [DAY - 9_000, DAY, DAY + 2])
    for table in CELLS:
        assert {row[0] for row in await cells(store, "day", table=table)} == {DAY + 1}
    # What was cleared is counted as if it had never been, and what was not is known.
    assert await count(store, states) == 2
    for table in CELLS:
        assert [row[0] for row in await cells(store, "day", table=table)] == [DAY, DAY + 1, DAY + 2]


async def test_days_have_a_place_once_they_are_made_and_are_made_once(store: Store) -> None:
    far = DAY - 4_000
    await Count(store).make_days({far, DAY})
    await Count(store).make_days({far})
    await Count(Store(store.database)).make_days({far, far + 1})
    assert {far, far + 1} <= set(await store.days())
    assert far + 2 not in await store.days()
    table = states_table([State(numbers(1, far)[0], day=far)])
    assert await count(store, table.with_columns({"version": Ints.of([3])})) == 1


async def test_states_in_memory_are_bounded_by_their_number_and_their_next_versions_count_as_without_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_cells, "ROWS_CACHED_MAX", 5)
    mrns = numbers(9)
    pages = mrns[:2], mrns[2:5], mrns[5:6], mrns[6:]
    for page in pages:
        await count(store, [State(mrn, 1, state=2) for mrn in page])
    assert store.rows_cached == 0
    # Five are as many as there may be; one more drops the two of the page that was read first, three more the next three.
    for page, cached in zip(pages, (2, 5, 4, 4), strict=True):
        await count(store, [State(page[0], 2, state=3)])
        assert store.rows_cached == cached
    await count(store, [State(page[0], 3, state=4) for page in pages])
    assert store.rows_cached <= 5
    assert sorted(row[:2] for row in await cells(store, "state")) == [("AWAITING_ARRIVAL", 5), ("RELEASED", 4)]
