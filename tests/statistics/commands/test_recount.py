"""Counting everything again from clearance's snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.restart import RestartUnderWay, restarting
from libs.feed.types import BEGINNING, Cursor, FeedBatch, LeaseLost, Page, SnapshotPage
from libs.store.database import Database
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.statistics.commands.fold import Fold
from services.statistics.commands.recount import Recount
from services.statistics.feeds.clearance_states import Intake
from services.statistics.store.cells import COUNT_CELL, SOURCE, Store
from tests.statistics.states import State, states_table


class Clearance:
    """A port whose snapshot has these states and whose feed is quiet."""

    def __init__(self, states: list[State]) -> None:
        self.states = states

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        return Page([], dict(after), BEGINNING, 0)

    async def snapshot(self, partitions: Sequence[int], token: bytes, max_rows: int) -> SnapshotPage:
        rows = self.states
        if 0 not in partitions or not rows:
            return SnapshotPage(None, Cursor(1, 0, 1, 1), b"")
        nothing = np.zeros(len(rows), np.int64)
        name = "luxor.clearance.v1.ClearanceColumns"
        batch = FeedBatch(states_table(rows), nothing, BEGINNING, nothing, 0, "", name, snapshot=True)
        return SnapshotPage(batch, Cursor(1, 0, 1, 1), b"")


def consumer(database: Database, store: Store, clearance: Clearance, replica: str = "one") -> Consumer:
    return Consumer(
        SOURCE,
        database=database,
        pull=clearance,
        handler=Intake(store),
        key=lambda table: table.strings("mrn").tolist(),
        message_class=ClearanceColumns,
        replica=replica,
        wait_millis=0,
    )


async def consignments(store: Store) -> dict[int, int]:
    rows = await store.query(COUNT_CELL, ["day"], {}, (0, 100_000), 1_000)
    return {row.day: row.consignments for row in rows}


async def test_figures_that_went_wrong_are_right_after_a_recount_and_days_that_clearance_forgot_stay(
    database: Database,
) -> None:
    store = Store(database)
    today = await store.today()
    old, recent = today - 500, today - 3
    forgotten = State(make_mrns(["DE"], [0], old, 1)[0], 1, old)
    states = [State(number, 1, recent) for number in make_mrns(["DE"] * 5, [0] * 5, recent, 10)]
    clearance = Clearance([forgotten, *states])
    running = consumer(database, store, clearance)
    await running.step()
    assert await consignments(store) == {old: 1, recent: 5}
    clearance.states = states
    await Fold(store).run()
    async with database.transaction() as tx:
        await tx.raw.execute("update count_cell set consignments = consignments * 3, value_minor = value_minor + 1")
    assert await consignments(store) == {old: 3, recent: 15}

    days = await Recount(store, clearance).run()

    assert recent in days
    assert old not in days
    assert await consignments(store) == {old: 3}
    assert await store.is_incomplete()
    await running.step()  # finds its leases gone
    await running.tend(now=True)
    await running.step()
    assert not await store.is_incomplete()
    assert await consignments(store) == {old: 3, recent: 5}


async def test_a_first_day_that_clearance_may_forget_while_it_is_read_keeps_its_figures(database: Database) -> None:
    store = Store(database)
    today = await store.today()
    oldest = today - 389
    states = [State(make_mrns(["DE"], [0], day, 1)[0], 1, day) for day in (oldest, oldest + 2)]
    clearance = Clearance(states)
    await consumer(database, store, clearance).step()
    days = await Recount(store, clearance).run()
    assert oldest not in days
    assert oldest + 2 in days
    assert await consignments(store) == {oldest: 1}


async def test_nothing_is_cleared_where_clearance_knows_nothing(database: Database) -> None:
    store = Store(database)
    today = await store.today()
    clearance = Clearance([State(make_mrns(["DE"], [0], today, 1)[0], 1, today)])
    await consumer(database, store, clearance).step()
    assert await Recount(store, Clearance([])).run() == []
    assert await consignments(store) == {today: 1}


async def test_two_restarts_at_once_and_one_whose_leases_ended_are_refused(database: Database) -> None:
    with pytest.raises(RestartUnderWay):
        async with restarting(database, SOURCE):
            raise AssertionError("a consumer that never began cannot be restarted")
    running = consumer(database, Store(database), Clearance([]))
    await running.step()
    async with restarting(database, SOURCE) as renew:
        with pytest.raises(RestartUnderWay):
            async with restarting(database, SOURCE):
                raise AssertionError("two processes restart one consumer")
        async with database.transaction() as tx:
            await tx.raw.execute("update feed_cursor set owner = 'other', token = token + 1 where partition = 63")
        with pytest.raises(LeaseLost):
            async with database.transaction() as tx:
                await renew(tx)


async def test_a_page_under_way_when_a_recount_begins_takes_no_effect(database: Database) -> None:
    store = Store(database)
    today = await store.today()
    states = [State(make_mrns(["DE"], [0], today, 1)[0], 1, today)]
    clearance = Clearance(states)
    running = consumer(database, store, clearance)
    await running.tend()
    async with restarting(database, SOURCE) as renew:
        await running.step()
        async with database.transaction() as tx:
            await renew(tx)
        assert await consignments(store) == {}
    await running.tend(now=True)
    await running.step()
    assert await consignments(store) == {today: 1}
