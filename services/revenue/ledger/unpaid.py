"""What of consignments' charges nobody has paid yet, line by line, and the treasuries' shares in it, to the minor unit."""

from __future__ import annotations

import numpy as np

from services.revenue.ledger.division import Divisions
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import OPEN, Lines
from services.revenue.ledger.payout import PaidOut, claims
from services.revenue.ledger.position import covered_by


def unpaid_at_once(lines: Lines, offsets: Int64, paid: Int64, out: PaidOut) -> Int64:
    """Return what is open of each line that is paid consignment by consignment; nothing of other lines.

    What was paid out to a payee beyond its credit paid none of its lines: of these the last ones are open again.
    """
    at_once = lines["how"] == OPEN
    covered = covered_by(lines, offsets, paid)
    unpaid: Int64 = np.where(at_once, lines["amount"] - covered - lines["remitted"], 0).astype(np.int64)
    owed = claims(lines, offsets, paid, out)
    for row in np.flatnonzero(owed).tolist():
        left = int(owed[row])
        for place in range(int(offsets[row + 1]) - 1, int(offsets[row]) - 1, -1):
            if at_once[place] and lines["debtor"][place] == out.account[row]:
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
