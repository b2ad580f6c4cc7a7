"""A consumer that may be late takes larger pages while its feed is busy, and what a quiet feed announces at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from libs.feed.consume.consumer import Consumer
from libs.feed.publish.service import FeedServicer
from libs.feed.types import Page, SnapshotPage
from tests.feed.conftest import DirectPort, Follower, Producer

EVENTS_MAX = 128
PAUSE = 0.8


class Timed(DirectPort):
    """Notes how long after each answer with events the next request came."""

    def __init__(self, servicer: FeedServicer) -> None:
        super().__init__(servicer)
        self.pauses: list[float] = []
        self._answered_at: float | None = None

    async def pull(self, *args: Any, **more: Any) -> Page:
        if self._answered_at is not None:
            self.pauses.append(time.monotonic() - self._answered_at)
        page = await super().pull(*args, **more)
        self._answered_at = time.monotonic() if page.batches else None
        return page


def paused(port: DirectPort, follower: Follower, *, ahead: bool = True, pause: float = PAUSE) -> Consumer:
    return follower.consumer(port, max_events=EVENTS_MAX, prepares_ahead=ahead, pause_millis=round(pause * 1000))


async def announce(producer: Producer, name: str, events: int) -> None:
    """Announce events of one batch, spread over the partitions."""
    await producer.announce(*[(f"{name}{row}", 1, row % 64) for row in range(events)])


async def page(consumer: Consumer) -> int:
    """Return the number of events of the next page that has some."""
    async with asyncio.timeout(10):
        while not (events := await consumer.step()):
            pass
    return events


@pytest.mark.parametrize("ahead", [True, False])
async def test_only_after_a_page_of_less_than_half_of_the_most_events_the_next_one_is_not_requested_for_a_while(
    producer: Producer, follower: Follower, ahead: bool
) -> None:
    port = Timed(producer.servicer)
    consumer = paused(port, follower, ahead=ahead)
    await follower.at_feed(consumer)
    for events, pauses in ((EVENTS_MAX // 2, False), (EVENTS_MAX // 2 - 1, True)):
        await announce(producer, f"{events}-", events)
        assert await page(consumer) == events
        await announce(producer, f"after-{events}-", 1)
        assert await page(consumer) == 1
        assert (port.pauses[-1] >= PAUSE * 0.9) == pauses
        # The pause after the single event ends before the next round.
        assert await consumer.step() == 0
    assert sorted(await follower.effects()) == sorted(producer.written)


async def test_a_burst_is_read_in_large_pages_and_after_it_pages_are_small_again(
    producer: Producer, follower: Follower
) -> None:
    port = Timed(producer.servicer)
    consumer = paused(port, follower)
    await follower.at_feed(consumer)
    await announce(producer, "first", 1)
    assert await page(consumer) == 1
    assert port.pauses == [], "an event of a quiet feed comes at once"
    for batch in range(20):
        await announce(producer, f"burst{batch}-", 16)
    pages: list[int] = []
    while sum(pages) < 320:
        pages.append(await page(consumer))
    assert all(events >= EVENTS_MAX // 2 for events in pages[:-1])
    assert sum(port.pauses[1 : len(pages)]) < PAUSE, "a late consumer does not pause"
    # What is announced by and by while it pauses is one page.
    await announce(producer, "next", 1)
    assert await page(consumer) == 1
    for batch in range(3):
        await announce(producer, f"few{batch}-", 2)
    assert await page(consumer) == 6
    assert port.pauses[-1] >= PAUSE * 0.9
    assert sorted(await follower.effects()) == sorted(producer.written)


async def test_a_stop_and_lost_leases_do_not_wait_for_the_end_of_a_pause(
    producer: Producer, follower: Follower
) -> None:
    consumer = paused(producer.port(), follower, pause=60)
    await follower.at_feed(consumer)
    await announce(producer, "first", 1)
    assert await page(consumer) == 1
    await consumer.reload()
    await announce(producer, "second", 1)
    assert await page(consumer) == 1
    stop = asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    await asyncio.sleep(0.05)
    stop.set()
    async with asyncio.timeout(5):
        await running
    assert sorted(await follower.effects()) == sorted(producer.written)


class Unanswering(DirectPort):
    """Never answers a request for a snapshot."""

    def __init__(self, servicer: FeedServicer) -> None:
        super().__init__(servicer)
        self.asked = asyncio.Event()

    async def snapshot(self, partitions: Sequence[int], token: bytes, max_rows: int) -> SnapshotPage:
        self.snapshots += 1
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_stop_does_not_wait_for_a_snapshot_that_is_not_answered(producer: Producer, follower: Follower) -> None:
    await announce(producer, "first", 3)
    port = Unanswering(producer.servicer)
    consumer = follower.consumer(port)
    stop = asyncio.Event()
    running = asyncio.create_task(consumer.run(stop))
    async with asyncio.timeout(5):
        await port.asked.wait()
        stop.set()
        await running
    assert (port.snapshots, consumer.leases.by_partition) == (1, {}), (
        "no further one is requested, and the partitions are released"
    )
    await follower.at_feed(follower.consumer(producer.port()))
    assert sorted(await follower.effects()) == sorted(producer.written)
