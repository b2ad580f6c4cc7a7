"""Revenue's feed, as clearance takes it: debts that are settled or open again, and consignments that owe something else."""

from typing import Any, Final

import numpy as np

from libs.columns import Table
from libs.columns.wire import MalformedColumns
from libs.customs.identifiers.mrn import MrnError
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from luxor.revenue.v1 import revenue_columns_pb2 as pb
from services.clearance.commands.take_debt_events import Heard, TakeDebtEvents
from services.clearance.store import STATE_DAYS, Store, day_of

_DEBTS: Final = (pb.DEBT_EVENT_SETTLED, pb.DEBT_EVENT_OPENED, pb.DEBT_EVENT_REFUNDED)


class RevenueNews:
    """The handler of revenue's feed."""

    def __init__(self, store: Store, *, state_days: int = STATE_DAYS) -> None:
        """Put news into force in a store; those of consignments accepted more than `state_days` ago are left alone."""
        self._take = TakeDebtEvents(store, state_days=state_days)

    async def prepare(self, batches: list[FeedBatch]) -> Heard:
        """Read the news. Raises EventError where an event cannot be read."""
        try:
            for batch in batches:
                _check(batch.table)
            news = Table.concat([batch.table for batch in batches])
        except (MrnError, MalformedColumns) as error:
            raise EventError("EVENT_MALFORMED", f"The news' columns cannot be read: {error}") from error
        traces = [batch.trace for batch in batches for _ in range(batch.table.rows)]
        return Heard(news, news.strings("mrn").tolist(), traces)

    async def apply(self, tx: Transaction, prepared: Any) -> None:
        """Put news into force, and keep those that came before the decision."""
        heard: Heard = prepared
        await self._take.run(tx, heard)


def _check(news: Table) -> None:
    """Raise EventError, MrnError or MalformedColumns where news lack what they need."""
    for mrn in news.strings("mrn").tolist():
        day_of(mrn)
    kinds = news.ints("event").filled(0)
    again = kinds == pb.DEBT_EVENT_REASSESSED
    if not (again | np.isin(kinds, _DEBTS)).all():
        raise EventError("EVENT_MALFORMED", "A news is of no kind that is known.")
    if not (news.ints("number").valid & news.ints("filing_version").valid).all():
        raise EventError("EVENT_MALFORMED", "A news lacks its number, or the version of the filing.")
    if not (news.ragged("assessments").lengths == again).all():
        raise EventError("EVENT_MALFORMED", "A news of another assessment lacks it, or another news has one.")
    if not (news.ints("debt_status").valid | again).all():
        raise EventError("EVENT_MALFORMED", "A news of a debt does not tell how it stands.")
    answers = news.child("assessments")
    if not (answers.ints("duty").valid | answers.strings("reason").present).all():
        raise EventError("EVENT_MALFORMED", "An assessment has neither figures nor a reason.")
