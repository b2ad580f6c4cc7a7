"""Payouts: money that left a treasury's bank account, booked once by the bank's id, and taken back where the bank returned it.

A payout names an account that stands below nothing, an MRN of which something is left to the credit of the buyers, or
an unmatched payment. It is no more than that credit, of a treasury no more than was received for it, and no more than the bank
account received; else it is refused whole. Each has a transaction of its own, under the heads of the partitions concerned: its
account's or its consignment's, and that of the bank account, so that no two of them pay out the same money. What uses credit
for open debts waits for the row of the credit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libs.store.database import Database, Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.apply_credit import settle_some
from services.revenue.commands.payments.heads import under_heads
from services.revenue.commands.payments.payout_entries import PayoutEntries
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.account import bank, is_mrn, partition_of_account, partition_of_mrn, treasury_of, unmatched
from services.revenue.ledger.entry import LedgerError
from services.revenue.store.ledger.credit import Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.ledger.treasury_cash import Cash, received
from services.revenue.store.payments import payouts as payouts_of
from services.revenue.store.payments.payments import Ident, Row
from services.revenue.store.payments.payouts import Payout, PayoutResult, RelatedRecords

PAYOUTS_MAX: Final = 100
"""Payouts of one request: each waits for the disk once."""
CHUNKS_MAX: Final = 20
"""Transactions in which a request goes on using credit that came back; the rest is left to the work in the background."""


class Payouts:
    """Books payouts."""

    def __init__(self, ledger: Ledger) -> None:
        """Post in a ledger."""
        self._ledger = ledger
        self._database: Database = ledger.database

    async def record(self, payouts: Sequence[Payout], by: str, request: str = "") -> list[PayoutResult]:
        """Post payouts in their order; return their results. Then restored credit pays open debts.

        Whoever calls has checked that texts are within their limits, and that amounts are 1 to 10^16. At most PAYOUTS_MAX.
        The same request of the same caller again books nothing twice and gives what it gave, also where it was cut off.
        """
        if len(payouts) > PAYOUTS_MAX:
            raise ValueError(f"{len(payouts)} payouts in one request; at most {PAYOUTS_MAX} are booked")
        seen: set[Ident] = set()
        credits_: set[Key] = set()
        cash: dict[str, Cash] = {}
        results = []
        for payout in payouts:
            try:
                result, touched = await self.book(payout, by, request, seen, cash)
            except LedgerError as error:
                result, touched = PayoutResult(reason=error.reason), []
            seen.add((payout.jurisdiction, payout.id))
            credits_ |= set(touched)
            results.append(result)
        await settle_some(self._ledger, sorted(credits_), CHUNKS_MAX)
        return results

    async def book(
        self, payout: Payout, by: str, request: str, earlier: set[Ident], cash: dict[str, Cash]
    ) -> tuple[PayoutResult, list[Key]]:
        """Post a payout in one transaction."""
        # Names have transactions of their own: they are made before this one begins, or it would wait for itself.
        await self._ledger.name_ids({bank(payout.jurisdiction), unmatched(payout.jurisdiction)})

        async def work(
            tx: Transaction, heads: Heads, records: RelatedRecords, treasury_cash: Cash | None
        ) -> tuple[PayoutResult, list[Key]]:
            ident = (payout.jurisdiction, payout.id)
            if ident in records.payouts:
                own = (request, by) if request and ident not in earlier else None
                return _repeated(payout, records.payouts[ident], own), []
            entries = PayoutEntries(self._ledger, tx, heads, by, request, treasury_cash)
            return await entries.book(payout, records, _account(payout, records)), entries.credits

        return await under_heads(
            self._ledger,
            lambda reader: payouts_of.related(reader, payout),
            lambda records: partitions_of(payout, records),
            # Reading what is unpaid may take long, and is as of one instant.
            lambda records: self._received(payout, records, cash),
            work,
        )

    async def _received(self, payout: Payout, related: RelatedRecords, cash: dict[str, Cash]) -> Cash | None:
        """Return what treasuries received, if a new payout concerns one; read once for a request and currency."""
        if not treasury_of(_account(payout, related)) or (payout.jurisdiction, payout.id) in related.payouts:
            return None
        if payout.currency not in cash:
            cash[payout.currency] = await received(self._database, self._ledger.names, payout.currency)
        return cash[payout.currency]


def _account(payout: Payout, related: RelatedRecords) -> str:
    first = related.payouts.get((payout.jurisdiction, payout.reverses_id))
    name: str = first["account"] if first else payout.reference
    return name


def partitions_of(payout: Payout, related: RelatedRecords) -> set[int]:
    """Return the partitions whose heads a payout needs."""
    names = {bank(payout.jurisdiction), unmatched(payout.jurisdiction), payout.reference, _account(payout, related)}
    names |= {row["reference"] for row in (*related.payouts.values(), *related.payments.values())}
    return {partition_of_mrn(name) if is_mrn(name) else partition_of_account(name) for name in names if name}


def _repeated(payout: Payout, row: Row, own: tuple[str, str] | None) -> PayoutResult:
    """Return the answer to a payout that was posted before; nothing is posted again.

    `own` are request and caller; where they booked it, the request was cut off and gets what it would have been given.
    """
    first, before = payouts_of.of_row(row)
    if payout != first:
        return PayoutResult(reason="PAYOUT_REUSED")
    if own == (row["request"], row["booked_by"]):
        return before
    return PayoutResult(pb.PAYOUT_OUTCOME_ALREADY_BOOKED, before.account, before.credit)
