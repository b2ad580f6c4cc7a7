"""A page takes effect once although its connection breaks at any byte of the COMMIT or of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.feed.consume.consumer import Consumer
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Database, Transaction
from libs.store.errors import StoreError
from tests.feed.conftest import Follower, Producer, drain, events_of
from tests.feed.days import DAY, OTHER, Days, ask, following, open_days, until_done
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy

LATE_SECONDS = 0.15


@pytest_asyncio.fixture
async def proxy(second_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(second_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def behind(proxy: CuttingProxy) -> AsyncIterator[Database]:
    """The follower's database, behind the proxy."""
    async with Database(proxy.url, name="follower") as database:
        yield database


async def loses_its_store(consumer: Consumer) -> None:
    """Goes on until a COMMIT is cut off: what was announced last is read once no older transaction is open."""
    async with asyncio.timeout(10):
        with pytest.raises(StoreError):
            await _on_and_on(consumer)


async def _on_and_on(consumer: Consumer) -> None:
    while True:
        await consumer.step()


class Counting:
    """A handler that adds up per consignment: it reads without a lock what it has counted, and adds what is newer."""

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        return batches

    async def apply(self, tx: Transaction, prepared: list[FeedBatch]) -> None:
        events = events_of(prepared)
        rows = await tx.raw.fetch("select mrn, version from kept where mrn = any($1)", [mrn for mrn, _, _ in events])
        counted = dict(rows)
        fresh = [event for event in events if counted.get(event[0], 0) < event[1]]
        await tx.raw.executemany("insert into effect (mrn, version, partition) values ($1, $2, $3)", fresh)
        await tx.raw.executemany(
            "insert into kept (mrn, version) values ($1, $2) on conflict (mrn) do update set version = excluded.version",
            [event[:2] for event in fresh],
        )


@pytest.mark.parametrize("late_seconds", [0.0, LATE_SECONDS])
async def test_a_page_whose_commit_was_carried_out_unheard_is_not_applied_again_by_the_same_holder(
    producer: Producer, follower: Follower, proxy: CuttingProxy, behind: Database, late_seconds: float
) -> None:
    consumer = follower.consumer(producer.port(), database=behind)
    await follower.at_feed(consumer)
    for turn in range(1, 7):
        await producer.announce(*[(f"m{row}", turn, row) for row in range(20)])
        proxy.plan([Cut(late_seconds=late_seconds)])
        await loses_its_store(consumer)
        await drain(consumer)
    assert proxy.done == 6
    assert sorted(await follower.effects()) == sorted(producer.written)


async def test_a_page_takes_effect_once_at_whatever_byte_its_connection_breaks(
    producer: Producer, follower: Follower, proxy: CuttingProxy, behind: Database
) -> None:
    consumer = follower.consumer(producer.port(), database=behind)
    await follower.at_feed(consumer)
    cuts = [Cut(sent=sent) for sent in range(len(COMMIT) + 1)] + [
        Cut(answered=count) for count in range(1, len(ANSWER))
    ]
    for turn, cut in enumerate(cuts, 1):
        await producer.announce(*[(f"m{row}", turn, row) for row in range(3)])
        proxy.plan([cut])
        await loses_its_store(consumer)
        await drain(consumer)
        assert sorted(await follower.effects()) == sorted(producer.written), cut
    assert proxy.done == len(cuts)


async def test_a_page_of_a_snapshot_whose_commit_is_carried_out_late_is_counted_once(
    producer: Producer, follower: Follower, proxy: CuttingProxy, behind: Database
) -> None:
    events = [(f"m{row}", 1, row) for row in range(40)]
    await producer.announce(*events)
    consumer = follower.consumer(producer.port(), database=behind, handler=Counting())
    await consumer.tend()
    proxy.plan([Cut(late_seconds=LATE_SECONDS)])
    await loses_its_store(consumer)
    await drain(consumer)
    assert proxy.done == 1
    assert sorted(await follower.effects()) == sorted(events)


async def test_events_wait_behind_a_dead_letter_whose_commit_went_unheard(
    producer: Producer, follower: Follower, proxy: CuttingProxy, behind: Database, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port(), database=behind)
    await follower.at_feed(consumer)
    follower.handler.bad = {"m": bad_event}
    await producer.announce(("m", 1, 1), ("n", 1, 1))
    # The page fails by itself, so the first COMMIT is that of the letter.
    proxy.plan([Cut()])
    await loses_its_store(consumer)
    assert [letter["key"] for letter in await follower.letters()] == ["m"]
    follower.handler.bad = {}
    await producer.announce(("m", 2, 1))
    async with asyncio.timeout(10):  # it is read once no older transaction of the server is open
        while len(await follower.letters()) < 2:
            await consumer.step()
    assert await follower.effects() == [("n", 1, 1)]
    assert [letter["key"] for letter in await follower.letters()] == ["m", "m"]


async def test_a_dead_letter_that_goes_away_while_it_is_replayed_takes_no_effect(
    producer: Producer, follower: Follower, bad_event: EventError
) -> None:
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    follower.handler.bad = {"m": bad_event}
    await producer.announce(("m", 1, 1))
    await drain(consumer)
    follower.handler.bad = {}
    await follower.sql("update dead_letter set replay = true")
    prepare = follower.handler.prepare

    async def removed_meanwhile(batches: list[FeedBatch]) -> list[FeedBatch]:
        await follower.sql("delete from dead_letter")
        return await prepare(batches)

    follower.handler.prepare = removed_meanwhile  # type: ignore[method-assign]
    follower.clock.now += 60
    await drain(consumer)
    assert follower.handler.prepared > 1, "the letter was looked at again"
    assert await follower.effects() == []


@pytest.mark.parametrize(
    "cut", [Cut(sent=0), Cut(), Cut(late_seconds=LATE_SECONDS)], ids=["rolled back", "unheard", "late"]
)
@pytest.mark.parametrize("page", [1, "the last, behind which the day is forgotten"])
async def test_each_event_of_a_day_that_is_asked_for_again_counts_once_although_a_commit_between_its_pages_goes_unheard(
    producer: Producer, follower: Follower, proxy: CuttingProxy, behind: Database, cut: Cut, page: int | str
) -> None:
    port = Days(producer.servicer)
    consumer = await following(follower, port, database=behind, handler=Counting())
    await producer.announce(("live", 1, 3))
    await drain(consumer)
    port.pages = {
        DAY: [[(f"m{number}-{row}", 1, 3 + row) for row in range(3)] for number in range(3)],
        OTHER: [[("other", 1, 5)]],
    }
    await ask(follower, (3, DAY), (4, DAY), (5, DAY), (5, OTHER))
    place = page if isinstance(page, int) else 2
    consumer.due.quiet_at = float("inf")  # no COMMIT but those of the day
    async with asyncio.timeout(20):
        while len(port.asked) < place:
            await consumer.step()
        # The last page and the forgetting of the day are two transactions of one round.
        proxy.plan([cut] if page == place else [None, cut])
        while not proxy.done:
            await consumer.step()
        assert DAY in await open_days(follower) or (page != place and cut.sent)
        for day in (DAY, OTHER):
            await until_done(consumer, follower, day)
    expected = [("live", 1, 3), ("other", 1, 5), *(event for events in port.pages[DAY] for event in events)]
    assert sorted(await follower.effects()) == sorted(expected)
    assert await follower.letters() == []
    await producer.announce(("live", 2, 3))
    await drain(consumer)
    assert (await follower.effects())[-1] == ("live", 2, 3)
    await consumer.close()
