"""Vectors: one value per row of a batch, with the rows that failed and the rows that have no value, and CEL's
arithmetic over them.

CEL (the Common Expression Language, cel-spec `langdef.md`) knows errors and unknowns as values: integer overflow and
division by zero are errors, what was computed from an absent element is unknown, `&&` and `||` absorb both, and
everything else passes them on, the unknown before the error. So a vector carries beside its data a mask of rows that
are errors, one of rows that are unknown, and one of rows that are null (an absent element itself, which `has`, `==` and
`in` can still ask about). No row is in two of them. A mask is None when no row has it set, which spares most of the
work on clean data. Under a set mask the data are arbitrary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
IndexArray = npt.NDArray[np.integer[Any]]
Mask = BoolArray | None
#: What a kernel returns: data of all rows and the rows that failed in it.
Computed = tuple[Any, Mask]

INT_MIN = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Interned:
    """Values of many rows, each distinct one held once: strings, or tuples of strings.

    `entries` need not be distinct or in use; `indices` has one entry a row.
    """

    entries: Sequence[Any]
    indices: IndexArray

    def take(self, index: IndexArray) -> Interned:
        return Interned(self.entries, self.indices[index])


@dataclass(frozen=True, slots=True)
class Segments:
    """Lists of many rows: row i holds `counts[i]` elements of `base` from `starts[i]` on. `base` is a column of values
    or a child table.
    """

    starts: IntArray
    counts: IntArray
    base: Any

    def take(self, index: IndexArray) -> Segments:
        return Segments(self.starts[index], self.counts[index], self.base)


# Not frozen, since a frozen one takes three times as long to make; nobody changes one.
@dataclass(slots=True, eq=False)
class Vec:
    """One value per row. `data` is an array, Interned, Segments, or one scalar that stands for every row (numpy's bool
    for truth values). `err` marks the rows that are errors, `null` the absent ones, `unk` those that are unknown since
    they were computed from absent ones.
    """

    data: Any
    err: Mask = None
    null: Mask = None
    unk: Mask = None

    def take(self, index: IndexArray) -> Vec:
        """The vector with row `index[i]` at row i; masks that end up empty are dropped."""
        data = self.data
        if isinstance(data, np.ndarray):
            data = data[index]
        elif isinstance(data, Interned | Segments):
            data = data.take(index)
        return Vec(data, _take_mask(self.err, index), _take_mask(self.null, index), _take_mask(self.unk, index))

    def unknown(self) -> Mask:
        """The rows that an operation on this cannot know: null or unknown."""
        return either(self.null, self.unk)

    def unusable(self) -> Mask:
        """The rows whose value cannot enter an operation: errors, unknown and null."""
        if self.err is None:
            return self.unk if self.null is None else either(self.null, self.unk)
        return either(self.err, self.unknown())

    @property
    def certain(self) -> bool:
        """Whether every row has a value."""
        return self.err is None and self.null is None and self.unk is None


def _take_mask(mask: Mask, index: IndexArray) -> Mask:
    if mask is None or mask.ndim == 0:
        return mask
    taken = mask[index]
    return taken if np.count_nonzero(taken) else None


def either(first: Mask, second: Mask) -> Mask:
    """The union of two masks."""
    if first is None:
        return second
    return first if second is None else first | second


def some(mask: BoolArray) -> Mask:
    """The mask, or None if it is empty."""
    return mask if np.count_nonzero(mask) else None


def without(mask: Mask, other: Mask) -> Mask:
    """The rows of a mask that are not in the other."""
    return mask if mask is None or other is None else some(mask & ~other)


def strictly(data: Any, err: Mask, operands: Sequence[Vec]) -> Vec:
    """The result of a strict operation that failed in `err`: unknown where an operand is unknown or null, else an error
    where an operand or the operation is one (cel-spec leaves the order open; the unknown wins, as in cel-cpp and
    cel-go, since with the missing data there might be no error).
    """
    unk: Mask = None
    for operand in operands:
        if operand.err is not None:
            err = either(err, operand.err)
        if operand.null is not None or operand.unk is not None:
            unk = either(unk, operand.unknown())
    return Vec(data, without(err, unk), None, unk)


# --- int64, as CEL has it: overflow and division by zero are errors, division truncates toward zero -------------------


def add_int(a: Any, b: Any) -> Computed:
    total = np.add(a, b, dtype=np.int64)
    return total, some(((a ^ total) & (b ^ total)) < 0)


def sub_int(a: Any, b: Any) -> Computed:
    difference = np.subtract(a, b, dtype=np.int64)
    return difference, some(((a ^ b) & (a ^ difference)) < 0)


def mul_int(a: Any, b: Any) -> Computed:
    product = np.multiply(a, b, dtype=np.int64)
    # Doubles are exact enough to tell what is far from the limit; only rows near or over it need the exact test.
    rough = np.abs(np.multiply(a, b, dtype=np.float64))
    suspect = rough >= 2.0**62
    if not np.count_nonzero(suspect):
        return product, None
    a_rows, b_rows = np.broadcast_arrays(np.asarray(a, np.int64), np.asarray(b, np.int64))
    err = np.zeros(product.shape, bool)
    for row in np.flatnonzero(suspect):
        err[row] = not INT_MIN <= int(a_rows[row]) * int(b_rows[row]) < -INT_MIN
    return product, some(err)


def _divisible(a: Any, b: Any) -> tuple[Any, Mask]:
    """The divisor with harmless ones where division fails, and where it fails."""
    zero_or_limit = (np.equal(b, 0)) | (np.equal(b, -1) & np.equal(a, INT_MIN))
    if not np.count_nonzero(zero_or_limit):
        return b, None
    return np.where(zero_or_limit, 1, b), np.broadcast_to(zero_or_limit, np.broadcast_shapes(np.shape(a), np.shape(b)))


def div_int(a: Any, b: Any) -> Computed:
    divisor, err = _divisible(a, b)
    floor = np.floor_divide(a, divisor, dtype=np.int64)
    inexact_negative = (floor * divisor != a) & (np.less(a, 0) != np.less(divisor, 0))
    return floor + inexact_negative, err


def mod_int(a: Any, b: Any) -> Computed:
    divisor, err = _divisible(a, b)
    return np.fmod(a, divisor, dtype=np.int64), err


def neg_int(a: Any) -> Computed:
    return np.negative(a), some(np.equal(a, INT_MIN))


def int_of_double(a: Any) -> Computed:
    outside = ~((a > -(2.0**63)) & (a < 2.0**63))
    return np.where(outside, 0.0, a).astype(np.int64), some(outside)


def double_of_int(a: Any) -> Computed:
    return np.asarray(a, np.int64).astype(np.float64), None


def quiet(kernel: Callable[..., Any]) -> Callable[..., Computed]:
    """A kernel of doubles: infinities and NaN are values of CEL, and no reason for a warning."""

    def computed(*operands: Any) -> Computed:
        with np.errstate(all="ignore"):
            return kernel(*operands), None

    return computed


def never_fails(kernel: Callable[..., Any]) -> Callable[..., Computed]:
    """A kernel of a function that has a value for every argument."""

    def computed(*operands: Any) -> Computed:
        return kernel(*operands), None

    return computed


# --- logic ------------------------------------------------------------------------------------------------------------


def conjunction(a: Vec, b: Vec) -> Vec:
    """CEL's `&&`: false wherever one side is false, else unknown wherever one side is unknown or null, else an error
    wherever one side is one, else true.
    """
    a_bad, b_bad = a.unusable(), b.unusable()
    if a_bad is None and b_bad is None:
        return Vec(a.data & b.data)
    open_rows = ~(_certain(~a.data, a_bad) | _certain(~b.data, b_bad))
    return _undecided(open_rows, open_rows, a, b)


def disjunction(a: Vec, b: Vec) -> Vec:
    """CEL's `||`: true wherever one side is true, else unknown wherever one side is unknown or null, else an error
    wherever one side is one, else false.
    """
    a_bad, b_bad = a.unusable(), b.unusable()
    if a_bad is None and b_bad is None:
        return Vec(a.data | b.data)
    true = _certain(a.data, a_bad) | _certain(b.data, b_bad)
    return _undecided(true, ~true, a, b)


def _undecided(data: Any, open_rows: Any, a: Vec, b: Vec) -> Vec:
    """Errors and unknowns of both sides in the rows that neither side decides."""
    unk, err = either(a.unknown(), b.unknown()), either(a.err, b.err)
    unk = None if unk is None else some(unk & open_rows)
    err = None if err is None else without(some(err & open_rows), unk)
    return Vec(data, err, None, unk)


def _certain(data: Any, bad: Mask) -> Any:
    return data if bad is None else data & ~bad


def choose(condition: Vec, yes: Vec, no: Vec) -> Vec:
    """CEL's ternary: by row the value, error, unknown or null of the branch that the condition picks; an error where
    the condition is one, unknown where it is unknown or null.
    """
    picked = condition.data
    bad, unknown = condition.unusable(), condition.unknown()
    err = either(condition.err, without(_choose_mask(picked, yes.err, no.err), bad))
    unk = either(unknown, without(_choose_mask(picked, yes.unk, no.unk), bad))
    null = without(_choose_mask(picked, yes.null, no.null), bad)
    if isinstance(yes.data, Interned | str) or isinstance(no.data, Interned | str):
        left, right = interned(yes.data), interned(no.data)
        indices = np.where(picked, left.indices, right.indices + len(left.entries))
        return Vec(Interned([*left.entries, *right.entries], indices), err, null, unk)
    return Vec(np.where(picked, yes.data, no.data), err, null, unk)


def _choose_mask(picked: Any, yes: Mask, no: Mask) -> Mask:
    if yes is None and no is None:
        return None
    return some(np.where(picked, False if yes is None else yes, False if no is None else no))


def interned(data: Any) -> Interned:
    """Interned values of a column, or of one scalar that stands for every row (its indices broadcast)."""
    return data if isinstance(data, Interned) else Interned([data], np.zeros((), np.int64))


# --- equality, which alone looks at nulls (null equals null and nothing else) -----------------------------------------


def equality(a: Vec, b: Vec, same: Callable[[Any, Any], Any]) -> Vec:
    """CEL's `==` over two vectors whose data `same` compares."""
    unk = either(a.unk, b.unk)
    err = without(either(a.err, b.err), unk)
    equal = same(a.data, b.data)
    if a.null is None and b.null is None:
        return Vec(equal, err, None, unk)
    a_null = np.False_ if a.null is None else a.null
    b_null = np.False_ if b.null is None else b.null
    return Vec((equal & ~a_null & ~b_null) | (a_null & b_null), err, None, unk)


