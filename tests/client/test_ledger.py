"""What the client reads of money and compares: tables of payments and payouts, and the sums of ledger and statistics."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.client.errors import LuxorError
from libs.client.revenue.ledger import compare_totals, read_payments
from libs.client.revenue.payouts import read_payouts

FIRST = "26DE033290000001R9"


def test_sums_that_statistics_counts_otherwise_are_named() -> None:
    key, other = ("DE", "duty", "customs", "EUR"), ("FR", "tax", "vendor", "EUR")
    found = list(compare_totals({key: 300, other: 0}, {key: 200}))
    assert [(each["reason"], each["posted_minor"], each["counted_minor"]) for each in found] == [
        ("STATISTICS_DIFFERS", 300, 200)
    ]
    assert "Duty to DE by customs" in found[0]["sentence"]


def test_a_table_of_payouts_is_read_and_a_time_that_is_none_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "payouts.csv"
    head = "id,reference,jurisdiction,currency,amount,paid_at,returns_payment_id\n"
    file.write_text(f"{head}o1,{FIRST},EU,EUR,12.50,2026-11-01T08:30:00Z,\no2,,EU,EUR,0.05,,b2\n", encoding="utf-8")
    first, second = read_payouts(file)
    assert (first.reference, first.amount_minor, first.paid_at.seconds) == (FIRST, 1_250, 1_793_521_800)
    assert (second.returns_payment_id, second.HasField("paid_at")) == ("b2", False)
    file.write_text(f"{head}o1,{FIRST},EU,EUR,12.50,yesterday,\n", encoding="utf-8")
    with pytest.raises(LuxorError) as error:
        read_payouts(file)
    assert error.value.reason == "PAYOUT_FILE_WRONG"
    assert f"{file}:2 has a time that is none" in error.value.sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,reference\n", "no column jurisdiction"),
        ("id,reference,jurisdiction,currency,amount,colour\n", "'colour'"),
        ("id,reference,jurisdiction,currency,amount\nb1,x,EU,EUR\n", "as many cells"),
        ("id,reference,jurisdiction,currency,amount\nb1,x,EU,EUR,12.505\n", "amount"),
        ("id,reference,jurisdiction,currency,amount\nb1,x,EU,EURO,12.50\n", "amount"),
    ],
)
def test_a_table_of_payments_that_cannot_be_read_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "payments.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LuxorError) as error:
        read_payments(file)
    assert error.value.reason == "PAYMENT_FILE_WRONG"
    assert told in error.value.sentence
    assert f"{file}:{text.count(chr(10))}" in error.value.sentence
