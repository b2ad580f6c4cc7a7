"""Count states of consignments: each adds to the daily cells what it has more than the state that was counted before."""

from __future__ import annotations

import numpy as np

from libs.columns import Table
from libs.customs.identifiers.mrn_columns import days_of_mrns
from libs.feed.consume.versions import newer
from libs.store.database import Transaction
from services.statistics.counting.cells import newest, tally
from services.statistics.store.cells import PARTITIONED, Store


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
        mrns = last.strings("mrn").tolist()
        days = days_of_mrns(mrns)
        before = await self._store.counted(tx, days, mrns)
        epochs = np.fromiter((0 if each is None else each.epoch for each in before), np.int64, len(mrns))
        versions = np.fromiter((0 if each is None else each.version for each in before), np.int64, len(mrns))
        fresh = np.flatnonzero(newer(epoch, last.ints("version").values, epochs, versions))
        if not len(fresh):
            return 0
        counted = last if len(fresh) == last.rows else last.take(fresh)
        places = fresh.tolist()
        old, counted_by_02 = await self._store.states(
            tx, [each for place in places if (each := before[place]) is not None]
        )
        both = counted if old is None else Table.concat([counted, old])
        signs = np.concatenate([np.ones(counted.rows, np.int64), -np.ones(len(counted_by_02), np.int64)])
        await self._store.add(tx, tally(both, signs, np.concatenate([np.zeros(counted.rows, np.bool_), counted_by_02])))
        known = np.array([before[place] is not None for place in places])
        await self._store.store_counted(
            tx, counted, [days[place] for place in places], [mrns[place] for place in places], epoch, known
        )
        return len(fresh)
