"""Stores under which master documents and receptacles amended consignments travel, and whom their filings name as carrier."""

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from services.clearance.consignment.state.transport_numbers import added_receptacles, only_receptacle
from services.clearance.store import Store


async def store_numbers(
    store: Store, tx: Transaction, former: Table, table: Table, ref: BatchRef, days: list[int]
) -> set[str]:
    """Store the documents of the states in the batch `ref`, accepted on `days`, where they differ from the `former` ones.

    Return the numbers of goods that moved or name another carrier: arrivals under them may have an effect now.
    """
    mrns, masters, named = (
        table.strings(name).tolist() for name in ("mrn", "master_document_number", "carrier_identifier")
    )
    moved, renamed = (differs(former, table, name) for name in ("master_document_number", "carrier_identifier"))
    packed, unpacked, before = (
        added_receptacles(table, former),
        added_receptacles(former, table),
        added_receptacles(former),
    )
    masters_before = former.strings("master_document_number").tolist()
    left = [(masters_before[row], row) for row in np.flatnonzero(moved).tolist()]
    if left or unpacked:
        numbers, rows = zip(*left, *unpacked, strict=True)
        await store.references.note_moved(tx, numbers, [mrns[row] for row in rows])
    # The receptacle before may be the master document now.
    entered = moved.copy()
    entered[[row for number, row in before if moved[row] and number == masters[row]]] = False
    await store.references.add_documents(tx, table, ref, mrns, days, entered, packed)
    under = [*zip(masters, range(table.rows), strict=True), *added_receptacles(table)]
    if renamed.any():
        new = {*packed, *((masters[row], row) for row in np.flatnonzero(entered).tolist())}
        stay = [(number, row) for number, row in under if renamed[row] and (number, row) not in new]
        columns = ([values[row] for _, row in stay] for values in (mrns, named))
        await store.references.add_names(tx, [number for number, _ in stay], *columns)
    # A number that leads to goods as before may be the only receptacle now.
    pairs = zip(only_receptacle(former).tolist(), only_receptacle(table).tolist(), strict=True)
    changed = renamed | moved | np.array([was != now for was, now in pairs], np.bool_)
    changed[[row for _, row in (*packed, *unpacked)]] = True
    return {number for number, row in under if changed[row]}


def differs(before: Table, after: Table, name: str) -> NDArray[np.bool_]:
    """Return in which rows a text column changed."""
    was, now = (table.strings(name).tolist() for table in (before, after))
    return np.array([old != new for old, new in zip(was, now, strict=True)], np.bool_)
