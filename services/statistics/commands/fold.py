"""Fold the deltas of pages into the daily cells, each exactly once."""

from __future__ import annotations

from typing import Final

import numpy as np
import sqlalchemy as sa

from services.statistics.counting.deltas import sum_deltas
from services.statistics.store import deltas
from services.statistics.store.cells import CELLS, Store

DELTAS_MAX: Final = 128
"""Deltas that are summed at once."""
CELLS_MAX: Final = 500
"""Cells that one transaction changes, so that it does not hold back the feeds for long."""


class _FoldedElsewhere(Exception):
    """Another replica folded these deltas first: rolls back."""


class Fold:
    """Folds deltas in short transactions, each of which replaces deltas by cells, and by a delta of what is still to be folded."""

    def __init__(self, store: Store) -> None:
        """Fold within a store."""
        self._store = store

    async def run(self) -> int:
        """Fold what there is, table by table; return how many deltas were folded.

        At the return every delta that was stored before the call is in the cells, also where another replica folds at the same time.
        """
        folded = 0
        for table in CELLS:
            while done := await self._fold(table):
                folded += done
        return folded

    async def _fold(self, table: sa.Table) -> int:
        """Fold the oldest deltas of one table, at most CELLS_MAX cells; return how many there were."""
        async with self._store.database.connection() as reader:
            found = await deltas.pending(reader, table.name, DELTAS_MAX)
        if not found.ids:
            return 0
        cells = sum_deltas(found.cells)
        places = np.arange(len(cells))
        try:
            async with self._store.database.transaction() as tx:
                if not await deltas.delete(tx, table.name, found.ids):
                    raise _FoldedElsewhere
                await self._store.add_cells(tx, table, cells.take(places[:CELLS_MAX]))
                await deltas.append(tx, {table.name: cells.take(places[CELLS_MAX:])})
        except _FoldedElsewhere:
            pass
        return len(found.ids)
