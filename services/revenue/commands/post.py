"""The ledger at work: brings what is held of consignments to what their states and payments say, and books the difference.

Everything of one page is one transaction: entries, postings, balances, positions, what is open, and the news of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from libs.columns import Table
from libs.feed.histories import newer
from libs.store.database import Database, Transaction
from luxor.clearance.v1.clearance_pb2 import (
    DEBT_STATUS_DEFERRED,
    DEBT_STATUS_NONE,
    DEBT_STATUS_OPEN,
    DEBT_STATUS_PAID,
    DEBT_STATUS_SECURED,
    DEBT_STATUS_VENDOR_COLLECTED,
)
from luxor.revenue.v1.revenue_columns_pb2 import NEWS_OPENED, NEWS_REFUNDED, NEWS_SETTLED
from services.revenue.commands import apply_credit
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.ledger.account import prefix_of
from services.revenue.ledger.allocation import own_by, released, surplus
from services.revenue.ledger.basis import followed
from services.revenue.ledger.charge import Page, names_of, take
from services.revenue.ledger.entry import Entries, Int64
from services.revenue.ledger.line import COLLECTED, OPEN, SECURED, Lines
from services.revenue.ledger.payout import PaidOut, claims
from services.revenue.ledger.position import Held
from services.revenue.ledger.rebalance import brought
from services.revenue.ledger.refund import RefundRules
from services.revenue.store.debt_events import DebtNews, NewsStore, debt_news
from services.revenue.store.ledger import credit, positions
from services.revenue.store.ledger.entries import Book, Booked, Heads
from services.revenue.store.ledger.names import Names
from services.revenue.store.ledger.positions import NOT_TOLD, OPENED, SETTLED, Positions, Standing


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a page: how many consignments were newer than what was held, and how many of those changed something."""

    newer: int
    changed: int


class Ledger:
    """Books what states of consignments say."""

    def __init__(self, database: Database, rules: RefundRules, sharing: Sharing | None = None) -> None:
        """Keep the ledger in a database, refunding and sharing revenue by these rules; without any each jurisdiction has one treasury."""
        self.database = database
        self.names = Names(database)
        self.book = Book(database, self.names)
        self.news = NewsStore(database)
        self.sharing = sharing or Sharing()
        self._rules = rules

    async def prepare(self, states: Table) -> Page:
        """Work out what states (ClearanceColumns) owe, before the transaction. Raises LedgerError."""
        charged = names_of(states, self.sharing)
        return charged.page(await self.names.ids(charged.names()), self._rules)

    async def post(self, tx: Transaction, page: Page, epoch: int = 0) -> Posted:
        """Book what is newer in a page of an epoch than what is stored, once: a replay, another order or other pages change nothing.

        Raises LedgerError.
        """
        heads = await self.book.lock(tx, np.unique(page.partition).tolist())
        held = await positions.read(tx, page.mrn)
        fresh = np.flatnonzero(newer(epoch, page.version, held.epoch, held.version))
        if not len(fresh):
            return Posted(0, 0)
        if len(fresh) < len(page):
            page, held = take(page, fresh), held.take(fresh)
        basis = followed(page.basis, page.version, page.filing_version, held.basis, held.version, held.filing_version)
        # The day of acceptance that is held first stays: what is open and what is compared stand under it.
        day = np.where(held.known, held.day, page.day)
        page = _where_it_was(replace(page, basis=basis, day=day), held)
        paid, out, gone = _in_its_currency(page, held)
        booked = await self.bring(tx, heads, page, held, paid, out=out, gone=gone, epoch=epoch)
        await apply_credit.match_waiting(self, tx, heads, page.mrn)
        await apply_credit.pay_by_credit(self, tx, heads, page)
        changed = len({(partition, mrn) for partition, mrn in zip(booked.partitions, booked.mrns, strict=True)})
        return Posted(len(fresh), changed)

    async def bring(
        self,
        tx: Transaction,
        heads: Heads,
        page: Page,
        held: Positions,
        paid: Int64,
        more: Entries | None = None,
        reference: str = "",
        out: PaidOut | None = None,
        gone: Entries | None = None,
        epoch: int = 0,
    ) -> Booked:
        """Bring what is held of a page's consignments to what it says with `paid` paid by each, and book `more` before that.

        The heads of their partitions are held. Entries of `more` belong to the consignments whose MRN they have. `out` is
        what was paid out of each; None where that is what is held. Entries of `gone` book what stays to the credit of accounts,
        and is paid by no consignment any more. `epoch` is that of the feed which announced the page, 0 where none did.
        """
        divisions = await self.names.divisions(tx, page.lines["treasury"], held.lines["treasury"])
        lines_held = Held(held.offsets, held.lines, held.currency, held.destination, divisions)
        found = brought(page, lines_held, held.paid, paid, held.out if out is None else out, more, reference, gone)
        page, out, still, lines = found.page, found.out, found.still, found.page.lines
        booked = await self.book.post(tx, heads, found.entries)
        refunded = _by_row(lines["refunded"], page.offsets)
        told, kinds = _to_tell(page, held, paid, still, refunded)
        standing = Standing(paid, still, refunded, told, out)
        await positions.keep(tx, page, standing, *_of_rows(page.mrn, booked), epoch=epoch)
        await positions.move_open(
            tx,
            positions.open_items(page.mrn, held.day, held.currency, held.offsets, held.lines, held.paid, held.out),
            positions.open_items(page.mrn, page.day, page.currency, page.offsets, lines, paid, out),
        )
        await credit.moved(
            self.names,
            tx,
            surplus(held.lines, held.offsets, held.paid, held.currency, held.out),
            credit.joined(surplus(lines, page.offsets, paid, page.currency, out), own_by(gone)),
        )
        if kinds:
            await self._announce(tx, page, standing, kinds)
        return booked

    async def _announce(self, tx: Transaction, page: Page, standing: Standing, kinds: list[tuple[int, int]]) -> None:
        rows = sorted({row for row, _ in kinds})
        accounts = await self.names.of(tx, np.unique(page.lines["account"]).tolist())
        stands = {row: _debt(page, standing, row, accounts) for row in rows}
        # What went out again beyond what was left over does not pay the debt any more.
        paid = np.maximum(0, standing.paid - claims(page.lines, page.offsets, standing.paid, standing.out))
        await self.news.announce(
            tx,
            debt_news(
                [
                    DebtNews(
                        page.mrn[row],
                        int(page.filing_version[row]),
                        kind,
                        stands[row][0],
                        int(paid[row]),
                        int(standing.refunded[row]),
                        page.currency[row],
                        stands[row][1],
                    )
                    for row, kind in kinds
                ]
            ),
        )


