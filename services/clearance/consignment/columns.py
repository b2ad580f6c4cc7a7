"""Columns of states: choosing between two columns by row, the numbers of items, the last movement, and the place of the previous version. Pure."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Ints, Ragged, Strings, Table
from luxor.clearance.v1.clearance_pb2 import TRANSIT_OUTCOME_LOST

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_Values = TypeVar("_Values", Ints, Bools, Strings, Ragged, Table)

TRANSIT_COLUMNS: Final = (
    "transit_departure_office",
    "transit_destination_office",
    "transit_started_at",
    "transit_due_at",
    "transit_overdue_at",
    "transit_ended_at",
    "transit_outcome",
    "transit_difference",
    "transit_seal",
    "transit_document_number",
    "transit_guarantee_reference",
)
"""Columns of the state about the last movement; absent in consignments that were never moved."""


def choose(rows: BoolArray, new: _Values, old: _Values) -> _Values:
    """Return a column or table with the values of `new` in some rows and those of `old` in the others; all have n rows."""
    if rows.all():
        return new
    places = np.arange(len(rows))
    return type(new).concat([old, new]).take(np.where(rows, places + len(rows), places))


def values_in_rows(column: Strings, rows: BoolArray) -> Strings:
    """Return a column with the values of some rows; the others are absent."""
    dictionary = list(column.dictionary)
    if "" not in dictionary:
        dictionary.append("")
    return Strings(dictionary, np.where(rows, column.indices, dictionary.index("")).astype(np.int32)).compact()


def item_numbers(states: Table) -> IntArray:
    """Return the number of each item of all states, shape (items,): as filed, else its place in its consignment from 1."""
    items, number = states.ragged("items"), states.child("items").ints("number")
    owners = items.owners()
    return np.where(number.valid, number.values, np.arange(len(owners)) - items.offsets[owners] + 1)


def with_previous(table: Table, day: Sequence[int], number: Sequence[int], row: Sequence[int]) -> Table:
    """Return the states with the place where the previous version of each is stored; day 0 stands for no previous version."""
    valid = np.asarray(day, np.int64) > 0
    return table.with_columns(
        {
            "previous_batch_day": Ints.of(np.asarray(day, np.int64), valid),
            "previous_batch_id": Ints.of(np.asarray(number, np.int64), valid),
            "previous_batch_row": Ints.of(np.asarray(row, np.int64), valid),
        }
    )


def previous(table: Table) -> list[tuple[int, int, int] | None]:
    """Return for each state where the previous version is stored: day and id of its batch, and the row."""
    days = table.ints("previous_batch_day")
    places = zip(
        days.values.tolist(),
        table.ints("previous_batch_id").values.tolist(),
        table.ints("previous_batch_row").values.tolist(),
        strict=True,
    )
    return [place if there else None for place, there in zip(places, days.valid.tolist(), strict=True)]


def incomplete(states: Table) -> BoolArray:
    """Return which filings lack a required part, or were made before the declaration, shape (n,)."""
    found: BoolArray = states.ragged("missing_roles").lengths > 0
    return found | (states.ragged("incomplete_stages").lengths > 0)


def was_moved(table: Table) -> BoolArray:
    """Return of which goods a movement began, shape (n,)."""
    return table.ints("transit_started_at").valid


def is_lost(table: Table) -> BoolArray:
    """Return which goods a movement lost, shape (n,): what is owed of them stays due (UCC, article 79)."""
    moved = was_moved(table)
    return moved & (table.ints("transit_outcome").filled(0) == TRANSIT_OUTCOME_LOST) if moved.any() else moved


def in_transit(table: Table) -> BoolArray:
    """Return which goods are in transit, shape (n,): their movement has begun and not ended."""
    moved = was_moved(table)
    return moved & ~table.ints("transit_ended_at").valid if moved.any() else moved
