"""The snapshot for a new reader of clearance's feed: the current state of every consignment, by day of acceptance and MRN."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from libs.columns import Table
from libs.feed.publish.service import StatePage, numbered
from libs.store.database import Transaction
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.store import Row, Store

_SCANNED: Final = 5_000


class Snapshot:
    """Reads current states; the token is the day and MRN of the last one that was read."""

    def __init__(self, store: Store) -> None:
        """Read from a store."""
        self._store = store

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read about `max_rows` states of these partitions after `token`. The feed has what is decided meanwhile."""
        wanted = set(partitions)
        place = numbered(token) if token else (0, "")
        rows: list[Row] = []
        while len(rows) < max_rows:
            looked = await self._store.work.scan(tx, place, _SCANNED)
            for row in looked:
                place = (row.day, row.mrn)
                if row.partition in wanted:
                    rows.append(row)
                    if len(rows) == max_rows:
                        break
            if len(looked) < _SCANNED and len(rows) < max_rows:
                place = (0, "")
                break
        table = await self._store.states(tx, rows) if rows else Table.of(ClearanceColumns, 0, {})
        partitions_of_rows = np.array([row.partition for row in rows], np.int64)
        return StatePage(table, partitions_of_rows, f"{place[0]}.{place[1]}".encode() if place[1] else b"")