def _where_it_was(page: Page, held: Positions) -> Page:
    """Leave in its currency and jurisdiction what has none now: a state without an answer owes nothing, and what was paid stays."""
    bare = [row for row, currency in enumerate(page.currency) if not currency and held.currency[row]]
    if not bare:
        return page
    currency, jurisdiction = page.currency.copy(), page.jurisdiction.copy()
    for row in bare:
        currency[row], jurisdiction[row] = held.currency[row], held.jurisdiction[row]
    return replace(page, currency=currency, jurisdiction=jurisdiction)


def _in_its_currency(page: Page, held: Positions) -> tuple[Int64, PaidOut, Entries | None]:
    """What counts as paid and as paid out of each consignment, and entries of what was paid of debts that have another currency now.

    That stays to the credit of who paid, in the currency that was paid; the debt is open anew.
    """
    other = np.array([a != b for a, b in zip(held.currency, page.currency, strict=True)], np.bool_)
    other &= (held.paid > 0) | (held.out.minor > 0)
    rows = np.flatnonzero(other)
    if not len(rows):
        return held.paid, held.out, None
    was = (held.currency, held.destination)
    gone = released(page, rows, held.offsets, held.lines, held.paid, held.out, was)
    return np.where(other, 0, held.paid).astype(np.int64), held.out.without(rows), gone


def _by_row(amounts: Int64, offsets: Int64) -> Int64:
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(amounts)])
    sums: Int64 = running[offsets[1:]] - running[offsets[:-1]]
    return sums


def _owed(lines: Lines, offsets: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether consignments have anything to be paid at once."""
    owed: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        _by_row(np.where(lines["how"] == OPEN, lines["amount"], 0), offsets) > 0
    )
    return owed


def _of_rows(mrns: Sequence[str], booked: Booked) -> tuple[list[list[int]], list[list[int]]]:
    """Numbers and days of the entries of each consignment."""
    numbers: dict[str, list[int]] = {mrn: [] for mrn in mrns}
    days: dict[str, list[int]] = {mrn: [] for mrn in mrns}
    for mrn, number, day in zip(booked.mrns, booked.numbers, booked.days, strict=True):
        if mrn in numbers:
            numbers[mrn].append(number)
            days[mrn].append(day)
    return list(numbers.values()), list(days.values())


def _to_tell(
    page: Page, held: Positions, paid: Int64, still: Int64, refunded: Int64
) -> tuple[Int64, list[tuple[int, int]]]:
    """What is told of each debt now, and the news: row and kind, in the order of the rows."""
    owed = _owed(page.lines, page.offsets)
    # Of what owes nothing itself, what is to come back of a payout is open alone.
    owed |= (held.told == OPENED) & (held.open > 0) & ~_owed(held.lines, held.offsets)
    settles = owed & (still == 0) & ((held.told == OPENED) | ((held.told == NOT_TOLD) & (paid > 0)))
    opens = (still > 0) & (held.told == SETTLED)
    told = np.where(settles, SETTLED, np.where(opens, OPENED, held.told))
    refunds = refunded != held.refunded
    news = []
    for row in np.flatnonzero(settles | opens | refunds).tolist():
        if settles[row]:
            news.append((row, NEWS_SETTLED))
        if opens[row]:
            news.append((row, NEWS_OPENED))
        if refunds[row]:
            news.append((row, NEWS_REFUNDED))
    return told, [(row, int(kind)) for row, kind in news]


def _debt(page: Page, standing: Standing, row: int, names: dict[int, str]) -> tuple[int, str]:
    """How a debt stands (luxor.clearance.v1.DebtStatus), and the account that stands for it."""
    own: Lines = page.lines[page.offsets[row] : page.offsets[row + 1]]
    secured = own[own["how"] == SECURED]
    if standing.open[row] > 0:
        return DEBT_STATUS_OPEN, ""
    if len(secured):
        account = names[int(secured["account"][0])]
        return (DEBT_STATUS_DEFERRED if prefix_of(account) == "deferred" else DEBT_STATUS_SECURED), account
    if standing.paid[row] > 0 or (own["how"] == OPEN).any():
        return DEBT_STATUS_PAID, ""
    return (DEBT_STATUS_VENDOR_COLLECTED if (own["how"] == COLLECTED).any() else DEBT_STATUS_NONE), ""
