"""Positions: what is paid of lines, what is paid out, what of them is refunded, and what is open.

A payout changes neither what was paid nor what was refunded. It lessens what these leave to its payee's credit; where
they leave less than was paid out, the payee owes the difference.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from services.revenue.ledger.division import Divisions
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
        """Return the requested consignments, in that order."""
        return PaidOut(self.minor[rows], self.account[rows])

    def without(self, rows: Int64) -> PaidOut:
        """Return a copy with nothing paid out of some consignments."""
        minor, account = self.minor.copy(), self.account.copy()
        minor[rows] = account[rows] = 0
        return PaidOut(minor, account)

    def following(self, lines: Lines, offsets: Int64) -> PaidOut:
        """Return a copy whose payees follow other lines: the same account while it owes something at once, else the first debtor."""
        if not self.minor.any():
            return self
        account = self.account.copy()
        for row in np.flatnonzero(self.minor).tolist():
            debtors = debtors_of(lines[offsets[row] : offsets[row + 1]])
            if debtors and account[row] not in debtors:
                account[row] = debtors[0]
        return PaidOut(self.minor, account)


def debtors_of(lines: Lines) -> list[int]:
    """Return the debtors of the lines of one consignment that are paid at once, in the order of its lines."""
    return list(dict.fromkeys(lines["debtor"][lines["how"] == OPEN].tolist()))


def surplus_by_account(lines: Lines, offsets: Int64, paid: Int64) -> dict[tuple[int, int], int]:
    """Return the refunded and overpaid amounts by consignment and account; payouts are not subtracted."""
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


def claims(lines: Lines, offsets: Int64, paid: Int64, paid_out: PaidOut) -> Int64:
    """Return the amount of each consignment by which payouts exceed the payee's credit, which the payee owes.

    So it comes about where a payment is taken back, or a refund corrected, after it was paid out.
    """
    owed = np.zeros(len(paid), np.int64)
    if paid_out.minor.any():
        left = surplus_by_account(lines, offsets, paid)
        for row in np.flatnonzero(paid_out.minor).tolist():
            owed[row] = max(0, int(paid_out.minor[row]) - left.get((row, int(paid_out.account[row])), 0))
    return owed


def payee_of(lines: Lines, buyers: Collection[int]) -> int:
    """Return the first of some accounts that owes something at once for one consignment; 0 if none does."""
    return next((debtor for debtor in debtors_of(lines) if debtor in buyers), 0)


def settled(lines: Lines, offsets: Int64, paid: Int64, paid_out: PaidOut) -> tuple[Lines, Int64]:
    """Divide the law's refunds into remissions and refunds; return the lines and the open amount of each consignment.

    `paid` (n,) is what was paid by the MRN; it pays open lines in their order. What a vendor or carrier collected and
    what an account stands for counts as paid. A refund is never more than what was paid for its line. What was paid out
    beyond what is left to its payee's credit is open too.
    """
    done = lines.copy()
    covered = covered_by(lines, offsets, paid)
    done["remitted"] = np.minimum(lines["entitled"], lines["amount"] - covered)
    done["refunded"] = lines["entitled"] - done["remitted"]
    still = np.concatenate([np.zeros(1, np.int64), np.cumsum(lines["amount"] - covered - done["remitted"])])
    return done, still[offsets[1:]] - still[offsets[:-1]] + claims(done, offsets, paid, paid_out)


def covered_by(lines: Lines, offsets: Int64, paid: Int64) -> Int64:
    """Return the amount of each line that is covered by the payments of its consignment; lines that are not paid at once are covered in full."""
    rows = np.repeat(np.arange(len(paid)), np.diff(offsets))
    open_lines = lines["how"] == OPEN
    due = np.where(open_lines, lines["amount"], 0)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(due)])
    before_line = before[:-1] - before[offsets[:-1]][rows]
    covered = np.clip(paid[rows] - before_line, 0, due)
    whole: Int64 = np.where(open_lines, covered, lines["amount"]).astype(np.int64)
    return whole


def unpaid_at_once(lines: Lines, offsets: Int64, paid: Int64, paid_out: PaidOut) -> Int64:
    """Return what is open of each line that is paid consignment by consignment; nothing of other lines.

    What was paid out to a payee beyond its credit paid none of its lines: of these the last ones are open again.
    """
    at_once = lines["how"] == OPEN
    covered = covered_by(lines, offsets, paid)
    unpaid: Int64 = np.where(at_once, lines["amount"] - covered - lines["remitted"], 0).astype(np.int64)
    owed = claims(lines, offsets, paid, paid_out)
    for row in np.flatnonzero(owed).tolist():
        left = int(owed[row])
        for place in range(int(offsets[row + 1]) - 1, int(offsets[row]) - 1, -1):
            if at_once[place] and lines["debtor"][place] == paid_out.account[row]:
                part = min(left, int(covered[place]))
                unpaid[place] += part
                left -= part
    return unpaid


def charged_to(lines: Lines, account: int) -> Int64:
    """Return what each line charges to an account that pays by its own name: secured by it, or collected by it; less remissions
    and refunds.
    """
    own = (lines["account"] == account) & (lines["how"] != OPEN)
    charged: Int64 = np.where(own, lines["amount"] - lines["remitted"] - lines["refunded"], 0).astype(np.int64)
    return charged


def last_of(charged: Int64, owed: int) -> tuple[Int64, int]:
    """Share what is owed among charges, the last of them first; return what is owed of each, and what is left to share.

    >>> last_of(np.array([300, 200, 100]), 250)
    (array([  0, 150, 100]), 0)
    """
    unpaid = np.zeros(len(charged), np.int64)
    for place in np.flatnonzero(charged)[::-1].tolist():
        if not owed:
            break
        part = min(owed, int(charged[place]))
        unpaid[place] = part
        owed -= part
    return unpaid, owed


def shares_of(lines: Lines, before: Int64, unpaid: Int64, divisions: Divisions) -> dict[int, int]:
    """Return each treasury's share of what is unpaid of lines; `before` is what was remitted and refunded of each, so that the share of
    what is wholly unpaid is exactly what stands to the treasury's credit for it.
    """
    chosen = np.flatnonzero(unpaid)
    accounts = lines["treasury"][chosen].astype(np.int64)
    _, accounts, amounts = divisions.divided(accounts, before[chosen], unpaid[chosen])
    return {each: sum(amounts[accounts == each].tolist()) for each in np.unique(accounts).tolist()}
