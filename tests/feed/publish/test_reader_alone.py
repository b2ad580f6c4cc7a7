"""What a page of entries has and where its readers stand after it, without a database: entries in memory answer the reader's queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.feed.publish.reader import MICROS_A_DAY, MILLIS_A_DAY, NOTICE, OUTBOX, EntryPage, Kind, State, state_of
from libs.feed.types import BEGINNING, BatchRef, Cursor, CursorExpired, EpochEnded
from tests.feed.stored import NOW, TODAY, Stored


def state(**facts: Any) -> State:
    named: dict[str, Any] = {"xmin": 90, "xmax": 100, "now": NOW, "epoch": 7, "ends": {7: None}, "floor": (0, 0, 0)}
    return State(**(named | facts))


def shown(page: EntryPage[int]) -> list[tuple[int, int, int]]:
    """Key, transaction and number of rows of what a page has."""
    return [
        (key, batch.cursor.xid, len(rows))
        for batch in page.batches
        for key, rows in zip(batch.keys, batch.rows, strict=True)
    ]


# ------------------------------------------------------------------------------------------ the state of a feed


def test_the_state_is_read_from_its_columns_and_a_feed_without_a_floor_begins_at_zero() -> None:
    stored = Stored(xmin=5, xmax=6, ends={2: (4, 3), 7: None, 5: None}, stale=True)
    assert state_of(stored.facts()) == State(5, 6, NOW, 7, {2: (4, 3), 5: None, 7: None}, (0, 0, 0), "why", True)
    stored.floor = (2, 3, 4)
    assert state_of(stored.facts()).floor == (2, 3, 4)


@pytest.mark.parametrize(("now", "day"), [(0, 0), (MICROS_A_DAY - 1, 0), (MICROS_A_DAY, 1), (3 * MICROS_A_DAY, 3)])
def test_a_day_has_86400_seconds_and_the_horizon_lies_on_the_day_before(now: int, day: int) -> None:
    found = state(now=now)
    assert (found.day, found.horizon) == (day, Cursor(7, day - 1, 90, 0))


@pytest.mark.parametrize(
    ("cursor", "reached"),
    [
        (Cursor(7, 0, 100, 9), True), (Cursor(7, 0, 101, 0), False),  # the present epoch: up to the newest transaction
        (Cursor(3, 0, 50, 6), True), (Cursor(3, 0, 50, 7), False), (Cursor(3, 0, 51, 0), False), (Cursor(3, 0, 49, 99), True),
        (Cursor(5, 0, 10**9, 1), True),  # ended with nothing lost
        (Cursor(4, 0, 1, 1), False), (Cursor(8, 0, 1, 1), False),  # of no epoch of this store
    ],
)  # fmt: skip
def test_a_cursor_is_reached_up_to_the_end_of_its_epoch(cursor: Cursor, reached: bool) -> None:
    assert state(ends={3: (50, 6), 5: None, 7: None}).reached(cursor) is reached


@pytest.mark.parametrize(
    ("cursor", "ahead"),
    [
        (Cursor(7, 0, 100, 0), False), (Cursor(7, 0, 101, 0), True), (Cursor(6, 0, 101, 0), False),
        (Cursor(8, 0, 1, 0), True), (Cursor(NOW // 1_000 + MILLIS_A_DAY, 0, 1, 0), True),
        (Cursor(NOW // 1_000 + MILLIS_A_DAY + 1, 0, 1, 0), False),  # no clock is a day ahead: a number made up
    ],
)  # fmt: skip
def test_a_cursor_of_a_store_that_went_on_is_ahead_of_this_one(cursor: Cursor, ahead: bool) -> None:
    assert state().is_ahead(cursor) is ahead


@pytest.mark.parametrize(
    ("cursor", "again"),
    [
        (Cursor(3, 9, 99, 1), Cursor(3, 8, 50, 6)),
        (Cursor(4, 9, 1, 1), Cursor(3, 8, 50, 6)),  # of an epoch that this history does not have
        (Cursor(5, 9, 1, 1), Cursor(7, 8, 0, 0)),  # nothing of it was lost
        (Cursor(7, 0, 1, 1), Cursor(7, 0, 0, 0)), (Cursor(9, 1, 1, 1), Cursor(7, 0, 0, 0)),
        (Cursor(1, 2, 1, 1), Cursor(3, 1, 50, 6)),
    ],
)  # fmt: skip
def test_who_lost_its_history_reads_on_where_it_parted(cursor: Cursor, again: Cursor) -> None:
    assert state(ends={3: (50, 6), 5: None, 7: None}).resume_position(cursor) == again


def test_cursors_before_the_floor_are_expired_and_those_beyond_the_end_ended() -> None:
    reader, present = Stored().reader(), state(ends={3: (50, 6), 7: None}, floor=(3, 20, 5))
    reader.check({1: Cursor(3, 0, 20, 5), 2: Cursor(7, 0, 100, 0), 3: Cursor(3, 0, 50, 6)}, present)
    with pytest.raises(CursorExpired) as expired:
        reader.check({1: Cursor(3, 0, 20, 4), 2: Cursor(7, 0, 101, 0), 3: BEGINNING}, present)
    assert expired.value.partitions == [1, 3]
    with pytest.raises(EpochEnded) as ended:
        reader.check({1: Cursor(7, 5, 101, 0), 2: Cursor(3, 5, 50, 7), 3: Cursor(7, 5, 99, 0)}, present)
    assert (ended.value.partitions, ended.value.resume_from) == ([1, 2], Cursor(3, 4, 50, 6))
    reader.check({1: BEGINNING}, state(ends={3: (50, 6), 7: None}))


# ------------------------------------------------------------------------------------------------------ pages


async def test_what_is_below_the_horizon_is_read_and_quiet_readers_stand_at_it() -> None:
    stored = Stored(
        [(7, TODAY, 10, 1, 3, 2), (7, TODAY, 10, 1, 4, 1), (7, TODAY, 20, 1, 3, 1), (7, TODAY, 30, 1, 3, 1)], xmin=30
    )
    stored.xmax = 40
    page = await stored.reader().page(stored, {3: Cursor(7, TODAY - 4, 5, 0), 4: BEGINNING, 5: Cursor(7, TODAY, 35, 2)}, 100)  # fmt: skip
    assert shown(page) == [(3, 10, 2), (4, 10, 1), (3, 20, 1)]
    assert [(batch.ref, batch.cursor) for batch in page.batches] == [
        (BatchRef(TODAY, 1), Cursor(7, TODAY - 1, 10, 1)),
        (BatchRef(TODAY, 1), Cursor(7, TODAY - 1, 20, 1)),
    ]
    assert [rows.tolist() for rows in page.batches[0].rows] == [[30, 31], [40]]
    horizon = Cursor(7, TODAY - 1, 30, 0)
    assert page.next == {3: horizon, 4: horizon, 5: Cursor(7, TODAY, 35, 2)}, "nobody moves back"
    assert (page.events, page.horizon) == (4, horizon)
    assert page.batches[0].events == 3
    assert page.has_more, "one of them began before the epoch that it reads in"
    assert [(each[0], each[3:]) for each in stored.asked] == [((3, 4, 5), (0, TODAY + 1))]


async def test_a_reader_of_an_ended_epoch_goes_on_at_the_beginning_of_the_next_one() -> None:
    stored = Stored([(5, TODAY, 99, 4, 1, 1), (6, TODAY, 1, 1, 1, 1)], xmin=50, ends={5: (99, 4), 6: None, 9: None})
    reader = stored.reader()
    page = await reader.page(stored, {1: Cursor(5, 3, 10, 0), 2: Cursor(6, 4, 10, 0)}, 100)
    assert shown(page) == [(1, 99, 1)], "no horizon bounds an epoch that ended"
    assert page.next == {1: Cursor(6, TODAY - 1, 0, 0), 2: Cursor(9, 4, 0, 0)}
    assert page.has_more
    page = await reader.page(stored, page.next, 100)
    assert shown(page) == [(1, 1, 1)]
    page = await reader.page(stored, page.next, 100)
    assert not page.has_more or page.next[1].epoch < 9
    page = await reader.page(stored, page.next, 100)
    assert (page.has_more, page.next[1]) == (False, Cursor(9, TODAY - 1, 50, 0))


async def test_the_end_of_an_epoch_that_no_reader_has_reached_is_no_obstacle_and_one_beyond_it_is() -> None:
    stored = Stored(ends={5: (99, 4), 9: None}, xmax=50, xmin=50)
    reader = stored.reader()
    await reader.page(stored, {1: Cursor(5, 3, 99, 4)}, 10)
    with pytest.raises(EpochEnded):
        await reader.page(stored, {1: Cursor(5, 3, 99, 5)}, 10)
    with pytest.raises(EpochEnded):
        await reader.page(stored, {1: Cursor(9, 3, 51, 0)}, 10)
    assert stored.begun == []


@pytest.mark.parametrize(
    ("begins", "kind", "xid", "begun"),
    [(True, OUTBOX, 51, True), (True, OUTBOX, 50, False), (False, OUTBOX, 51, False), (True, NOTICE, 51, False)],
)
async def test_only_a_service_ahead_of_the_outbox_begins_an_epoch(
    *, begins: bool, kind: Kind, xid: int, begun: bool
) -> None:
    stored = Stored(xmin=50, xmax=50)
    reading = stored.reader(kind).page(stored, {1: Cursor(7, 3, 1, 0), 2: Cursor(7, 3, xid, 0)}, 10, begins=begins)
    if xid == 50:
        await reading
    else:
        with pytest.raises(EpochEnded) as ended:
            await reading
        assert ended.value.partitions == [2]
    assert [above for _, above in stored.begun] == ([7] if begun else [])


async def test_a_stale_store_begins_its_epoch_before_anything_is_read() -> None:
    stored = Stored(stale=True)
    found = await stored.reader().refresh(stored)
    assert (found.epoch, stored.begun, stored.looked) == (8, [(None, 0)], 2)
    fresh = Stored()
    await fresh.reader().refresh(fresh)
    assert (fresh.begun, fresh.looked) == ([], 1)


async def test_a_horizon_is_recorded_before_it_is_given_out_and_only_where_it_rose() -> None:
    stored = Stored(xmin=10, xmax=10)
    reader = stored.reader()
    assert await reader.horizon(stored) == Cursor(7, TODAY - 1, 10, 0)
    await reader.horizon(stored)
    assert stored.given == [(7, 0, 10)]
    stored.xmin = 12
    await reader.page(stored, {1: BEGINNING}, 10)
    assert stored.given == [(7, 0, 10), (7, 10, 12)]
    stored.ends[8] = None
    await reader.horizon(stored)
    assert stored.given[2:] == [(8, 0, 12)]


async def test_a_process_that_slept_over_days_looks_again_with_all_of_them() -> None:
    stored = Stored([(7, TODAY + 2, 10, 1, 1, 1)])
    reader = stored.reader()
    await reader.refresh(stored)
    stored.now += MICROS_A_DAY
    await reader.page(stored, {1: Cursor(7, TODAY, 5, 0)}, 10)
    assert [each[3:] for each in stored.asked] == [(TODAY, TODAY + 1)], "one day more is always read"
    stored.now += 2 * MICROS_A_DAY
    stored.asked.clear()
    page = await reader.page(stored, {1: Cursor(7, TODAY, 5, 0)}, 10)
    assert [each[3:] for each in stored.asked] == [(TODAY, TODAY + 2), (TODAY, TODAY + 4)]
    assert shown(page) == [(1, 10, 1)]
    stored.ends[8] = None
    stored.asked.clear()
    await reader.page(stored, {1: Cursor(7, TODAY, 11, 0)}, 10)
    assert len(stored.asked) == 2, "an epoch that began meanwhile is looked at first"


async def test_a_reader_with_much_leaves_the_others_their_share_and_takes_what_they_leave() -> None:
    many = [(7, TODAY, xid, 1, 1, 4) for xid in range(1, 101)]
    stored = Stored([*many, *((7, TODAY, 50 + place, 2, 2, 4) for place in range(4))])
    page = await stored.reader().page(stored, {1: BEGINNING, 2: BEGINNING}, 40)
    assert len([each for each in shown(page) if each[0] == 2]) == 4
    mine = [each for each in shown(page) if each[0] == 1]
    assert 20 <= 4 * len(mine) <= 60
    assert page.next[1] == Cursor(7, TODAY - 1, mine[-1][1], 1), "it stands at the last that it was given"
    assert page.has_more


async def test_a_page_is_cut_at_one_place_only_where_that_costs_little() -> None:
    # Reader 1 has more than its share, and 2 has something far behind what 1 gets.
    many = [(7, TODAY, xid, 1, 1, 4) for xid in range(1, 101)]
    stored = Stored([*many, (7, TODAY, 90, 2, 2, 4)])
    page = await stored.reader().page(stored, {1: BEGINNING, 2: BEGINNING}, 80)
    cut = page.next[1]
    assert all(batch.cursor.place <= cut.place for batch in page.batches)
    assert page.next[2] == cut, "what lies behind the cut comes with the next page"
    assert page.events == sum(batch.events for batch in page.batches)
    stored = Stored([*many, *((7, TODAY, 90, 2 + each, 2, 4) for each in range(9))])
    page = await stored.reader().page(stored, {1: BEGINNING, 2: BEGINNING}, 80)
    assert page.next[1] != page.next[2], "half of the page would be lost"
    assert page.events == sum(batch.events for batch in page.batches)


async def test_a_reader_that_is_ahead_of_the_cut_does_not_move_back() -> None:
    many = [(7, TODAY, xid, 1, 1, 4) for xid in range(1, 101)]
    stored = Stored(many)
    ahead = Cursor(7, TODAY, 99, 1)
    page = await stored.reader().page(stored, {1: BEGINNING, 2: ahead}, 40)
    assert page.next[1].place < ahead.place
    assert page.next[2] == ahead


entries = st.lists(
    st.tuples(st.sampled_from([5, 7]), st.integers(1, 40), st.integers(1, 2), st.integers(0, 4), st.integers(1, 9)),
    max_size=60, unique_by=lambda each: each[:4],
)  # fmt: skip


@given(entries, st.integers(1, 30), st.integers(1, 41))
async def test_pages_have_each_event_below_the_horizon_once_and_in_order(
    drawn: list[tuple[int, int, int, int, int]], events_max: int, xmin: int
) -> None:
    stored = Stored([(epoch, TODAY, *each) for epoch, *each in drawn], xmin=xmin, xmax=41, ends={5: None, 7: None})  # type: ignore[misc]
    reader = stored.reader()
    after: Mapping[int, Cursor] = dict.fromkeys(range(5), BEGINNING)
    seen: dict[int, list[tuple[int, int, int]]] = {key: [] for key in after}
    for _ in range(200):
        page = await reader.page(stored, after, events_max)
        assert [batch.cursor.place for batch in page.batches] == sorted({batch.cursor.place for batch in page.batches})
        assert page.events == sum(batch.events for batch in page.batches)
        for batch in page.batches:
            for key, rows in zip(batch.keys, batch.rows, strict=True):
                assert after[key].place < batch.cursor.place <= page.next[key].place
                seen[key] += [batch.cursor.place] * len(rows)
        assert all(page.next[key].place >= after[key].place for key in after)
        after = page.next
        if not page.has_more:
            break
    for key, places in seen.items():
        expected = [
            (epoch, xid, seq)
            for epoch, xid, seq, own, rows in sorted(drawn)
            if own == key and (epoch == 5 or xid < xmin)
            for _ in range(rows)
        ]
        assert places == expected
    assert set(after.values()) == {Cursor(7, TODAY - 1, xmin, 0)}


async def test_who_waits_is_woken_for_its_entries_or_when_the_store_changed() -> None:
    stored, since = Stored(waiting=[2]), Cursor(7, TODAY, 5, 0)
    reader = stored.reader()
    assert (await reader.waiting(stored, [1, 2], since))[0] == {2}
    assert (await reader.waiting(stored, [1, 2], since))[0] == {2}
    assert stored.looked == 1, "each query says how the store is"
    stored.waiting = None
    assert (await reader.waiting(stored, [1, 2], since))[0] == set()
    stored.now += MICROS_A_DAY
    assert (await reader.waiting(stored, [1, 2], since))[0] == set(), "the query reads one day more"
    stored.now += 2 * MICROS_A_DAY
    assert (await reader.waiting(stored, [1, 2], since))[0] == {1, 2}
    stored.ends[9] = None
    assert (await reader.waiting(stored, [1, 2], since))[0] == {1, 2}
