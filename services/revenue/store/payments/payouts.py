"""Payouts as they are stored, by jurisdiction and the bank's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.store.database import Database, Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.store.payments import payments
from services.revenue.store.payments.payments import Ident, Recorded, Row

END: Final = 2**63 - 1
"""Behind all times of booking."""
_PAYOUTS: Final = "select * from ledger_payout where jurisdiction = $1 and id = any($2::text[])"
_PAGE: Final = """
select * from ledger_payout where (booked_at, jurisdiction, id) > ($1, $2, $3) and booked_at < $4
order by booked_at, jurisdiction, id limit $5
"""
_ADD: Final = """
insert into ledger_payout (jurisdiction, id, reference, currency, amount, paid_at, reverses_id, returns_payment_id, account, outcome,
    credit, booked_at, booked_by, request, reversed_by)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '')
"""
_REVERSED: Final = "update ledger_payout set reversed_by = $3 where jurisdiction = $1 and id = $2"


@dataclass(frozen=True, slots=True)
class Payout:
    """Money that went out, or that the payee's bank returned; amounts in minor units, more than nothing."""

    id: str
    reference: str
    jurisdiction: str
    currency: str
    amount: int
    paid_at: int = 0
    """Microseconds since 1970-01-01 UTC; 0 where it is not told."""
    reverses_id: str = ""
    returns_payment_id: str = ""


@dataclass(frozen=True, slots=True)
class PayoutResult:
    """What became of a payout."""

    outcome: int = pb.PAYOUT_OUTCOME_REFUSED
    account: str = ""
    credit: int = 0
    """What is left to the credit of the account after it, or of what its consignment left; of a refused one what is there."""
    reason: str = ""
    """Why it was refused: PAYOUT_REUSED (the id was booked with other content), PAYOUT_EXCEEDS_CREDIT, PAYOUT_EXCEEDS_BANK,
    PAYOUT_OF_ACCOUNT (what the consignment left is on `account`), PAYOUT_REFERENCE_SHARED (an account of many buyers),
    PAYOUT_TREASURY_DIFFERS (`account` is none of the jurisdiction's treasuries),
    PAYOUT_CONSIGNMENT_DIFFERS (what the consignment left is of another jurisdiction or currency), PAYOUT_UNKNOWN,
    PAYOUT_ALREADY_REVERSED, PAYOUT_OF_RETURN (what is taken back took one back itself), PAYOUT_DIFFERS (what is taken back
    or sent back has another amount or currency), PAYOUT_PAYMENT_UNKNOWN, PAYOUT_PAYMENT_USED, AMOUNT_OUT_OF_BOUNDS,
    BALANCE_OUT_OF_BOUNDS."""
    stored: tuple[int, str, str] = (0, "", "")
    """Amount, currency and jurisdiction of what the payout names, where it is refused as another than that."""


@dataclass(frozen=True, slots=True)
class RelatedRecords:
    """What is stored of what a payout names, by jurisdiction and id."""

    payouts: Mapping[Ident, Row]
    payments: Mapping[Ident, Row]


@dataclass(frozen=True, slots=True)
class BookedPayout:
    """A payout as it stands in the ledger."""

    payout: Payout
    result: PayoutResult
    booked_at: int
    booked_by: str
    reversed_by: str


async def add(tx: Transaction, payout: Payout, result: PayoutResult, by: Recorded) -> None:
    """Store a payout."""
    await tx.raw.execute(
        _ADD, payout.jurisdiction, payout.id, payout.reference, payout.currency, payout.amount, payout.paid_at,
        payout.reverses_id, payout.returns_payment_id, result.account, result.outcome, result.credit, by.booked_at, by.booked_by,
        by.request,
    )  # fmt: skip


async def reverse(tx: Transaction, ident: Ident, payout: str) -> None:
    """Store by which payout another is reversed."""
    await tx.raw.execute(_REVERSED, *ident, payout)


async def page(
    database: Database, *, after: tuple[int, str, str] = (0, "", ""), before: int = END, rows_max: int
) -> list[BookedPayout]:
    """Return payouts by time of booking, jurisdiction and id, after one and booked before a moment (microseconds since 1970-01-01
    UTC).
    """
    async with database.connection() as reader:
        rows = await reader.raw.fetch(_PAGE, *after, before, rows_max)
    return [BookedPayout(*of_row(row), row["booked_at"], row["booked_by"], row["reversed_by"]) for row in rows]


async def related(tx: Transaction, payout: Payout) -> RelatedRecords:
    """Return what is stored of a payout, and of what it reverses or sends back."""
    at = payout.jurisdiction
    payouts = {row["id"]: dict(row) for row in await tx.raw.fetch(_PAYOUTS, at, [payout.id, payout.reverses_id])}
    first = payouts.get(payout.reverses_id)
    sent = [payout.returns_payment_id, first["returns_payment_id"] if first else ""]
    sent_back = await payments.of_ids(tx, at, sent) if any(sent) else {}
    return RelatedRecords({(at, ident): row for ident, row in payouts.items()}, sent_back)


def of_row(row: Row) -> tuple[Payout, PayoutResult]:
    """Read a payout that was booked, and what became of it."""
    payout = Payout(
        row["id"],
        row["reference"],
        row["jurisdiction"],
        row["currency"],
        row["amount"],
        row["paid_at"],
        row["reverses_id"],
        row["returns_payment_id"],
    )
    return payout, PayoutResult(row["outcome"], row["account"], row["credit"])
