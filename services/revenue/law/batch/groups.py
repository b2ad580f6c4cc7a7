"""Groups of elements of a batch that have the same facts, so that a table is asked once for each group."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.batch.arithmetic import Int64


@dataclass(frozen=True, slots=True)
class Groups:
    """Elements by the group to which they belong."""

    ids: Int64
    """[element]: id of its group."""
    first: Int64
    """[group]: an element that stands for it; where the group has no element, any."""

    @staticmethod
    def by(*facts: tuple[NDArray[Any], int]) -> "Groups":
        """Group elements by facts: columns of whole numbers, each from 0 to below the number beside it.

        Where there could be more groups than elements, each element is a group of its own.
        """
        (first_column, groups), *others = facts
        ids, count = first_column.astype(np.int64), len(first_column)
        for column, most in others:
            groups *= most
            if most > 1 and groups <= count:
                ids = ids * most + column
        if groups > count:
            alone = np.arange(count)
            return Groups(alone, alone)
        first = np.zeros(groups, dtype=np.int64)
        first[ids] = np.arange(count)
        return Groups(ids, first)

    @property
    def count(self) -> int:
        """Return how many groups there may be."""
        return len(self.first)


def from_least(column: Int64) -> tuple[Int64, int]:
    """Count the numbers of a column from the least of them, as a fact of `Groups.by`."""
    if not len(column):
        return column, 1
    least, most = int(np.minimum.reduce(column)), int(np.maximum.reduce(column))
    return column - least, most - least + 1
