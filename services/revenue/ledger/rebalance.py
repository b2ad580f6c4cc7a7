"""The entries that lead from the positions held to those that follow from states and payments, for a page at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.allocation import reallocation_entries, with_payers
from services.revenue.ledger.charge import ChargePage
from services.revenue.ledger.division import NONE, Divisions
from services.revenue.ledger.entry import STAGES, Entries, Int64
from services.revenue.ledger.line import SECURED, Lines, combined
from services.revenue.ledger.position import PaidOut, settled


@dataclass(frozen=True, slots=True)
class Target:
    """What the positions of a page's consignments are to be, and the entries that are known before they are compared."""

    page: ChargePage
    """Their states, or the positions held where money alone changes."""
    paid: Int64
    """What is paid of each."""
    paid_out: PaidOut
    """What is paid out of each, by the lines held."""
    payments: Entries | None = None
    """Entries that book the difference of what was paid and paid out, by the lines held; None where that stays the same."""
    freed: Entries | None = None
    """Entries that book what is the credit of an account from now on, and of no consignment."""


@dataclass(frozen=True, slots=True)
class Rebalanced:
    """The positions of a page of n consignments as they are to be stored."""

    page: ChargePage
    """With what is refunded and remitted of its lines, and with the payers of those that owe nothing at once any more."""
    paid_out: PaidOut
    """What is paid out, by the lines of the page."""
    open: Int64
    """What is open of each."""
    entries: Entries


def rebalance(target: Target, stored: PositionLines, stored_paid: Int64) -> Rebalanced:
    """Return the positions of a target, and the entries that lead to them from those held, of which `stored_paid` was paid.

    Without entries of payments, money goes from the accounts that were credited with it to those that owe now. Entries of
    freed credit come first, then those of payments.
    """
    page = with_payers(target.page, stored.offsets, stored.lines, target.paid + target.paid_out.minor)
    out = target.paid_out.following(page.lines, page.offsets)
    lines, still = settled(page.lines, page.offsets, target.paid, out)
    page = replace(page, lines=lines)
    parts = [difference(page, stored)]
    if target.payments is not None:
        parts.insert(0, target.payments)
    elif stored_paid.any() or target.paid_out.minor.any():
        paid = np.minimum(stored_paid, target.paid)
        parts.append(reallocation_entries(page, stored.offsets, stored.lines, paid, target.paid_out, out))
    if target.freed is not None:
        parts.insert(0, target.freed)
    return Rebalanced(page, out, still, Entries.concat(parts))


@dataclass(frozen=True, slots=True)
class _Posted:
    """Postings that lines stand for: one row, stage, account, kind and amount each, summed."""

    row: Int64
    stage: Int64
    account: Int64
    kind: Int64
    amount: Int64


def _postings(lines: Lines, offsets: Int64, divisions: Divisions) -> _Posted:
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    secured = lines["how"] == SECURED
    every = np.ones(len(lines), np.bool_)
    sides = (
        (0, every, "debtor", "amount", 1),
        (0, every, "treasury", "amount", -1),
        (1, secured, "account", "amount", 1),
        (1, secured, "debtor", "amount", -1),
        (2, every, "treasury", "remitted", 1),
        (2, every, "account", "remitted", -1),
        (3, every, "treasury", "refunded", 1),
        (3, every, "account", "refunded", -1),
    )
    nothing = np.zeros(len(lines), np.int64)
    parts = []
    for stage, chosen, account, amount, sign in sides:
        place = np.flatnonzero(chosen & (lines[amount] != 0))
        accounts, amounts = lines[account][place].astype(np.int64), lines[amount][place]
        if account == "treasury":
            # What is refunded comes behind what is remitted of the same line.
            before = lines["remitted"] if amount == "refunded" else nothing
            at, accounts, amounts = divisions.divided(accounts, before[place], amounts)
            place = place[at]
        kinds = lines["kind"][place].astype(np.int64)
        parts.append(np.stack([rows[place], np.full(len(place), stage), accounts, kinds, sign * amounts]))
    return _Posted(*np.concatenate(parts, axis=1).astype(np.int64))


def stands_for(lines: Lines, offsets: Int64, divisions: Divisions) -> dict[tuple[int, int, int], int]:
    """Return the balances of all charges by consignment, account and kind of charge, without omissions."""
    posted = _postings(lines, offsets, divisions)
    sums: dict[tuple[int, int, int], int] = {}
    columns = (posted.row.tolist(), posted.account.tolist(), posted.kind.tolist(), posted.amount.tolist())
    for row, account, kind, amount in zip(*columns, strict=True):
        sums[row, account, kind] = sums.get((row, account, kind), 0) + amount
    return {key: total for key, total in sums.items() if total}


