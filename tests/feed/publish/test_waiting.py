"""For how long a consumer waits for a page, and that it waits no more once it is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from libs.feed.consume.requested_days import RequestedDay
from libs.feed.dead_letters.letters import Letter
from libs.feed.types import Cursor, EventError, Page
from tests.feed.alone import Alone, batch_of, page_of
from tests.feed.conftest import DirectPort, Follower, Producer

WAIT_MILLIS = 1_000


class Noting(DirectPort):
    """Notes how long each pull may wait and what it reports, and answers at once; or never, once it is `silent`."""

    def __init__(self, port: DirectPort) -> None:
        super().__init__(port.servicer, port.consumer)
        self.noted: list[tuple[int, bool]] = []
        self.silent = False
        self.waiting = asyncio.Event()

    async def pull(
        self,
        after: Mapping[int, Cursor],
        max_events: int,
        wait_millis: int,
        committed: Mapping[int, Cursor] | None = None,
    ) -> Page:
        self.noted.append((wait_millis, committed is not None))
        if self.silent:
            self.waiting.set()
            await asyncio.Event().wait()
        return await super().pull(after, max_events, 0, committed)


async def test_a_feed_is_waited_for_twice_as_long_once_it_was_empty_and_all_is_reported(
    producer: Producer, follower: Follower
) -> None:
    port = Noting(producer.port())
    consumer = follower.consumer(port, prepares_ahead=False)
    consumer.wait_millis = WAIT_MILLIS

    async def steps(count: int) -> list[tuple[int, bool]]:
        port.noted.clear()
        for _ in range(count):
            follower.clock.now += 1.0
            await consumer.step()
        return port.noted

    await follower.at_feed(consumer)
    assert await steps(2) == [(2_000, True), (2_000, True)]
    await producer.announce(("m", 1, 1))
    # The page itself, the one behind it that is asked for before it is committed, and the first that reports it.
    assert await steps(4) == [(2_000, True), (1_000, False), (1_000, True), (2_000, True)]


async def test_a_pull_that_did_not_wait_tells_nothing_of_how_empty_a_feed_is(
    producer: Producer, follower: Follower
) -> None:
    port = Noting(producer.port())
    consumer = follower.consumer(port)
    await follower.at_feed(consumer)
    await consumer.step()
    consumer.wait_millis = WAIT_MILLIS
    await consumer.step()
    assert [millis for millis, _ in port.noted[-2:]] == [0, 1_000]


async def test_behind_a_letter_that_waits_no_pull_takes_longer(producer: Producer, follower: Follower) -> None:
    port = Noting(producer.port())
    consumer = follower.consumer(port, prepares_ahead=False)
    consumer.wait_millis = WAIT_MILLIS
    await follower.at_feed(consumer)
    follower.handler.bad = {"m": EventError("BAD", "it is bad")}
    await producer.announce(("m", 1, 1))
    await consumer.step()
    assert consumer.letters.any_waiting
    port.noted.clear()
    for _ in range(3):
        await consumer.step()
    assert {millis for millis, _ in port.noted} == {1_000}


async def test_a_consumer_that_is_to_stop_waits_for_no_page(producer: Producer, follower: Follower) -> None:
    for pages in (0, 1):  # a pull of its own, and one ahead of a page
        port = Noting(producer.port())
        consumer = follower.consumer(port)
        await follower.at_feed(consumer)
        for row in range(pages):
            await producer.announce((f"m{row}", 1, 1))
            await consumer.step()
        port.silent = True
        stop = asyncio.Event()
        running = asyncio.create_task(consumer.run(stop))
        await port.waiting.wait()
        stop.set()
        async with asyncio.timeout(20):
            await running
        assert await follower.sql("select 1 from feed_cursor where owner is not null") == []


NEXT = Cursor(1, 1, 20, 0)
FULL = page_of(batch_of([("a", 1, 3)]), to={3: NEXT})


@pytest.mark.parametrize(
    ("empty", "letters", "again", "millis"),
    [
        (False, False, False, 700), (True, False, False, 1_400), (False, True, False, 700), (True, True, False, 700),
        (False, False, True, 0), (True, False, True, 0), (True, True, True, 0),
    ],
)  # fmt: skip
async def test_a_page_is_waited_for_by_what_the_one_before_had(
    millis: int, *, empty: bool, letters: bool, again: bool
) -> None:
    alone = Alone()
    consumer = alone.consumer()
    if not empty:
        alone.port.pages = [FULL, FULL]
    await consumer.step()
    await consumer.ahead.drop()
    if letters:
        consumer.letters.remember([Letter(3, "z", batch_of([("z", 1, 3)]), "X", "x")])
    if again:
        consumer.requested_days.current = RequestedDay(1, [3], asyncio.ensure_future(alone.port.snapshot([3], b"", 1)))
    await consumer.fetch()
    assert alone.port.pulled[0][2] == 700, "nothing is known of the feed at first"
    assert alone.port.pulled[-1][2] == millis
    await consumer.close()


async def test_behind_an_empty_page_that_was_fetched_ahead_the_first_pull_takes_no_longer() -> None:
    alone = Alone()
    consumer = alone.consumer()
    alone.port.pages = [FULL]
    for _ in range(4):
        await consumer.step()
    # The page, the one behind it, one that reports it, and one that may take long.
    assert [each[2] for each in alone.port.pulled] == [700, 700, 700, 1_400]


async def test_once_it_is_to_stop_no_page_is_asked_for() -> None:
    alone = Alone()
    consumer = alone.consumer()
    stop, fetched = asyncio.Event(), []
    fetch = consumer.fetch

    async def tend(**_: object) -> None:
        stop.set()

    async def fetching() -> Page | None:
        fetched.append(await fetch())
        return None

    consumer.tend, consumer.fetch = tend, fetching  # type: ignore[method-assign]
    await consumer.run(stop)
    assert fetched == [None]
    assert alone.port.pulled == []
