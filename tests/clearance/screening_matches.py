"""Screening matches of risk's feed: how clearance takes them, and what they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from libs.feed.types import FeedBatch
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.clearance.feeds.screening_matches import Rescreening
from tests.clearance.desk import ACCEPTED_AT, Desk
from tests.clearance.risk_answers import LIST, screening


async def hear(desk: Desk, *batches: FeedBatch) -> None:
    """Take hits as the feed's runner does."""
    handler = Rescreening(desk.store)
    prepared = await handler.prepare(list(batches))
    async with desk.store.database.transaction() as tx:
        await handler.apply(tx, prepared)


async def entries(desk: Desk, mrn: str) -> Sequence[str]:
    found = (await desk.states([mrn])).child("findings")
    return [entry for entry in found.strings("list_entry").tolist() if entry]


async def notices_count(desk: Desk) -> int:
    async with desk.store.database.connection() as reading:
        return int(await reading.raw.fetchval("select count(*) from notice"))


GREEN, BLUE, RED = 1, 2, 4


def clearing(
    filed: Table, entry: str = "6908555", *, left: int | None = GREEN, version: int = 1, at: int = ACCEPTED_AT + 1
) -> FeedBatch:
    """Tell by risk's feed that the hits of filings on an entry were cleared, and which lane is left."""
    told = screening(filed, (entry,), version=version, at=at)
    rows = filed.rows
    named = Table(
        schema_of(ScreeningColumns).children["cleared"],
        rows,
        {
            "party": Strings.constant("consignee", rows),
            "list": Strings.constant(LIST.partition(":")[0], rows),
            "list_entry": Strings.constant(entry, rows),
            "kind": Ints.constant(4, rows),
        },
    )
    columns = {
        "findings": Ragged.of_lengths([0] * rows, told.table.child("findings").take(np.zeros(0, np.int64))),
        "cleared": Ragged.of_lengths([1] * rows, named),
    }
    table = told.table.with_columns(columns)
    if left is not None:
        table = table.with_columns({"remaining_lane": Ints.constant(left, rows)})
    return replace(told, table=table)
