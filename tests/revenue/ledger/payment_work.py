"""A batch of payments in memory, and what it makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from libs.store.database import Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments.payment_batch import CreditAccount, PaymentBatch, PaymentConsignment
from services.revenue.commands.rebalance import Ledger
from services.revenue.ledger.line import Lines
from services.revenue.ledger.position import PaidOut
from services.revenue.store.ledger.credit import Key
from services.revenue.store.ledger.entries import Heads
from services.revenue.store.payments.payments import Payment, PaymentResult
from tests.revenue.ledger.pages import joined
from tests.revenue.ledger.states import mrn

OWNER, BUYERS, CARRIER, LOST = "declarant:D1", "border:DE", "deferred:c1", "unmatched:EU"
NAMES = {1: "bank:EU", 2: LOST, 3: OWNER, 4: BUYERS, 5: CARRIER, 6: "declarant:D2", 7: "bank:UK", 8: "unmatched:UK"}
IDS = {name: number for number, name in NAMES.items()}
ONE, TWO, ABSENT = mrn(1, 3), mrn(2, 7), mrn(9, 9)
MATCHED, UNDERPAID, OVERPAID = pb.PAYMENT_OUTCOME_MATCHED, pb.PAYMENT_OUTCOME_UNDERPAID, pb.PAYMENT_OUTCOME_OVERPAID
UNMATCHED, KNOWN, BACK = pb.PAYMENT_OUTCOME_UNMATCHED, pb.PAYMENT_OUTCOME_ALREADY_BOOKED, pb.PAYMENT_OUTCOME_REVERSED
REFUSED = pb.PAYMENT_OUTCOME_REFUSED
ServiceSpan = tuple[int, str, int, int, int, str]


def paid(ident: str, amount: int, reference: str = ONE, **more: Any) -> Payment:
    return replace(Payment(ident, reference, "EU", "EUR", amount), **more)


def consignment(*lines: Lines, paid: int = 0, currency: str = "EUR", jurisdiction: str = "EU") -> PaymentConsignment:
    return PaymentConsignment(0, joined(lines)[1], currency, "DE", jurisdiction, paid, PaidOut.nothing(1))


def work(
    consignments: Mapping[str, PaymentConsignment] | None = None,
    credit_accounts: Mapping[Key, tuple[int, int, int]] | None = None,
    balances: Mapping[str, int] | None = None,
    *,
    request: str = "",
) -> PaymentBatch:
    """Payments of a transaction that read these consignments, open sums with the credit of declarants, and balances in euros."""
    found = PaymentBatch(cast(Ledger, None), cast(Transaction, None), cast(Heads, None), "officer-1", request)
    found.consignments = dict(consignments or {})
    found.names, found.ids = dict(NAMES), dict(IDS)
    found.accounts = {OWNER, CARRIER, BUYERS}
    found.credit_accounts = {key: CreditAccount(*sums) for key, sums in (credit_accounts or {}).items()}
    found.balances = {(name, "EUR"): minor for name, minor in (balances or {}).items()}
    return found


def told(result: PaymentResult) -> ServiceSpan:
    return result.outcome, result.account, result.matched, result.over, result.still_owed, result.reason


def refused(reason: str) -> ServiceSpan:
    return REFUSED, "", 0, 0, 0, reason


def booked(found: PaymentBatch) -> list[tuple[Any, ...]]:
    return [
        (each.partition, each.mrn, each.version, each.reference, each.destination, each.back, list(each.postings))
        for each in found.bookings
    ]


def row(first: Payment, result: PaymentResult, **more: Any) -> dict[str, Any]:
    """A payment as it is stored."""
    return {
        "id": first.id, "reference": first.reference, "jurisdiction": first.jurisdiction, "currency": first.currency,
        "amount": first.amount, "reverses_id": first.reverses_id, "outcome": result.outcome, "account": result.account,
        "matched": result.matched, "over": result.over, "still_owed": result.still_owed, "returned_by": "", "reversed_by": "",
        "request": "r1", "booked_by": "officer-1", "mrns": [each for each, _ in result.parts],
        "amounts": [each for _, each in result.parts],
    } | more  # fmt: skip


def back(ident: str, amount: int, reverses_id: str, **more: Any) -> Payment:
    return paid(ident, amount, "", reverses_id=reverses_id, **more)
