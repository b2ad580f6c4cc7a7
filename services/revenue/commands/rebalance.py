"""Rebalance the ledger: store the positions that follow from states and payments, with the entries that lead to them.

Everything of one page is one transaction: entries, postings, balances, positions, open items, and debt events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from libs.store.database import Database, Transaction
from luxor.common.v1.common_pb2 import (
    DEBT_STATUS_DEFERRED,
    DEBT_STATUS_NONE,
    DEBT_STATUS_OPEN,
    DEBT_STATUS_PAID,
    DEBT_STATUS_SECURED,
    DEBT_STATUS_VENDOR_COLLECTED,
)
from luxor.revenue.v1.revenue_columns_pb2 import DEBT_EVENT_OPENED, DEBT_EVENT_REFUNDED, DEBT_EVENT_SETTLED
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.ledger.account import prefix_of
from services.revenue.ledger.allocation import freed_credit, surplus
from services.revenue.ledger.charge import ChargePage
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import COLLECTED, OPEN, SECURED, Lines, offsets_of
from services.revenue.ledger.position import claims
from services.revenue.ledger.rebalance import PositionLines, Target, rebalance
from services.revenue.store.debt_events import DebtChange, DebtEvents, debt_event_columns
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.entries import BookedEntries, EntryStore, Heads
from services.revenue.store.ledger.names import Names
from services.revenue.store.positions import open_items, positions
from services.revenue.store.positions.positions import NOT_ANNOUNCED, OPENED, SETTLED, DebtStatuses
from services.revenue.store.positions.stored import PLACE, EntryPlaces, Positions


class Ledger:
    """The stored ledger: its entries, positions and debt events, and how revenue is shared among treasuries."""

    def __init__(self, database: Database, sharing: Callable[[], Sharing] | None = None) -> None:
        """Store the ledger in a database; without shares each jurisdiction has one treasury."""
        self.database = database
        self.names = Names()
        self.book = EntryStore(database, self.names)
        self.debt_events = DebtEvents(database)
        none = Sharing()
        self._sharing = sharing or (lambda: none)

    @property
    def sharing(self) -> Sharing:
        """Return how revenue is shared by the law in force."""
        return self._sharing()

    async def name_ids(self, names: Collection[str]) -> dict[str, int]:
        """Return the number of each name; what has none gets one, in a transaction of its own before the caller's begins."""
        found = self.names.cached(names)
        missing = [name for name in names if name not in found]
        if missing:
            async with self.database.transaction() as tx:
                await self.names.add(tx, missing)
            async with self.database.connection() as reader:
                found |= await self.names.ids(reader, missing)
        return found

    async def rebalance(
        self, tx: Transaction, heads: Heads, target: Target, stored: Positions, *, epoch: int = 0
    ) -> BookedEntries:
        """Store the positions of a target in the place of those held, book the entries between them and announce what changes.

        The heads of their partitions are locked. Entries of payments belong to the consignments whose MRN they have. `epoch` is that
        of the feed which announced the page, 0 where none did.
        """
        lines = target.page.lines
        divisions = await self.names.divisions(tx, lines["treasury"], stored.lines["treasury"])
        lines_held = PositionLines(stored.offsets, stored.lines, stored.currency, stored.destination, divisions)
        after = rebalance(target, lines_held, stored.paid)
        page, lines = after.page, after.page.lines
        booked = await self.book.post(tx, heads, after.entries)
        refunded = _by_row(lines["refunded"], page.offsets)
        told, kinds = _debt_changes(page, stored, target.paid, after.open, refunded)
        statuses = DebtStatuses(target.paid, after.open, refunded, told, after.paid_out)
        await positions.store(tx, page, statuses, _of_rows(page.mrn, booked), stored, epoch=epoch)
        await open_items.move(
            tx,
            open_items.of_positions(
                page.mrn, stored.day, stored.currency, stored.offsets, stored.lines, stored.paid, stored.paid_out
            ),
            open_items.of_positions(
                page.mrn, page.day, page.currency, page.offsets, lines, target.paid, after.paid_out
            ),
        )
        await credit.follow_positions(
            self.names,
            tx,
            surplus(stored.lines, stored.offsets, stored.paid, stored.currency, stored.paid_out),
            credit.summed(
                surplus(lines, page.offsets, target.paid, page.currency, after.paid_out), freed_credit(target.freed)
            ),
        )
        if kinds:
            await self._announce(tx, page, statuses, kinds)
        return booked

    async def _announce(
        self, tx: Transaction, page: ChargePage, statuses: DebtStatuses, kinds: list[tuple[int, int]]
    ) -> None:
        rows = sorted({row for row, _ in kinds})
        accounts = await self.names.texts(tx, np.unique(page.lines["account"]).tolist())
        stands = {row: _debt(page, statuses, row, accounts) for row in rows}
        # Amounts that were paid out beyond the credit no longer count as payment of the debt.
        paid = np.maximum(0, statuses.paid - claims(page.lines, page.offsets, statuses.paid, statuses.paid_out))
        await self.debt_events.announce(
            tx,
            debt_event_columns(
                [
                    DebtChange(
                        page.mrn[row],
                        int(page.filing_version[row]),
                        kind,
                        stands[row][0],
                        int(paid[row]),
                        int(statuses.refunded[row]),
                        page.currency[row],
                        stands[row][1],
                    )
                    for row, kind in kinds
                ]
            ),
        )


