"""The figures of a backlog, each at its bound: what may be unconfirmed, how fast it shrinks and grows, and when nothing is refused."""

from __future__ import annotations

import pytest

from libs.feed.publish import backlog
from libs.feed.publish.backlog import Backlog
from libs.feed.types import Cursor
from libs.telemetry.metrics import REGISTRY

A_ROW = 700
"""Bytes that a row is taken to have at first."""


class Counted:
    """A backlog at a time that the test sets; all partitions have a position, before transaction 1."""

    def __init__(self, *, positions: int = 64) -> None:
        self.now = 1_000.0
        self.admitted = 0
        self.backlog = Backlog("counted", clock=lambda: self.now)
        self.backlog.on_room(self._admit)
        self.confirm(0, partitions=positions)

    def _admit(self) -> None:
        self.admitted += 1

    def accept(self, xid: int, rows: int, a_row: float = A_ROW) -> None:
        self.backlog.accepted(xid, rows, int(rows * a_row))

    def confirm(self, xid: int, *, epoch: int = 1, partitions: int = 64) -> None:
        """All of the transaction and before is committed."""
        self.backlog.confirm({each: Cursor(epoch, 0, xid, 1) for each in range(partitions)})

    def room(self, rows: float = 0, *, spare: bool = False) -> bool:
        """Whether there is room beside running calls of so many rows."""
        return self.backlog.room(int(rows * A_ROW), spare=spare)


@pytest.mark.parametrize(
    ("rows", "running", "spare", "room"),
    [
        (1_999, 0, False, True), (2_000, 0, False, False), (1_000, 999, False, True), (1_000, 1_000, False, False),
        (3_499, 0, True, True), (3_500, 0, True, False),
    ],
)  # fmt: skip
def test_calls_run_while_fewer_rows_are_expected_than_may_be_unconfirmed(
    *, rows: int, running: int, spare: bool, room: bool
) -> None:
    counted = Counted()
    counted.accept(1, rows)
    assert counted.room(running, spare=spare) is room


def test_what_a_row_weighs_follows_what_was_accepted_by_a_tenth() -> None:
    counted = Counted()
    counted.accept(1, 10, 1_700)
    running = 1_990 * 800
    assert counted.backlog.room(running - 800, spare=False)
    assert not counted.backlog.room(running, spare=False)


def test_metrics_show_what_is_unconfirmed_and_what_may_be() -> None:
    counted = Counted()
    counted.accept(1, 123)

    def sample(name: str) -> float | None:
        return REGISTRY.get_sample_value(name, {"consumer": "counted"})

    assert sample("luxor_feed_unconfirmed_events") == 123
    assert sample("luxor_feed_unconfirmed_events_max") == 2_000


def test_a_partition_without_a_position_holds_nothing_back() -> None:
    counted = Counted(positions=63)
    counted.accept(1, 10_000)
    assert counted.room()
    counted.confirm(0)
    counted.accept(2, 10_000)
    assert not counted.room()


def test_a_consumer_that_confirmed_nothing_for_five_seconds_holds_nothing_back() -> None:
    counted = Counted()
    counted.accept(1, 5_000)
    counted.now += 5
    assert not counted.room()
    counted.now += 0.01
    assert counted.room()


def test_without_an_unconfirmed_row_silence_says_nothing() -> None:
    counted = Counted()
    counted.now += 60
    assert not counted.room(2_000)
    counted.now += 60
    counted.accept(1, 2_000)
    assert not counted.room(), "it counts from the first row that waits"


def test_a_consumer_that_catches_up_is_given_half_of_what_it_confirms() -> None:
    counted = Counted()
    counted.accept(1, 5_000)
    counted.accept(2, 3_000)
    counted.now += 3
    counted.confirm(1)
    assert not counted.room(), "it catches up from a wait of more than three seconds on"
    counted.now += 0.01
    # However much was accepted before, no more than may be unconfirmed counts against it: -2,000, and half of 5,000.
    assert counted.room(499)
    assert not counted.room(500)
    counted.accept(3, 499)
    assert counted.room()
    counted.accept(4, 1)
    assert not counted.room()


def test_what_may_be_accepted_while_catching_up_is_no_more_than_may_be_unconfirmed() -> None:
    counted = Counted()
    counted.accept(1, 100_000)
    counted.accept(2, 3_000)
    counted.now += 3.5
    counted.confirm(1)
    assert counted.room(1_999)
    assert not counted.room(2_000)


@pytest.mark.parametrize(
    ("wait", "rows", "left"),
    [
        (1.25, 1_900, 2_000),  # in time
        (1.35, 1_900, 1_900 * 1.25 / 1.35),  # by Little's law so many wait for 1.25 seconds
        (3.0, 1_800, 1_000),  # 750 would, but one correction halves at most
        (1.6, 2_800, 2_000),  # 2,187 would: no more than now, for nobody was held back
    ],
)
def test_what_may_be_unconfirmed_shrinks_by_the_wait_that_was(wait: float, rows: int, left: float) -> None:
    counted = Counted()
    counted.accept(1, rows)
    counted.now += wait
    counted.confirm(0)  # a report that confirms nothing: the wait counts up to the one that showed it
    counted.confirm(1)
    assert counted.backlog.rows_max == pytest.approx(left)


def test_it_never_shrinks_below_what_is_always_admitted() -> None:
    counted = Counted()
    for xid in range(1, 30):
        counted.accept(xid, 10)
        counted.now += 10
        counted.confirm(xid - 1)
        counted.confirm(xid)
    assert counted.backlog.rows_max == 250


