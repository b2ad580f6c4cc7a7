"""What the ledger's edge checks and tells of payouts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Final

from libs.customs.money import money_text
from libs.customs.time import MICROS_PER_DAY, day_of_date
from libs.server.errors import item_error
from luxor.errors.v1 import errors_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.ledger_messages import TEXT_MAX, money_error, stamp_of
from services.revenue.ledger.account import PAYEES, account_name_error, is_mrn
from services.revenue.store.payments.payouts import BookedPayout, Payout, PayoutResult

_FIRST, _LAST = (day_of_date(date(year, 1, 1)) * MICROS_PER_DAY for year in (2000, 2100))
_REASONS: Final = {
    "AMOUNT_OUT_OF_BOUNDS": "PAYMENT_SUM_OUT_OF_BOUNDS",
    "BALANCE_OUT_OF_BOUNDS": "PAYMENT_BALANCE_OUT_OF_BOUNDS",
}


def payout_error(place: int, payout: pb.Payout, jurisdictions: Collection[str]) -> errors_pb2.ItemError | None:
    """Return why a payout of a request is refused; None where it is accepted. Jurisdictions are those whose law is loaded."""
    here = f"payouts[{place}]"
    error = money_error(here, payout, jurisdictions, ("returns_payment_id", payout.returns_payment_id, TEXT_MAX, False))
    if error is not None:
        return error
    if why := _payee_error(payout):
        return item_error("PAYOUT_REFERENCE_MALFORMED", f"{here}.reference", payout.reference, why=why)
    if payout.HasField("paid_at") and not _FIRST <= _micros(payout) < _LAST:
        return item_error("MOMENT_OUT_OF_BOUNDS", f"{here}.paid_at", payout.paid_at.seconds)
    return None


def _payee_error(payout: pb.Payout) -> str:
    if payout.returns_payment_id:
        return "must be empty where a payment is sent back" if payout.reference or payout.reverses_id else ""
    if is_mrn(payout.reference) or (payout.reverses_id and not payout.reference):
        return ""
    why = account_name_error(payout.reference, PAYEES)
    return f"is no MRN, and as an account it {why}" if why else ""


def _micros(payout: pb.Payout) -> int:
    return payout.paid_at.seconds * 1_000_000 + payout.paid_at.nanos // 1_000


def payout_of(payout: pb.Payout) -> Payout:
    """Read a payout of a request."""
    return Payout(
        payout.id,
        payout.reference,
        payout.jurisdiction,
        payout.currency,
        payout.amount_minor,
        _micros(payout) if payout.HasField("paid_at") else 0,
        payout.reverses_id,
        payout.returns_payment_id,
    )


def payout_result(place: int, payout: Payout, result: PayoutResult) -> pb.PayoutResult:
    """Return the result for the payout at `place` of its request."""
    told = pb.PayoutResult(
        outcome=result.outcome,  # type: ignore[arg-type]  # a number of the enumeration
        account=result.account,
        credit_minor=result.credit,
        currency=payout.currency,
    )
    if result.reason:
        reason = _REASONS.get(result.reason, result.reason)
        there, asked = (money_text(minor, payout.currency) for minor in (result.credit, payout.amount))
        minor, currency, jurisdiction = result.stored
        told.error.CopyFrom(
            item_error(
                reason,
                f"payouts[{place}]",
                account=result.account or payout.reference,
                jurisdiction=payout.jurisdiction,
                credit=there,
                amount=asked,
                recorded=money_text(minor, currency) if currency else "",
                recorded_jurisdiction=jurisdiction,
            )
        )
    return told


def booked_payout(booked: BookedPayout) -> pb.BookedPayout:
    """Return a stored payout as a message."""
    payout = booked.payout
    return pb.BookedPayout(
        payout=pb.Payout(
            id=payout.id,
            reference=payout.reference,
            jurisdiction=payout.jurisdiction,
            currency=payout.currency,
            amount_minor=payout.amount,
            paid_at=stamp_of(payout.paid_at) if payout.paid_at else None,
            reverses_id=payout.reverses_id,
            returns_payment_id=payout.returns_payment_id,
        ),
        result=payout_result(0, payout, booked.result),
        booked_at=stamp_of(booked.booked_at),
        booked_by=booked.booked_by,
        reversed_by=booked.reversed_by,
    )
