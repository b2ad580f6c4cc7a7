"""Payments: booked once by the bank's id, matched by their reference, and taken back where the bank takes them back.

A payment names an MRN, or an account. By an MRN it pays what is open of that consignment; one that comes before the debt
waits for it. Where another jurisdiction's bank account received it, it pays nothing and is unmatched.
By the account of a declarant it stands to that account's credit, which pays its open consignments, oldest
first, but for those that somebody else owes a part of. By any other account it is booked on that account. What names
nothing known is booked as unmatched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from libs.store.database import Database, Transaction
from services.revenue.commands.apply_credit import settle_some
from services.revenue.commands.payments.heads import under_heads
from services.revenue.commands.payments.payment_batch import PaymentBatch
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.account import (
    PAYABLE,
    bank,
    partition_of_account,
    partition_of_mrn,
    prefix_of,
    unmatched,
)
from services.revenue.ledger.entry import LedgerError
from services.revenue.store.ledger import accounts
from services.revenue.store.ledger.credit import Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.payments import payments as payments_of
from services.revenue.store.payments.payments import Ident, Payment, PaymentResult, Row, ident_of

PAYMENTS_MAX: Final = 1_000
"""Payments of one request."""
PART: Final = 50
"""Payments booked in one transaction: what comes from the feed waits for it, and all feeds' horizon does."""
CHUNKS_MAX: Final = 20
"""Transactions in which a request goes on using an account's credit; the rest is left to the work in the background."""


class Payments:
    """Books payments."""

    def __init__(self, ledger: Ledger) -> None:
        """Post in a ledger."""
        self._ledger = ledger
        self._database: Database = ledger.database

    async def record(self, payments: Sequence[Payment], by: str, request: str = "") -> list[PaymentResult]:
        """Post payments in their order, PART in a transaction; return their results.

        Whoever calls has checked that texts are within their limits, and that amounts are 1 to 10^16. At most
        PAYMENTS_MAX. The same request of the same caller again books nothing twice and gives what it gave, also where it
        was cut off in between. One that the ledger cannot hold is refused alone. Then accounts' credit is used.
        """
        if len(payments) > PAYMENTS_MAX:
            raise ValueError(f"{len(payments)} payments in one request; at most {PAYMENTS_MAX} are booked")
        seen: set[Ident] = set()
        credits_: set[Key] = set()
        results: list[PaymentResult] = []
        for start in range(0, len(payments), PART):
            results += await self._part(payments[start : start + PART], by, request, seen, credits_)
        await settle_some(self._ledger, sorted(credits_), CHUNKS_MAX)
        return results

    async def _part(
        self, part: Sequence[Payment], by: str, request: str, earlier: set[Ident], credits_: set[Key]
    ) -> list[PaymentResult]:
        try:
            results, touched = await self.book(part, by, request, earlier)
        except LedgerError as error:
            if len(part) == 1:
                return [PaymentResult(reason=error.reason)]
            results = []
            for each in part:
                results += await self._part([each], by, request, earlier, credits_)
            return results
        earlier |= {ident_of(each) for each in part}
        credits_ |= touched
        return results

    async def book(
        self, part: Sequence[Payment], by: str, request: str, earlier: set[Ident]
    ) -> tuple[list[PaymentResult], set[Key]]:
        """Post some payments in one transaction."""
        # Names have transactions of their own: they are made before this one begins, or it would wait for itself.
        names = {name for each in part for name in (bank(each.jurisdiction), unmatched(each.jurisdiction))}
        async with self._database.connection() as reader:
            references = [each.reference for each in part if prefix_of(each.reference) in PAYABLE]
            names |= await accounts.opened(reader, references)
        await self._ledger.name_ids(names)

        async def prepared(_: Mapping[Ident, Row]) -> None:
            return None

        async def work(
            tx: Transaction, heads: Heads, records: Mapping[Ident, Row], _: None
        ) -> tuple[list[PaymentResult], set[Key]]:
            batch = PaymentBatch(self._ledger, tx, heads, by, request)
            await batch.load(part, records, names)
            results = [batch.book(payment, records, earlier) for payment in part]
            await batch.write()
            return results, set(batch.credits)

        return await under_heads(
            self._ledger,
            lambda reader: payments_of.read(reader, part),
            lambda records: partitions_of(part, records),
            prepared,
            work,
        )


def partitions_of(payments: Sequence[Payment], records: Mapping[Ident, Row]) -> set[int]:
    """Return the partitions whose heads some payments need."""
    found: set[int] = set()
    for payment in payments:
        found |= {_home(payment.reference), partition_of_account(unmatched(payment.jurisdiction))}
    for row in records.values():
        found |= {_home(name) for name in (row["reference"], row["account"], *row["mrns"]) if name}
    return found


def _home(reference: str) -> int:
    return partition_of_account(reference) if ":" in reference else partition_of_mrn(reference)
