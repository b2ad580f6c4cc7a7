"""Columns of money: exact sums of many amounts at once.

Results that do not fit an int64 raise MoneyOverflow; numpy alone would wrap without a word.
"""

import numpy as np
from numpy.typing import NDArray

from libs.customs.money import MoneyOverflow


# Below this a product computed in float64 is surely below 2^63: its relative error is under 2^-50.
def add_columns(*columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of columns row by row, int64. Raises MoneyOverflow where a sum does not fit."""
    total = np.array(columns[0], dtype=np.int64)
    for column in columns[1:]:
        fresh = total + column
        # A sum wrapped if both parts have one sign and the sum the other.
        if np.any(((total ^ fresh) & (column ^ fresh)) < 0):
            raise MoneyOverflow("a sum of amounts does not fit 64 bits; the parts are larger than any real amount")
        total = fresh
    return total