def _by_row(amounts: Int64, offsets: Int64) -> Int64:
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(amounts)])
    sums: Int64 = running[offsets[1:]] - running[offsets[:-1]]
    return sums


def _owed(lines: Lines, offsets: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return whether consignments have an amount that is to be paid immediately."""
    owed: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        _by_row(np.where(lines["how"] == OPEN, lines["amount"], 0), offsets) > 0
    )
    return owed


def _of_rows(mrns: Sequence[str], booked: BookedEntries) -> tuple[Int64, EntryPlaces]:
    """Return where the entries of each consignment stand: offsets and places. Entries of others are left out."""
    row_of = {mrn: row for row, mrn in enumerate(mrns)}
    rows = np.array([row_of.get(mrn, -1) for mrn in booked.mrns], np.int64)
    order = np.argsort(rows, kind="stable")[np.count_nonzero(rows < 0) :]
    places = np.empty(len(order), PLACE)
    places["number"], places["day"] = np.array(booked.numbers)[order], np.array(booked.days)[order]
    return offsets_of(rows[order], len(mrns)), places


def _debt_changes(
    page: ChargePage, stored: Positions, paid: Int64, open_minor: Int64, refunded: Int64
) -> tuple[Int64, list[tuple[int, int]]]:
    """Return the announced status of each debt, and the debt events as (row, kind)."""
    owed = _owed(page.lines, page.offsets)
    # The only open item of a consignment that owes nothing is the amount of a payout that must be repaid.
    owed |= (stored.announced == OPENED) & (stored.open > 0) & ~_owed(stored.lines, stored.offsets)
    settles = (
        owed & (open_minor == 0) & ((stored.announced == OPENED) | ((stored.announced == NOT_ANNOUNCED) & (paid > 0)))
    )
    opens = (open_minor > 0) & (stored.announced == SETTLED)
    told = np.where(settles, SETTLED, np.where(opens, OPENED, stored.announced))
    refunds = refunded != stored.refunded
    news = []
    for row in np.flatnonzero(settles | opens | refunds).tolist():
        if settles[row]:
            news.append((row, DEBT_EVENT_SETTLED))
        if opens[row]:
            news.append((row, DEBT_EVENT_OPENED))
        if refunds[row]:
            news.append((row, DEBT_EVENT_REFUNDED))
    return told, [(row, int(kind)) for row, kind in news]


def _debt(page: ChargePage, statuses: DebtStatuses, row: int, names: dict[int, str]) -> tuple[int, str]:
    """Return the status of debts (luxor.clearance.v1.DebtStatus), and the account of each."""
    own: Lines = page.lines[page.offsets[row] : page.offsets[row + 1]]
    secured = own[own["how"] == SECURED]
    if statuses.open[row] > 0:
        return DEBT_STATUS_OPEN, ""
    if len(secured):
        account = names[int(secured["account"][0])]
        return (DEBT_STATUS_DEFERRED if prefix_of(account) == "deferred" else DEBT_STATUS_SECURED), account
    if statuses.paid[row] > 0 or (own["how"] == OPEN).any():
        return DEBT_STATUS_PAID, ""
    return (DEBT_STATUS_VENDOR_COLLECTED if (own["how"] == COLLECTED).any() else DEBT_STATUS_NONE), ""
