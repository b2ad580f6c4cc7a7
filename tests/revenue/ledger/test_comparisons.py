"""What reconciliation finds between the answer in force, the lines that are held and what was booked: each sentence and its amounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.charge import ASSESSED, UNDECIDED, WITHDRAWN
from services.revenue.ledger.line import COLLECTED, SECURED
from services.revenue.ledger.reconciliation import (
    AssessedTotals,
    ChargeTotals,
    Difference,
    MoneyEntry,
    PositionTotals,
    PostingGap,
    compare,
    covered_of_lines,
    money_gaps,
    totals_of_lines,
)
from tests.revenue.ledger.pages import joined, line, numbers

PAID, OUT, OTHER = pb.ENTRY_KIND_PAID, pb.ENTRY_KIND_PAID_OUT, pb.ENTRY_KIND_ASSESSED


def sums(duty: int, tax: int, fee: int, currency: str = "EUR") -> ChargeTotals:
    return ChargeTotals(np.array([[duty, tax, fee]], np.int64), [currency])


HELD = PositionTotals(["M"], numbers(4), numbers(ASSESSED), sums(300, 1_900, 0), numbers(2_200), numbers(2_200))
ANSWER = sums(300, 1_900, 0)
NOTHING = sums(0, 0, 0)


def found(
    held: PositionTotals, answer: ChargeTotals | None, later: str = "", gaps: Sequence[PostingGap] = ()
) -> list[Difference]:
    return compare(
        held,
        AssessedTotals({} if answer is None else {0: answer}, {0: later} if later else {}),
        {0: gaps} if gaps else {},
    )


@pytest.mark.parametrize(
    ("held", "answer"),
    [
        (HELD, ANSWER),
        (replace(HELD, version=numbers(0), totals=NOTHING), None),
        (replace(HELD, status=numbers(UNDECIDED), totals=NOTHING, refunded=numbers(0)), None),
        (replace(HELD, status=numbers(WITHDRAWN), totals=NOTHING, refunded=numbers(0)), ANSWER),
        # Nothing is owed in any currency.
        (replace(HELD, totals=NOTHING), sums(0, 0, 0, "GBP")),
    ],
)
def test_what_agrees_is_not_named(held: PositionTotals, answer: ChargeTotals | None) -> None:
    assert found(held, answer) == []


@pytest.mark.parametrize(
    ("held", "answer", "difference"),
    [
        (
            replace(HELD, version=numbers(0), totals=sums(0, 0, 0, "")), ANSWER,
            Difference("NOT_POSTED", "M", "It was assessed at 22.00 EUR, and no state of it was posted.", "EUR", 2_200),
        ),
        (
            HELD, None,
            Difference(
                "NOT_ASSESSED", "M", "The ledger holds 22.00 EUR, and its assessment is not stored.", "EUR", None, 2_200
            ),
        ),
        (
            replace(HELD, totals=sums(300, 1_900, 0, "")), None,
            Difference(
                "NOT_ASSESSED", "M", "The ledger holds 2200, and its assessment is not stored.", "", None, 2_200
            ),
        ),
        (
            replace(HELD, status=numbers(WITHDRAWN)), ANSWER,
            Difference("AMOUNT_DIFFERS", "M", "It was withdrawn and owes nothing, and 22.00 EUR is posted.", "EUR", 0, 2_200),
        ),
        (
            replace(HELD, status=numbers(UNDECIDED)), None,
            Difference("AMOUNT_DIFFERS", "M", "It is not decided yet and owes nothing, and 22.00 EUR is posted.", "EUR", 0, 2_200),
        ),
        (
            HELD, sums(301, 1_900, 5),
            Difference(
                "AMOUNT_DIFFERS", "M", "Assessed: duty 3.01 EUR but 3.00 EUR posted; fee 0.05 EUR but 0.00 EUR posted.", "EUR", 2_206, 2_200
            ),
        ),
        (
            HELD, sums(300, 1_800, 0),
            Difference("AMOUNT_DIFFERS", "M", "Assessed: tax 18.00 EUR but 19.00 EUR posted.", "EUR", 2_100, 2_200),
        ),
        (
            replace(HELD, totals=NOTHING), ANSWER,
            Difference(
                "AMOUNT_DIFFERS", "M", "Assessed: duty 3.00 EUR but 0.00 EUR posted; tax 19.00 EUR but 0.00 EUR posted.", "EUR", 2_200, 0
            ),
        ),
        (
            HELD, sums(300, 1_900, 0, "GBP"),
            Difference("AMOUNT_DIFFERS", "M", "Assessed in GBP, posted in EUR.", "EUR", 2_200, 2_200),
        ),
        (
            replace(HELD, covered=numbers(2_199)), ANSWER,
            Difference(
                "REFUND_OVER_PAID", "M", "22.00 EUR was refunded, and 21.99 EUR was paid, secured or collected.", "EUR", 2_199, 2_200
            ),
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named_with_both_amounts(
    held: PositionTotals, answer: ChargeTotals | None, difference: Difference
) -> None:
    assert found(held, answer) == [difference]


def test_an_answer_without_a_state_and_postings_that_do_not_come_to_the_lines_are_named() -> None:
    gaps = [PostingGap("duty on vendor:V", "EUR", 5, 6), PostingGap("payments", "GBP", 0, 7)]
    assert found(HELD, ANSWER, "An adjustment for version 5", gaps) == [
        Difference(
            "NOT_POSTED", "M", "An adjustment for version 5 was assessed on a day that is over, and no state followed: the ledger "
            "holds version 4 with 22.00 EUR.", "EUR", None, 2_200,
        ),
        Difference("UNBALANCED", "M", "Its postings of duty on vendor:V come to 0.06 EUR, and the ledger holds 0.05 EUR of it.", "EUR", 5, 6),
        Difference("UNBALANCED", "M", "Its postings of payments come to 0.07 GBP, and the ledger holds 0.00 GBP of it.", "GBP", 0, 7),
    ]  # fmt: skip


def test_each_consignment_is_compared_with_its_own_answer() -> None:
    amounts = np.array([[1, 0, 0], [2, 0, 0], [3, 0, 0]], np.int64)
    held = PositionTotals(
        ["A", "B", "C"], numbers(0, 1, 1), numbers(UNDECIDED, ASSESSED, ASSESSED), ChargeTotals(amounts, ["", "EUR", "GBP"]), numbers(9, 9, 9),
        numbers(0, 0, 0),
    )  # fmt: skip
    differences = compare(held, AssessedTotals({1: sums(2, 0, 0), 2: sums(4, 0, 0, "GBP")}, {}), {})
    assert [(each.mrn, each.reason, each.assessed, each.posted) for each in differences] == [
        ("C", "AMOUNT_DIFFERS", 4, 3)
    ]


def entry(kind: int, amount: int, currency: str = "EUR", reference: str = "b") -> MoneyEntry:
    return MoneyEntry(kind, reference, currency, amount)


@pytest.mark.parametrize(
    ("entries", "paid", "out", "gaps"),
    [
        ([], 0, 0, []),
        ([], 5, 0, [PostingGap("payments", "EUR", 5, 0)]),
        ([], 0, 5, [PostingGap("payouts", "EUR", 5, 0)]),
        ([entry(PAID, 9), entry(PAID, -4), entry(OUT, 2), entry(OTHER, 99)], 5, 2, []),
        ([entry(PAID, 9), entry(OUT, 2)], 8, 3, [PostingGap("payments", "EUR", 8, 9), PostingGap("payouts", "EUR", 3, 2)]),
        # Without a reference an entry moves money from one account to another.
        ([entry(PAID, 5), entry(PAID, 7, reference="")], 5, 0, []),
        # Money of another currency is no consignment's.
        ([entry(PAID, 5, "GBP"), entry(PAID, -5, "GBP")], 0, 0, []),
        ([entry(PAID, 5, "GBP"), entry(PAID, -4, "GBP"), entry(PAID, 3, "AUD"), entry(PAID, 1)], 2, 0,
         [PostingGap("payments", "AUD", 0, 3), PostingGap("payments", "EUR", 2, 1), PostingGap("payments", "GBP", 0, 1)]),
    ],
)  # fmt: skip
def test_payments_and_payouts_that_are_held_are_those_that_were_booked(
    entries: list[MoneyEntry], paid: int, out: int, gaps: list[PostingGap]
) -> None:
    assert money_gaps(entries, "EUR", paid, out) == gaps


def test_lines_are_summed_by_kind_of_charge_and_by_what_was_paid_of_them() -> None:
    offsets, lines = joined(
        [line(1, 5, kind=1), line(1, 6, kind=3), line(1, 7, kind=1)],
        [],
        [line(1, 8, SECURED, kind=2), line(1, 9, COLLECTED, kind=2), line(1, 4, kind=2)],
    )
    assert totals_of_lines(lines, offsets, ["A", "B", "C"]).amounts.tolist() == [[12, 0, 6], [0, 0, 0], [0, 21, 0]]
    assert totals_of_lines(lines, offsets, ["A", "B", "C"]).currency == ["A", "B", "C"]
    assert covered_of_lines(lines, offsets, numbers(17, 3, 3)).tolist() == [17, 0, 20]
    assert covered_of_lines(lines, offsets, numbers(18, 3, 4)).tolist() == [18, 0, 21]
    assert covered_of_lines(lines, offsets, numbers(19, 3, 5)).tolist() == [18, 0, 21]
