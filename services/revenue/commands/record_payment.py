"""Payments: booked once by the bank's id, matched by their reference, and taken back where the bank takes them back.

A payment names an MRN, or an account. By an MRN it pays what is open of that consignment; one that comes before the debt
waits for it. Where another jurisdiction's bank account received it, it pays nothing and is unmatched.
By the account of a declarant it stands to that account's credit, which pays its open consignments, oldest
first, but for those that somebody else owes a part of. By any other account it is booked on that account. What names
nothing known is booked as unmatched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import Database, Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.apply_credit import settle_some
from services.revenue.commands.payment_batch import ELSEWHERE, Ident, Payment, Result, Row, Work, ident_of, of_row
from services.revenue.commands.post import Ledger
from services.revenue.ledger.account import (
    PAYABLE,
    bank,
    partition_of_account,
    partition_of_mrn,
    prefix_of,
    unmatched,
)
from services.revenue.ledger.entry import LedgerError
from services.revenue.store.ledger.credit import Key

__all__ = ["PAYMENTS_MAX", "Booked", "Payment", "Payments", "Result"]

PAYMENTS_MAX: Final = 1_000
"""Payments of one request."""
PART: Final = 50
"""Payments booked in one transaction: what comes from the feed waits for it, and all feeds' horizon does."""
CHUNKS_MAX: Final = 20
"""Transactions in which a request goes on using an account's credit; the rest is left to the work in the background."""
TRIES_MAX: Final = 5
_KNOWN: Final = """
select kept.* from unnest($1::text[], $2::text[]) as given(jurisdiction, id)
join ledger_payment kept on kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""
_OPENED: Final = "select name from ledger_account where name = any($1::text[])"
_PAGE: Final = """
select jurisdiction, id, reference, currency, amount, account, outcome, matched, over, still_owed, booked_at, booked_by,
    takes_back, taken_back_by, sent_back_by
from ledger_payment where (jurisdiction, id) > ($1, $2) order by jurisdiction, id limit $3
"""
_JURISDICTIONS: Final = "select mrn, jurisdiction from ledger_position where mrn = any($1::text[])"
_PAGE_UNMATCHED: Final = _PAGE.replace(
    "order by", f"and outcome = {pb.PAYMENT_OUTCOME_UNMATCHED} and taken_back_by = '' and sent_back_by = '' order by"
)


@dataclass(frozen=True, slots=True)
class Booked:
    """A payment as it stands in the ledger."""

    payment: Payment
    result: Result
    booked_at: int
    booked_by: str
    taken_back_by: str
    sent_back_by: str


class _HeadsMissing(Exception):
    """What is taken back was booked meanwhile, in partitions whose heads are not held."""


class Payments:
    """Books payments."""

    def __init__(self, ledger: Ledger) -> None:
        """Book in a ledger."""
        self._ledger = ledger
        self._database: Database = ledger.database

    async def record(self, payments: Sequence[Payment], by: str, request: str = "") -> list[Result]:
        """Book payments in their order, PART in a transaction; gives what became of each.

        Whoever calls has checked that texts are within their limits, and that amounts are 1 to 10^16. At most
        PAYMENTS_MAX. The same request of the same caller again books nothing twice and gives what it gave, also where it
        was cut off in between. One that the ledger cannot hold is refused alone. Then accounts' credit is used.
        """
        if len(payments) > PAYMENTS_MAX:
            raise ValueError(f"{len(payments)} payments in one request; at most {PAYMENTS_MAX} are booked")
        seen: set[Ident] = set()
        credits_: set[Key] = set()
        results: list[Result] = []
        for start in range(0, len(payments), PART):
            results += await self._part(payments[start : start + PART], by, request, seen, credits_)
        await settle_some(self._ledger, sorted(credits_), CHUNKS_MAX)
        return results

    async def _part(
        self, part: Sequence[Payment], by: str, request: str, seen: set[Ident], credits_: set[Key]
    ) -> list[Result]:
        try:
            results, touched = await self._book(part, by, request, seen)
        except LedgerError as error:
            if len(part) == 1:
                return [Result(reason=error.reason)]
            results = []
            for each in part:
                results += await self._part([each], by, request, seen, credits_)
            return results
        seen |= {ident_of(each) for each in part}
        credits_ |= touched
        return results

    async def _book(
        self, part: Sequence[Payment], by: str, request: str, seen: set[Ident]
    ) -> tuple[list[Result], set[Key]]:
        for _ in range(TRIES_MAX):
            # Names have transactions of their own: they are made before this one begins, or it would wait for itself.
            names = {name for each in part for name in (bank(each.jurisdiction), unmatched(each.jurisdiction))}
            async with self._database.connection() as reader:
                told = [each.reference for each in part if prefix_of(each.reference) in PAYABLE]
                names |= {row["name"] for row in await reader.raw.fetch(_OPENED, told)}
                needed = _partitions(part, await _known(reader, part))
            await self._ledger.names.ids(names)
            try:
                async with self._database.transaction() as tx:
                    heads = await self._ledger.book.lock(tx, needed)
                    known = await _known(tx, part)
                    if _partitions(part, known) - needed:
                        raise _HeadsMissing
                    work = Work(self._ledger, tx, heads, by, request)
                    await work.load(part, known, names)
                    results = [work.book(payment, known, seen) for payment in part]
                    await work.write()
                    return results, set(work.credits)
            except _HeadsMissing:
                continue
        raise RuntimeError(f"payments that are taken back were booked meanwhile, {TRIES_MAX} times")

    async def page(self, *, after: Ident, unmatched_only: bool, rows_max: int) -> list[Booked]:
        """Give payments by jurisdiction and id, after one; all, or those alone that are unmatched and went back in no way."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_PAGE_UNMATCHED if unmatched_only else _PAGE, *after, rows_max)
            waiting = [row["reference"] for row in rows if row["outcome"] == pb.PAYMENT_OUTCOME_UNMATCHED]
            own = dict(await reader.raw.fetch(_JURISDICTIONS, waiting)) if waiting else {}
        rest = ("booked_at", "booked_by", "taken_back_by", "sent_back_by")
        booked = [Booked(*of_row(row), *(row[name] for name in rest)) for row in rows]
        for each in booked:
            at = own.get(each.payment.reference, each.payment.jurisdiction)
            if each.result.outcome == pb.PAYMENT_OUTCOME_UNMATCHED and at != each.payment.jurisdiction:
                each.result.reason = ELSEWHERE
        return booked


async def _known(tx: Transaction, payments: Sequence[Payment]) -> dict[Ident, Row]:
    ids = {ident_of(each) for each in payments}
    ids |= {(each.jurisdiction, each.takes_back) for each in payments if each.takes_back}
    columns = [list(column) for column in zip(*sorted(ids), strict=True)]
    return {(row["jurisdiction"], row["id"]): dict(row) for row in await tx.raw.fetch(_KNOWN, *columns)}


def _partitions(payments: Sequence[Payment], known: Mapping[Ident, Row]) -> set[int]:
    found: set[int] = set()
    for payment in payments:
        found |= {_home(payment.reference), partition_of_account(unmatched(payment.jurisdiction))}
    for row in known.values():
        found |= {_home(name) for name in (row["reference"], row["account"], *row["mrns"]) if name}
    return found


def _home(reference: str) -> int:
    return partition_of_account(reference) if ":" in reference else partition_of_mrn(reference)
