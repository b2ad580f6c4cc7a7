"""Reconciliation: what consignments were assessed at, beside what the ledger holds and what it booked for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.customs.money import money_text
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.account import CHARGE_KINDS
from services.revenue.ledger.charge import ASSESSED, WITHDRAWN
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import OPEN, Lines

NOT_POSTED: Final = "NOT_POSTED"
NOT_ASSESSED: Final = "NOT_ASSESSED"
AMOUNT_DIFFERS: Final = "AMOUNT_DIFFERS"
REFUND_OVER_PAID: Final = "REFUND_OVER_PAID"
UNBALANCED: Final = "UNBALANCED"


@dataclass(frozen=True, slots=True)
class ChargeTotals:
    """What consignments owe by kind of charge; minor units, shape (n, 3): duty, tax, fee."""

    amounts: Int64
    currency: Sequence[str]


@dataclass(frozen=True, slots=True)
class PositionTotals:
    """What the ledger holds of n consignments; without version nothing is held."""

    mrn: Sequence[str]
    version: Int64
    status: Int64
    """As services.revenue.ledger.charge.Basis."""
    totals: ChargeTotals
    covered: Int64
    """Of the charges, what was paid, what an account stands for, and what a vendor or carrier collects."""
    refunded: Int64


@dataclass(frozen=True, slots=True)
class AssessedTotals:
    """Revenue's own assessments of some consignments, by their rows."""

    active: Mapping[int, ChargeTotals]
    """The answer that the state held rests on, of one consignment each."""
    later: Mapping[int, str]
    """An answer of a day that is over which no state followed, as a clause: "an adjustment for version 5"."""


