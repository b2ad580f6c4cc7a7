"""Revenue's side of clearance's feed: what states say is owed, secured, sent back or withdrawn is booked, each change once."""

from __future__ import annotations

from typing import Final

from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from libs.telemetry import counter
from services.revenue.ledger.charged import Page
from services.revenue.ledger.entries import LedgerError
from services.revenue.store.ledger import Ledger, Posted

EVENTS_MAX: Final = 1_000
"""States booked in one transaction: it holds the heads of its partitions meanwhile, and payments wait for them."""
_KINDS: Final = ("posted", "unchanged", "known")
_states = counter(
    "luxor_revenue_states_total",
    "States of consignments that clearance told, by what became of them; unchanged: newer, but nothing to book; known: not newer "
    "than what is held",
    ("outcome",),
)
for _each in _KINDS:
    _states.labels(_each)


class Intake:
    """The handler of clearance's feed."""

    def __init__(self, ledger: Ledger) -> None:
        """Book in a ledger."""
        self._ledger = ledger

    async def prepare(self, batches: list[FeedBatch]) -> Page:
        """Work out what the states of a page owe."""
        for batch in batches:
            if not batch.table.ints("accepted_at").valid.all():
                raise EventError("ELEMENT_MISSING", "a state without the time of acceptance cannot be booked")
        try:
            return await self._ledger.prepare([batch.table for batch in batches])
        except LedgerError as error:
            raise EventError(error.reason, str(error)) from error

    async def apply(self, tx: Transaction, prepared: Page) -> None:
        """Book what is new."""
        try:
            posted = await self._ledger.post(tx, prepared)
        except LedgerError as error:
            raise EventError(error.reason, str(error)) from error
        tx.after_commit(lambda: _count(posted, len(prepared)))


def _count(posted: Posted, consignments: int) -> None:
    numbers = (posted.changed, posted.newer - posted.changed, consignments - posted.newer)
    for kind, number in zip(_KINDS, numbers, strict=True):
        _states.labels(kind).inc(number)
