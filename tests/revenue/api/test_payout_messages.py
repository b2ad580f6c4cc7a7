"""What is told of payouts: each refusal says what is there and what to do, in words that hold for every payout."""

from __future__ import annotations

import re
from inspect import getsource
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.payout_messages import booked_payout, payout_error, payout_of, payout_result
from services.revenue.commands.payments import payout_entries, record_payout
from services.revenue.store.payments.payouts import BookedPayout, Payout, PayoutResult
from tests.revenue.ledger.states import mrn

PAYOUT = Payout("o1", "declarant:D", "UK", "GBP", 500)
REASONS = sorted(set(re.findall(r'"(PAYOUT_[A-Z_]+)"', getsource(payout_entries) + getsource(record_payout))))


@pytest.mark.parametrize("reason", [*REASONS, "AMOUNT_OUT_OF_BOUNDS", "BALANCE_OUT_OF_BOUNDS"])
def test_each_refusal_is_told_with_all_of_its_facts(reason: str) -> None:
    error = payout_result(
        3, PAYOUT, PayoutResult(reason=reason, account="declarant:D", stored=(2_500, "EUR", "EU"))
    ).error
    assert "payouts[3]" in error.message
    assert "?" not in error.message + error.hint


def test_refusals_are_found_where_payouts_are_booked() -> None:
    assert {"PAYOUT_DIFFERS", "PAYOUT_EXCEEDS_BANK", "PAYOUT_REUSED"} <= set(REASONS)


def test_what_differs_is_told_in_its_own_currency() -> None:
    told = payout_result(0, PAYOUT, PayoutResult(reason="PAYOUT_DIFFERS", stored=(2_500, "EUR", "EU")))
    assert told.credit_minor == 0
    assert "5.00 GBP" in told.error.message
    assert "25.00 EUR" in told.error.message
    other = payout_result(0, PAYOUT, PayoutResult(reason="PAYOUT_CONSIGNMENT_DIFFERS", stored=(2_500, "EUR", "EU")))
    assert all(part in other.error.message for part in ("5.00 GBP", "UK", "25.00 EUR", "only EU pays out"))


MRN = mrn(1)
FIRST_SECOND, LAST_SECOND = 946_684_800, 4_102_444_800
"""2000-01-01 and 2100-01-01, midnight UTC."""


def asked(**fields: Any) -> pb.Payout:
    usual: dict[str, Any] = {"id": "o1", "reference": MRN, "jurisdiction": "EU", "currency": "EUR", "amount_minor": 1}
    return pb.Payout(**{**usual, **fields})


def moment(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


@pytest.mark.parametrize(
    ("payout", "refused"),
    [
        (asked(), None),
        (asked(reference="declarant:DE1"), None),
        (asked(reference=""), "reference"),
        (asked(reference="nobody"), "reference"),
        (asked(reference="bank:EU"), "reference"),
        (asked(reference="", reverses_id="o0"), None),
        (asked(reverses_id="o0"), None),
        (asked(reference="nobody", reverses_id="o0"), "reference"),
        (asked(reference="", returns_payment_id="p1"), None),
        (asked(returns_payment_id="p1"), "reference"),
        (asked(reference="", returns_payment_id="p1", reverses_id="o0"), "reference"),
        (asked(reference="", returns_payment_id="x" * 200), "returns_payment_id"),
        (asked(paid_at=moment(0)), "paid_at"),
        (asked(paid_at=moment(FIRST_SECOND - 1, 999_999_999)), "paid_at"),
        (asked(paid_at=moment(FIRST_SECOND)), None),
        (asked(paid_at=moment(LAST_SECOND - 1, 999_999_999)), None),
        (asked(paid_at=moment(LAST_SECOND)), "paid_at"),
        (asked(jurisdiction="XX"), "jurisdiction"),
        (asked(amount_minor=0), "amount_minor"),
    ],
)
def test_a_payout_names_a_payee_or_what_it_sends_back_and_a_moment_of_this_century(
    payout: pb.Payout, refused: str | None
) -> None:
    error = payout_error(3, payout, {"EU"})
    assert (None if error is None else error.path) == (refused and f"payouts[3].{refused}")


@pytest.mark.parametrize(("paid_at", "micros"), [(None, 0), (moment(5, 7_999), 5_000_007), (moment(0, 1_000), 1)])
def test_a_payout_is_read_as_it_was_asked_and_told_as_it_was_booked(paid_at: Timestamp | None, micros: int) -> None:
    request = asked(reference="", reverses_id="o0", returns_payment_id="p1", paid_at=paid_at)
    payout = payout_of(request)
    assert payout == Payout("o1", "", "EU", "EUR", 1, micros, "o0", "p1")
    told = booked_payout(
        BookedPayout(payout, PayoutResult(outcome=pb.PAYOUT_OUTCOME_BOOKED, account="a:b", credit=9), 8, "tess", "o9")
    )
    assert told.payout.HasField("paid_at") is (micros > 0)
    told.payout.ClearField("paid_at")
    request.ClearField("paid_at")
    assert told.payout == request
    assert (told.result.outcome, told.result.account, told.result.credit_minor) == (pb.PAYOUT_OUTCOME_BOOKED, "a:b", 9)
    assert (told.booked_by, told.reversed_by, told.booked_at.nanos) == ("tess", "o9", 8_000)


@pytest.mark.parametrize(("account", "shown"), [("declarant:X", "declarant:X"), ("", "declarant:D")])
def test_a_refusal_names_the_account_or_else_the_reference(account: str, shown: str) -> None:
    error = payout_result(0, PAYOUT, PayoutResult(reason="PAYOUT_EXCEEDS_CREDIT", account=account)).error
    assert shown in error.message + error.hint
