"""The next page is prepared while the one before it is committed, and nothing of it happens before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libs.feed.consume.consumer import Consumer
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from tests.feed.conftest import Effects, Follower, Producer, drain, events_of

ROWS = 8
PAGES = 4


class Noting(Effects):
    """Notes what is prepared, applied and committed, in order, by the turn in which it was announced."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[str, int]] = []
        self.waits: dict[int, asyncio.Event] = {}
        """What the preparation of a turn waits for."""
        self.begun = asyncio.Event()
        """Set once a preparation waits."""
        self.ready = {turn: asyncio.Event() for turn in range(1, PAGES + 1)}
        """Set once the preparation of a turn has ended."""
        self.applies_after: dict[int, asyncio.Event] = {}
        """What the transaction of a turn waits for."""

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        turn = events_of(batches)[0][1]
        if turn in self.waits:
            self.begun.set()
            await self.waits[turn].wait()
        prepared = await super().prepare(batches)
        self.noted.append(("prepared", turn))
        self.ready[turn].set()
        return prepared

    async def apply(self, tx: Transaction, prepared: list[FeedBatch]) -> None:
        turn = events_of(prepared)[0][1]
        self.noted.append(("applying", turn))
        if turn in self.applies_after:
            async with asyncio.timeout(10):
                await self.applies_after[turn].wait()
        await super().apply(tx, prepared)
        tx.after_commit(lambda: self.noted.append(("committed", turn)))


@pytest.fixture
def noting(follower: Follower) -> Noting:
    follower.handler = Noting()
    return follower.handler


async def followed(producer: Producer, follower: Follower, replica: str = "one", **more: Any) -> Consumer:
    """A consumer that has read the first of PAGES pages, with the others before it."""
    consumer = follower.consumer(producer.port(), replica, max_events=ROWS, **more)
    await follower.at_feed(consumer)
    for turn in range(1, PAGES + 1):
        await producer.announce(*[(f"m{row}", turn, row) for row in range(ROWS)])
    return consumer


async def test_the_next_page_is_prepared_while_this_one_is_committed(
    producer: Producer, follower: Follower, noting: Noting
) -> None:
    noting.applies_after[1] = noting.ready[2]
    consumer = await followed(producer, follower)
    await consumer.step()
    assert noting.noted[0] == ("prepared", 1)
    assert sorted(noting.noted[1:3]) == [("applying", 1), ("prepared", 2)]
    assert noting.noted[3:] == [("committed", 1)]
    await drain(consumer)
    assert [turn for act, turn in noting.noted if act == "prepared"] == [*range(1, PAGES + 1)], "each once, in order"
    applied = [(act, turn) for act, turn in noting.noted if act != "prepared"]
    assert applied == [(act, turn) for turn in range(1, PAGES + 1) for act in ("applying", "committed")]
    assert await follower.effects() == producer.written


async def test_a_handler_that_reads_what_it_writes_is_given_one_page_at_a_time(
    producer: Producer, follower: Follower, noting: Noting
) -> None:
    consumer = await followed(producer, follower, prepares_ahead=False)
    await drain(consumer)
    of_each = [[(act, turn) for act in ("prepared", "applying", "committed")] for turn in range(1, PAGES + 1)]
    assert noting.noted == [each for turn in of_each for each in turn]


async def test_a_page_is_not_begun_behind_one_that_could_not_be_prepared(
    producer: Producer, follower: Follower, noting: Noting
) -> None:
    consumer = await followed(producer, follower)
    noting.crash = {"prepare": TimeoutError()}
    with pytest.raises(TimeoutError):
        await consumer.step()
    assert (noting.prepared, noting.noted) == (1, [])
    await drain(consumer)
    assert await follower.effects() == producer.written


async def test_rows_behind_a_letter_that_the_page_before_leaves_are_set_aside_although_they_were_begun(
    producer: Producer, follower: Follower, noting: Noting, bad_event: EventError
) -> None:
    consumer = await followed(producer, follower)
    apply = noting.apply

    async def refuses(tx: Transaction, prepared: list[FeedBatch]) -> None:
        if ("m3", 1, 3) in events_of(prepared):
            async with asyncio.timeout(10):
                await noting.ready[2].wait()
            raise bad_event
        await apply(tx, prepared)

    noting.apply = refuses  # type: ignore[method-assign]
    await drain(consumer)
    letters = [(each["key"], each["reason"]) for each in await follower.letters()]
    assert letters == [("m3", bad_event.reason), *[("m3", "WAITING_BEHIND")] * (PAGES - 1)]
    assert sorted(await follower.effects()) == sorted(each for each in producer.written if each[0] != "m3")


async def test_what_was_begun_of_partitions_that_another_replica_took_meanwhile_takes_no_effect(
    producer: Producer, follower: Follower, noting: Noting
) -> None:
    first = await followed(producer, follower, "first")
    await first.step()
    async with asyncio.timeout(10):
        await noting.ready[2].wait()
    await follower.sql("update feed_cursor set lease_until = clock_timestamp() - interval '1 second'")
    second = follower.consumer(producer.port(), "second", max_events=ROWS)
    await drain(second)
    assert await follower.effects() == producer.written
    await drain(first)
    assert await follower.effects() == producer.written


async def test_what_was_begun_is_called_off_when_the_consumer_stops(
    producer: Producer, follower: Follower, noting: Noting
) -> None:
    noting.waits[2] = asyncio.Event()
    consumer = await followed(producer, follower)
    await consumer.step()
    async with asyncio.timeout(10):
        await noting.begun.wait()
    before = asyncio.all_tasks()
    await consumer.close()
    assert len(asyncio.all_tasks()) < len(before)
    assert noting.noted[-1] == ("committed", 1)
    assert await follower.effects() == producer.written[:ROWS]