@pytest.mark.parametrize(
    ("wait", "rows", "then"),
    [
        (0.5, 2_000, 3_500),  # half-way to 5,000, which would wait for 1.25 seconds
        (0.1, 2_000, 4_000),  # no more than twice
        (1.0, 2_000, 2_250),  # half-way to 2,500
        (1.25, 2_000, 2_000),
    ],
)
def test_it_grows_half_way_to_what_the_wait_allows_where_calls_were_held_back(
    wait: float, rows: int, then: float
) -> None:
    counted = Counted()
    counted.accept(1, rows)
    assert not counted.room()
    counted.now += wait
    counted.confirm(1)
    assert counted.backlog.rows_max == pytest.approx(then)


def test_it_does_not_grow_where_nothing_was_held_back_since_the_last_report() -> None:
    counted = Counted()
    counted.accept(1, 2_000)
    assert not counted.room()
    counted.now += 0.5
    counted.confirm(0)
    counted.now += 0.01
    counted.confirm(1)
    assert counted.backlog.rows_max == 2_000


def test_it_never_grows_beyond_a_million() -> None:
    counted = Counted()
    counted.backlog.rows_max = 900_000.0
    counted.accept(1, 900_000)
    assert not counted.room()
    counted.now += 0.1
    counted.confirm(1)
    assert counted.backlog.rows_max == 1_000_000


def test_the_longest_wait_of_what_is_confirmed_counts_with_the_queue_that_it_stood_in() -> None:
    counted = Counted()
    counted.accept(1, 1_000)
    counted.now += 1
    counted.accept(2, 500)
    counted.now += 1
    counted.confirm(0)
    counted.confirm(2)
    # The first waited for 2 seconds behind 1,000 rows: 625 would wait for 1.25; half of 2,000 is the least.
    assert counted.backlog.rows_max == 1_000
    assert (counted.backlog.rows, counted.admitted) == (0, 1)


def test_a_report_that_confirms_nothing_admits_nobody() -> None:
    counted = Counted()
    counted.accept(5, 10)
    counted.confirm(4)
    assert (counted.backlog.rows, counted.admitted) == (10, 0)
    counted.backlog.confirm({each: Cursor(1, 0, 5, 0) for each in range(64)})
    assert counted.backlog.rows == 10, "the place before its first event"
    counted.confirm(5)
    assert (counted.backlog.rows, counted.admitted) == (0, 1)


def test_a_new_epoch_confirms_all_and_says_nothing_of_waits_or_rates() -> None:
    counted = Counted()
    counted.accept(5, 1_900)
    counted.now += 4
    counted.confirm(0)
    counted.confirm(1, epoch=2)
    assert (counted.backlog.rows, counted.backlog.rows_max, counted.backlog.rate) == (0, 2_000, 1_500)
    counted.accept(3, 10)
    counted.confirm(2, epoch=2)
    assert counted.backlog.rows == 10, "within an epoch, numbers compare"


def test_the_rate_is_what_was_confirmed_in_the_last_three_seconds() -> None:
    counted = Counted()
    counted.accept(1, 100)
    counted.accept(2, 200)
    counted.accept(3, 400)
    counted.accept(4, 800)
    counted.now += 0.4
    counted.confirm(1)
    assert counted.backlog.rate == 1_500, "too short to measure"
    counted.now += 0.1
    counted.confirm(2)
    assert counted.backlog.rate == pytest.approx(300 / 0.5)
    counted.now += 2.5
    counted.confirm(3)
    assert counted.backlog.rate == pytest.approx(700 / 3)
    counted.now += 0.1
    counted.confirm(4)
    # The first mark lies more than three seconds back: since the second one 200, 400 and 800 rows in 2.7 seconds.
    assert counted.backlog.rate == pytest.approx(1_400 / 2.7)


def test_the_rate_begins_with_the_first_row_that_waits() -> None:
    counted = Counted()
    counted.accept(1, 100)
    counted.now += 1
    counted.confirm(1)
    assert counted.backlog.rate == pytest.approx(100)
    counted.now += 100
    counted.accept(2, 300)
    counted.now += 1
    counted.confirm(2)
    assert counted.backlog.rate == pytest.approx(300), "a time without work says nothing of the rate"


@pytest.mark.parametrize(("rows", "rate", "seconds"), [(5_000, 1_500, 2), (2_000, 1_500, 0.1), (2_300, 1_500, 0.2), (2_010, 0, 10)])  # fmt: skip
def test_there_is_room_once_the_consumer_has_worked_off_what_is_too_much(
    rows: int, rate: float, seconds: float
) -> None:
    counted = Counted()
    counted.accept(1, rows)
    counted.backlog.rate = rate
    assert counted.backlog.seconds() == pytest.approx(seconds)


def test_a_report_is_lacking_once_rows_wait_and_none_came_for_so_long() -> None:
    counted = Counted()
    counted.now += 10
    assert not counted.backlog.lacks_report(0.5), "nothing waits"
    counted.accept(1, 1)
    counted.now += 0.25
    assert not counted.backlog.lacks_report(0.5), "it counts from the first row that waits"
    counted.now += 0.25
    assert counted.backlog.lacks_report(0.5)
    counted.confirm(0)
    counted.now += 0.25
    assert not counted.backlog.lacks_report(0.5), "and from the last report"
    counted.now += 0.25
    assert counted.backlog.lacks_report(0.5)


def test_beyond_its_entries_what_is_accepted_is_confirmed_with_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "ENTRIES_MAX", 2)
    counted = Counted()
    for xid, rows in ((1, 1), (3, 10), (2, 100), (5, 1_000)):
        counted.accept(xid, rows)
    counted.confirm(1)
    assert counted.backlog.rows == 1_110
    counted.confirm(4)
    assert counted.backlog.rows == 1_110, "never before its own transaction"
    counted.confirm(5)
    assert counted.backlog.rows == 0
