"""The feed's edge over entries in memory, called by a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from libs.feed.publish.outbox import Outbox
from libs.feed.publish.payloads import StoredBatch
from libs.feed.publish.service import DaySummary, FeedServicer, StatePage, TokenMalformed, to_positions
from libs.feed.types import BEGINNING, BatchRef, Cursor
from libs.server.call import Call, enter
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2
from tests.feed.conftest import table_of
from tests.feed.stored import TODAY, Stored, StoredDatabase

SCHEMA = ConsignmentColumns.DESCRIPTOR.full_name
SELF = Identity(Role.SERVICE, "watcher")


def stored_batch(number: int, rows: int) -> StoredBatch:
    table = table_of([(f"m{row}", row, 1) for row in range(rows)])
    payload = table.serialize(ConsignmentColumns)
    return StoredBatch(BatchRef(TODAY, number), 1_000 + number, rows, 2, SCHEMA, f"trace{number}", payload)


class Days:
    """Pages of states: what was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.rows = 3
        self.token = b""
        self.refuses = False

    async def page(self, tx: Any, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        return await self.page_of_day(tx, -1, partitions, token, max_rows)

    async def page_of_day(self, tx: Any, day: int, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        if self.refuses:
            raise TokenMalformed
        self.asked.append((day, list(partitions), token, max_rows))
        events = [(f"m{row}", row, 1) for row in range(min(self.rows, max_rows))]
        return StatePage(table_of(events), np.ones(len(events), np.int64), self.token)

    async def summaries(self, first: int, last: int) -> list[DaySummary]:
        return [DaySummary(first, "below", [1, 2], [3, 4], [5, 6]), DaySummary(last, "", [], [], [])]


class Served:
    """A servicer over entries in memory, and calls by a service."""

    def __init__(
        self, stored: Stored | None = None, *, rows: Sequence[int] = (), days: bool = True, **more: Any
    ) -> None:
        self.stored = stored or Stored()
        self.database = StoredDatabase(self.stored)
        self.outbox = Outbox(self.database, SCHEMA, 2)  # type: ignore[arg-type]
        for number, count in enumerate(rows, 1):
            self.outbox.payloads.add(stored_batch(number, count))
        self.days = Days()
        self.servicer = FeedServicer(self.outbox, self.days, days=self.days if days else None, **more)

    async def pull(self, after: dict[int, Cursor] | None = None, *, as_who: Identity = SELF, **more: Any) -> feed_pb2.PullEventsResponse:  # fmt: skip
        enter(Call(as_who, "", "", "", float("inf")))
        positions = to_positions({1: BEGINNING} if after is None else after)
        return await self.servicer.PullEvents(feed_pb2.PullEventsRequest(after=positions, **more), None)

    async def snapshot(self, **more: Any) -> feed_pb2.ReadSnapshotResponse:
        enter(Call(SELF, "", "", "", float("inf")))
        return await self.servicer.ReadSnapshot(
            feed_pb2.ReadSnapshotRequest(**({"partitions": [2, 1, 2]} | more)), None
        )

    async def summarize(self, first: int, last: int) -> feed_pb2.SummarizeDaysResponse:
        enter(Call(SELF, "", "", "", float("inf")))
        return await self.servicer.SummarizeDays(feed_pb2.SummarizeDaysRequest(from_day=first, to_day=last), None)


def refused(error: pytest.ExceptionInfo[Refusal]) -> tuple[str, str]:
    return error.value.reason, error.value.path
