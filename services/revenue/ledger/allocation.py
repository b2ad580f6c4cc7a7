"""Allocation of payments and payouts: which debts a payment pays, and which account has the credit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.charge import ChargePage
from services.revenue.ledger.entry import Entries, Int64
from services.revenue.ledger.line import OPEN, Lines
from services.revenue.ledger.position import PaidOut, covered_by, surplus_by_account

FREED: Final = "currency"
"""Reference of entries that turn paid money of a consignment into credit, because its debt has another currency."""


@dataclass(frozen=True, slots=True)
class Match:
    """The result of a payment, minor units."""

    outcome: int
    """luxor.revenue.v1.PaymentOutcome: matched, underpaid or overpaid."""
    matched: int
    """The part that paid a debt."""
    over: int
    """The part above the debt, which is the payer's credit."""
    still_owed: int


def match(amount: int, owed: int) -> Match:
    """Compare a payment with the amount that was owed before it."""
    matched = min(amount, max(owed, 0))
    over, still = amount - matched, max(owed, 0) - matched
    if over:
        return Match(pb.PAYMENT_OUTCOME_OVERPAID, matched, over, 0)
    return Match(pb.PAYMENT_OUTCOME_UNDERPAID if still else pb.PAYMENT_OUTCOME_MATCHED, matched, 0, still)


def owes_alone(lines: Lines) -> bool:
    """Return whether one account owes all of a consignment that is paid at once."""
    debtors = lines["debtor"][lines["how"] == OPEN]
    return bool(len(debtors)) and bool((debtors == debtors[0]).all())


def surplus(
    lines: Lines, offsets: Int64, paid: Int64, currencies: Sequence[str], paid_out: PaidOut
) -> dict[tuple[int, str], int]:
    """Return the credit that consignments leave by account and currency: refunded or overpaid, and not paid out."""
    left = surplus_by_account(lines, offsets, paid)
    for row in np.flatnonzero(paid_out.minor).tolist():
        key = (row, int(paid_out.account[row]))
        left[key] = max(0, left.get(key, 0) - int(paid_out.minor[row]))
    found: dict[tuple[int, str], int] = {}
    for (row, account), minor in left.items():
        found[account, currencies[row]] = found.get((account, currencies[row]), 0) + minor
    return found


def payable(lines: Lines, paid: int, paid_out: PaidOut, payee: int) -> int:
    """Return the amount of one consignment that may be paid out to an account: its credit beyond its debt, minor units.

    A consignment stores one payee: while an amount is paid out of it, nothing is paid out to another.
    """
    minor, before = int(paid_out.minor[0]), int(paid_out.account[0])
    if minor and before != payee:
        return 0
    offsets, sums = np.array([0, len(lines)]), np.array([paid])
    own = (lines["how"] == OPEN) & (lines["debtor"] == payee)
    still = int((lines["amount"] - covered_by(lines, offsets, sums) - lines["remitted"])[own].sum())
    return max(0, surplus_by_account(lines, offsets, sums).get((0, payee), 0) - minor - still)


def credited(lines: Lines, paid: int) -> dict[int, int]:
    """Return the accounts that are credited with the payments by a consignment's MRN: open lines in their order.

    An amount beyond the debt is credit of the first account. Nothing can be credited if no line is paid consignment by
    consignment.
    """
    own = lines[lines["how"] == OPEN]
    if not len(own) or paid <= 0:
        return {}
    shares: dict[int, int] = {}
    left = paid
    for debtor, amount in zip(own["debtor"].tolist(), own["amount"].tolist(), strict=True):
        part = min(left, amount)
        shares[debtor] = shares.get(debtor, 0) + part
        left -= part
    first = int(own["debtor"][0])
    shares[first] += left
    return {account: share for account, share in shares.items() if share}


def credit_postings(before: dict[int, int], after: dict[int, int]) -> list[tuple[int, int]]:
    """Return the postings (account, minor units) that change one crediting into another."""
    accounts = sorted(before.keys() | after.keys())
    changes = [(account, before.get(account, 0) - after.get(account, 0)) for account in accounts]
    return [(account, change) for account, change in changes if change]


def with_payers(page: ChargePage, stored_offsets: Int64, stored: Lines, paid: Int64) -> ChargePage:
    """Add a line of zero on the payer's account to consignments whose debt is no longer paid by the consignment, so that their
    payments have an owner.
    """
    rows = [row for row in np.flatnonzero(paid > 0).tolist() if not _open(page.lines, page.offsets, row).any()]
    kept = [(row, _first_open(stored, stored_offsets, row)) for row in rows]
    added = [(row, line) for row, line in kept if line is not None]
    if not added:
        return page
    places = page.offsets[[row + 1 for row, _ in added]]
    lines = np.insert(page.lines, places, np.concatenate([line for _, line in added]))
    lengths = np.diff(page.offsets)
    lengths[[row for row, _ in added]] += 1
    return replace(page, lines=lines, offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))


