"""Reconciliation: what consignments were assessed at, beside what the ledger holds for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.customs.money import money_text
from services.revenue.ledger.accounts import CHARGE_KINDS
from services.revenue.ledger.entries import Int64
from services.revenue.ledger.lines import Lines

NOT_POSTED: Final = "NOT_POSTED"
NOT_ASSESSED: Final = "NOT_ASSESSED"
AMOUNT_DIFFERS: Final = "AMOUNT_DIFFERS"
REFUND_OVER_PAID: Final = "REFUND_OVER_PAID"


@dataclass(frozen=True, slots=True)
class Sums:
    """What consignments owe by kind of charge; minor units, shape (n, 3): duty, tax, fee."""

    amounts: Int64
    currency: Sequence[str]


@dataclass(frozen=True, slots=True)
class Held:
    """What the ledger holds of n consignments; without version nothing is held."""

    mrn: Sequence[str]
    version: Int64
    sums: Sums
    owed: Int64
    """What is held of charges, before remissions and refunds."""
    refunded: Int64


@dataclass(frozen=True, slots=True)
class Difference:
    """What does not agree of a consignment; amounts in minor units of `currency`."""

    reason: str
    mrn: str
    sentence: str
    currency: str
    assessed: int | None = None
    posted: int | None = None


def sums_of_lines(lines: Lines, offsets: Int64, currency: Sequence[str]) -> Sums:
    """Sum lines by kind of charge."""
    rows = np.repeat(np.arange(len(currency)), np.diff(offsets))
    sums = np.zeros((len(currency), len(CHARGE_KINDS)), np.int64)
    np.add.at(sums, (rows, lines["kind"].astype(np.int64)), lines["amount"])
    return Sums(sums[:, 1:], currency)


def compare(held: Held, assessed: Mapping[int, Sequence[Sums]]) -> list[Difference]:
    """Say what does not agree, in the order of the consignments.

    `assessed` has for a row the answers that may be the last, each as Sums of one consignment: of its filing, and of an
    officer's adjustment. The ledger agrees where it holds what one of them says.
    """
    found = []
    for row, mrn in enumerate(held.mrn):
        answers = assessed.get(row, ())
        currency = held.sums.currency[row] or next((each.currency[0] for each in answers), "")
        if held.version[row] and not answers:
            found.append(_not_assessed(held, row, currency))
        elif answers and not held.version[row]:
            total = int(answers[-1].amounts.sum())
            told = f"It was assessed at {money_text(total, currency)}, and no state of it was posted."
            found.append(Difference(NOT_POSTED, mrn, told, currency, total))
        elif answers:
            found += _differs(held, row, currency, answers)
        if held.refunded[row] > held.owed[row]:
            paid, back = (money_text(int(each[row]), currency) for each in (held.owed, held.refunded))
            told = f"{back} was refunded of charges of {paid}."
            found.append(
                Difference(REFUND_OVER_PAID, mrn, told, currency, int(held.owed[row]), int(held.refunded[row]))
            )
    return found


def _not_assessed(held: Held, row: int, currency: str) -> Difference:
    posted = int(held.sums.amounts[row].sum())
    told = f"The ledger holds {money_text(posted, currency) if currency else posted}, and no assessment of it is kept."
    return Difference(NOT_ASSESSED, held.mrn[row], told, currency, None, posted)


def _differs(held: Held, row: int, currency: str, answers: Sequence[Sums]) -> list[Difference]:
    mine = held.sums.amounts[row]
    if any(
        (answer.amounts[0] == mine).all() and (not mine.any() or answer.currency[0] == currency) for answer in answers
    ):
        return []
    last = answers[-1].amounts[0]
    if not mine.any():  # nothing owed of a state that was told: withdrawn
        return []
    parts = [
        f"{name} {money_text(int(theirs), currency)} but {money_text(int(own), currency)} posted"
        for name, theirs, own in zip(CHARGE_KINDS[1:], last.tolist(), mine.tolist(), strict=True)
        if theirs != own
    ]
    told = (
        f"Assessed: {'; '.join(parts)}." if parts else f"Assessed in {answers[-1].currency[0]}, posted in {currency}."
    )
    return [Difference(AMOUNT_DIFFERS, held.mrn[row], told, currency, int(last.sum()), int(mine.sum()))]
