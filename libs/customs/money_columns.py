"""Columns of money: exact arithmetic on many amounts at once, with the rules of `libs.customs.money`.

Results that do not fit an int64 raise MoneyOverflow; numpy alone would wrap without a word.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from libs.customs.money import MoneyError, MoneyOverflow, Rounding, scale

# Below this a product computed in float64 is surely below 2^63: its relative error is under 2^-50.
_SURELY_FITS: Final = 2.0**62


def scale_column(
    minor: NDArray[np.int64], numerator: ArrayLike, denominator: ArrayLike, rounding: Rounding
) -> NDArray[np.int64]:
    """Return minor * numerator / denominator for each row, rounded exactly; shape (n,), int64.

    `numerator` and `denominator` are whole numbers, one for all or one for each row; denominators are above 0.
    Rows whose products would not fit an int64 are done in Python's own numbers. Raises MoneyOverflow where a result
    does not fit, MoneyError where a denominator is not above 0.
    """
    values, tops, bottoms = np.broadcast_arrays(
        minor, np.asarray(numerator, dtype=np.int64), np.asarray(denominator, dtype=np.int64)
    )
    if values.size == 0:
        return np.zeros(values.shape, dtype=np.int64)
    if bottoms.min() <= 0:
        raise MoneyError(f"a denominator is {bottoms.min()}; it must be above 0")
    # Two limbs: value = q * bottom + r, so value * top / bottom = q * top + r * top / bottom, and r is below bottom.
    whole, rest = np.divmod(np.abs(values), bottoms)
    factor = np.abs(tops)
    high = np.abs(values.astype(np.float64)) * np.abs(tops.astype(np.float64)) / bottoms
    low = rest.astype(np.float64) * factor
    # abs of the least int64 is itself, negative; such rows go the long way as well.
    long_way = (high >= _SURELY_FITS) | (low >= _SURELY_FITS) | (whole < 0) | (rest < 0) | (factor < 0)
    if long_way.any():
        whole, rest, factor = (np.where(long_way, 0, part) for part in (whole, rest, factor))
    quotient, remainder = np.divmod(rest * factor, bottoms)
    quotient += whole * factor
    quotient += _rounds_up(quotient, remainder, bottoms, rounding)
    result = np.where((values < 0) != (tops < 0), -quotient, quotient)
    for row in np.flatnonzero(long_way):
        result[row] = scale(int(values[row]), int(tops[row]), int(bottoms[row]), rounding)
    return result


def _rounds_up(
    quotient: NDArray[np.int64], remainder: NDArray[np.int64], bottoms: NDArray[np.int64], rounding: Rounding
) -> NDArray[np.bool_]:
    # Compared by a difference, since twice the remainder might not fit.
    missing: NDArray[np.int64] = bottoms - remainder
    up: NDArray[np.bool_] = np.zeros(remainder.shape, dtype=np.bool_)
    if rounding is Rounding.HALF_UP:
        up = remainder >= missing
    elif rounding is Rounding.HALF_EVEN:
        up = (remainder > missing) | ((remainder == missing) & (quotient % 2 == 1))
    elif rounding is Rounding.UP:
        up = remainder > 0
    return up


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


def sum_column(column: NDArray[np.int64]) -> int:
    """Return the exact sum of a column as Python's own number, whatever its size."""
    high, low = column >> 32, column & 0xFFFFFFFF
    return (int(high.sum()) << 32) + int(low.sum())
