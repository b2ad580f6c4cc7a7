"""Revenue's side of clearance's feed: what states say is owed, secured, sent back or withdrawn is booked, each change once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from libs.columns import Table
from libs.feed.consume.versions import by_epoch
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Transaction
from libs.telemetry import counter
from services.revenue.commands.post import Posted, Posting
from services.revenue.ledger.charge import ChargePage, only_needed
from services.revenue.ledger.entry import LedgerError

EVENTS_MAX: Final = 2_000
"""States booked in one transaction: it holds the heads of its partitions meanwhile, and payments wait for them."""
_KINDS: Final = ("posted", "unchanged", "known")
_states = counter(
    "luxor_revenue_states_total",
    "States of consignments from clearance's feed, by result; unchanged: newer, but nothing to post; known: not newer than the posted one",
    ("outcome",),
)
for _each in _KINDS:
    _states.labels(_each)


@dataclass(frozen=True, slots=True)
class PreparedStates:
    """The states of a page that an epoch of the feed announced, and what they owe."""

    epoch: int
    states: Table
    page: ChargePage


Follow = Callable[[Transaction, Table], Awaitable[None]]


class StateHandler:
    """The handler of clearance's feed."""

    def __init__(self, posting: Posting, *followers: Follow) -> None:
        """Post states; `followers` receive the states before that, in the same transaction."""
        self._posting = posting
        self._followers = followers

    async def prepare(self, batches: list[FeedBatch]) -> list[PreparedStates]:
        """Work out what the states of a page owe, epoch by epoch."""
        return [await self._prepared(epoch, group) for epoch, group in by_epoch(batches)]

    async def _prepared(self, epoch: int, batches: list[FeedBatch]) -> PreparedStates:
        states = Table.concat([only_needed(batch.table) for batch in batches])
        if not states.ints("accepted_at").valid.all():
            raise EventError("ELEMENT_MISSING", "a state without the time of acceptance cannot be booked")
        try:
            return PreparedStates(epoch, states, await self._posting.prepare(states))
        except LedgerError as error:
            raise EventError(error.reason, str(error)) from error

    async def apply(self, tx: Transaction, prepared: list[PreparedStates]) -> None:
        """Post the new states."""
        for part in prepared:
            await self._apply(tx, part)

    async def _apply(self, tx: Transaction, part: PreparedStates) -> None:
        for follow in self._followers:
            await follow(tx, part.states)
        try:
            posted = await self._posting.post(tx, part.page, part.epoch)
        except LedgerError as error:
            raise EventError(error.reason, str(error)) from error
        tx.after_commit(lambda: _count(posted, len(part.page)))


def _count(posted: Posted, consignments: int) -> None:
    numbers = (posted.changed, posted.newer - posted.changed, consignments - posted.newer)
    for kind, number in zip(_KINDS, numbers, strict=True):
        _states.labels(kind).inc(number)
