"""What is held of each consignment: the ledger's memory of clearance's states.

Consignments that are written together and whose MRNs stand close together have pages (`pages`), others have rows (`rows`). A consignment that
was first stored in a row keeps it. One that was first stored in a page is named by a page for ever; a row of it is valid in the place of the
page, until it is written in a page again. So each consignment is found once, by its row or by its pages, whoever writes meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.store.database import Transaction
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
    in_rows = await rows.read(tx, distinct)
    has_row = np.zeros(len(distinct), np.bool_)
    has_row[[row_of[mrn] for mrn in in_rows[0]]] = True
    stored = latest([*await pages.read(tx, distinct, has_row), in_rows], distinct)
    return stored if len(distinct) == len(mrns) else stored.take(np.array([row_of[mrn] for mrn in mrns], np.int64))


def latest(parts: Sequence[tuple[list[str], Positions]], mrns: Sequence[str]) -> Positions:
    """Return the positions of distinct consignments, in their order, from parts of which a later one is valid in the place of one before."""
    row_of = {mrn: row for row, mrn in enumerate(mrns)}
    source = np.full(len(mrns), -1, np.int64)
    count = 0
    for names, part in parts:
        at = np.array([row_of.get(mrn, -1) for mrn in names], np.int64)
        here = np.flatnonzero(at >= 0)
        source[at[here]] = count + here
        count += len(part)
    return Positions.concat([*(part for _, part in parts), Positions.nothing(1)]).take(source)


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
    positions = _positions(page, statuses, booked, stored, epoch)
    at = Located.by_mrn(page.mrn)
    in_page = at.are_dense(stored.form != ROW)
    chosen = np.flatnonzero(in_page)
    if len(chosen):
        mrns = [page.mrn[row] for row in chosen.tolist()]
        await pages.store(tx, mrns, Located(at.block[chosen], at.place[chosen]), positions.take(chosen))
        await pages.delete(tx, pages.superseded(stored.pages, set(mrns)))
        await rows.delete(tx, [page.mrn[row] for row in np.flatnonzero(in_page & (stored.form == PAGED_ROW)).tolist()])
    rest = np.flatnonzero(~in_page)
    if len(rest):
        paged = np.isin(stored.form[rest], (PAGE, PAGED_ROW)).tolist()
        await rows.store(tx, [page.mrn[row] for row in rest.tolist()], positions.take(rest), paged)


def _positions(
    page: ChargePage, statuses: DebtStatuses, booked: tuple[Int64, EntryPlaces], stored: Positions, epoch: int
) -> Positions:
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
        records[name] = values
    entry_offsets, entries = joined_by_row((stored.entry_offsets, stored.entries), booked)
    # The day of acceptance that is stored first stays.
    day = np.where(stored.exists, stored.day, page.day)
    return Positions(
        day, page.destination, page.currency, page.jurisdiction, records, page.offsets, page.lines, entry_offsets, entries,
        np.full(len(page), NONE, np.int64),
    )  # fmt: skip
