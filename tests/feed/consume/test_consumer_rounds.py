"""When a consumer shares partitions out, renews them, replays, pauses and begins anew; without a store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from libs.feed.consume import consumer as module
from libs.feed.consume import leases
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.leases import LeasedPartition
from libs.feed.dead_letters.letters import Letter
from libs.feed.types import Cursor, LeaseLost
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from tests.feed.alone import START, Alone, batch_of

A = ("a", 1, 3)
NEXT = Cursor(1, 1, 20, 0)
DAY, OTHER = 20_000, 20_001


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"consumer": "follower", "source": "producer"} | labels) or 0.0


def counting(calls: list[Any], found: Any = None) -> Callable[..., Any]:
    async def call(*values: Any, **named: Any) -> Any:
        calls.append(values)
        if isinstance(found, BaseException):
            raise found
        return found

    return call


# ------------------------------------------------------------------------------------------------- leases


@pytest.mark.parametrize(
    ("seconds", "now", "due"),
    [(0, False, False), (19.99, False, False), (20, False, True), (0, True, True), (19.99, True, True)],
)
async def test_partitions_are_shared_out_at_each_third_of_a_lease_or_when_it_is_said(
    seconds: float, *, now: bool, due: bool
) -> None:
    alone = Alone()
    consumer = alone.consumer(lease_millis=60_000)
    calls: list[Any] = []
    consumer.leases.balance = counting(calls, (set(), set()))  # type: ignore[method-assign]
    consumer.due.balance_at = float("-inf")
    await consumer.tend()
    assert len(calls) == 1, "at once when it begins"
    alone.clock.now += seconds
    await consumer.tend(now=now)
    assert len(calls) == 1 + due


async def test_what_was_gained_and_lost_is_noted_with_the_letters_and_in_metrics() -> None:
    alone = Alone()
    consumer = alone.consumer()
    loaded: list[Any] = []
    consumer.letters.load = counting(loaded)  # type: ignore[method-assign]
    consumer.letters.remember([Letter(5, "m", batch_of([("m", 1, 5)]), "X", "x")])
    consumer.leases.balance = counting([], ({3}, {5}))  # type: ignore[method-assign]
    await consumer.tend(now=True)
    assert [partitions for _, partitions in loaded] == [{3}]
    assert not consumer.letters.any_waiting
    assert (sample("luxor_feed_partitions_held"), consumer.lag.idle) == (2, False)
    consumer.leases.by_partition.clear()
    consumer.leases.balance = counting([], (set(), set()))  # type: ignore[method-assign]
    await consumer.tend(now=True)
    assert (len(loaded), sample("luxor_feed_partitions_held"), consumer.lag.idle) == (1, 0, True)


async def test_a_lost_lease_ends_the_round_without_an_error_and_what_is_held_is_read_again() -> None:
    alone = Alone()
    consumer = alone.consumer()
    before = sample("luxor_feed_leases_lost_total")
    alone.port.pages = [LeaseLost("gone")]
    alone.store.owned = {3: LeasedPartition(1, NEXT, True, NEXT)}
    assert await consumer.step() == 0
    assert sample("luxor_feed_leases_lost_total") == before + 1
    assert consumer.leases.by_partition == {3: LeasedPartition(1, NEXT, True, NEXT)}


async def test_what_stops_a_page_is_raised_and_what_is_held_is_read_again() -> None:
    alone = Alone()
    consumer = alone.consumer()
    alone.port.pages = [ConnectionError()]
    consumer.leases.by_partition[3].cursor = NEXT
    with pytest.raises(ConnectionError):
        await consumer.step()
    assert consumer.leases.by_partition[3].cursor == START


async def test_without_the_store_nothing_is_held_and_partitions_are_asked_for_at_once() -> None:
    alone = Alone()
    consumer = alone.consumer()
    await consumer.reload()
    assert (set(consumer.leases.by_partition), consumer.due.balance_at) == ({3, 4}, float("inf"))
    alone.store.away = StoreUnavailable("away", reason="connection")
    await consumer.reload()
    assert (consumer.leases.by_partition, consumer.due.balance_at) == ({}, float("-inf"))


class Passing:
    """Time that passes while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends_at: float) -> None:
        self.now, self.ends_at = 100.0, ends_at
        monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(module.asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)
        if self.now >= self.ends_at:
            raise asyncio.CancelledError


@pytest.mark.parametrize("fails", [False, True])
async def test_leases_are_renewed_half_a_lease_after_they_were_and_sooner_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, fails: bool
) -> None:
    passing, alone = Passing(monkeypatch, 195), Alone()
    consumer = alone.consumer(lease_millis=60_000)
    renewed: list[float] = []
    renew = consumer.leases.renew

    async def renewing() -> None:
        renewed.append(passing.now)
        if fails and len(renewed) == 1:
            raise ConnectionError
        await renew()

    consumer.leases.renew = renewing  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await consumer.renew_leases()
    assert renewed == ([130, 135, 165] if fails else [130, 160, 190])
    assert ("FEED_LEASES_NOT_RENEWED" in capsys.readouterr().err) is fails


