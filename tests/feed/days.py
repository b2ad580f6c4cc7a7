"""Days of a producer that a consumer asks for again, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from libs.feed.consume.consumer import Consumer
from libs.feed.consume.requested_days import Missing
from libs.feed.publish.service import FeedServicer
from libs.feed.types import Cursor, FeedBatch, SnapshotPage
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.conftest import DirectPort, Event, Follower, mrns, table_of

DAY, OTHER = 20_000, 20_001


class Days(DirectPort):
    """Also has days, of some pages each; a day may fail, or not answer at all."""

    def __init__(self, servicer: FeedServicer) -> None:
        super().__init__(servicer)
        self.pages: Mapping[int, list[list[Event]]] = {}
        self.broken: dict[int, BaseException] = {}
        self.silent: set[int] = set()
        self.asked: list[tuple[int, bytes]] = []

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


def missing_of(follower: Follower) -> Missing:
    """Return what gives the rows of a batch that a follower does not have yet."""

    async def missing(batch: FeedBatch) -> FeedBatch:
        known = set(await follower.kept())
        return batch.take(np.array([row for row, mrn in enumerate(mrns(batch.table)) if mrn not in known], np.int64))

    return missing


async def following(follower: Follower, port: Days, **more: Any) -> Consumer:
    consumer = follower.consumer(port, missing=missing_of(follower), **more)
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