def same_interned(a: Any, b: Any) -> Any:
    """Whether two interned columns, or a column and a scalar, hold the same value, by row."""
    if not isinstance(b, Interned):
        a, b = b, a
    if not isinstance(a, Interned):
        return np.fromiter(map(a.__eq__, b.entries), bool, len(b.entries))[b.indices]
    numbers: dict[Any, int] = {}
    a_ids = np.fromiter((numbers.setdefault(entry, len(numbers)) for entry in a.entries), np.int64, len(a.entries))
    b_ids = np.fromiter((numbers.setdefault(entry, len(numbers)) for entry in b.entries), np.int64, len(b.entries))
    return a_ids[a.indices] == b_ids[b.indices]


# --- segments ---------------------------------------------------------------------------------------------------------


def per_segment(flags: BoolArray, offsets: IntArray) -> IntArray:
    """How many flags are set in each segment; segment i is rows offsets[i] up to offsets[i + 1]."""
    running = np.zeros(len(flags) + 1, np.int64)
    np.cumsum(flags, out=running[1:])
    counts: IntArray = running[offsets[1:]] - running[offsets[:-1]]
    return counts


def last_of(flags: BoolArray, offsets: IntArray) -> tuple[BoolArray, IntArray]:
    """Per segment whether a flag is set in it, and the row of the last one that is (arbitrary where none is)."""
    rows = np.flatnonzero(flags)
    if len(rows) == 0:
        return np.zeros(len(offsets) - 1, bool), np.zeros(len(offsets) - 1, np.int64)
    place = np.searchsorted(rows, offsets[1:]) - 1
    last = rows[np.maximum(place, 0)]
    return (place >= 0) & (last >= offsets[:-1]), last
