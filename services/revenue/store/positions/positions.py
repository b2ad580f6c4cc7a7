"""The position of each consignment in the ledger, after its newest state.

Consignments that are written together and have MRNs of one part of a block have pages (`pages`), others have rows (`rows`). A consignment that
was first stored in a row keeps it. One that was first stored in a page is named by a page for ever; a row of it is valid in the place of the
page, until it is written in a page again. So each consignment is found once, by its row or by its pages, whoever writes meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from libs.store.database import Transaction
from libs.store.errors import StoreMisuse
from services.revenue.ledger.charge import ChargePage
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.position import PaidOut
from services.revenue.store.positions import pages, rows
from services.revenue.store.positions.pages import Located
from services.revenue.store.positions.stored import (
    NONE,
    PAGE,
    PAGED_ROW,
    RECORD,
    ROW,
    EntryPlaces,
    Positions,
    joined_by_row,
)

NOT_ANNOUNCED: Final = 0
SETTLED: Final = 1
OPENED: Final = 2
"""What was announced last of a consignment's debt."""


async def read(tx: Transaction, mrns: Sequence[str]) -> Positions:
    """Read what is held of consignments, in their order.

    The transaction holds the heads of their partitions, or has one snapshot.
    """
    if not mrns:
        return Positions.nothing(0)
    distinct = list(dict.fromkeys(mrns))
    row_of = {mrn: row for row, mrn in enumerate(distinct)}
    row_mrns, in_rows = await rows.read(tx, distinct)
    has_row = np.zeros(len(distinct), np.bool_)
    has_row[[row_of[mrn] for mrn in row_mrns]] = True
    stored_pages, whole = await pages.read(tx, distinct, has_row)
    held = replace(latest(stored_pages, (row_mrns, in_rows), distinct), pages=whole)
    return held if len(distinct) == len(mrns) else held.take(np.array([row_of[mrn] for mrn in mrns], np.int64))


def latest(stored_pages: Sequence[Any], in_rows: tuple[list[str], Positions], mrns: Sequence[str]) -> Positions:
    """Return the positions of distinct consignments, in their order: those of rows, and of others that of the last page that names it.

    Pages of which nothing is valid for these consignments are not decoded. Raises ValueError where one that is needed is damaged.
    """
    row_of = {mrn: row for row, mrn in enumerate(mrns)}
    row_mrns, rows_positions = in_rows
    part_of, place_in = np.full(len(mrns), -1, np.int64), np.zeros(len(mrns), np.int64)
    named = [page["mrn"] for page in stored_pages]
    for part, names in enumerate([*named, row_mrns]):
        at = np.array([row_of.get(mrn, -1) for mrn in names], np.int64)
        here = np.flatnonzero(at >= 0)
        part_of[at[here]], place_in[at[here]] = part, here
    needed = [part for part in np.unique(part_of).tolist() if 0 <= part < len(named)]
    parts = [*(pages.decode(stored_pages[part]) for part in needed), rows_positions, Positions.nothing(1)]
    begins = np.cumsum([0, *(len(each) for each in parts)])
    begin_of = np.zeros(len(named) + 2, np.int64)
    begin_of[[*needed, len(named), -1]] = begins[:-1]
    return Positions.concat(parts).take(begin_of[part_of] + place_in)


@dataclass(frozen=True, slots=True)
class DebtStatuses:
    """The status of the debts of a page's consignments, one value each."""

    paid: Int64
    open: Int64
    refunded: Int64
    announced: Int64
    paid_out: PaidOut


async def store(
    tx: Transaction,
    page: ChargePage,
    statuses: DebtStatuses,
    booked: tuple[Int64, EntryPlaces],
    stored: Positions,
    *,
    epoch: int = 0,
) -> None:
    """Store what a page of an epoch says in the place of what is `stored`; `booked` is where the entries booked now stand.

    The transaction holds the heads of the partitions since before `stored` was read, and nothing was stored of these consignments since.
    """
    positions = next_positions(page, statuses, booked, stored, epoch)
    at = Located.by_mrn(page.mrn)
    in_page = at.in_pages(stored.form != ROW)
    chosen = np.flatnonzero(in_page)
    if len(chosen):
        mrns = [page.mrn[row] for row in chosen.tolist()]
        await pages.store(tx, mrns, Located(at.block[chosen], at.place[chosen]), positions.take(chosen), stored.pages)
        await pages.delete(tx, pages.useless(stored.pages, set(mrns)))
        await rows.delete(tx, [page.mrn[row] for row in np.flatnonzero(in_page & (stored.form == PAGED_ROW)).tolist()])
    rest = np.flatnonzero(~in_page)
    if len(rest):
        paged = np.isin(stored.form[rest], (PAGE, PAGED_ROW)).tolist()
        await rows.store(tx, [page.mrn[row] for row in rest.tolist()], positions.take(rest), paged)


def next_positions(
    page: ChargePage, statuses: DebtStatuses, booked: tuple[Int64, EntryPlaces], stored: Positions, epoch: int
) -> Positions:
    """Return the positions that follow from a page of an epoch and those that are stored. Raises StoreMisuse for numbers without room."""
    records = np.zeros(len(page), RECORD)
    for name, values in (
        ("version", page.version),
        ("epoch", np.maximum(stored.epoch, epoch)),
        ("filing_version", page.filing_version),
        ("paid", statuses.paid),
        ("open", statuses.open),
        ("refunded", statuses.refunded),
        ("announced", statuses.announced),
        ("paid_out", statuses.paid_out.minor),
        ("payee", statuses.paid_out.account),
        ("standing", page.basis.status),
        ("generation", page.basis.generation),
        ("adjusted", page.basis.adjusted),
        ("adjusted_at", page.basis.adjusted_at),
    ):
        limits = np.iinfo(RECORD[name])
        if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
            raise StoreMisuse(f"{name} of a position does not fit into {limits.bits} bits")
        records[name] = values
    entry_offsets, entries = joined_by_row((stored.entry_offsets, stored.entries), booked)
    # The day of acceptance that is stored first stays.
    day = np.where(stored.exists, stored.day, page.day)
    return Positions(
        day, page.destination, page.currency, page.jurisdiction, records, page.offsets, page.lines, entry_offsets, entries,
        np.full(len(page), NONE, np.int64),
    )  # fmt: skip
