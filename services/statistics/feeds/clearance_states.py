"""Clearance's states, as statistics takes them from the feed."""

from __future__ import annotations

from libs.columns import Table
from libs.customs.identifiers import mrn
from libs.customs.identifiers.mrn_columns import days_of_mrns
from libs.feed.consume.versions import by_epoch
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from libs.telemetry import counter
from services.statistics.commands.count import Count
from services.statistics.counting.cells import only_counted
from services.statistics.store.cells import Store

_counted = counter("luxor_statistics_states_total", "States of consignments by result", ("outcome",))


class Intake:
    """Counts the states that clearance announces."""

    def __init__(self, store: Store) -> None:
        """Count into a store."""
        self._count = Count(store)

    async def prepare(self, batches: list[FeedBatch]) -> list[tuple[int, Table]]:
        """Put the states of a page together, epoch by epoch, and make room for their days."""
        return [(epoch, await self._states(group)) for epoch, group in by_epoch(batches)]

    async def _states(self, batches: list[FeedBatch]) -> Table:
        states = Table.concat([only_counted(batch.table) for batch in batches])
        try:
            days = set(days_of_mrns(states.strings("mrn").dictionary))
        except mrn.MrnError as error:
            raise EventError("MRN_MALFORMED", str(error)) from error
        accepted = states.ints("accepted_at")
        if not accepted.valid.all():
            raise EventError("ELEMENT_MISSING", "a state without the time of acceptance cannot be counted")
        days |= set((accepted.values // 86_400_000_000).tolist())
        await self._count.make_days(days)
        return states

    async def apply(self, tx: Transaction, prepared: list[tuple[int, Table]]) -> None:
        """Count what is new."""
        counted = sum([await self._count.run(tx, states, epoch) for epoch, states in prepared])
        rows = sum(states.rows for _, states in prepared)
        tx.after_commit(lambda: _count(counted, rows - counted))


def _count(counted: int, replayed: int) -> None:
    """Count states after the commit, because a page may be rolled back and come again."""
    _counted.labels("counted").inc(counted)
    _counted.labels("known").inc(replayed)
