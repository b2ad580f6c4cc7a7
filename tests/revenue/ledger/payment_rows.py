"""Rows of payments and payouts, written without the ledger."""

from __future__ import annotations

from typing import Any

from libs.store.database import Database
from luxor.revenue.v1 import ledger_pb2 as pb

UNMATCHED, MATCHED = pb.PAYMENT_OUTCOME_UNMATCHED, pb.PAYMENT_OUTCOME_MATCHED
_PAYMENT = {
    "reference": "x", "currency": "EUR", "amount": 5, "account": "unmatched:EU", "outcome": UNMATCHED, "matched": 0, "over": 0, "still_owed": 0,
    "booked_at": 7, "booked_by": "o", "request": "r", "reverses_id": "", "reversed_by": "", "returned_by": "", "mrns": [], "amounts": [],
}  # fmt: skip
_PAYOUT = {
    "reference": "x", "currency": "EUR", "amount": 5, "paid_at": 0, "reverses_id": "", "returns_payment_id": "",
    "account": "declarant:D", "outcome": 1,
    "credit": 0, "booked_at": 7, "booked_by": "o", "request": "r", "reversed_by": "",
}  # fmt: skip


async def put(database: Database, table: str, jurisdiction: str, ident: str, **more: Any) -> None:
    row = {"jurisdiction": jurisdiction, "id": ident} | (_PAYMENT if table == "ledger_payment" else _PAYOUT) | more
    places = ", ".join(f"${place + 1}" for place in range(len(row)))
    async with database.transaction() as tx:
        await tx.raw.execute(f"insert into {table} ({', '.join(row)}) values ({places})", *row.values())