def _open(lines: Lines, offsets: Int64, row: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = lines["how"][offsets[row] : offsets[row + 1]] == OPEN
    return found


def _first_open(lines: Lines, offsets: Int64, row: int) -> Lines | None:
    places = np.flatnonzero(_open(lines, offsets, row))
    if not len(places):
        return None
    line: Lines = lines[offsets[row] + places[:1]].copy()
    for name in ("amount", "entitled", "remitted", "refunded"):
        line[name] = 0
    return line


@dataclass(frozen=True, slots=True)
class Booking:
    """One entry of a payment, a payout or a credit, or the reversal of one."""

    partition: int
    mrn: str
    version: int
    reference: str
    currency: str
    destination: str
    back: bool
    postings: Sequence[tuple[int, int]]
    """Account and minor units; the sum is zero."""
    kind: int = pb.ENTRY_KIND_PAID
    """The kind of the entry, or of the reversed entry."""


def entries_of(bookings: Sequence[Booking]) -> Entries:
    """Return bookings as entries, in their order."""
    flat = [posting for each in bookings for posting in each.postings]
    backs = np.array([each.back for each in bookings], np.bool_)
    kinds = np.array([each.kind for each in bookings], np.int64)
    lengths = [len(each.postings) for each in bookings]
    return Entries(
        np.array([each.partition for each in bookings], np.int64),
        np.where(backs, pb.ENTRY_KIND_REVERSED, kinds).astype(np.int64),
        np.where(backs, kinds, 0).astype(np.int64),
        [each.mrn for each in bookings],
        np.array([each.version for each in bookings], np.int64),
        [each.reference for each in bookings],
        [each.currency for each in bookings],
        [each.destination for each in bookings],
        np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]).astype(np.int64),
        np.array([account for account, _ in flat], np.int64),
        np.zeros(len(flat), np.int64),
        np.array([amount for _, amount in flat], np.int64),
    )


def freed_entries(
    page: ChargePage,
    rows: Int64,
    stored_offsets: Int64,
    stored: Lines,
    paid: Int64,
    paid_out: PaidOut,
    stored_places: tuple[list[str], list[str]],
) -> Entries:
    """Return the entries that convert amounts paid for consignments, and paid out of them, into the credit of an account.

    This is necessary if the debt loses the currency in which it was paid. Each account is credited with its own amount, whatever
    the debt is now, so an entry posts twice on one account. `stored_places` are currency and destination of the stored positions.
    """
    bookings = []
    for row in rows.tolist():
        shares = credited(stored[stored_offsets[row] : stored_offsets[row + 1]], int(paid[row]))
        parts = [(pb.ENTRY_KIND_PAID, account, minor) for account, minor in shares.items()]
        if minor := int(paid_out.minor[row]):
            parts.append((pb.ENTRY_KIND_PAID_OUT, int(paid_out.account[row]), minor))
        place = int(page.partition[row]), page.mrn[row], int(page.version[row])
        bookings += [
            Booking(
                *place,
                FREED,
                stored_places[0][row],
                stored_places[1][row],
                True,
                [(account, -minor), (account, minor)],
                int(kind),
            )
            for kind, account, minor in parts
        ]
    return entries_of(bookings)


def freed_credit(freed: Entries | None) -> dict[tuple[int, str], int]:
    """Return the credit of such entries by account and currency."""
    sums: dict[tuple[int, str], int] = {}
    if freed is not None:
        for row, first in enumerate(freed.offsets[:-1].tolist()):
            key = (int(freed.account[first]), freed.currency[row])
            minor = int(freed.amount[first])
            sums[key] = sums.get(key, 0) + (minor if freed.reverses[row] == pb.ENTRY_KIND_PAID_OUT else -minor)
    return sums


def reallocation_entries(
    page: ChargePage, stored_offsets: Int64, stored: Lines, paid: Int64, was: PaidOut, is_now: PaidOut
) -> Entries:
    """Return the entries that move paid amounts from the accounts that were credited to those that owe now.

    `was` and `is_now` are the same payouts by the lines before and after.
    """
    bookings = []
    for row in np.flatnonzero((paid > 0) | (is_now.minor > 0)).tolist():
        before = credited(stored[stored_offsets[row] : stored_offsets[row + 1]], int(paid[row]))
        after = credited(page.lines[page.offsets[row] : page.offsets[row + 1]], int(paid[row]))
        if minor := int(is_now.minor[row]):
            for shares, out in ((before, was), (after, is_now)):
                account = int(out.account[row])
                shares[account] = shares.get(account, 0) - minor
        changes = credit_postings(before, after)
        if changes:
            bookings.append(
                Booking(
                    int(page.partition[row]),
                    page.mrn[row],
                    int(page.version[row]),
                    "",
                    page.currency[row],
                    page.destination[row],
                    False,
                    changes,
                )
            )
    return entries_of(bookings)
