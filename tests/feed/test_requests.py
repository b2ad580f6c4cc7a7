"""Days that a consumer asked for again: read page by page beside the feed, and never in its way."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from libs.feed.consumer import Consumer
from libs.feed.types import Cursor, FeedBatch, SnapshotPage
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import DirectPort, Event, Follower, Producer, drain, mrns, table_of

DAY, OTHER = 20_000, 20_001


class Days(DirectPort):
    """Also has days, of some pages each; a day may fail, or not answer at all."""

    pages: Mapping[int, list[list[Event]]]
    broken: dict[int, BaseException]
    silent: set[int]
    asked: list[tuple[int, bytes]]

    async def snapshot(
        self, partitions: Sequence[int], token: bytes, max_rows: int, day: int | None = None
    ) -> SnapshotPage:
        if day is None:
            return await super().snapshot(partitions, token, max_rows)
        self.asked.append((day, token))
        if day in self.silent:
            await asyncio.Event().wait()
        if day in self.broken:
            raise self.broken[day]
        place = int(token or b"0")
        events = [event for event in self.pages[day][place] if event[2] in partitions]
        batch = FeedBatch(
            table_of(events), np.array([event[2] for event in events], np.int64), Cursor(), np.arange(len(events)), 0, "",
            ConsignmentColumns.DESCRIPTOR.full_name, snapshot=True,
        )  # fmt: skip
        return SnapshotPage(batch, Cursor(), b"%d" % (place + 1) if place + 1 < len(self.pages[day]) else b"")


@pytest.fixture
def port(producer: Producer) -> Days:
    made = Days(producer.servicer)
    made.pages, made.broken, made.silent, made.asked = {}, {}, set(), []
    return made


async def following(follower: Follower, port: Days) -> Consumer:
    async def missing(batch: FeedBatch) -> FeedBatch:
        known = set(await follower.kept())
        return batch.take(np.array([row for row, mrn in enumerate(mrns(batch.table)) if mrn not in known], np.int64))

    consumer = follower.consumer(port, missing=missing)
    await follower.at_feed(consumer)
    return consumer


async def ask(follower: Follower, *places: tuple[int, int]) -> None:
    for partition, day in places:
        await follower.sql(
            "insert into feed_request (source, partition, day) values ('producer', $1, $2)", partition, day
        )
    follower.clock.now += 5


async def open_days(follower: Follower) -> set[int]:
    return {row["day"] for row in await follower.sql("select day from feed_request")}


async def until_done(consumer: Consumer, follower: Follower, day: int = DAY, rounds: int = 200) -> None:
    for _ in range(rounds):
        await consumer.step()
        follower.clock.now += 1
        if day not in await open_days(follower):
            return
    raise AssertionError("still asked for")


async def test_a_day_is_completed_page_by_page_between_pages_of_the_feed(
    producer: Producer, follower: Follower, port: Days
) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[(f"again{page}", 1, 3)] for page in range(5)]}
    await ask(follower, (3, DAY))
    order: list[int] = []
    for turn in range(60):
        await producer.announce((f"live{turn}", 1, turn % 64))
        await consumer.step()
        order.append(len(port.asked))
        if not await open_days(follower):
            break
    assert max(later - before for before, later in itertools.pairwise(order)) <= 1, "a page of it a round"
    await drain(consumer)
    applied = [mrn for mrn, _, _ in await follower.effects()]
    assert sorted(applied) == sorted({*applied})
    assert {f"again{page}" for page in range(5)} < set(applied)
    assert [token for _, token in port.asked] == [b"", b"1", b"2", b"3", b"4"]


async def test_what_had_its_effect_has_none_again(producer: Producer, follower: Follower, port: Days) -> None:
    consumer = await following(follower, port)
    await producer.announce(("known", 1, 3))
    await drain(consumer)
    port.pages = {DAY: [[("known", 1, 3), ("lost", 1, 3)]]}
    await ask(follower, (3, DAY))
    await until_done(consumer, follower)
    assert [mrn for mrn, _, _ in await follower.effects()] == ["known", "lost"]


@pytest.mark.parametrize("how", ["fails", "is silent"])
async def test_a_day_that_cannot_be_read_stops_no_page_and_no_other_day(
    producer: Producer, follower: Follower, port: Days, how: str
) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[("first", 1, 3)]], OTHER: [[("second", 1, 4)]]}
    if how == "fails":
        port.broken[DAY] = TimeoutError()
    else:
        port.silent.add(DAY)
    await ask(follower, (3, DAY), (4, OTHER))
    expected = set()
    for turn in range(20):
        await producer.announce((f"live{turn}", 1, turn % 64))
        expected.add(f"live{turn}")
        await consumer.step()
        follower.clock.now += 5
    await drain(consumer)
    assert expected <= set(await follower.kept())
    if how == "fails":
        assert await open_days(follower) == {DAY}
        assert 2 < len([day for day, _ in port.asked if day == DAY]) < 15, "it is tried again, ever less often"
        port.broken.clear()
        follower.clock.now += 60
        await until_done(consumer, follower)
        assert set(await follower.kept()) == {*expected, "first", "second"}
    await consumer.close()


async def test_a_day_that_fails_backs_off_up_to_a_minute(producer: Producer, follower: Follower, port: Days) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[("first", 1, 3)]]}
    port.broken[DAY] = ConnectionError()
    await ask(follower, (3, DAY))
    for _ in range(600):
        await consumer.step()
        follower.clock.now += 1
    tried = len(port.asked)
    assert 12 < tried < 60
    port.broken.clear()
    await until_done(consumer, follower, rounds=62)


async def test_a_row_that_nobody_expected_to_fail_is_set_aside_and_the_rest_of_its_day_applied(
    producer: Producer, follower: Follower, port: Days
) -> None:
    consumer = await following(follower, port)
    follower.handler.bad["bad"] = RuntimeError("a mistake of ours")
    port.pages = {DAY: [[("good", 1, 3), ("bad", 1, 3)], [("later", 1, 3)]]}
    await ask(follower, (3, DAY))
    for turn in range(40):
        await producer.announce((f"live{turn}", 1, turn % 64))
        await consumer.step()
        follower.clock.now += 10
    await until_done(consumer, follower)
    kept = set(await follower.kept())
    assert {"good", *(f"live{turn}" for turn in range(40))} <= kept
    assert "bad" not in kept
    assert {row["key"] for row in await follower.letters()} >= {"bad"}


async def test_a_partition_that_goes_to_another_replica_takes_its_request_along(
    producer: Producer, follower: Follower, port: Days
) -> None:
    consumer = await following(follower, port)
    port.pages = {DAY: [[(f"m{page}", 1, 3)] for page in range(3)]}
    await ask(follower, (3, DAY))
    while len(port.asked) < 2:
        await consumer.step()
    await consumer.close()
    other = follower.consumer(port, "two", missing=consumer._missing)
    await until_done(other, follower)
    assert set(await follower.kept()) == {"m0", "m1", "m2"}
    assert len(await follower.effects()) == 3