@dataclass(frozen=True, slots=True)
class PositionLines:
    """Lines that are held of the same consignments."""

    offsets: Int64
    lines: Lines
    currency: Sequence[str]
    destination: Sequence[str]
    divisions: Divisions = NONE
    """Of the revenue of these lines and of those that they are compared with."""


def difference(page: ChargePage, stored: PositionLines) -> Entries:
    """Return the entries that lead from the stored positions to those of a page, in its order.

    For each consignment and stage that differs: a reversal of what is held, then what is. Reversals come first, the
    last stage first. A change of currency or destination undoes all.
    """
    old = _postings(stored.lines, stored.offsets, stored.divisions)
    new = _postings(page.lines, page.offsets, stored.divisions)
    moved = np.array(
        [
            a != b or c != d
            for a, b, c, d in zip(stored.currency, page.currency, stored.destination, page.destination, strict=True)
        ],
        np.bool_,
    )
    changed = _changed(old, new, moved)
    before, after = _chosen(old, changed), _chosen(new, changed)
    # Where in its consignment an entry stands: reversals 0 to 3, the last stage first, then what is, 4 to 7.
    place = np.concatenate([before.row * 8 + 3 - before.stage, after.row * 8 + 4 + after.stage])
    account, kind = np.concatenate([before.account, after.account]), np.concatenate([before.kind, after.kind])
    amount = np.concatenate([-before.amount, after.amount])
    place, account, kind, amount = _by_account(place, account, kind, amount)
    heads, first = np.unique(place, return_index=True)
    row, which = heads // 8, heads % 8
    undone = which < 4
    stages = np.array(STAGES, np.int64)
    stage = np.where(undone, stages[3 - which % 4], stages[which % 4])
    rows = row.tolist()
    old_side = undone.tolist()
    return Entries(
        partition=page.partition[row],
        kind=np.where(undone, pb.ENTRY_KIND_REVERSED, stage),
        reverses=np.where(undone, stage, 0),
        mrn=[page.mrn[each] for each in rows],
        version=page.version[row],
        reference=[""] * len(rows),
        currency=[(stored if back else page).currency[each] for each, back in zip(rows, old_side, strict=True)],
        destination=[(stored if back else page).destination[each] for each, back in zip(rows, old_side, strict=True)],
        offsets=np.append(first, len(place)).astype(np.int64),
        account=account,
        charge_kind=kind,
        amount=amount,
    )


def _changed(old: _Posted, new: _Posted, moved: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return for each consignment and stage (row * 4 + stage) whether the stored lines differ from the new ones."""
    changed = np.repeat(moved, len(STAGES))
    both = [np.concatenate(pair) for pair in zip(_columns(old), _columns(new), strict=True)]
    if not len(both[0]):
        return changed
    signed = np.concatenate([-old.amount, new.amount])
    key = combined(both[:4])
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    sums = np.zeros(len(first), np.int64)
    # Amounts of one account in one stage of one consignment are bounded by its lines, so that this fits.
    np.add.at(sums, which.reshape(-1), signed)
    differs = first[sums != 0]
    changed[both[0][differs] * len(STAGES) + both[1][differs]] = True
    return changed


def _columns(posted: _Posted) -> tuple[Int64, Int64, Int64, Int64, Int64]:
    return posted.row, posted.stage, posted.account, posted.kind, posted.amount


def _chosen(posted: _Posted, changed: npt.NDArray[np.bool_]) -> _Posted:
    kept = changed[posted.row * len(STAGES) + posted.stage]
    return posted if kept.all() else _Posted(*(column[kept] for column in _columns(posted)))


def _by_account(place: Int64, account: Int64, kind: Int64, amount: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """Order postings by their entry, and sum those of one account and kind of charge; debits come first."""
    order = np.lexsort((kind, account, amount < 0, place))
    place, account, kind, amount = place[order], account[order], kind[order], amount[order]
    if not len(place):
        return place, account, kind, amount
    same = (place[1:] == place[:-1]) & (account[1:] == account[:-1]) & (kind[1:] == kind[:-1])
    starts = np.flatnonzero(np.append(True, ~same))
    return place[starts], account[starts], kind[starts], np.add.reduceat(amount, starts)
