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
    added, removed = added_receptacles(table, former), added_receptacles(former, table)
    former_masters = former.strings("master_document_number").tolist()
    removed_masters = [(former_masters[row], row) for row in np.flatnonzero(moved).tolist()]
    if removed_masters or removed:
        numbers, rows = zip(*removed_masters, *removed, strict=True)
        await store.references.note_moved(tx, numbers, [mrns[row] for row in rows])
    # A number that was a receptacle, and is the master document now, leads to the goods already.
    new_masters = moved.copy()
    new_masters[[row for number, row in added_receptacles(former) if moved[row] and number == masters[row]]] = False
    await store.references.add_documents(tx, table, ref, mrns, days, new_masters, added)
    numbers_now = [*zip(masters, range(table.rows), strict=True), *added_receptacles(table)]
    if renamed.any():
        new = {*added, *((masters[row], row) for row in np.flatnonzero(new_masters).tolist())}
        unchanged = [(number, row) for number, row in numbers_now if renamed[row] and (number, row) not in new]
        columns = ([values[row] for _, row in unchanged] for values in (mrns, named))
        await store.references.add_names(tx, [number for number, _ in unchanged], *columns)
    # A number that leads to goods as before may be the only receptacle now.
    pairs = zip(only_receptacle(former).tolist(), only_receptacle(table).tolist(), strict=True)
    changed = renamed | moved | np.array([before != after for before, after in pairs], np.bool_)
    changed[[row for _, row in (*added, *removed)]] = True
    return {number for number, row in numbers_now if changed[row]}


def differs(before: Table, after: Table, name: str) -> NDArray[np.bool_]:
    """Return in which rows a text column changed."""
    values = (table.strings(name).tolist() for table in (before, after))
    return np.array([one != other for one, other in zip(*values, strict=True)], np.bool_)
