"""Who waits for entries is woken by one poll that all share: when it asks, how often, whom it wakes, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from libs.feed.publish import watch as module
from libs.feed.publish.reader import OUTBOX, State
from libs.feed.publish.watch import POLL_SECONDS, QUIET_POLL_SECONDS, QUIET_SECONDS, Watch
from libs.feed.types import Cursor
from libs.server.call import Call, enter
from libs.server.identity import Identity, Role

EPOCH = 7
SINCE = Cursor(EPOCH, 1, 10, 0)


class Asked:
    """A reader that says what a test lays out, and writes down what it was asked."""

    kind = OUTBOX

    def __init__(self) -> None:
        self.found: set[int] = set()
        self.xmin, self.epoch = 20, EPOCH
        self.asked: list[tuple[set[int], Cursor]] = []
        self.fails: BaseException | None = None
        self.database = SimpleNamespace(name="watched", connection=self._connection)

    @asynccontextmanager
    async def _connection(self, **more: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(raw=None)

    async def waiting(self, raw: Any, keys: set[int], since: Cursor) -> tuple[set[int], State]:
        self.asked.append((set(keys), since))
        if self.fails is not None:
            raise self.fails
        state = State(self.xmin, 30, 2 * 86_400_000_000, self.epoch, {self.epoch: None}, (0, 0, 0))
        return self.found & set(keys), state


class Time:
    """A watch whose pauses pass at once, and are written down; nothing but the test's turns of the loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reader = Asked()
        self.watch: Watch[int] = Watch(self.reader)  # type: ignore[arg-type]
        self.paused: list[float] = []
        monkeypatch.setattr(self.watch, "pause", self._pause)

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def waits(watch: Watch[int], *keys: int, since: Cursor = SINCE, seconds: float = 10) -> asyncio.Task[bool]:
    return asyncio.create_task(watch.wait(keys, since, seconds))


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_has_an_entry_is_woken_and_nobody_else(quick: Time) -> None:
    first, second = waits(quick.watch, 1, 2), waits(quick.watch, 3)
    await turns()
    assert (first.done(), second.done()) == (False, False)
    assert {1, 2, 3} in [keys for keys, _ in quick.reader.asked], "one question for all"
    quick.reader.found = {2, 9}
    assert await first is True
    await turns()
    assert not second.done()
    quick.reader.found = {3}
    assert await second is True


async def test_a_wait_ends_with_its_time_and_the_poll_with_the_last_wait(quick: Time) -> None:
    assert await quick.watch.wait([1], SINCE, 0.01) is False
    await turns()
    task = quick.watch.task
    assert task is not None
    assert task.done()
    asked = len(quick.reader.asked)
    await turns()
    assert len(quick.reader.asked) == asked
    quick.reader.found = {1}
    assert await quick.watch.wait([1], SINCE, 10) is True, "it begins anew"
    assert quick.watch.task is not task


async def test_a_wait_within_a_call_ends_when_the_server_drains(quick: Time) -> None:
    served = Call(Identity(Role.SERVICE, "statistics"), "", "", "", float("inf"))

    async def wait() -> bool:
        enter(served)
        return await quick.watch.wait([1], SINCE, 10)

    task = asyncio.create_task(wait())
    await turns()
    assert not task.done()
    served.drain.set()
    assert await task is False
    assert quick.watch.waiters == set()


async def test_all_who_wait_share_one_task(quick: Time) -> None:
    both = [waits(quick.watch, 1), waits(quick.watch, 2)]
    await turns(3)
    polls = [each for each in asyncio.all_tasks() if each.get_name() == "feed watch"]
    assert len(polls) == 1
    quick.reader.found = {1, 2}
    assert await asyncio.gather(*both) == [True, True]


async def test_it_asks_from_the_earliest_place_and_not_again_for_what_it_has_looked_at(quick: Time) -> None:
    late = Cursor(EPOCH, 1, 15, 0)
    both = [waits(quick.watch, 1), waits(quick.watch, 2, since=late)]
    await turns()
    since = [each for _, each in quick.reader.asked]
    assert since[0] == SINCE
    assert since[-1] == Cursor(EPOCH, 1, 20, 0), "up to the horizon there was nothing"
    quick.reader.xmin = 12
    await turns()
    assert quick.reader.asked[-1][1] == Cursor(EPOCH, 1, 20, 0), "it never goes back"
    quick.reader.found = {1, 2}
    await asyncio.gather(*both)


