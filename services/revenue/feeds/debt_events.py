"""The feed of debt events: what new readers begin with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from libs.columns import Table
from libs.customs.partitions import PARTITIONS
from libs.feed.publish.service import StatePage, numbered
from libs.store.database import Transaction
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from services.revenue.store import debt_events


class DebtEventSnapshot:
    """What a new reader of revenue's feed begins with: of each consignment the last debt event of each slot, in their order."""

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read about `max_rows` debt events of these partitions after `token`: the last consignment's partition and MRN."""
        after = numbered(token, PARTITIONS - 1) if token else (-1, "")
        rows_max = max(1, max_rows // len(debt_events.SLOTS))
        consignments = await debt_events.scan(tx, partitions, after, rows_max)
        tables = [event for _, _, events in consignments for event in events]
        places = [partition for partition, _, events in consignments for _ in events]
        full = len(consignments) == rows_max
        return StatePage(
            Table.concat(tables) if tables else Table.of(RevenueColumns, 0, {}),
            np.array(places, np.int64),
            f"{consignments[-1][0]}.{consignments[-1][1]}".encode() if full else b"",
        )
