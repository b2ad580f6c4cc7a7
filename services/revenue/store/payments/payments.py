"""Payments as they are stored, by jurisdiction and the bank's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np

from libs.store.database import Database, Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.store.positions import positions

JURISDICTION_DIFFERS: Final = "JURISDICTION_DIFFERS"
Ident: TypeAlias = tuple[str, str]
"""Jurisdiction and the bank's id of a payment or payout."""
Row: TypeAlias = dict[str, Any]
_STORED: Final = """
select kept.* from unnest($1::text[], $2::text[]) as given(jurisdiction, id)
cross join lateral (select * from ledger_payment k where k.jurisdiction = given.jurisdiction and k.id = given.id offset 0) kept
"""
_PAGE: Final = """
select jurisdiction, id, reference, currency, amount, account, outcome, matched, over, still_owed, booked_at, booked_by,
    reverses_id, reversed_by, returned_by
from ledger_payment where (jurisdiction, id) > ($1, $2) order by jurisdiction, id limit $3
"""
_PAGE_UNMATCHED: Final = _PAGE.replace(
    "order by", f"and outcome = {pb.PAYMENT_OUTCOME_UNMATCHED} and reversed_by = '' and returned_by = '' order by"
)
_ADD: Final = """
insert into ledger_payment (jurisdiction, id, reference, currency, amount, account, outcome, matched, over, still_owed,
    booked_at, booked_by, request, reverses_id, reversed_by, mrns, amounts)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
_REVERSED: Final = """
update ledger_payment kept set reversed_by = given.by
from unnest($1::text[], $2::text[], $3::text[]) as given(jurisdiction, id, by)
where kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""
_MATCHED: Final = """
update ledger_payment kept set outcome = given.outcome, account = given.account, matched = given.matched,
    over = given.over, still_owed = given.still_owed, mrns = array[given.mrn], amounts = array[kept.amount]
from unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[])
    as given(jurisdiction, id, outcome, account, matched, over, still_owed, mrn)
where kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""
_SENT: Final = "update ledger_payment set returned_by = $3 where jurisdiction = $1 and id = $2"


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came in, or that was taken back; amounts in minor units, more than nothing."""

    id: str
    reference: str
    jurisdiction: str
    currency: str
    amount: int
    reverses_id: str = ""


@dataclass(slots=True)
class PaymentResult:
    """What became of a payment."""

    outcome: int = pb.PAYMENT_OUTCOME_REFUSED
    account: str = ""
    matched: int = 0
    over: int = 0
    still_owed: int = 0
    reason: str = ""
    """Why it was refused, or JURISDICTION_DIFFERS (it is unmatched though its consignment is known). Refused:
    PAYMENT_REUSED (the id was booked with other content), PAYMENT_UNKNOWN, PAYMENT_ALREADY_REVERSED, PAYMENT_DIFFERS
    (what is taken back has another amount or currency), PAYMENT_REFERENCE_SHARED (an account of many payers), AMOUNT_OUT_OF_BOUNDS,
    BALANCE_OUT_OF_BOUNDS."""
    parts: list[tuple[str, int]] = field(default_factory=list)
    """Which consignments got how much; an empty MRN for what is on the account alone."""


def ident_of(payment: Payment) -> Ident:
    """Return the key of a payment: jurisdiction and the bank's id."""
    return payment.jurisdiction, payment.id