@dataclass(frozen=True, slots=True)
class PostingGap:
    """Postings of a consignment that do not come to what is held of it; minor units, debits positive."""

    subject: str
    """Kind of charge and account, or payments, or payouts."""
    currency: str
    expected: int
    booked: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not agree of a consignment; amounts in minor units of `currency`."""

    reason: str
    mrn: str
    sentence: str
    currency: str
    assessed: int | None = None
    posted: int | None = None


@dataclass(frozen=True, slots=True)
class MoneyEntry:
    """An entry of a consignment by its first posting, which tells of payments and payouts where the money came from or whose it was."""

    kind: int
    """luxor.revenue.v1.EntryKind of the entry, or of the one that it undoes."""
    reference: str
    currency: str
    amount: int


def money_gaps(entries: Collection[MoneyEntry], currency: str, paid: int, paid_out: int) -> list[PostingGap]:
    """Return the differences between the stored paid and paid-out amounts of one consignment and its entries, minor units.

    Of another currency nothing is held: that money is an account's own, and was booked as such. Entries PAID without a reference
    move what was paid from one account to another.
    """
    gaps = []
    for what, kind, held in (("payments", pb.ENTRY_KIND_PAID, paid), ("payouts", pb.ENTRY_KIND_PAID_OUT, paid_out)):
        sums = {currency: 0}
        for each in entries:
            if each.kind == kind and each.reference:
                sums[each.currency] = sums.get(each.currency, 0) + each.amount
        expected = {currency: held}
        gaps += [
            PostingGap(what, each, expected.get(each, 0), booked)
            for each, booked in sorted(sums.items())
            if booked != expected.get(each, 0)
        ]
    return gaps


def totals_of_lines(lines: Lines, offsets: Int64, currency: Sequence[str]) -> ChargeTotals:
    """Sum lines by kind of charge."""
    rows = np.repeat(np.arange(len(currency)), np.diff(offsets))
    sums = np.zeros((len(currency), len(CHARGE_KINDS)), np.int64)
    np.add.at(sums, (rows, lines["kind"].astype(np.int64)), lines["amount"])
    return ChargeTotals(sums[:, 1:], currency)


def covered_of_lines(lines: Lines, offsets: Int64, paid: Int64) -> Int64:
    """Sum what was paid of lines, what an account stands for, and what a vendor or carrier collects: no refund is more."""
    rows = np.repeat(np.arange(len(paid)), np.diff(offsets))
    at_once = lines["how"] == OPEN
    due, other = np.zeros(len(paid), np.int64), np.zeros(len(paid), np.int64)
    np.add.at(due, rows[at_once], lines["amount"][at_once])
    np.add.at(other, rows[~at_once], lines["amount"][~at_once])
    covered: Int64 = np.minimum(paid, due) + other
    return covered


def compare(
    positions: PositionTotals, assessed: AssessedTotals, gaps: Mapping[int, Sequence[PostingGap]]
) -> list[Difference]:
    """Return the differences in the order of the consignments: exactly one answer is active for each position."""
    found: list[Difference] = []
    for row, mrn in enumerate(positions.mrn):
        answer = assessed.active.get(row)
        currency = positions.totals.currency[row] or (answer.currency[0] if answer else "")
        if not positions.version[row]:
            if answer is not None:
                total = int(answer.amounts.sum())
                sentence = f"It was assessed at {_money(total, currency)}, and no state of it was posted."
                found.append(Difference(NOT_POSTED, mrn, sentence, currency, total))
            continue
        found += _amounts(positions, row, currency, answer)
        if row in assessed.later:
            posted = int(positions.totals.amounts[row].sum())
            sentence = (
                f"{assessed.later[row]} was assessed on a day that is over, and no state followed: the ledger holds version "
                f"{positions.version[row]} with {_money(posted, currency)}."
            )
            found.append(Difference(NOT_POSTED, mrn, sentence, currency, None, posted))
        if positions.refunded[row] > positions.covered[row]:
            paid, back = int(positions.covered[row]), int(positions.refunded[row])
            sentence = (
                f"{_money(back, currency)} was refunded, and {_money(paid, currency)} was paid, secured or collected."
            )
            found.append(Difference(REFUND_OVER_PAID, mrn, sentence, currency, paid, back))
        for gap in gaps.get(row, ()):
            sentence = (
                f"Its postings of {gap.subject} come to {_money(gap.booked, gap.currency)}, and the ledger holds "
                f"{_money(gap.expected, gap.currency)} of it."
            )
            found.append(Difference(UNBALANCED, mrn, sentence, gap.currency, gap.expected, gap.booked))
    return found


def _money(amount: int, currency: str) -> str:
    return money_text(amount, currency) if currency else str(amount)


def _amounts(positions: PositionTotals, row: int, currency: str, answer: ChargeTotals | None) -> list[Difference]:
    mine = positions.totals.amounts[row]
    posted = int(mine.sum())
    if positions.status[row] != ASSESSED:
        if not mine.any():
            return []
        reason = "It was withdrawn" if positions.status[row] == WITHDRAWN else "It is not decided yet"
        sentence = f"{reason} and owes nothing, and {_money(posted, currency)} is posted."
        return [Difference(AMOUNT_DIFFERS, positions.mrn[row], sentence, currency, 0, posted)]
    if answer is None:
        sentence = f"The ledger holds {_money(posted, currency)}, and its assessment is not stored."
        return [Difference(NOT_ASSESSED, positions.mrn[row], sentence, currency, None, posted)]
    assessed = answer.amounts[0]
    if (assessed == mine).all() and (not mine.any() or answer.currency[0] == currency):
        return []
    parts = [
        f"{name} {_money(int(each), answer.currency[0])} but {_money(int(own), currency)} posted"
        for name, each, own in zip(CHARGE_KINDS[1:], assessed.tolist(), mine.tolist(), strict=True)
        if each != own
    ]
    sentence = f"Assessed: {'; '.join(parts)}." if parts else f"Assessed in {answer.currency[0]}, posted in {currency}."
    return [Difference(AMOUNT_DIFFERS, positions.mrn[row], sentence, currency, int(assessed.sum()), posted)]
