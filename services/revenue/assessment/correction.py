"""Adjustments: filings as they were assessed, with what an officer corrected, under the law of their own day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.assessment.inputs import CHILD_COLUMNS
from services.revenue.law.batch.arithmetic import Int64

AMOUNTS: Final = ("freight_minor", "freight_currency", "insurance_minor", "insurance_currency")
"""What an officer may correct of the whole consignment."""
NOT_ASSESSED: Final = "NOT_ASSESSED"
"""Reason of a row whose filing was never assessed here in that version, or is kept no more."""


def apply_corrections(stored: Table, corrections: Table, versions: Int64) -> Table:
    """Return filings with corrections applied; both are tables of ConsignmentColumns with the same rows.
    `versions` are those under which the answers are kept.

    Freight and insurance are those of `corrections` where it tells them. Of its items whatever is told takes the place of what the item with that
    number had; an item with a number that the filing does not have was found besides, and is added.
    """
    old, new = stored.ragged("items"), corrections.ragged("items")
    goods, told = stored.child("items"), corrections.child("items")
    numbers = _numbers(goods.ints("number"), old)
    places = {
        (row, number): at for at, (row, number) in enumerate(zip(old.owners().tolist(), numbers.tolist(), strict=True))
    }
    source, added = np.full(goods.rows, -1, dtype=np.int64), []
    owners = new.owners().tolist()
    for at, (row, number) in enumerate(zip(owners, _numbers(told.ints("number"), new).tolist(), strict=True)):
        place = places.get((row, number))
        if place is None:
            added.append(at)
        else:
            source[place] = at
    owner = np.concatenate([old.owners(), np.array([owners[at] for at in added], dtype=np.int64)])
    order = np.argsort(owner, kind="stable")
    below = np.concatenate([np.arange(goods.rows), np.full(len(added), -1, dtype=np.int64)])[order]
    above = np.concatenate([source, np.array(added, dtype=np.int64)])[order]
    columns: dict[str, Column] = {}
    for name in CHILD_COLUMNS["items"]:
        columns[name] = _laid_over(goods.column(name), told.column(name), below, above)
    counts = np.bincount(owner, minlength=stored.rows)
    columns["number"] = _laid_over(Ints.of(numbers), Ints.of(_numbers(told.ints("number"), new)), below, above)
    items = Ragged.of_lengths(counts, Table(goods.schema, len(order), columns))
    rows = np.arange(stored.rows)
    sums: dict[str, Column] = {
        name: _laid_over(stored.column(name), corrections.column(name), rows, rows) for name in AMOUNTS
    }
    return stored.with_columns({"version": Ints.of(versions), "items": items, **sums})


def _numbers(numbers: Ints, items: Ragged) -> Int64:
    """Return the number of each item: the declared one, else its place in its consignment."""
    owners = items.owners()
    offsets = np.asarray(items.offsets, dtype=np.int64)
    place = np.arange(len(owners), dtype=np.int64) - offsets[owners] + 1
    return np.where(numbers.valid, numbers.values, place)


def _laid_over(below: Column, above: Column, old: Int64, new: Int64) -> Column:
    """Return for each item the value, or the list, from `above` where it has one, else that from `below`; -1 = no such item."""
    if isinstance(below, Strings | Ragged):
        absent = Strings.absent(1) if isinstance(below, Strings) else Ragged.of_lengths([0], Strings.absent(0))
        parts: list[Any] = [below, above, absent]
        both: Strings | Ragged = type(below).concat(parts)
        nothing = len(below) + len(above)
        place = np.where(new >= 0, len(below) + new, nothing)
        picked = both.take(place)
        return both.take(np.where(picked.present, place, np.where(old >= 0, old, nothing)))
    kind = Ints if isinstance(below, Ints) else Bools
    assert isinstance(below, kind)
    assert isinstance(above, kind)
    upper, lower = _picked(above, new), _picked(below, old)
    return kind(np.where(upper[1], upper[0], lower[0]), upper[1] | lower[1])


def _picked(column: Ints | Bools, places: Int64) -> tuple[np.ndarray, np.ndarray]:
    if not len(column.values):
        return np.zeros(len(places), column.values.dtype), np.zeros(len(places), np.bool_)
    at = np.maximum(places, 0)
    return column.values[at], column.valid[at] & (places >= 0)


def placed_answers(answers: Sequence[tuple[Sequence[int], Table]], rows: int) -> Table:
    """Return answers of some rows at their places; the other rows get the reason NOT_ASSESSED."""
    missing = Table.of(AssessmentColumns, 1, {"reason": Strings.of([NOT_ASSESSED])})
    source = np.zeros(rows, dtype=np.int64)
    start = 1
    for asked, answer in answers:
        source[list(asked)] = np.arange(start, start + answer.rows)
        start += answer.rows
    return Table.concat([missing, *(answer for _, answer in answers)]).take(source)
