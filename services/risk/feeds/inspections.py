"""Clearance's feed, as risk takes it: what inspections found becomes outcomes, which history counts."""

from __future__ import annotations

from libs.columns import Table
from libs.feed.consume.versions import by_epoch
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from services.risk.commands.record_outcomes import Prepared, RecordOutcomes
from services.risk.inspections.outcomes import Outcome, OutcomeError, inspected, outcomes_of


class InspectionFeed:
    """The handler of clearance's feed."""

    def __init__(self, command: RecordOutcomes) -> None:
        """Record outcomes by a command."""
        self._command = command

    async def prepare(self, batches: list[FeedBatch]) -> Prepared | None:
        """Find what was inspected in a page, and the parties of it; None for a page without any."""
        outcomes: list[Outcome] = []
        for epoch, group in by_epoch(batches):
            states = [batch.table.take(rows) for batch in group if len(rows := inspected(batch.table))]
            try:
                told = outcomes_of(Table.concat(states), epoch) if states else []
            except OutcomeError as error:
                raise EventError("ELEMENT_MISSING", str(error)) from error
            # What a later epoch announces replaces what an earlier one did.
            outcomes = [each for each in outcomes if each.mrn not in {later.mrn for later in told}] + told
        return await self._command.prepare(outcomes) if outcomes else None

    async def apply(self, tx: Transaction, prepared: Prepared | None) -> None:
        """Record what is new."""
        if prepared is not None:
            await self._command.run(tx, prepared)
