"""How far a consumer is behind, by the producer's clock."""

import time
from dataclasses import replace
from typing import Any

import pytest

from libs.feed.consume.port import page_of
from libs.feed.types import Cursor, Page
from libs.telemetry import trace
from libs.telemetry.metrics import REGISTRY
from libs.telemetry.trace import Span
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2
from tests.feed.conftest import ALL, Follower, Producer, drain

pytestmark = pytest.mark.long


@pytest.mark.parametrize("minutes", [-5, 0, 5])
async def test_the_lag_is_the_producers_time_whatever_this_hosts_clock_shows(
    producer: Producer, follower: Follower, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + minutes * 60 * 10**9)
    monkeypatch.setattr(time, "time", lambda: real() / 1e9 + minutes * 60)
    consumer = follower.consumer(producer.port())
    await follower.at_feed(consumer)
    await producer.announce(("m", 1, 1))
    await drain(consumer)
    assert await follower.effects() == [("m", 1, 1)]
    await producer.announce(("m", 2, 1))
    while ("m", 2, 1) not in await follower.effects():
        await consumer.step()
    assert 0 < consumer.lag.age < 20


async def test_a_producer_that_tells_no_time_and_one_that_tells_the_first_instant_are_told_apart() -> None:
    silent, first = feed_pb2.PullEventsResponse(), feed_pb2.PullEventsResponse(read_at_micros=0)
    assert page_of(feed_pb2.PullEventsResponse.FromString(silent.SerializeToString()), ConsignmentColumns).clock is None
    clock = page_of(feed_pb2.PullEventsResponse.FromString(first.SerializeToString()), ConsignmentColumns).clock
    assert clock is not None
    assert clock.read_at == 0


@pytest.mark.parametrize(("behind_seconds", "negative"), [(600, False), (-600, False), (0, True)])
async def test_how_long_an_event_waited_is_told_by_the_producers_clock(
    producer: Producer, follower: Follower, behind_seconds: int, negative: bool
) -> None:
    ended: list[Span] = []
    trace.configure(ratio=1.0, slow_seconds=3600.0, export=ended.extend)
    port = producer.port()
    pull = port.pull

    async def skewed(*arguments: Any, **more: Any) -> Page:
        """The producer's host as it is where its clock is behind, or where it was set back after the announcement."""
        page = await pull(*arguments, **more)
        assert page.clock is not None
        micros = behind_seconds * 1_000_000
        clock = page.clock._replace(read_at=page.clock.read_at - micros - (60_000_000 if negative else 0))
        batches = [replace(each, clock=clock, committed_at=each.committed_at - micros) for each in page.batches]
        return replace(page, clock=clock, batches=batches)

    port.pull = skewed  # type: ignore[method-assign]
    before = REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0
    try:
        consumer = follower.consumer(port)
        await follower.at_feed(consumer)
        await producer.announce(("m", 1, 1))
        await drain(consumer)
    finally:
        trace.configure(ratio=0.0, slow_seconds=1.0, export=None)
    (waited,) = [each.attributes["luxor.feed.waited_us"] for each in ended if each.name.rpartition(".")[2] == "consume"]
    assert 0 <= waited < 20_000_000
    assert (waited == 0) is negative
    counted = (REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "wait"}) or 0.0) - before
    assert counted == int(negative)


async def test_the_age_of_an_event_follows_the_producers_clock(producer: Producer) -> None:
    await producer.announce(("m", 1, 1))
    page = await producer.port().pull(dict.fromkeys(ALL, Cursor()), 10, 0)
    assert page.clock is not None
    (batch,) = page.batches
    assert batch.clock == page.clock
    assert batch.committed_at <= page.clock.read_at <= page.clock.now()
    assert page.clock.now() - batch.committed_at < 20_000_000
