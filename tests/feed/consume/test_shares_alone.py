"""How much a page reads of each reader, by what entries and events weighed lately; entries in memory answer the queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from libs.feed.publish.reader import Reader
from libs.feed.types import BEGINNING, Cursor
from tests.feed.served import Served, stored_batch
from tests.feed.stored import TODAY, Stored


def entries(count: int, rows: int, key: int = 1) -> list[tuple[int, int, int, int, int, int]]:
    return [(7, TODAY, xid, 1, key, rows) for xid in range(1, count + 1)]


def limits(stored: Stored) -> list[int]:
    """Return how many entries each query read of each reader at most."""
    return [each[2] for each in stored.asked]


@pytest.mark.parametrize(
    ("events_max", "readers", "limit"),
    [
        (1, 1, 1),
        (4, 1, 1),
        (5, 1, 2),
        (40, 1, 10),
        (41, 1, 11),
        (40, 2, 5),
        (1, 64, 1),
        (2_048, 1, 512),
        (2_049, 1, 512),
        (100_000, 1, 512),
    ],
)
async def test_entries_are_taken_for_four_events_at_first_and_at_most_512_of_a_reader(
    events_max: int, readers: int, limit: int
) -> None:
    stored = Stored()
    await stored.reader().page(stored, dict.fromkeys(range(readers), BEGINNING), events_max)
    assert limits(stored) == [limit]


async def test_what_an_entry_has_follows_what_entries_had_by_three_tenths() -> None:
    stored = Stored(entries(100, 8))
    reader: Reader[int] = stored.reader()
    first = await reader.page(stored, {1: BEGINNING}, 40)
    assert first.events == 64, "up to half as much again as its share"
    await reader.page(stored, {1: Cursor(7, TODAY, 100, 1)}, 52)
    assert limits(stored) == [10, 10], "4, and 3 tenths of the way to 8: 5.2 in each"
    await reader.page(stored, {1: Cursor(7, TODAY, 100, 1)}, 53)
    assert limits(stored)[-1] == 11, "of no entry it learns nothing"


async def test_what_others_leave_is_read_in_two_more_rounds_at_most() -> None:
    stored = Stored(entries(200, 1))
    page = await stored.reader().page(stored, {1: BEGINNING, 2: BEGINNING}, 80)
    # 40 of 4; then 70 of 3.1; then 47 of 2.47: 10 and 23 and 20 entries of one event, and the next page has the rest.
    assert limits(stored) == [10, 23, 20]
    assert [each[0] for each in stored.asked] == [(1, 2), (1,), (1,)]
    assert (page.events, page.has_more) == (53, True)
    assert stored.looked == 1, "each round's query says how the store is"
    assert page.next == dict.fromkeys((1, 2), Cursor(7, TODAY - 1, 53, 1))


@pytest.mark.parametrize(("events_max", "rounds"), [(40, 2), (39, 1)])
async def test_a_page_that_is_more_than_half_full_goes_out(events_max: int, rounds: int) -> None:
    stored = Stored([*entries(10, 2), (7, TODAY, 11, 1, 1, 30)])
    await stored.reader().page(stored, {1: BEGINNING}, events_max)
    assert len(stored.asked) == rounds


@pytest.mark.parametrize(("rows", "taken"), [(20, 3), (30, 2), (59, 2), (60, 1), (61, 1)])
async def test_a_reader_gets_half_as_much_again_as_its_share_and_one_entry_at_least(rows: int, taken: int) -> None:
    stored = Stored(entries(20, rows))
    page = await stored.reader().page(stored, {1: BEGINNING}, 40)
    assert len(page.batches) == taken
    assert page.next[1] == Cursor(7, TODAY - 1, taken, 1)


async def test_what_a_page_asks_for_follows_what_events_weighed_by_a_fifth() -> None:
    size = len(stored_batch(1, 4).payload)
    served = Served(Stored([(7, TODAY, 1, 1, 1, 4)]), rows=(4,), page_bytes_max=20_000)
    await served.pull(max_events=20_000)
    assert limits(served.stored) == [10], "40 events of 500 bytes"
    await served.pull(max_events=20_000)
    expected = int(20_000 / (500 + 0.2 * (size / 4 - 500)))
    assert limits(served.stored)[1] == -(-expected // 4)
    assert expected == 49
    await served.pull(max_events=8)
    assert limits(served.stored)[2] == 2, "and never more than is asked for"


@pytest.mark.parametrize(("bound", "limit"), [(1, 1), (499, 1), (2_000, 1), (2_500, 2)])
async def test_a_page_has_one_event_at_least_however_small_it_must_be(bound: int, limit: int) -> None:
    served = Served(page_bytes_max=bound)
    await served.pull({1: Cursor(7, TODAY, 999, 0)}, max_events=20_000)
    assert limits(served.stored) == [limit]


class Rising(Stored):
    """A store in which more is committed after each page query."""

    async def fetch(self, sql: str, keys: Sequence[int], *values: Any) -> list[dict[str, Any]]:
        found = await super().fetch(sql, keys, *values)
        self.xmin += 100
        self.xmax += 100
        return found


async def test_the_horizon_of_a_page_is_that_of_its_first_round() -> None:
    stored = Rising([*entries(200, 1), (7, TODAY, 1_050, 1, 2, 1)])
    page = await stored.reader().page(stored, {1: Cursor(7, TODAY, 0, 0), 2: Cursor(7, TODAY, 0, 0)}, 80)
    assert len(stored.asked) == 3
    # Whoever waits from here on sees what was committed between the rounds, which reader 2 has not.
    assert page.horizon == Cursor(7, TODAY - 1, 1_000, 0)
    assert page.next[2].place <= page.horizon.place
