"""Debts that are paid, and payouts of what was paid too much."""

from __future__ import annotations

from typing import Any

from luxor.common.v1 import common_pb2
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout, PayoutResult
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import TAX, Charge, State, mrn

DECLARANT, BUYERS, CARRIER = "declarant:DE1234567890", "border:DE", "deferred:carrier-7"
OWN = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
"""2,200 that the declarant pays at once."""
BUYER = State(mrn(2, 3), charges=(Charge(300, account=BUYERS), Charge(1_900, TAX, "EU.vat_low_value", account=BUYERS)),
              debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")  # fmt: skip
"""2,200 that the buyer pays by the MRN."""


def payment(number: int, amount: int, reference: str, back: str = "") -> Payment:
    return Payment(f"bank-{number}", reference, "EU", "EUR", amount, back)


def payout(number: int, amount: int, reference: str = "", **more: Any) -> Payout:
    return Payout(f"out-{number}", reference, "EU", "EUR", amount, **more)


async def out(books: Books, *payouts: Payout, request: str = "") -> list[PayoutResult]:
    return await Payouts(books.ledger).record(payouts, "officer-1", request)