async def test_in_another_epoch_nothing_was_looked_at_yet(quick: Time) -> None:
    quick.reader.epoch = EPOCH + 1
    task = waits(quick.watch, 1)
    await turns()
    assert {since for _, since in quick.reader.asked} == {SINCE}
    quick.reader.found = {1}
    await task


async def test_who_was_woken_is_not_asked_for_again(quick: Time) -> None:
    quick.reader.found = {1}
    waiter: module.Waiter[int] = module.Waiter([1], SINCE)
    quick.watch.waiters.add(waiter)
    await quick.watch.poll_once()
    assert waiter.event.is_set()
    await quick.watch.poll_once()
    assert len(quick.reader.asked) == 1


async def test_a_store_that_is_away_is_asked_again_later(quick: Time, capsys: pytest.CaptureFixture[str]) -> None:
    quick.reader.fails = ConnectionError("away")
    task = waits(quick.watch, 1)
    await turns(8)
    assert "FEED_POLL_FAILED" in capsys.readouterr().err
    assert (quick.paused[0], set(quick.paused[1:])) == (POLL_SECONDS, {0.5})
    quick.reader.fails = None
    await turns(8)
    assert quick.paused[-1] == POLL_SECONDS
    quick.reader.found = {1}
    assert await task is True


# --------------------------------------------------------------------------------------------- how long it pauses


class Clock:
    """A loop whose time a test writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.slept: list[tuple[str, float]] = []
        self.watch: Watch[int] = Watch(Asked())  # type: ignore[arg-type]
        monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: self.now))
        monkeypatch.setattr(module.asyncio, "sleep", self._sleep)
        monkeypatch.setattr(module.asyncio, "timeout", self._timeout)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(("sleep", seconds))

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncIterator[None]:
        self.slept.append(("until nudged", seconds))
        self.watch.nudge()
        yield


@pytest.mark.parametrize(("seconds", "often"), [(0.0, True), (0.999, True), (1.0, False), (2.0, False)])
async def test_for_a_second_after_a_commit_of_this_process_it_asks_often(
    monkeypatch: pytest.MonkeyPatch, seconds: float, *, often: bool
) -> None:
    clock = Clock(monkeypatch)
    clock.watch.nudge()
    await clock.watch.pause(POLL_SECONDS)
    assert clock.slept == [("sleep", POLL_SECONDS)]
    assert not clock.watch.nudged.is_set(), "once: the next pause is by its time"
    clock.now = round(clock.now + seconds, 6)
    await clock.watch.pause(POLL_SECONDS)
    assert clock.slept[1:] == [("sleep", POLL_SECONDS) if often else ("until nudged", QUIET_POLL_SECONDS)]


async def test_a_quiet_feed_is_asked_less_often_but_never_more_often_than_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    await clock.watch.pause(POLL_SECONDS)
    clock.watch.nudged.clear()
    await clock.watch.pause(0.75)
    assert clock.slept == [("until nudged", QUIET_POLL_SECONDS), ("until nudged", 0.75)]


@pytest.mark.parametrize("found", [True, False])
async def test_what_was_found_has_it_ask_often_for_a_while(monkeypatch: pytest.MonkeyPatch, *, found: bool) -> None:
    clock = Clock(monkeypatch)
    reader: Any = clock.watch.reader
    reader.found = {1} if found else set()
    clock.watch.waiters.add(module.Waiter([1], SINCE))
    await clock.watch.poll_once()
    assert clock.watch.busy_until == (clock.now + QUIET_SECONDS if found else float("-inf"))


def test_an_idle_system_asks_twice_a_second_and_a_busy_one_fifty_times() -> None:
    assert (POLL_SECONDS, QUIET_POLL_SECONDS, QUIET_SECONDS) == (0.02, 0.5, 1.0)
