"""Several replicas of a producer: the consumer reports to one after the other, and what it reported to others comes from the store."""

import random
from collections import deque
from dataclasses import dataclass

import pytest

from libs.feed.publish.backlog import ROWS_FIRST, WAIT_SECONDS, Backlog
from libs.feed.publish.shared_positions import POLL_SECONDS as SHARED_POLL_SECONDS
from libs.feed.publish.shared_positions import REPORT_SECONDS as SHARED_SECONDS
from libs.feed.publish.shared_positions import SharedPositions
from libs.feed.types import Cursor
from tests.feed.conftest import Producer

STEP = 0.002
REPORT_SECONDS, POLL_SECONDS, PAGE = 0.1, 1.0, 1_500


@dataclass
class Pull:
    """A pull of the consumer: it ends with a page, or empty after a second."""

    ends_at: float
    page: list[tuple[int, int, float]] | None = None


class System:
    """Replicas behind a load balancer, and a consumer that pulls from one after the other, a page ahead."""

    def __init__(self, replicas: int, rate: float = 6_000.0, fixed: float = 0.08) -> None:
        self.now = 1_000.0
        self.backlogs = [Backlog("clearance", clock=lambda: self.now) for _ in range(replicas)]
        self.rate, self.fixed = rate, fixed
        self.xid = self.committed = 100
        self.queue: deque[tuple[int, int, float]] = deque()
        self.turn = self.accepted = self.refused = 0
        self.reported_at = self.busy_until = float("-inf")
        self.pull: Pull | None = None
        self.ahead: Pull | None = None
        self.work: list[tuple[int, int, float]] = []
        self.decided: list[tuple[float, int]] = []
        self.stored, self.recorded_at, self.polled_at = self.committed, [0.0] * replicas, self.now
        for each in self.backlogs:
            confirm(each, self.committed)

    def report(self, replica: int) -> None:
        confirm(self.backlogs[replica], self.committed)
        if self.now - self.recorded_at[replica] >= SHARED_SECONDS:
            self.recorded_at[replica], self.stored = self.now, self.committed

    def poll(self) -> None:
        self.polled_at = self.now
        for each in self.backlogs:
            if each.lacks_report(SHARED_SECONDS):
                confirm(each, self.stored)

    def offer(self, replica: int, rows: int) -> bool:
        backlog = self.backlogs[replica % len(self.backlogs)]
        if not backlog.room(0, spare=False):
            self.refused += 1
            return False
        self.xid += 1
        self.accepted += 1
        self.queue.append((self.xid, rows, self.now))
        backlog.accepted(self.xid, rows, rows * 700)
        return True

    def step(self) -> None:
        self.now += STEP
        if self.now - self.polled_at >= SHARED_POLL_SECONDS:
            self.poll()
        if self.work and self.now >= self.busy_until:
            self.decided += [(self.now - since, rows) for _, rows, since in self.work]
            self.committed = self.work[-1][0]
            self.work, self.pull, self.ahead = [], self.ahead, None
        for pull in (self.pull, self.ahead):
            if pull is not None and pull.page is None and self.queue and self.now < pull.ends_at:
                pull.page, pull.ends_at = self._page(), self.now + 0.03
        if self.work or (self.pull is not None and self.now < self.pull.ends_at):
            return
        if self.pull is None or self.pull.page is None:
            self.pull = self._pull()
            return
        self.work, self.ahead = self.pull.page, self._pull()
        self.busy_until = self.now + self.fixed + sum(rows for _, rows, _ in self.work) / self.rate

    def _pull(self) -> Pull:
        self.turn += 1
        if self.now - self.reported_at >= REPORT_SECONDS:
            self.reported_at = self.now
            self.report(self.turn % len(self.backlogs))
        return Pull(self.now + POLL_SECONDS)

    def _page(self) -> list[tuple[int, int, float]]:
        page = [self.queue.popleft()]
        while self.queue and sum(rows for _, rows, _ in page) + self.queue[0][1] <= PAGE:
            page.append(self.queue.popleft())
        return page


@pytest.mark.parametrize("pause", [1.5, 3.0, 6.0])
@pytest.mark.parametrize("replicas", [1, 2, 3, 5, 8])
def test_an_almost_idle_system_refuses_nothing_however_many_replicas_there_are(replicas: int, pause: float) -> None:
    system = System(replicas)
    ends_at, due = system.now + 60, system.now + pause
    while system.now < ends_at:
        system.step()
        if system.now >= due:
            due += pause
            system.offer(0, 1_000)
    assert system.refused == 0
    assert system.accepted >= 60 / pause - 1
    assert system.backlogs[0].rows_max >= ROWS_FIRST, "nothing was held back, and nothing waited for the consumer"


