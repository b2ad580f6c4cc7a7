"""Post what states of consignments owe: entries, positions and debt events of a page in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from libs.columns import Table
from libs.feed.consume.versions import newer
from libs.store.database import Transaction
from services.revenue.commands import apply_credit
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.allocation import freed_entries
from services.revenue.ledger.charge import ChargePage, charges_of, continued_basis, take_rows
from services.revenue.ledger.entry import Entries, Int64
from services.revenue.ledger.position import PaidOut
from services.revenue.ledger.rebalance import Target
from services.revenue.ledger.refund import RefundRules
from services.revenue.store.positions import positions
from services.revenue.store.positions.stored import Positions


@dataclass(frozen=True, slots=True)
class Posted:
    """The result of a page: the number of consignments newer than their stored position, and of those whose position changed."""

    newer: int
    changed: int


class Posting:
    """Posts states of consignments, as clearance's feed announces them."""

    def __init__(self, ledger: Ledger, rules: Callable[[], RefundRules]) -> None:
        """Post to a ledger, with refunds by the rules of the law in force."""
        self._ledger = ledger
        self._rules = rules

    async def prepare(self, states: Table) -> ChargePage:
        """Return what states (ClearanceColumns) owe, computed before the transaction. Raises LedgerError."""
        charged = charges_of(states, self._ledger.sharing)
        return charged.page(await self._ledger.name_ids(charged.names()), self._rules())

    async def post(self, tx: Transaction, page: ChargePage, epoch: int = 0) -> Posted:
        """Post the states of a page of an epoch that are newer than the stored positions, once; replays and other orders change nothing.

        Raises LedgerError.
        """
        heads = await self._ledger.book.lock(tx, np.unique(page.partition).tolist())
        held = await positions.read(tx, page.mrn)
        fresh = np.flatnonzero(newer(epoch, page.version, held.epoch, held.version))
        if not len(fresh):
            return Posted(0, 0)
        if len(fresh) < len(page):
            page, held = take_rows(page, fresh), held.take(fresh)
        basis = continued_basis(
            page.basis, page.version, page.filing_version, held.basis, held.version, held.filing_version
        )
        # The day of acceptance that is held first stays: what is open and what is compared stand under it.
        day = np.where(held.exists, held.day, page.day)
        page = _with_stored_currency(replace(page, basis=basis, day=day), held)
        paid, out, freed = _paid_in_page_currency(page, held)
        booked = await self._ledger.rebalance(tx, heads, Target(page, paid, out, freed=freed), held, epoch=epoch)
        await apply_credit.match_waiting(self._ledger, tx, heads, page.mrn)
        await apply_credit.pay_by_credit(self._ledger, tx, heads, page)
        changed = len({(partition, mrn) for partition, mrn in zip(booked.partitions, booked.mrns, strict=True)})
        return Posted(len(fresh), changed)


def _with_stored_currency(page: ChargePage, stored: Positions) -> ChargePage:
    """Return the page with the stored currency and jurisdiction for states without an assessment."""
    bare = [row for row, currency in enumerate(page.currency) if not currency and stored.currency[row]]
    if not bare:
        return page
    currency, jurisdiction = page.currency.copy(), page.jurisdiction.copy()
    for row in bare:
        currency[row], jurisdiction[row] = stored.currency[row], stored.jurisdiction[row]
    return replace(page, currency=currency, jurisdiction=jurisdiction)


def _paid_in_page_currency(page: ChargePage, stored: Positions) -> tuple[Int64, PaidOut, Entries | None]:
    """What counts as paid and as paid out of each consignment, and entries of what was paid of debts that have another currency now.

    That stays to the credit of who paid, in the currency that was paid; the debt is open anew.
    """
    other = np.array([a != b for a, b in zip(stored.currency, page.currency, strict=True)], np.bool_)
    other &= (stored.paid > 0) | (stored.paid_out.minor > 0)
    rows = np.flatnonzero(other)
    if not len(rows):
        return stored.paid, stored.paid_out, None
    was = (stored.currency, stored.destination)
    freed = freed_entries(page, rows, stored.offsets, stored.lines, stored.paid, stored.paid_out, was)
    return np.where(other, 0, stored.paid).astype(np.int64), stored.paid_out.without(rows), freed
