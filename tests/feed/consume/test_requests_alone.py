"""Days that a consumer asked for again: when they are looked for, read, completed, tried again and forgotten; without a store."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import numpy as np
import pytest

from libs.feed.consume.consumer import Consumer
from libs.feed.types import Cursor, FeedBatch, LeaseLost, SnapshotPage
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from tests.feed.alone import START, Alone, batch_of, page_of
from tests.feed.conftest import mrns

A = ("a", 1, 3)
NEXT = Cursor(1, 1, 20, 0)
DAY, OTHER = 20_000, 20_001


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"consumer": "follower", "source": "producer"} | labels) or 0.0


class Days(Alone):
    """A consumer that is asked for days; what it misses is what its handler has not applied."""

    def following(self, *places: tuple[int, int], **more: Any) -> Consumer:
        self.store.requests = list(places)

        async def missing(batch: FeedBatch) -> FeedBatch:
            known = {mrn for mrn, _, _ in self.handler.events}
            return batch.take(
                np.array([row for row, mrn in enumerate(mrns(batch.table)) if mrn not in known], np.int64)
            )

        return self.consumer(missing=missing, **more)

    def gives(self, *pages: list[tuple[str, int, int]] | BaseException | None) -> None:
        """Have the days' pages be these; None is one without rows."""
        last = len(pages) - 1
        for place, events in enumerate(pages):
            if isinstance(events, BaseException):
                self.port.snapshots.append(events)
            else:
                batch = None if events is None else batch_of(events, snapshot=True)
                self.port.snapshots.append(SnapshotPage(batch, START, b"" if place == last else b"on"))

    async def rounds(self, consumer: Consumer, count: int = 1) -> list[int]:
        return [await consumer.requested_days.step(is_idle=True) for _ in range(count)]


async def test_a_consumer_that_completes_nothing_looks_at_no_request() -> None:
    days = Days()
    days.store.requests = [(3, DAY)]
    consumer = days.consumer()
    assert await days.rounds(consumer, 3) == [0, 0, 0]
    assert days.port.asked == []


async def test_a_day_is_read_page_by_page_and_forgotten_behind_its_last_one() -> None:
    days = Days()
    days.handler.events = [("known", 1, 3)]
    consumer = days.following((3, DAY), (4, DAY), (5, DAY))
    before = sample("luxor_feed_completed_total")
    days.gives([("a", 1, 3), ("known", 1, 3)], None, [("known", 1, 3)], [("b", 1, 4)])
    assert await days.rounds(consumer, 4) == [2, 0, 1, 1]
    assert days.port.asked == [([3, 4], token, 50, DAY) for token in (b"", b"on", b"on", b"on")], "what it holds"
    assert days.handler.events == [("known", 1, 3), ("a", 1, 3), ("b", 1, 4)]
    assert days.store.done == [(DAY, [3, 4])]
    assert days.store.moves == [{3: (START, True), 4: (START, True)}] * 2, "the cursors stay, under their lock"
    assert sample("luxor_feed_completed_total") == before + 2
    assert consumer.requested_days.current is None


async def test_requests_are_looked_for_every_two_seconds_and_at_once_behind_a_day_that_is_done() -> None:
    days = Days()
    consumer = days.following()
    looked: list[Any] = []
    begin = consumer.requested_days.begin

    async def looking(moment: float) -> None:
        looked.append(moment)
        await begin(moment)

    consumer.requested_days.begin = looking  # type: ignore[method-assign]
    start = days.clock.now
    for seconds in (0, 1.99, 0.01, 1, 1):
        days.clock.now = round(days.clock.now + seconds, 6)
        await days.rounds(consumer)
    assert looked == [start, start + 2, start + 4]
    days.store.requests = [(3, DAY)]
    days.clock.now += 2
    days.gives([("a", 1, 3)])
    await days.rounds(consumer)
    assert days.store.done == [(DAY, [3])]
    await days.rounds(consumer)
    assert len(looked) == 5


async def test_only_partitions_with_a_start_are_completed() -> None:
    days = Days()
    consumer = days.following((3, DAY), (4, DAY))
    consumer.leases.by_partition[4].ready = False
    days.gives([("a", 1, 3)])
    await days.rounds(consumer)
    assert [partitions for partitions, *_ in days.port.asked] == [[3]]


@pytest.mark.parametrize("change", ["gone", "without a start"])
async def test_a_day_is_left_to_whoever_holds_a_part_of_it_by_now(change: str) -> None:
    days = Days()
    consumer = days.following((3, DAY), (4, DAY))
    days.gives([("a", 1, 3)], [("b", 1, 4)])
    assert await days.rounds(consumer) == [1]
    if change == "gone":
        del consumer.leases.by_partition[4]
    else:
        consumer.leases.by_partition[4].ready = False
    assert await days.rounds(consumer) == [0]
    assert (days.handler.events, days.store.done, consumer.requested_days.current) == ([("a", 1, 3)], [], None)


