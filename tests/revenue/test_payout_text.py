"""What is told of payouts: each refusal says what is there and what to do, in words that hold for every payout."""

from __future__ import annotations

import re
from inspect import getsource

import pytest

from services.revenue.payout_text import payout_result
from services.revenue.store import paying_out, payouts
from services.revenue.store.payouts import Payout, Result

PAYOUT = Payout("o1", "declarant:D", "UK", "GBP", 500)
REASONS = sorted(set(re.findall(r'"(PAYOUT_[A-Z_]+)"', getsource(paying_out) + getsource(payouts))))


@pytest.mark.parametrize("reason", [*REASONS, "AMOUNT_OUT_OF_BOUNDS", "BALANCE_OUT_OF_BOUNDS"])
def test_each_refusal_is_told_with_all_of_its_facts(reason: str) -> None:
    error = payout_result(3, PAYOUT, Result(reason=reason, account="declarant:D", kept=(2_500, "EUR", "EU"))).error
    assert "payouts[3]" in error.message
    assert "?" not in error.message + error.hint


def test_refusals_are_found_where_payouts_are_booked() -> None:
    assert {"PAYOUT_DIFFERS", "PAYOUT_EXCEEDS_BANK", "PAYOUT_REUSED"} <= set(REASONS)


def test_what_differs_is_told_in_its_own_currency() -> None:
    told = payout_result(0, PAYOUT, Result(reason="PAYOUT_DIFFERS", kept=(2_500, "EUR", "EU")))
    assert told.credit_minor == 0
    assert "5.00 GBP" in told.error.message
    assert "25.00 EUR" in told.error.message
    other = payout_result(0, PAYOUT, Result(reason="PAYOUT_CONSIGNMENT_DIFFERS", kept=(2_500, "EUR", "EU")))
    assert all(part in other.error.message for part in ("5.00 GBP", "UK", "25.00 EUR", "EU alone"))
