"""Paths of elements as filers know them: consignments[3].items[0].price.minor is a value of the column price_minor of the items."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy.typing as npt

from services.ingestion.filing import elements

Place: TypeAlias = Callable[[int], str]
"""Returns the path of a row of a table."""

_PATHS: Final = elements.paths()
_CHILD_PATHS: Final = {"price_minor": "price.minor", "price_currency": "price.currency",
                       "tax_charged_minor": "tax_charged.minor", "tax_charged_currency": "tax_charged.currency",
                       "amount_minor": "amount.minor", "amount_currency": "amount.currency"}  # fmt: skip


def consignment_place(row: int) -> str:
    """Return the path of a consignment."""
    return f"consignments[{row}]"


def entry_place(above: Place, name: str, offsets: npt.NDArray[Any]) -> Place:
    """Return the paths of the entries of lists: `name` is the column of the lists in the table with the rows `above`."""

    starts: list[int] = []

    def place(row: int) -> str:
        if not starts:
            starts.extend(offsets.tolist())
        # The last list that begins at the entry or before it: those before it that begin there too are empty.
        owner = bisect_right(starts, row) - 1
        return f"{above(owner)}.{name}[{row - starts[owner]}]"

    return place


def element_path(place: Place, row: int, column: str, root: bool) -> str:
    """Return the path of an element; `root` for the columns of a consignment, not of a table below it."""
    names = _PATHS if root else _CHILD_PATHS
    return f"{place(row)}.{names.get(column, column)}"
