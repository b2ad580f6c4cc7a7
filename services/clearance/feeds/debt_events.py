"""The handler of revenue's feed: debts that are settled or open again, and consignments that were assessed again."""

from typing import Any, Final

import numpy as np

from libs.columns import Table
from libs.columns.wire import MalformedColumns
from libs.customs.identifiers.mrn import MrnError
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from luxor.revenue.v1 import revenue_columns_pb2 as pb
from services.clearance.commands.take_debt_events import DebtEventPage, TakeDebtEvents
from services.clearance.store import STATE_DAYS, Store, days_of

_DEBTS: Final = (pb.DEBT_EVENT_SETTLED, pb.DEBT_EVENT_OPENED, pb.DEBT_EVENT_REFUNDED)


class DebtEventHandler:
    """The handler of revenue's feed."""

    def __init__(self, store: Store, *, state_days: int = STATE_DAYS) -> None:
        """Work on a store; events of consignments accepted more than `state_days` ago are ignored."""
        self._take = TakeDebtEvents(store, state_days=state_days)

    async def prepare(self, batches: list[FeedBatch]) -> DebtEventPage:
        """Read the events. Raises EventError where an event cannot be read."""
        try:
            for batch in batches:
                _check(batch.table)
            events = Table.concat([batch.table for batch in batches])
        except (MrnError, MalformedColumns) as error:
            raise EventError("EVENT_MALFORMED", f"The events' columns cannot be read: {error}") from error
        traces = [batch.trace for batch in batches for _ in range(batch.table.rows)]
        return DebtEventPage(events, events.strings("mrn").tolist(), traces)

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Apply events, and store those that came before the decision."""
        page: DebtEventPage = prepared
        await self._take.run(tx, page)


def _check(events: Table) -> None:
    """Raise EventError, MrnError or MalformedColumns if an event lacks a required value."""
    days_of(events.strings("mrn").tolist())
    kinds = events.ints("event").filled(0)
    again = kinds == pb.DEBT_EVENT_REASSESSED
    if not (again | np.isin(kinds, _DEBTS)).all():
        raise EventError("EVENT_MALFORMED", "An event has an unknown kind.")
    if not (events.ints("number").valid & events.ints("filing_version").valid).all():
        raise EventError("EVENT_MALFORMED", "An event lacks its number, or the version of the filing.")
    if not (events.ragged("assessments").lengths == again).all():
        raise EventError(
            "EVENT_MALFORMED", "An event of a new assessment lacks the assessment, or another event has one."
        )
    if not (events.ints("debt_status").valid | again).all():
        raise EventError("EVENT_MALFORMED", "An event of a debt lacks the status of the debt.")
    answers = events.child("assessments")
    if not (answers.ints("duty").valid | answers.strings("reason").present).all():
        raise EventError("EVENT_MALFORMED", "An assessment has neither figures nor a reason.")
