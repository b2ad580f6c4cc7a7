"""Fold the deltas of pages into the daily cells, each exactly once."""

from __future__ import annotations

from typing import Final

import numpy as np
import sqlalchemy as sa

from libs.store.errors import StoreUnavailable
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

        At the return every delta that was stored before the call is in the cells, also where another replica folds at the same time; those
        of pages that are counted meanwhile may be left. Raises StoreUnavailable. If a table cannot be folded, the others are folded
        nevertheless, and then its error is raised.
        """
        folded = 0
        failed: Exception | None = None
        for table in CELLS:
            try:
                folded += await self._fold(table)
            except StoreUnavailable:
                raise
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return folded

    async def _fold(self, table: sa.Table) -> int:
        """Fold the deltas of one table; return how many. Deltas that pages add meanwhile do not prolong it without end."""
        folded, is_complete = 0, False
        while not is_complete:
            done, is_complete = await self._fold_oldest(table)
            folded += done
        return folded

    async def _fold_oldest(self, table: sa.Table) -> tuple[int, bool]:
        """Fold the oldest deltas of one table, at most CELLS_MAX cells; return how many, and whether these were all, to their last cell."""
        async with self._store.database.connection() as reader:
            found = await deltas.pending(reader, table.name, DELTAS_MAX)
        if not found.ids:
            return 0, True
        cells = sum_deltas(found.cells)
        places = np.arange(len(cells))
        try:
            async with self._store.database.transaction() as tx:
                if not await deltas.delete(tx, table.name, found.ids):
                    raise _FoldedElsewhere
                await self._store.add_cells(tx, table, cells.take(places[:CELLS_MAX]))
                await deltas.append(tx, {table.name: cells.take(places[CELLS_MAX:])})
        except _FoldedElsewhere:
            return 0, False
        return len(found.ids), len(found.ids) < DELTAS_MAX and len(cells) <= CELLS_MAX
