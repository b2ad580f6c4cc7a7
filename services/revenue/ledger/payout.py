"""Money that was paid out by a consignment's MRN: whose credit it was, what is left of that credit, and what is to come back.

A payout changes neither what was paid nor what was refunded. It lessens what these leave to its payee's credit; where
they leave less than was paid out, the payee owes the difference.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import OPEN, Lines


@dataclass(frozen=True, slots=True)
class PaidOut:
    """What was paid out of n consignments."""

    minor: Int64
    account: Int64
    """Whose credit it was; 0 where nothing was paid out."""

    @staticmethod
    def nothing(count: int) -> PaidOut:
        """Nothing of any."""
        return PaidOut(np.zeros(count, np.int64), np.zeros(count, np.int64))

    def take(self, rows: Int64) -> PaidOut:
        """Give the consignments asked for, in that order."""
        return PaidOut(self.minor[rows], self.account[rows])

    def without(self, rows: Int64) -> PaidOut:
        """Give it with nothing paid out of some consignments."""
        minor, account = self.minor.copy(), self.account.copy()
        minor[rows] = account[rows] = 0
        return PaidOut(minor, account)

    def following(self, lines: Lines, offsets: Int64) -> PaidOut:
        """Say whose it is by other lines: the same account while it owes something at once, else who owes first."""
        if not self.minor.any():
            return self
        account = self.account.copy()
        for row in np.flatnonzero(self.minor).tolist():
            debtors = debtors_of(lines[offsets[row] : offsets[row + 1]])
            if debtors and account[row] not in debtors:
                account[row] = debtors[0]
        return PaidOut(self.minor, account)


def debtors_of(lines: Lines) -> list[int]:
    """Give who owes what is paid at once of one consignment, in the order of its lines."""
    return list(dict.fromkeys(lines["debtor"][lines["how"] == OPEN].tolist()))


def left_over(lines: Lines, offsets: Int64, paid: Int64) -> dict[tuple[int, int], int]:
    """Give what was refunded and what was paid too much, by consignment and account; payouts are not taken off."""
    rows = np.repeat(np.arange(len(paid)), np.diff(offsets))
    at_once = lines["how"] == OPEN
    found: dict[tuple[int, int], int] = {}

    def add(account: int, row: int, minor: int) -> None:
        found[row, account] = found.get((row, account), 0) + minor

    for place in np.flatnonzero(at_once & (lines["refunded"] > 0)).tolist():
        add(int(lines["debtor"][place]), int(rows[place]), int(lines["refunded"][place]))
    due = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.where(at_once, lines["amount"], 0))])
    over = paid - (due[offsets[1:]] - due[offsets[:-1]])
    for row in np.flatnonzero(over > 0).tolist():
        own = np.flatnonzero(at_once[offsets[row] : offsets[row + 1]])
        if len(own):
            add(int(lines["debtor"][offsets[row] + own[0]]), row, int(over[row]))
    return found


def claims(lines: Lines, offsets: Int64, paid: Int64, out: PaidOut) -> Int64:
    """Say what payees owe because more was paid out to them than is left to their credit now, of each consignment.

    So it comes about where a payment is taken back, or a refund corrected, after it was paid out.
    """
    owed = np.zeros(len(paid), np.int64)
    if out.minor.any():
        left = left_over(lines, offsets, paid)
        for row in np.flatnonzero(out.minor).tolist():
            owed[row] = max(0, int(out.minor[row]) - left.get((row, int(out.account[row])), 0))
    return owed


def payee_of(lines: Lines, buyers: Collection[int]) -> int:
    """Give the first of some accounts that owes something at once of one consignment; 0 where none does."""
    return next((debtor for debtor in debtors_of(lines) if debtor in buyers), 0)