@pytest.mark.parametrize(("busy", "timeout"), [(True, 0), (False, 0.1)])
async def test_a_round_with_events_does_not_wait_for_a_page_of_a_day_and_another_one_does_shortly(
    monkeypatch: pytest.MonkeyPatch, timeout: float, *, busy: bool
) -> None:
    days = Days()
    consumer = days.following((3, DAY))
    there = asyncio.Event()
    snapshot = days.port.snapshot

    async def later(*values: Any) -> SnapshotPage:
        await there.wait()
        return await snapshot(*values)

    days.port.snapshot = later  # type: ignore[method-assign]
    waited: list[float | None] = []

    real = asyncio.wait

    async def wait(tasks: Any, **more: Any) -> Any:
        if set(more) != {"timeout"}:
            return await real(tasks, **more)
        waited.append(more["timeout"])
        return await asyncio.sleep(0)

    days.port.pages = [page_of(batch_of([A]), to={3: NEXT})] if busy else []
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "wait", wait)
        assert await consumer.step() == int(busy)
    assert waited == [timeout]
    assert days.port.pulled[-1][2] == 700, "the page was asked for before the day"
    await consumer.ahead.drop()
    await consumer.step()
    assert days.port.pulled[-1][2] == 0, "while a day is read, an empty page is not waited for"
    there.set()
    days.gives([("x", 1, 3)])
    assert await consumer.step() == 1
    assert days.store.done == [(DAY, [3])]
    await consumer.close()


async def test_the_events_of_a_round_are_those_of_its_page_and_of_its_day() -> None:
    days = Days()
    consumer = days.following((3, DAY))
    days.gives([("x", 1, 3), ("y", 1, 3)], [("z", 1, 3)])
    days.port.pages = [page_of(batch_of([A]), to={3: NEXT})]
    found = [await consumer.step() for _ in range(6)]
    assert sum(found) == 4
    assert max(found) <= 3
    await consumer.close()


async def test_a_day_that_fails_is_tried_again_ever_less_often_behind_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, most: most)
    days = Days()
    consumer = days.following((3, DAY), (4, OTHER))
    days.gives(TimeoutError())
    start = days.clock.now
    assert await days.rounds(consumer) == [0]
    assert consumer.requested_days.due_at == pytest.approx(start + 0.1)
    assert await days.rounds(consumer, 3) == [0, 0, 0], "not before its time"
    assert len(days.port.asked) == 1
    days.clock.now = consumer.requested_days.due_at
    days.gives([("b", 1, 4)])
    assert await days.rounds(consumer) == [1]
    assert [day for *_, day in days.port.asked] == [DAY, OTHER], "the one that failed least often comes first"
    days.store.requests = [(3, DAY)]
    for failures in range(2, 13):
        days.clock.now += 100
        days.gives(ConnectionError())
        await days.rounds(consumer)
        assert consumer.requested_days.due_at - days.clock.now == pytest.approx(min(60.0, 0.1 * 2 ** (failures - 1)))
    days.clock.now += 100
    days.gives([("a", 1, 3)])
    assert await days.rounds(consumer) == [1]
    assert consumer.requested_days.failures == {}
    days.gives(ConnectionError())
    days.store.requests = [(3, DAY)]
    await days.rounds(consumer)
    assert consumer.requested_days.due_at - days.clock.now == pytest.approx(0.1), "it begins anew"


async def test_failures_of_a_day_that_is_asked_for_no_more_are_forgotten() -> None:
    days = Days()
    consumer = days.following((3, DAY), (3, OTHER))
    consumer.requested_days.failures = {DAY: 3, OTHER: 1, 7: 9}
    days.gives([("a", 1, 3)])
    await days.rounds(consumer)
    assert days.port.asked[0][3] == OTHER
    assert consumer.requested_days.failures == {DAY: 3}


async def test_requests_that_cannot_be_read_are_looked_for_later() -> None:
    days = Days()
    consumer = days.following((3, DAY))
    days.store.away = StoreUnavailable("away", reason="connection")
    assert await days.rounds(consumer) == [0]
    assert consumer.requested_days.failures == {-1: 1}
    assert days.clock.now + 0.05 <= consumer.requested_days.due_at <= days.clock.now + 0.1


async def test_a_lease_that_is_lost_amid_a_day_ends_the_round_and_the_day() -> None:
    days = Days()
    consumer = days.following((3, DAY))
    days.gives([("a", 1, 3)], [("b", 1, 3)])

    async def lost(*values: Any, **more: Any) -> None:
        raise LeaseLost("gone")

    consumer.applier.commit = lost  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await days.rounds(consumer)
    assert (consumer.requested_days.current, consumer.requested_days.failures) == (None, {})


async def test_a_day_that_is_dropped_leaves_no_task_and_no_error_behind() -> None:
    days = Days()
    consumer = days.following((3, DAY))
    days.gives(ConnectionError())
    await consumer.requested_days.begin(0.0)
    assert consumer.requested_days.current is not None
    await asyncio.wait({consumer.requested_days.current.reading})
    await consumer.requested_days.drop()
    await consumer.requested_days.drop()
    silent = asyncio.Event()

    async def never(*values: Any) -> SnapshotPage:
        await silent.wait()
        raise AssertionError

    days.port.snapshot = never  # type: ignore[method-assign]
    await consumer.requested_days.begin(0.0)
    await asyncio.sleep(0)
    await consumer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
