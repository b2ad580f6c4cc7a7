"""Alike: elements of a batch that have the same facts, so that a table is asked once for all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.arithmetic import Int64


@dataclass(frozen=True, slots=True)
class Alike:
    """Elements by kind."""

    kind: Int64
    """[element]: number of its kind."""
    first: Int64
    """[kind]: an element that stands for it; where no element is of the kind, any."""

    @staticmethod
    def by(*facts: tuple[NDArray[Any], int]) -> "Alike":
        """Sort elements by facts: columns of whole numbers, each from 0 to below the number beside it.

        Where there could be more kinds than elements, each element is a kind of its own.
        """
        (first_column, kinds), *others = facts
        kind, count = first_column.astype(np.int64), len(first_column)
        for column, most in others:
            kinds *= most
            if most > 1 and kinds <= count:
                kind = kind * most + column
        if kinds > count:
            alone = np.arange(count)
            return Alike(alone, alone)
        first = np.zeros(kinds, dtype=np.int64)
        first[kind] = np.arange(count)
        return Alike(kind, first)

    @property
    def kinds(self) -> int:
        """How many kinds there may be."""
        return len(self.first)


def from_least(column: Int64) -> tuple[Int64, int]:
    """Count the numbers of a column from the least of them, as a fact of `Alike.by`."""
    if not len(column):
        return column, 1
    least, most = int(np.minimum.reduce(column)), int(np.maximum.reduce(column))
    return column - least, most - least + 1
