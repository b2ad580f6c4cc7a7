"""A pull that waits: it wakes for its own partitions, and all who wait share one poll."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from libs.feed.publish.watch import POLL_SECONDS
from libs.feed.types import BEGINNING, Cursor
from libs.telemetry import get_logger, trace
from libs.telemetry.limits import RateLimiter
from tests.feed.conftest import ALL, Producer, events_of
from tests.feed.publish.pulls import beginning


async def test_a_waiting_pull_wakes_for_its_own_partitions_and_not_for_others(producer: Producer) -> None:
    port = producer.port()
    page = await port.pull(beginning(), 100, 0)
    mine = {partition: page.next[partition] for partition in range(32)}
    waiting = asyncio.create_task(port.pull(mine, 100, 15_000))
    began = asyncio.get_running_loop().time()
    while not producer.servicer.watch.waiters:  # noqa: ASYNC110  # what is awaited is another task or the server
        await asyncio.sleep(0)
    await producer.announce(("other", 1, 40))
    await producer.servicer.watch.poll_once()
    assert not any(waiter.event.is_set() for waiter in producer.servicer.watch.waiters)
    await producer.announce(("own", 1, 4))
    page = await waiting
    assert events_of(page.batches) == [("own", 1, 4)]
    assert asyncio.get_running_loop().time() - began < 5


async def test_all_who_wait_share_one_poll(producer: Producer) -> None:
    port = producer.port()
    page = await port.pull(beginning(), 100, 0)
    asked = 0
    waiting_of = producer.servicer.reader.waiting

    async def counted(*arguments: object) -> object:
        nonlocal asked
        asked += 1
        return await waiting_of(*arguments)  # type: ignore[arg-type]

    producer.servicer.reader.waiting = counted  # type: ignore[method-assign,assignment]
    pulls = [asyncio.create_task(port.pull({each: page.next[each]}, 100, 15_000)) for each in ALL]
    while len(producer.servicer.watch.waiters) < 64:  # noqa: ASYNC110  # what is awaited is another task or the server
        await asyncio.sleep(0)
    asked, began = 0, asyncio.get_running_loop().time()
    await producer.announce(*[(f"m{each}", 1, each) for each in ALL])
    pages = await asyncio.gather(*pulls)
    lasted = asyncio.get_running_loop().time() - began
    assert [events_of(page.batches)[0][0] for page in pages] == [f"m{each}" for each in ALL]
    # However long all of it took, there was one poll an interval, for all 64 together; one more may have been due at once.
    assert asked <= lasted / POLL_SECONDS + 1


async def test_the_poll_that_all_share_is_of_nobodys_trace(
    producer: Producer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_logger(), "limiter", RateLimiter())
    port = producer.port()
    page = await port.pull(beginning(), 100, 0)
    failed = asyncio.Event()

    async def away(*_arguments: object) -> object:
        failed.set()
        raise ConnectionRefusedError

    monkeypatch.setattr(producer.servicer.reader, "waiting", away)
    with trace.span("a caller"):
        assert trace.trace_id()
        waiting = asyncio.create_task(port.pull(dict(page.next), 100, 15_000))
        await failed.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["trace_id"] for line in told if line["reason"] == "FEED_POLL_FAILED"} == {""}


async def test_a_pull_that_waits_ends_with_the_horizon_when_nothing_happens(producer: Producer) -> None:
    port = producer.port()
    page = await port.pull(beginning(), 100, 0)
    await producer.sql("select pg_current_xact_id()")  # a transaction of somebody else moves the horizon
    later = await port.pull(dict(page.next), 100, 60)
    assert not later.batches
    assert later.horizon.xid > page.horizon.xid
    assert set(later.next.values()) == {later.horizon}


async def test_a_quiet_feed_is_polled_less_often_and_what_this_process_commits_is_read_at_once(
    producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.feed.publish.watch.QUIET_SECONDS", 0.0)
    monkeypatch.setattr("libs.feed.publish.watch.QUIET_POLL_SECONDS", 30.0)
    port = producer.port()
    start = (await port.pull(dict.fromkeys(ALL, BEGINNING), 10, 0)).next
    polls: list[int] = []
    poll_once = producer.servicer.watch.poll_once

    async def counted() -> None:
        polls.append(1)
        await poll_once()

    monkeypatch.setattr(producer.servicer.watch, "poll_once", counted)
    wait, waits = producer.servicer.watch.wait, asyncio.Event()

    async def noticed(keys: Iterable[int], since: Cursor, seconds: float) -> bool:
        waits.set()
        return await wait(keys, since, seconds)

    monkeypatch.setattr(producer.servicer.watch, "wait", noticed)
    waiting = asyncio.create_task(port.pull(start, 10, 20_000))
    async with asyncio.timeout(20):
        await waits.wait()
        await producer.announce(("m", 1, 1))
        page = await waiting
    assert page.events == 1
    assert len(polls) <= 3
