"""The present state of ingestion for a new reader of its feed: every filing that is kept, batch by batch."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from libs.columns import Table
from libs.feed.outbox import Outbox
from libs.feed.service import StatePage
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns

_NEXT = """
    select b.day, b.id, b.row_count from batch b
    where (b.day, b.id) > ($1, $2) and b.day >= $1 order by b.day, b.id limit $3
"""
_PLACE = struct.Struct("<qq")


class Snapshot:
    """Reads stored batches in their order; the token is the last one read."""

    def __init__(self, outbox: Outbox) -> None:
        """Read the batches of an outbox."""
        self._outbox = outbox

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read whole batches until about `max_rows` rows of these partitions are there."""
        day, number = _PLACE.unpack(token) if token else (0, 0)
        wanted = np.asarray(partitions, np.int64)
        parts: list[Table] = []
        rows = 0
        while rows < max_rows:
            found = await tx.raw.fetch(_NEXT, day, number, 8)
            if not found:
                break
            refs = [BatchRef(row["day"], row["id"]) for row in found]
            stored = await self._outbox.payloads.fetch(tx.raw, refs)
            for ref in refs:
                table = Table.parse(ConsignmentColumns, stored[ref].payload)
                chosen = np.flatnonzero(np.isin(table.ints("partition").values, wanted))
                if len(chosen):
                    parts.append(table.take(chosen))
                    rows += len(chosen)
                day, number = ref
                if rows >= max_rows:
                    break
        else:
            return _page(parts, _PLACE.pack(day, number))
        return _page(parts, b"")


def _page(parts: list[Table], token: bytes) -> StatePage:
    table = Table.concat(parts) if parts else Table.of(ConsignmentColumns, 0, {})
    return StatePage(table, table.ints("partition").values, token)