async def test_leases_that_were_shared_out_meanwhile_are_renewed_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    passing, alone = Passing(monkeypatch, 195), Alone()
    consumer = alone.consumer(lease_millis=60_000)
    renewed: list[float] = []
    consumer.leases.renew = counting(renewed)  # type: ignore[method-assign]
    sleep = passing.sleep

    async def tended(seconds: float) -> None:
        for _ in range(4):
            await sleep(seconds / 4)
            await consumer.tend(now=True)

    monkeypatch.setattr(module.asyncio, "sleep", tended)
    with pytest.raises(asyncio.CancelledError):
        await consumer.renew_leases()
    assert renewed == []


async def test_what_a_renewal_prolongs_lasts_from_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    passing, alone = Passing(monkeypatch, 1_000), Alone()
    held = alone.consumer(lease_millis=60_000).leases
    assert held.seconds_to_renew == 30
    passing.now += 29
    assert held.seconds_to_renew == 1
    passing.now += 2
    assert held.seconds_to_renew == 0
    for ask in (held.renew, held.balance):
        alone.store.slow = lambda: setattr(passing, "now", passing.now + 10)  # type: ignore[method-assign]
        await ask()
        assert held.seconds_to_renew == 20
        alone.store.slow = lambda: None  # type: ignore[method-assign]
        passing.now += 60
        alone.store.away = StoreUnavailable("away", reason="connection")
        with pytest.raises(StoreUnavailable):
            await ask()
        assert held.seconds_to_renew == 0
        alone.store.away = None


# ---------------------------------------------------------------------------------------------------- run


async def run(consumer: Consumer, monkeypatch: pytest.MonkeyPatch, outcomes: list[Any]) -> list[float]:
    """Run rounds with these outcomes (an exception is raised); return how long each pause was to last."""
    stop, paused = asyncio.Event(), []

    async def step() -> int:
        outcome = outcomes.pop(0)
        if not outcomes:
            stop.set()
        if isinstance(outcome, Exception):
            raise outcome
        return int(outcome)

    async def paused_for(until: asyncio.Event, seconds: float) -> None:
        assert until is stop
        paused.append(seconds)

    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    monkeypatch.setattr(module, "wait_for_stop", paused_for)
    consumer.step = step  # type: ignore[method-assign]
    await consumer.run(stop)
    return paused


async def test_after_each_failure_in_a_row_the_pause_is_longer_and_a_round_that_goes_ends_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trouble = TimeoutError()
    paused = await run(Alone().consumer(), monkeypatch, [trouble, trouble, trouble, 0, trouble, 5, trouble, 0])
    assert paused == pytest.approx([0.1, 0.2, 0.4, 0.1, 0.1])


@pytest.mark.parametrize(("worked", "held", "pauses"), [(0, False, 1), (1, False, 0), (0, True, 0), (1, True, 0)])
async def test_a_round_is_followed_by_a_pause_where_nothing_was_done_and_nothing_is_held(
    monkeypatch: pytest.MonkeyPatch, worked: int, pauses: int, *, held: bool
) -> None:
    consumer = Alone(partitions=(3,) if held else ()).consumer()
    assert await run(consumer, monkeypatch, [worked]) == [0.2] * pauses


async def test_partitions_that_cannot_be_given_back_are_no_reason_to_fail(capsys: pytest.CaptureFixture[str]) -> None:
    alone = Alone()
    consumer = alone.consumer()
    alone.store.away = StoreUnavailable("away", reason="connection")
    await consumer.close()
    assert "FEED_LEASES_NOT_RELEASED" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ replays


def waiting(consumer: Consumer) -> None:
    consumer.letters.remember([Letter(3, "m", batch_of([("m", 1, 3)]), "X", "x")])


@pytest.mark.parametrize(("seconds", "waits", "due"), [(0.99, True, False), (1, True, True), (100, False, False)])
async def test_letters_are_replayed_once_a_second_while_there_are_any(
    seconds: float, *, waits: bool, due: bool
) -> None:
    alone = Alone()
    consumer = alone.consumer()
    calls: list[Any] = []
    consumer.applier.replay = counting(calls, 0)  # type: ignore[method-assign]
    await consumer.step()
    assert calls == []
    if waits:
        waiting(consumer)
        await consumer.step()
        assert len(calls) == 1
    alone.clock.now += seconds
    await consumer.step()
    assert len(calls) == int(waits) + int(due)


async def test_what_a_letter_waits_for_is_tried_again_after_five_seconds_and_holds_no_page_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = Alone()
    consumer = alone.consumer()
    waiting(consumer)
    calls: list[Any] = []
    consumer.applier.replay = counting(calls, TimeoutError())  # type: ignore[method-assign]
    consumer.leases.by_partition[3].cursor = NEXT
    await consumer.step()
    assert '"failures":1,' in capsys.readouterr().err
    assert consumer.leases.by_partition[3].cursor == START, "the outcome of its commit may be unknown"
    waiting(consumer)
    for seconds, tried in ((4.99, 1), (0.01, 2)):
        alone.clock.now = round(alone.clock.now + seconds, 6)
        await consumer.step()
        assert len(calls) == tried


async def test_an_error_of_a_replay_that_does_not_pass_is_raised() -> None:
    consumer = Alone().consumer()
    waiting(consumer)
    consumer.applier.replay = counting([], KeyError())  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        await consumer.step()
