"""Whole-number arithmetic on columns of money that is exact or refused, never wrapped and never a float.

numpy's int64 wraps silently. Every product here is either proven to fit by the largest operands of the batch, or
done in Python's unbounded integers for that batch; a result over `LARGEST` is refused element by element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

LARGEST = 10**15
"""No amount of an assessment exceeds this many minor units."""
FITS = 2**62
"""What int64 holds with room for one rounding."""


def some(flags: Flags) -> bool:
    """Return whether any is set; several times faster on short columns than the array's own method."""
    return 1 in flags.tobytes()


def every(flags: Flags) -> bool:
    """Return whether all are set."""
    return 0 not in flags.tobytes()


class Rounding(IntEnum):
    """How a remainder is treated; amounts are never negative."""

    DOWN = 0
    HALF_UP = 1
    HALF_EVEN = 2
    UP = 3


# Looking a member up costs more than the arithmetic on a short column.
_DOWN, _HALF_UP, _HALF_EVEN, _UP = (int(rounding) for rounding in Rounding)
_HALVES = (0, 1, 1, 2)
_HALVES_BY_MODE = np.array(_HALVES, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Division:
    """A division and how its result is rounded; each part is one number for all amounts, or one for each kind of them."""

    divisor: Int64 | int
    mode: Int64 | int
    unit: Int64 | int
    """Results are multiples of it."""
    step: Int64 | int
    """Divisor times unit; 0 where int64 may not hold it."""
    head_start: Int64 | int
    """What turns a division that rounds down into one that rounds by the mode: nothing, half a step, nearly a step."""

    @staticmethod
    def by(divisor: Int64 | int, mode: Int64 | int, unit: Int64 | int) -> "Division":
        """Prepare a division; divisors and units are positive. Columns have one element a kind, and at least one."""
        # One divisor for the whole column lets numpy divide by multiplication, several times faster.
        step = one_or_each(divisor * unit) if _most(divisor) * _most(unit) < FITS else 0
        how = one_or_each(mode)
        halves = _HALVES[how] if isinstance(how, int) else _HALVES_BY_MODE[how]
        return Division(divisor, how, one_or_each(unit), step, (step * halves >> 1) - (how == _UP))

    def divide(self, amounts: Int64, factor: Int64 | int, refused: Flags, kind: Int64 | None = None) -> Int64:
        """Return amounts * factor, divided and rounded; factors are one for all amounts, or one each, none negative.

        `kind` says of each amount where its parts of the division stand; without it each has its own. Elements whose
        result is over LARGEST become 0 and are marked in `refused`, which is changed in place.
        """
        if not len(amounts):
            return amounts.copy()
        if (
            amounts.dtype == object
            or (isinstance(self.step, int) and not self.step)
            or (largest := _most(amounts) * _most(factor)) >= FITS
        ):
            parts, how, size = (_of_kind(column, kind) for column in (self.divisor, self.mode, self.unit))
            return _unbounded(amounts, factor, parts, how, size, refused)
        product, step, how = amounts * factor, _of_kind(self.step, kind), self.mode
        # Below 2^62 + 2^62: what is added before the division is less than one step.
        quotient = (product + _of_kind(self.head_start, kind)) // step
        if how == _HALF_EVEN if isinstance(how, int) else some(how == _HALF_EVEN):
            tie = (2 * (product % step) == step) & ((quotient & 1) == 1) & (_of_kind(how, kind) == _HALF_EVEN)
            quotient = quotient - tie
        if isinstance(self.unit, int) and self.unit == 1:
            # No quotient is over its product, not even one that is rounded up.
            return quotient if largest <= LARGEST else _refuse_large(quotient, refused)
        # The product of the quotient and the unit is at most the product above plus one unit: it fits.
        return _refuse_large(quotient * _of_kind(self.unit, kind), refused)


def mul_div_round(
    amounts: Int64, factor: Int64 | int, divisor: Int64 | int, mode: Int64 | int, unit: Int64 | int, refused: Flags
) -> Int64:
    """Return amounts * factor / divisor, rounded to a multiple of `unit` by `mode`; one for all, or one an element.

    Amounts and factors are not negative, divisors and units positive. Elements whose result is over LARGEST become 0
    and are marked in `refused`, which is changed in place.
    """
    return Division.by(divisor, mode, unit).divide(amounts, factor, refused) if len(amounts) else amounts.copy()


def _of_kind(column: Int64 | int, kind: Int64 | None) -> Int64 | int:
    return column if kind is None or isinstance(column, int) else column[kind]


def one_or_each(column: Int64 | int) -> Int64 | int:
    """Return the single number of a column, or the column if it has several; it is not empty."""
    if isinstance(column, int):
        return column
    first = int(column[0])
    return first if every(column == first) else column


def _most(column: Int64 | int) -> int:
    return column if isinstance(column, int) else int(np.maximum.reduce(column))


def in_order(numbers: Int64, below: int) -> Int64:
    """Return the places of numbers, 0 to below `below`, in ascending order of the numbers; equal ones retain their order."""
    # Numbers of 16 bits are sorted by their digits, ten times as fast as others are by comparing.
    order: Int64 = (numbers.astype(np.uint16) if below <= 1 << 16 else numbers).argsort(kind="stable")
    return order


def _refuse_large(result: Int64, refused: Flags) -> Int64:
    large = result > LARGEST
    if some(large):
        refused |= large
        result[large] = 0
    return result


def _unbounded(
    amounts: Int64, factor: Int64 | int, divisor: Int64 | int, mode: Int64 | int, unit: Int64 | int, refused: Flags
) -> Int64:
    result = np.zeros(len(amounts), dtype=np.int64)
    columns: Sequence[list[Any]] = [
        [column] * len(amounts) if isinstance(column, int) else column.tolist()
        for column in (amounts, factor, divisor, mode, unit)
    ]
    for place, (amount, times, parts, how, size) in enumerate(zip(*columns, strict=True)):
        step = parts * size
        quotient, remainder = divmod(amount * times, step)
        rest = step - remainder
        if (
            (how == _UP and remainder)
            or (how == _HALF_UP and remainder >= rest)
            or (how == _HALF_EVEN and (remainder > rest or (remainder == rest and quotient & 1)))
        ):
            quotient += 1
        if quotient * size > LARGEST:
            refused[place] = True
        else:
            result[place] = quotient * size
    return result


def unbounded(
    numerators: NDArray[Any], divisors: NDArray[Any], mode: Int64 | int, unit: Int64 | int, refused: Flags
) -> Int64:
    """Do as `mul_div_round` with factor 1 on arrays of Python's own integers, whatever their size."""
    return _unbounded(numerators, 1, divisors, mode, unit, refused)


def row_totals(values: Int64, item_row: Int64, rows: int) -> Int64:
    """Return for each of `rows` rows the sum of its items; item i belongs to the row item_row[i]. A row's sum must fit."""
    sums = np.zeros(rows, dtype=np.int64)
    np.add.at(sums, item_row, values)
    return sums


def apportion(totals: Int64, weights: Int64, offsets: Int64, item_row: Int64) -> Int64:
    """Share each row's total among its items by weight, so that the shares of a row sum to its total exactly.

    The share of an item is floor(total * weights up to and with it / all weights) less what its predecessors got: what
    remains of the division goes to the later items, the same way each time. Rows without weight share equally.
    Totals and weights are at most LARGEST each.
    """
    if not some(totals != 0):
        return np.zeros(len(weights), dtype=np.int64)
    starts, ends = offsets[:-1], offsets[1:]
    running = np.zeros(len(weights) + 1, dtype=np.int64)
    weights.cumsum(out=running[1:])
    before = running[starts]
    whole = running[ends] - before
    if not every(whole != 0):
        equal = (whole == 0) & (ends > starts)
        if some(equal):
            return apportion(totals, np.where(equal[item_row], 1, weights), offsets, item_row)
        starts = starts[ends > starts]
    upto = running[1:] - before[item_row]
    total, all_weights = totals[item_row], whole[item_row]
    if _most(totals) * _most(whole) < FITS:
        reached = total * upto // all_weights
    else:
        reached = np.array(
            [t * u // w for t, u, w in zip(total.tolist(), upto.tolist(), all_weights.tolist(), strict=True)],
            dtype=np.int64,
        )
    shares: Int64 = reached.copy()
    shares[1:] -= reached[:-1]
    shares[starts] = reached[starts]
    return shares
