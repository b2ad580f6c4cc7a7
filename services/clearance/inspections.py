"""What inspections found, as columns of the state. The numbers are those of luxor.clearance.v1; a test compares them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Table

INSPECTED: Final = ("inspected_at", "inspection_method", "inspection_result", "inspected_by")
"""Columns of the state that tell the last inspection."""


class Result(IntEnum):
    """What an inspection found; a higher number is graver."""

    CONFORM = 1
    VIOLATION = 2


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an inspection of one consignment found."""

    method: int
    result: Result
    """The gravest of all that was found."""
    whole: Result | None
    """What counts for each item; None where only `items` were inspected."""
    violation: int
    """What was wrong with the whole; 0 for nothing."""
    items: Mapping[int, tuple[Result, int]]
    """Result and violation by number of the item."""
    note: str = ""


def missing_item(table: Table, inspections: Mapping[str, Inspection]) -> list[bool]:
    """Tell for each state whether an item that was inspected is not among its goods."""
    items = table.ragged("items")
    numbers = table.child("items").ints("number").values.tolist()
    mrns = table.strings("mrn").tolist()
    return [not inspections[mrn].items.keys() <= set(numbers[items.span(row)]) for row, mrn in enumerate(mrns)]


def inspected(
    table: Table, done: NDArray[np.bool_], inspections: Mapping[str, Inspection], at: int
) -> dict[str, Column]:
    """Give the columns of states after inspections by MRN, which took effect in the rows `done`; items that were not inspected tell nothing."""
    items = table.ragged("items")
    goods = table.child("items")
    numbers = goods.ints("number").values.tolist()
    results, violations = goods.ints("inspection_result").tolist(), goods.ints("violation").tolist()
    method, result = table.ints("inspection_method").tolist(), table.ints("inspection_result").tolist()
    for row, mrn in enumerate(table.strings("mrn").tolist()):
        if not done[row]:
            continue
        found = inspections[mrn]
        method[row], result[row] = found.method, int(found.result)
        span = items.span(row)
        for place in range(span.start, span.stop):
            told = found.items.get(numbers[place])
            if told is None and found.whole is not None:
                told = (found.whole, found.violation)
            results[place] = None if told is None else int(told[0])
            violations[place] = None if told is None else told[1] or None
    below: dict[str, Column] = {"inspection_result": _ints(results), "violation": _ints(violations)}
    before = table.ints("inspected_at")
    return {
        "inspected_at": Ints.of(np.where(done, at, before.values), before.valid | done),
        "inspection_method": _ints(method),
        "inspection_result": _ints(result),
        "items": Ragged(items.offsets, goods.with_columns(below)),
    }


def _ints(values: list[int | None]) -> Ints:
    return Ints.of([value or 0 for value in values], [value is not None for value in values])
