"""Hits of the screening that come after the decision: they hold, whatever order things come in, until an officer lifts them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from libs.columns import Ints, Table
from libs.feed.consume.consumer import Consumer
from libs.feed.types import Cursor, EventError, FeedBatch, Page, SnapshotPage
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.clearance.consignment.transitions import Change, Event, State
from services.clearance.feeds.screening_matches import Rescreening
from tests.clearance.desk import DAY, Desk, filings, mrns
from tests.clearance.desk_commands import HELD_MILLIS, act, arrival, arrive, check_versions, texts, waiting_for_a_lock
from tests.clearance.risk_answers import LIST, SECRET, screening
from tests.clearance.screening_matches import entries, hear, notices_count


def told_of(states: Table) -> list[tuple[State, int, Change, bool]]:
    columns = (states.ints(name).values.tolist() for name in ("state", "version", "change"))
    holds = states.bools("screening_hold").values.tolist()
    return [(State(s), v, Change(c), h) for s, v, c, h in zip(*columns, holds, strict=True)]


async def test_what_is_not_released_is_held_in_the_lane_of_the_hit_and_no_arrival_releases_it(desk: Desk) -> None:
    filed = filings(["GREEN-1", "BLUE-1", "YELLOW-1"])
    await desk.consume(filed)
    await hear(desk, screening(filed))
    states = await desk.states(mrns(filed))
    assert told_of(states) == [(State.HELD, 2, Change.SCREENING_MATCHED, True)] * 3
    assert states.ints("lane").values.tolist() == [4, 4, 4]
    low = "VALUE_IMPLAUSIBLY_LOW"
    assert texts(states, "reasons") == [["CUSTOMS_CHECK"], [low, "CUSTOMS_CHECK"], [low, "CUSTOMS_CHECK"]]
    assert states.strings("screened_lists").tolist() == [LIST] * 3
    found = states.child("findings")
    assert [found.strings("reason").tolist()[row] for row in (0, 2, 4)] == [SECRET] * 3
    assert found.bools("confidential").values.tolist() == [True, False, True, False, True]
    await arrive(desk, arrival())
    assert [state for state, *_ in told_of(await desk.states(mrns(filed)))] == [State.HELD] * 3
    await check_versions(desk)


async def test_the_same_hits_again_change_nothing_and_do_not_undo_an_officers_release(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    await hear(desk, screening(filed))
    await hear(desk, screening(filed), screening(filed))
    assert told_of(await desk.states([mrn])) == [(State.HELD, 2, Change.SCREENING_MATCHED, True)]
    await act(desk, Event.OFFICER_RELEASED, [mrn])
    await hear(desk, screening(filed))
    assert told_of(await desk.states([mrn])) == [(State.AWAITING_ARRIVAL, 3, Change.OFFICER_RELEASED, False)]
    # Another entry of the list is news.
    await hear(desk, screening(filed, ("6908555", "7")))
    assert told_of(await desk.states([mrn])) == [(State.HELD, 4, Change.SCREENING_MATCHED, True)]
    assert await entries(desk, mrn) == ["6908555", "7"]


async def test_a_hit_that_became_stronger_holds_again_in_the_place_of_the_weaker_that_an_officer_released(
    desk: Desk,
) -> None:
    filed = filings(["GREEN-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    await hear(desk, screening(filed, ("7", "6908555"), lane=3))
    await act(desk, Event.OFFICER_RELEASED, [mrn])
    await hear(desk, screening(filed, ("6908555",), lane=4))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.HELD, 4, Change.SCREENING_MATCHED, True)]
    assert states.ints("lane").values.tolist() == [4]
    assert await entries(desk, mrn) == ["7", "6908555"]
    assert states.child("findings").ints("lane").values.tolist() == [3, 4]
    # The weaker one, told again, changes nothing.
    await hear(desk, screening(filed, lane=3))
    assert told_of(await desk.states([mrn])) == [(State.HELD, 4, Change.SCREENING_MATCHED, True)]
    await check_versions(desk)


async def test_goods_that_were_released_are_not_held_but_to_be_audited_and_nobody_outside_hears_of_it(
    desk: Desk,
) -> None:
    filed = filings(["GREEN-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    await arrive(desk, arrival())
    before = await notices_count(desk)
    await hear(desk, screening(filed))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.RELEASED, 3, Change.SCREENING_MATCHED, False)]
    assert states.bools("audit").values.tolist() == [True]
    assert states.ints("lane").values.tolist() == [1]
    assert states.ints("released_at").valid.all()
    assert await entries(desk, mrn) == ["6908555"]
    assert await notices_count(desk) == before


async def test_hits_of_what_is_held_already_are_added_and_an_officers_release_lifts_both_holds(desk: Desk) -> None:
    filed = filings(["RED-1"])
    (mrn,) = mrns(filed)
    await desk.consume(filed)
    await act(desk, Event.OFFICER_HELD, [mrn])
    await hear(desk, screening(filed))
    states = await desk.states([mrn])
    assert told_of(states) == [(State.HELD, 3, Change.SCREENING_MATCHED, True)]
    assert states.bools("officer_hold").values.tolist() == [True]
    await act(desk, Event.OFFICER_RELEASED, [mrn], request_id="o2")
    states = await desk.states([mrn])
    assert told_of(states) == [(State.AWAITING_ARRIVAL, 4, Change.OFFICER_RELEASED, False)]
    assert states.bools("officer_hold").values.tolist() == [False]


async def test_a_hit_that_overtakes_its_filing_waits_for_the_decision_and_holds_then(desk: Desk) -> None:
    filed = filings(["GREEN-1", "GREEN-2"])
    first, second = mrns(filed)
    await arrive(desk, arrival())
    await hear(desk, screening(filed.take(_place(0))))
    await hear(desk, screening(filed.take(_place(0)), ("7",), at=1), screening(filed.take(_place(0))))
    await desk.consume(filed)
    states = await desk.states([first, second])
    assert told_of(states) == [(State.HELD, 1, Change.DECIDED, True), (State.RELEASED, 1, Change.DECIDED, False)]
    assert texts(states, "reasons") == [["CUSTOMS_CHECK"], []]
    assert await entries(desk, first) == ["7", "6908555"]
    async with desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from early_hit") == 0
    await check_versions(desk)


async def test_a_hit_that_meets_its_filing_while_that_is_being_decided_is_not_lost(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    prepared = await desk.prepare(filed)
    async with desk.store.database.transaction(timeout_millis=HELD_MILLIS) as tx:
        await desk.intake.apply(tx, prepared)
        hearing = asyncio.create_task(hear(desk, screening(filed)))
        await waiting_for_a_lock(desk, tx)
        assert not hearing.done()
    await hearing
    assert told_of(await desk.states(mrns(filed))) == [(State.HELD, 2, Change.SCREENING_MATCHED, True)]


async def test_a_filing_that_is_decided_while_its_hit_is_being_kept_waits_for_it_and_is_held(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    handler = Rescreening(desk.store)
    async with desk.store.database.transaction(timeout_millis=HELD_MILLIS) as tx:
        await handler.apply(tx, await handler.prepare([screening(filed)]))
        deciding = asyncio.create_task(desk.consume(filed))
        await waiting_for_a_lock(desk, tx)
        assert not deciding.done()
    await deciding
    assert told_of(await desk.states(mrns(filed))) == [(State.HELD, 1, Change.DECIDED, True)]


async def test_a_new_version_of_a_filing_does_not_lift_the_hold_and_hits_of_the_old_one_are_outdated(
    desk: Desk,
) -> None:
    filed = filings(["GREEN-1", "GREEN-2"])
    first, second = mrns(filed)
    await desk.consume(filed)
    await hear(desk, screening(filed.take(_place(0))))
    await desk.consume(filings(["GREEN-1", "GREEN-2"], version=2))
    await hear(desk, screening(filed.take(_place(1))))
    states = await desk.states([first, second])
    assert told_of(states) == [
        (State.HELD, 3, Change.AMENDED, True), (State.AWAITING_ARRIVAL, 2, Change.AMENDED, False),
    ]  # fmt: skip
    assert texts(states, "reasons") == [["CUSTOMS_CHECK"], []]
    assert states.ints("lane").values.tolist() == [4, 1]
    assert await entries(desk, first) == ["6908555"]
    assert await entries(desk, second) == []


async def test_hits_of_what_is_forgotten_are_not_kept(desk: Desk) -> None:
    old = filings(["GREEN-9"], day=DAY - 800)
    await hear(desk, screening(old))
    async with desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from early_hit") == 0


async def test_a_screening_without_a_time_or_the_version_of_the_filing_is_its_own_fault(desk: Desk) -> None:
    filed = filings(["GREEN-1"])
    told = screening(filed)
    broken = FeedBatch(
        told.table.with_columns({"screened_at": Ints.absent(1)}), told.partitions, told.cursor, told.rows, 0, "", ""
    )
    unversioned = replace(told, table=told.table.with_columns({"filing_version": Ints.absent(1)}))
    for each in (broken, unversioned):
        with pytest.raises(EventError, match="EVENT_MALFORMED"):
            await Rescreening(desk.store).prepare([each])


def _place(row: int) -> NDArray[np.int64]:
    return np.array([row], np.int64)


class OnePage:
    """A port whose snapshot tells one batch, and whose feed is quiet then."""

    def __init__(self, batch: FeedBatch) -> None:
        self._batch = batch

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        return Page([], dict(after), self._batch.cursor)

    async def snapshot(self, partitions: Sequence[int], token: bytes, max_rows: int) -> SnapshotPage:
        rows = np.flatnonzero(np.isin(self._batch.partitions, list(partitions)))
        batch = replace(self._batch.take(rows), snapshot=True) if len(rows) else None
        return SnapshotPage(batch, self._batch.cursor, b"")


async def test_by_the_feed_good_hits_hold_and_a_broken_one_waits_among_the_letters_of_its_source(desk: Desk) -> None:
    filed = filings(["GREEN-1", "GREEN-2", "GREEN-3"])
    await desk.consume(filed)
    told = screening(filed)
    times = Ints.of([5, 0, 5], [True, False, True])
    consumer = Consumer(
        "risk",
        database=desk.store.database,
        pull=OnePage(replace(told, table=told.table.with_columns({"screened_at": times}))),
        handler=Rescreening(desk.store),
        key=mrns,
        message_class=ScreeningColumns,
        replica="r",
    )
    try:
        await consumer.step()
    finally:
        await consumer.close()
    assert [state for state, *_ in told_of(await desk.states(mrns(filed)))] == [
        State.HELD, State.AWAITING_ARRIVAL, State.HELD,
    ]  # fmt: skip
    async with desk.store.database.connection() as reading:
        letters = await reading.raw.fetch("select source, key, reason from dead_letter")
    assert [tuple(letter) for letter in letters] == [("risk", mrns(filed)[1], "EVENT_MALFORMED")]