@pytest.mark.parametrize("multiple", [1.5, 3])
@pytest.mark.parametrize(
    ("replicas", "rate", "longest"), [(1, 6_000, 2.2), (3, 6_000, 2.2), (5, 6_000, 2.4), (3, 1_500, 4.0)]
)
def test_too_much_load_is_refused_in_time_and_the_consumer_works_at_its_rate(
    replicas: int, rate: float, longest: float, multiple: float
) -> None:
    system = System(replicas, rate)
    numbers = random.Random(1)
    most = PAGE / (system.fixed + PAGE / system.rate)
    preparation = due = system.now
    place = before = 0
    while system.now < preparation + 40:
        system.step()
        while due <= system.now:
            due += numbers.expovariate(multiple * most / 500)
            place += 1
            system.offer(place, 500)
        if system.now < preparation + 10:
            before = len(system.decided)
    assert sum(rows for _, rows in system.decided[before:]) / 30 > 0.8 * most
    assert max(wait for wait, _ in system.decided[before:]) < longest
    assert system.refused > 0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def counted(clock: Clock) -> Backlog:
    backlog = Backlog("clearance", clock=clock)
    confirm(backlog, 1)
    return backlog


def confirm(backlog: Backlog, xid: int, partitions: range = range(64)) -> None:
    backlog.confirm({partition: Cursor(1, 0, xid, 1) for partition in partitions})


def test_the_store_is_asked_only_where_rows_lack_a_report() -> None:
    clock = Clock()
    backlog = counted(clock)
    clock.now += 10
    assert not backlog.lacks_report(0.5), "nothing is unconfirmed"
    backlog.accepted(10, 100, 700)
    clock.now += 0.4
    assert not backlog.lacks_report(0.5)
    confirm(backlog, 2)
    clock.now += 0.4
    assert not backlog.lacks_report(0.5)
    clock.now += 0.2
    assert backlog.lacks_report(0.5)
    confirm(backlog, 10)
    clock.now += 10
    assert not backlog.lacks_report(0.5)


async def test_a_replica_learns_from_the_store_what_was_reported_to_another(producer: Producer) -> None:
    clock = Clock()
    backlog = counted(clock)
    shared = SharedPositions(producer.servicer.positions, backlog)
    ref = await producer.announce(("a", 1, 3))
    assert ref
    page = await producer.port().pull(dict.fromkeys(range(64), Cursor(0, 0, 0, 0)), 10, 0)
    xid = page.batches[0].cursor.xid
    backlog.confirm({partition: Cursor(page.horizon.epoch, 0, xid, 0) for partition in range(64)})
    backlog.accepted(xid, 1, 700)
    clock.now += 1
    await shared.step()
    assert backlog.rows == 1, "nobody has reported it"
    # The other replica: it serves the pull, and records what the consumer committed.
    await producer.servicer.positions.record("clearance", page.next, seconds_min=SHARED_SECONDS)
    await shared.step()
    assert backlog.rows == 1, "a report came less than half a second ago"
    clock.now += 1
    await shared.step()
    assert backlog.rows == 0


@pytest.mark.parametrize(("consumer", "recorded"), [("watcher", True), ("other", False)])
async def test_positions_of_the_consumer_that_the_backlog_is_of_are_recorded_for_other_replicas_soon(
    producer: Producer, consumer: str, recorded: bool
) -> None:
    now = 100.0
    producer.servicer.positions.clock = lambda: now
    producer.servicer.backlog = Backlog(consumer)
    await producer.announce(("a", 1, 3))
    beginning = dict.fromkeys(range(64), Cursor(0, 0, 0, 0))
    page = await producer.port().pull(beginning, 10, 0)
    await producer.port().pull(dict(page.next), 10, 0, dict(page.next))
    await producer.announce(("b", 1, 3))
    now += SHARED_SECONDS
    page = await producer.port().pull(dict(page.next), 10, 0)
    await producer.port().pull(dict(page.next), 10, 0, dict(page.next))
    stored = await producer.servicer.positions.read("watcher")
    assert (stored[3] == page.next[3]) is recorded


def test_a_late_report_is_no_wait_where_nothing_was_held_back() -> None:
    clock = Clock()
    backlog = counted(clock)
    backlog.accepted(10, 1_900, 700)
    clock.now += 4.5
    confirm(backlog, 10)
    assert backlog.rows_max == ROWS_FIRST


def test_a_wait_that_reports_show_makes_less_be_let_in_also_where_nothing_was_held_back() -> None:
    clock = Clock()
    backlog = counted(clock)
    backlog.accepted(10, 1_900, 700)
    for _ in range(13):
        clock.now += 0.15
        confirm(backlog, 2)
    clock.now += 0.2
    confirm(backlog, 10)
    assert backlog.rows_max == pytest.approx(1_900 * WAIT_SECONDS / (13 * 0.15))


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (0.1, 2 * ROWS_FIRST),
        (WAIT_SECONDS / 2, 1.5 * ROWS_FIRST),
        (WAIT_SECONDS, ROWS_FIRST),
        (WAIT_SECONDS * 1.6, ROWS_FIRST / 1.6),
        (4.5, 0.5 * ROWS_FIRST),
    ],
)
def test_where_calls_were_held_back_the_window_follows_how_long_rows_waited_behind_how_many(
    wait: float, expected: float
) -> None:
    clock = Clock()
    backlog = counted(clock)
    backlog.accepted(10, ROWS_FIRST, 700)
    assert not backlog.room(0, spare=False)
    clock.now += wait
    confirm(backlog, 10)
    assert backlog.rows_max == pytest.approx(expected)