@dataclass(frozen=True, slots=True)
class BookedPayment:
    """A payment as it stands in the ledger."""

    payment: Payment
    result: PaymentResult
    booked_at: int
    booked_by: str
    reversed_by: str
    returned_by: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Who recorded a payment or payout, when, and by which request."""

    booked_at: int
    booked_by: str
    request: str


@dataclass(frozen=True, slots=True)
class MatchedPayment:
    """A payment that waited for its debt, and what it paid of it."""

    jurisdiction: str
    id: str
    outcome: int
    account: str
    matched: int
    over: int
    still_owed: int
    mrn: str


async def read(tx: Transaction, payments: Sequence[Payment]) -> dict[Ident, Row]:
    """Return the stored rows of payments, and of those that they reverse."""
    ids = {ident_of(each) for each in payments}
    ids |= {(each.jurisdiction, each.reverses_id) for each in payments if each.reverses_id}
    columns = [list(column) for column in zip(*sorted(ids), strict=True)]
    return {(row["jurisdiction"], row["id"]): dict(row) for row in await tx.raw.fetch(_STORED, *columns)}


async def of_ids(tx: Transaction, jurisdiction: str, ids: Sequence[str]) -> dict[Ident, Row]:
    """Return the stored rows of a jurisdiction's payments."""
    rows = await tx.raw.fetch(_STORED, [jurisdiction] * len(ids), list(ids))
    return {(row["jurisdiction"], row["id"]): dict(row) for row in rows}


async def add(
    tx: Transaction, payments: Sequence[tuple[Payment, PaymentResult]], reversed_by: Mapping[Ident, str], by: Recorded
) -> None:
    """Store payments, and by which payment others are reversed, these among them."""
    await tx.raw.executemany(
        _ADD,
        [
            (
                payment.jurisdiction, payment.id, payment.reference, payment.currency, payment.amount, result.account,
                result.outcome, result.matched, result.over, result.still_owed, by.booked_at, by.booked_by, by.request,
                payment.reverses_id, reversed_by.get(ident_of(payment), ""),
                [mrn for mrn, _ in result.parts], [amount for _, amount in result.parts],
            )
            for payment, result in payments
        ],
    )  # fmt: skip
    if reversed_by:
        ids = list(reversed_by)
        await tx.raw.execute(
            _REVERSED, [each[0] for each in ids], [each[1] for each in ids], list(reversed_by.values())
        )


async def match(tx: Transaction, matches: Sequence[MatchedPayment]) -> None:
    """Store what payments paid that waited for their debt."""
    columns = [[getattr(each, name) for each in matches] for name in MatchedPayment.__slots__]
    await tx.raw.execute(_MATCHED, *columns)


async def send_back(tx: Transaction, ident: Ident, payout: str) -> None:
    """Store by which payout a payment was sent back; empty where it is not any more."""
    await tx.raw.execute(_SENT, *ident, payout)


async def page(database: Database, *, after: Ident, unmatched_only: bool, rows_max: int) -> list[BookedPayment]:
    """Return payments after one, by jurisdiction and id; all, or only unmatched ones that were neither reversed nor returned."""
    async with database.connection(snapshot=True) as reader:
        rows = await reader.raw.fetch(_PAGE_UNMATCHED if unmatched_only else _PAGE, *after, rows_max)
        waiting = [row["reference"] for row in rows if row["outcome"] == pb.PAYMENT_OUTCOME_UNMATCHED]
        held = await positions.read(reader, waiting)
        own = {waiting[row]: held.jurisdiction[row] for row in np.flatnonzero(held.exists).tolist()}
    rest = ("booked_at", "booked_by", "reversed_by", "returned_by")
    booked = [BookedPayment(*of_row(row), *(row[name] for name in rest)) for row in rows]
    for each in booked:
        at = own.get(each.payment.reference, each.payment.jurisdiction)
        if each.result.outcome == pb.PAYMENT_OUTCOME_UNMATCHED and at != each.payment.jurisdiction:
            each.result.reason = JURISDICTION_DIFFERS
    return booked


def of_row(row: Mapping[str, Any]) -> tuple[Payment, PaymentResult]:
    """Read a payment that was booked, and what became of it."""
    payment = Payment(
        row["id"], row["reference"], row["jurisdiction"], row["currency"], row["amount"], row["reverses_id"]
    )
    parts = list(zip(row.get("mrns", ()), row.get("amounts", ()), strict=True))
    outcome = pb.PAYMENT_OUTCOME_RETURNED if row["returned_by"] else row["outcome"]
    return payment, PaymentResult(outcome, row["account"], row["matched"], row["over"], row["still_owed"], parts=parts)
