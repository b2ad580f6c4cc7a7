"""Lines, pages and entries of the ledger as its pure functions take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.revenue.ledger.charge import Basis, ChargePage
from services.revenue.ledger.entry import Entries, Int64
from services.revenue.ledger.line import COLLECTED, LINE, OPEN, SECURED, Lines
from services.revenue.ledger.position import PaidOut

TREASURY = 90
VENDOR, GUARANTEE = 70, 80


def numbers(*values: int) -> Int64:
    """A column."""
    return np.array(values, np.int64)


def line(
    debtor: int, amount: int, how: int = OPEN, *, kind: int = 1, entitled: int = 0, remitted: int = 0, refunded: int = 0
) -> Lines:
    """One line; a guarantee stands for one that is secured, and a vendor owes one that is collected."""
    found = np.zeros(1, LINE)
    account = {OPEN: debtor, SECURED: GUARANTEE, COLLECTED: VENDOR}[how]
    found["debtor"], found["account"] = VENDOR if how == COLLECTED else debtor, account
    found["treasury"], found["kind"], found["how"], found["amount"] = TREASURY, kind, how, amount
    found["entitled"], found["remitted"], found["refunded"] = entitled, remitted, refunded
    return found


def joined(*consignments: Sequence[Lines]) -> tuple[Int64, Lines]:
    """Offsets and lines of consignments."""
    lengths = np.array([len(each) for each in consignments], np.int64)
    parts = [one for each in consignments for one in each]
    offsets = np.concatenate([numbers(0), np.cumsum(lengths)]).astype(np.int64)
    return offsets, np.concatenate([np.zeros(0, LINE), *parts])


def page_of(
    *consignments: Sequence[Lines], currency: Sequence[str] = (), destination: Sequence[str] = ()
) -> ChargePage:
    """Consignments M0, M1 … in partitions 10, 11 …, in versions 20, 21 …"""
    count = len(consignments)
    every = np.arange(count, dtype=np.int64)
    offsets, lines = joined(*consignments)
    return ChargePage(
        [f"M{row}" for row in range(count)], every + 10, every + 20, every + 30, every + 40,
        list(destination) or ["DE"] * count, list(currency) or ["EUR"] * count, ["EU"] * count,
        Basis(every + 50, every + 60, every + 70, every + 80), offsets, lines,
    )  # fmt: skip


def paid_out(*parts: tuple[int, int]) -> PaidOut:
    """What was paid out of consignments: amount and account of each."""
    return PaidOut(numbers(*(minor for minor, _ in parts)), numbers(*(account for _, account in parts)))


def entries_with(*amounts: Sequence[int], mrn: Sequence[str] = (), reference: Sequence[str] = ()) -> Entries:
    """Entries by the amounts of their postings; each column has values of its own."""
    count = len(amounts)
    every = np.arange(count, dtype=np.int64)
    flat = numbers(*(each for entry in amounts for each in entry))
    places = np.arange(len(flat), dtype=np.int64)
    offsets = np.concatenate([numbers(0), np.cumsum(numbers(*(len(entry) for entry in amounts)))]).astype(np.int64)
    return Entries(
        every + 1, every + 2, every + 3, list(mrn) or [f"M{row}" for row in range(count)], every + 4,
        list(reference) or [f"R{row}" for row in range(count)], [f"C{row}" for row in range(count)],
        [f"D{row}" for row in range(count)], offsets, places + 5, places + 6, flat,
    )  # fmt: skip


def rows_of(entries: Entries) -> list[tuple[object, ...]]:
    """Entries one by one: all columns, with their postings as account, kind of charge and amount."""
    postings = list(zip(entries.account.tolist(), entries.charge_kind.tolist(), entries.amount.tolist(), strict=True))
    bounds = entries.offsets.tolist()
    assert bounds[0] == 0
    assert bounds[-1] == len(postings)
    return [
        (
            int(entries.partition[row]), int(entries.kind[row]), int(entries.reverses[row]), entries.mrn[row],
            int(entries.version[row]), entries.reference[row], entries.currency[row], entries.destination[row],
            postings[bounds[row] : bounds[row + 1]],
        )
        for row in range(len(entries))
    ]  # fmt: skip
