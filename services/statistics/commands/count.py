"""Count states of consignments: each adds to the daily cells what it has more than the state that was counted before."""

from __future__ import annotations

import numpy as np

from libs.columns import Table
from libs.feed.consume.versions import newer
from libs.store.database import Transaction
from services.statistics.counting.cells import newest, tally
from services.statistics.store.cells import PARTITIONED, Store
from services.statistics.store.counted import Consignments


class Count:
    """Counts what is newer than what was counted."""

    def __init__(self, store: Store) -> None:
        """Count into a store."""
        self._store = store

    async def make_days(self, days: set[int]) -> None:
        """Make sure that rows of these days have a place, in transactions of its own before theirs."""
        missing = self._store.missing_days(days)
        if missing:
            for table in PARTITIONED:
                async with self._store.database.transaction() as tx:
                    await self._store.add_days(tx, table, missing)
            self._store.note_days(missing)

    async def run(self, tx: Transaction, states: Table, epoch: int) -> int:
        """Count states of an epoch of the feed (ClearanceColumns, only what counting reads); return how many were new."""
        last = newest(states)
        consignments = Consignments.located(last.strings("mrn").tolist())
        before = await self._store.counted(tx, consignments)
        fresh = np.flatnonzero(newer(epoch, last.ints("version").values, before.epoch, before.version))
        if not len(fresh):
            return 0
        counted = last if len(fresh) == last.rows else last.take(fresh)
        old, counted_by_02 = await self._store.states(tx, before.among(fresh))
        both = counted if old is None else Table.concat([counted, old])
        signs = np.concatenate([np.ones(counted.rows, np.int64), -np.ones(len(counted_by_02), np.int64)])
        await self._store.add(tx, tally(both, signs, np.concatenate([np.zeros(counted.rows, np.bool_), counted_by_02])))
        await self._store.store_counted(tx, counted, consignments.take(fresh), epoch)
        return len(fresh)
