"""How far a consumer is behind, as a reason to accept no more: what is let in waits no longer than it may."""

import random
from collections import deque

import pytest

from libs.feed.publish import backlog
from libs.feed.publish.backlog import Backlog
from libs.feed.types import Cursor

SIZE = 350_000


class World:
    """A producer, and a consumer that confirms pages at a rate that the test sets; time is the test's."""

    def __init__(self, rate: float, page: int = 1_500, batch: int = 500) -> None:
        self.now = 1_000.0
        self.backlog = Backlog("clearance", clock=lambda: self.now)
        self.rate = rate
        self.page = page
        self.batch = batch
        self.xid = 100
        self.queue: deque[tuple[int, float]] = deque()
        self.waits: list[float] = []
        self.refused = self.accepted = 0
        self.busy_until = self.now
        self.working = 0
        self.fixed = 0.0
        self.confirm(1)

    def confirm(self, xid: int, partitions: range = range(64)) -> None:
        self.backlog.confirm({partition: Cursor(1, 0, xid, 1) for partition in partitions})

    def offer(self) -> bool:
        if not self.backlog.room(0, spare=False):
            self.refused += 1
            return False
        self.xid += 1
        self.accepted += 1
        self.queue.append((self.xid, self.now))
        self.backlog.accepted(self.xid, self.batch, self.batch * 700)
        return True

    def run(self, seconds: float, offered: float) -> None:
        """Offer so many rows a second; the consumer works a page at a time and confirms it as the next one begins."""
        ends_at, step, due = self.now + seconds, 0.001, 0.0
        while self.now < ends_at:
            self.now += step
            due += offered * step / self.batch
            while due >= 1:
                due -= 1
                self.offer()
            if self.rate and self.now >= self.busy_until:
                for _ in range(self.working):
                    xid, since = self.queue.popleft()
                    self.waits.append(self.now - since)
                if self.working:
                    self.confirm(xid)
                self.working = min(len(self.queue), self.page // self.batch)
                self.busy_until = self.now + (self.fixed + self.working * self.batch / self.rate if self.working else 0)


@pytest.mark.parametrize("rate", [800.0, 3_000.0, 20_000.0])
@pytest.mark.parametrize("multiple", [1.5, 3, 10])
def test_whatever_the_rate_and_the_load_what_is_accepted_is_confirmed_in_time_and_at_the_full_rate(
    rate: float, multiple: float
) -> None:
    world = World(rate, batch=100 if rate < 1_000 else 500)
    world.run(30, rate * multiple)
    assert max(world.waits) < 3.5, "the first seconds, in which the rate is not known, too"
    assert max(world.waits[len(world.waits) // 3 :]) < 2.2
    assert len(world.waits) * world.batch / 30 > 0.9 * rate
    assert world.refused > 0


@pytest.mark.parametrize(("rate", "fixed"), [(3_000.0, 0.05), (3_000.0, 0.15), (20_000.0, 0.4), (6_000.0, 0.4)])
def test_a_page_that_costs_time_whatever_is_in_it_does_not_make_less_and_less_be_let_in(
    rate: float, fixed: float
) -> None:
    world = World(rate)
    world.fixed = fixed
    most = world.page / (fixed + world.page / world.rate)
    world.run(20, 9_000.0)
    before = len(world.waits)
    world.run(40, 9_000.0)
    assert (len(world.waits) - before) * world.batch / 40 > 0.85 * most
    assert max(world.waits[before:]) < 2.2


def throughput(world: World, fixed: float) -> float:
    """Run for a minute with pages that cost more or less time and one long stop each ten seconds; give the last half's rate."""
    numbers = random.Random(1)
    before = 0
    for second in range(60):
        world.fixed = fixed * numbers.choice((0.5, 0.5, 1, 1, 2)) + (1.2 if second % 10 == 0 else 0)
        world.run(1, 3 * world.rate)
        if second == 29:
            before = len(world.waits)
    return (len(world.waits) - before) * world.batch / 30


def test_a_consumer_that_stops_now_and_then_is_not_given_less_each_time() -> None:
    world, unbound = World(3_000.0), World(3_000.0)
    unbound.backlog.room = lambda running, *, spare: True  # type: ignore[method-assign]
    assert throughput(world, 0.2) > 0.85 * throughput(unbound, 0.2)


def test_a_load_that_the_consumer_can_bear_is_never_refused() -> None:
    world = World(3_000.0)
    world.run(60, 2_400.0)
    assert world.refused == 0


def test_a_consumer_that_becomes_slower_gets_less_and_one_that_recovers_gets_more() -> None:
    world = World(6_000.0)
    world.run(20, 12_000.0)
    world.rate = 1_500.0
    world.run(20, 12_000.0)
    world.waits.clear()
    world.run(20, 12_000.0)
    assert max(world.waits) < 2.2
    world.rate = 6_000.0
    world.run(10, 12_000.0)
    world.waits.clear()
    world.run(20, 12_000.0)
    assert len(world.waits) * world.batch / 20 > 0.9 * 6_000


def test_while_the_consumer_does_not_work_filing_goes_on_and_then_it_catches_up() -> None:
    world = World(3_000.0)
    world.run(20, 1_000.0)
    world.rate = 0.0
    world.run(60, 1_000.0)
    before = world.accepted, world.refused
    world.run(60, 1_000.0)
    assert world.refused == before[1], "an outage of the consumer is no overload"
    assert world.accepted > before[0]
    world.rate = 3_000.0
    world.run(10, 1_000.0)
    world.accepted = world.refused = 0
    world.run(20, 4_000.0)
    assert 0.3 * 3_000 < world.accepted * world.batch / 20 < 0.7 * 3_000, "half of what is confirmed is let in"
    world.run(120, 1_000.0)
    assert world.backlog.rows < world.backlog.rows_max
    refused = world.refused
    world.run(20, 1_000.0)
    assert world.refused == refused


def test_until_every_partition_has_a_position_nothing_is_refused() -> None:
    counted = Backlog("clearance")
    counted.confirm({partition: Cursor(1, 0, 5, 0) for partition in range(63)})
    counted.accepted(3, 1_000_000, 10**9)
    assert counted.room(0, spare=False)
    counted.confirm({63: Cursor(1, 0, 5, 0)})
    counted.accepted(10, 1_000_000, 10**9)
    assert not counted.room(0, spare=False)
    assert counted.seconds() > 1


@pytest.mark.parametrize(
    ("place", "confirmed"), [((1, 9, 9), 0), ((1, 10, 0), 0), ((1, 10, 7), 1), ((1, 11, 0), 1), ((2, 0, 0), 1)]
)
def test_rows_are_confirmed_once_every_partition_has_passed_them(place: tuple[int, int, int], confirmed: int) -> None:
    counted = Backlog("clearance")
    counted.confirm({partition: Cursor(1, 0, 1, 0) for partition in range(64)})
    counted.accepted(10, 100, SIZE)
    epoch, xid, seq = place
    counted.confirm({partition: Cursor(epoch, 0, xid, seq) for partition in range(63)})
    assert counted.rows == 100
    counted.confirm({63: Cursor(epoch, 0, xid, seq)})
    assert counted.rows == (0 if confirmed else 100)


def test_memory_is_bounded_however_long_the_consumer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "ENTRIES_MAX", 10)
    counted = Backlog("clearance")
    counted.confirm({partition: Cursor(1, 0, 1, 0) for partition in range(64)})
    for xid in range(2, 102):
        counted.accepted(xid, 10, SIZE)
    counted.confirm({partition: Cursor(1, 0, 102, 0) for partition in range(64)})
    assert counted.rows == 0
