"""The kinds of column: strings by dictionary, whole numbers and truth values with validity, and lists by offsets.

A column never changes after it was made; every operation gives a new one. Unknown is never zero: an absent number has
validity False and the value 0, an absent string is "".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
IndexArray: TypeAlias = npt.NDArray[np.integer[Any]]
ObjectArray: TypeAlias = npt.NDArray[np.object_]


class Strings:
    """A column of strings: each distinct value once, and per row the place of its value."""

    __slots__ = ("dictionary", "indices")

    def __init__(self, dictionary: Sequence[str], indices: npt.NDArray[Any]) -> None:
        """Take `dictionary` (distinct values) and `indices` (one a row, into the dictionary) as they are."""
        self.dictionary = dictionary
        self.indices = indices

    @classmethod
    def of(cls, values: Sequence[str] | ObjectArray) -> Strings:
        """Encode one value a row."""
        distinct, count = list(dict.fromkeys(values)), len(values)
        if len(distinct) == count:
            return cls(distinct, np.arange(count, dtype=np.int32))
        if len(distinct) == 1:
            return cls(distinct, np.zeros(count, np.int32))
        places = dict(zip(distinct, range(count), strict=False))
        return cls(distinct, np.fromiter(map(places.__getitem__, values), np.int32, count))

    @classmethod
    def constant(cls, value: str, rows: int) -> Strings:
        """Return a column with the same value in each row."""
        return cls([value], np.zeros(rows, np.int32))

    @classmethod
    def absent(cls, rows: int) -> Strings:
        """Return a column without values."""
        return cls.constant("", rows)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> str:
        return self.dictionary[int(self.indices[row])]

    @property
    def present(self) -> BoolArray:
        """Return for each row whether it has a value."""
        if "" not in self.dictionary:
            return np.ones(len(self.indices), np.bool_)
        return self.map(bool, np.bool_)

    def values(self) -> ObjectArray:
        """Return the value of each row as an array of str objects."""
        dictionary = np.empty(len(self.dictionary), object)
        dictionary[:] = self.dictionary
        return dictionary.take(self.indices) if len(self.indices) else np.empty(0, object)

    def tolist(self) -> list[str]:
        """Return the value of each row as a list."""
        return list(map(self.dictionary.__getitem__, self.indices.tolist()))

    def map(self, function: Callable[[str], Any], dtype: npt.DTypeLike = object) -> npt.NDArray[Any]:
        """Apply `function` once per distinct value; give one result a row."""
        results = np.fromiter(map(function, self.dictionary), dtype, len(self.dictionary))
        return results.take(self.indices) if len(self.indices) else np.empty(0, dtype)

    def translate(self, function: Callable[[str], str]) -> Strings:
        """Apply `function` once per distinct value; give the column of its results."""
        changed = list(map(function, self.dictionary))
        distinct = dict.fromkeys(changed)
        if len(distinct) == len(changed):
            return Strings(changed, self.indices)
        places = {value: place for place, value in enumerate(distinct)}
        moves = np.fromiter(map(places.__getitem__, changed), np.int32, len(changed))
        return Strings(list(places), moves.take(self.indices) if len(self.indices) else self.indices)

    def isin(self, values: Collection[str]) -> BoolArray:
        """Return for each row whether its value is one of `values`."""
        if set(self.dictionary).isdisjoint(values):
            return np.zeros(len(self.indices), np.bool_)
        return self.map(values.__contains__, np.bool_)

    def take(self, rows: IndexArray) -> Strings:
        """Return these rows; values without a row are removed from the dictionary."""
        return Strings(self.dictionary, self.indices[rows]).compact()

    def compact(self) -> Strings:
        """Return the column without values in the dictionary that no row has."""
        if len(self.dictionary) <= 1:
            return self
        used = np.zeros(len(self.dictionary), np.bool_)
        # By numpy's own type of index it is quicker, with the cast.
        used[self.indices.astype(np.intp)] = True
        kept = used.nonzero()[0]
        if len(kept) == len(self.dictionary):
            return self
        places = np.zeros(len(self.dictionary), np.int32)
        places[kept] = np.arange(len(kept), dtype=np.int32)
        return Strings([self.dictionary[place] for place in kept.tolist()], places.take(self.indices))

    def by_appearance(self) -> Strings:
        """Return the column with the values that rows have, in the order of their first row, as `of` makes it."""
        indices = self.indices
        if not len(indices):
            return Strings([], indices.astype(np.int32))
        if len(self.dictionary) == 1:
            return Strings(self.dictionary, indices.astype(np.int32, copy=False))
        highest = np.maximum.accumulate(indices)
        orderly = (
            indices[0] == 0 and highest[-1] == len(self.dictionary) - 1 and (indices[1:] <= highest[:-1] + 1).all()
        )
        if orderly:
            return Strings(self.dictionary, indices.astype(np.int32, copy=False))
        used, first = np.unique(indices, return_index=True)
        used = used[np.argsort(first)]
        moves = np.zeros(len(self.dictionary), np.int32)
        moves[used] = np.arange(len(used), dtype=np.int32)
        return Strings([self.dictionary[place] for place in used.tolist()], moves[indices])

    @staticmethod
    def concat(parts: Sequence[Strings]) -> Strings:
        """Put columns one after the other."""
        if len(parts) == 1:
            return parts[0]
        every = chain.from_iterable(part.dictionary for part in parts)
        places = {value: place for place, value in enumerate(dict.fromkeys(every))}
        indices = []
        for part in parts:
            moves = np.fromiter(map(places.__getitem__, part.dictionary), np.int32, len(part.dictionary))
            indices.append(moves.take(part.indices) if len(part.indices) else np.empty(0, np.int32))
        return Strings(list(places), np.concatenate(indices))


class Ints:
    """A column of whole numbers with validity."""

    __slots__ = ("valid", "values")

    def __init__(self, values: IntArray, valid: BoolArray) -> None:
        """Take `values` (int64, 0 where absent) and `valid` (bool) as they are."""
        self.values = values
        self.valid = valid

    @classmethod
    def of(
        cls, values: Iterable[int] | npt.NDArray[Any], valid: Iterable[bool] | npt.NDArray[Any] | None = None
    ) -> Ints:
        """Make a column; without `valid` every row has a value."""
        numbers = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.int64)
        if valid is None:
            return cls(numbers, np.ones(len(numbers), np.bool_))
        known = np.asarray(valid if isinstance(valid, np.ndarray) else list(valid), np.bool_)
        return cls(np.where(known, numbers, 0), known)

    @classmethod
    def constant(cls, value: int, rows: int) -> Ints:
        """Return a column with the same value in each row."""
        return cls(np.full(rows, value, np.int64), np.ones(rows, np.bool_))

    @classmethod
    def absent(cls, rows: int) -> Ints:
        """Return a column without values."""
        return cls(np.zeros(rows, np.int64), np.zeros(rows, np.bool_))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> int | None:
        return int(self.values[row]) if self.valid[row] else None

    @property
    def present(self) -> BoolArray:
        """Return for each row whether it has a value."""
        return self.valid

    def tolist(self) -> list[int | None]:
        """Return the value of each row, None where absent."""
        return [
            value if valid else None for value, valid in zip(self.values.tolist(), self.valid.tolist(), strict=True)
        ]

    def filled(self, value: int) -> IntArray:
        """Return the values, with `value` for absent ones."""
        return np.where(self.valid, self.values, value)

    def take(self, rows: IndexArray) -> Ints:
        """Return these rows."""
        return Ints(self.values[rows], self.valid[rows])

    @staticmethod
    def concat(parts: Sequence[Ints]) -> Ints:
        """Put columns one after the other."""
        return Ints(np.concatenate([p.values for p in parts]), np.concatenate([p.valid for p in parts]))


class Bools:
    """A column of truth values with validity."""

    __slots__ = ("valid", "values")

    def __init__(self, values: BoolArray, valid: BoolArray) -> None:
        """Take `values` (bool, False where absent) and `valid` (bool) as they are."""
        self.values = values
        self.valid = valid

    @classmethod
    def of(
        cls, values: Iterable[bool] | npt.NDArray[Any], valid: Iterable[bool] | npt.NDArray[Any] | None = None
    ) -> Bools:
        """Make a column; without `valid` every row has a value."""
        truths = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.bool_)
        if valid is None:
            return cls(truths, np.ones(len(truths), np.bool_))
        known = np.asarray(valid if isinstance(valid, np.ndarray) else list(valid), np.bool_)
        return cls(truths & known, known)

    @classmethod
    def absent(cls, rows: int) -> Bools:
        """Return a column without values."""
        return cls(np.zeros(rows, np.bool_), np.zeros(rows, np.bool_))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> bool | None:
        return bool(self.values[row]) if self.valid[row] else None

    @property
    def present(self) -> BoolArray:
        """Return for each row whether it has a value."""
        return self.valid

    def take(self, rows: IndexArray) -> Bools:
        """Return these rows."""
        return Bools(self.values[rows], self.valid[rows])

    @staticmethod
    def concat(parts: Sequence[Bools]) -> Bools:
        """Put columns one after the other."""
        return Bools(np.concatenate([p.values for p in parts]), np.concatenate([p.valid for p in parts]))


def among(values: IndexArray, members: Iterable[int]) -> BoolArray:
    """Return which numbers are among a few members, which costs a quarter of `np.isin` for the hundreds of numbers of a batch."""
    found = np.zeros(values.shape, np.bool_)
    for member in members:
        found |= values == int(member)
    return found


class TableLike(Protocol):
    """A table as a column of lists and the ways to and from row messages see it; libs.columns.table has the class."""

    rows: int

    def __len__(self) -> int: ...

    def column(self, name: str) -> Column:
        """Return a column by name."""
        ...

    def may_have(self, name: str) -> bool:
        """Return whether a column may have a value."""
        ...

    def take(self, rows: IndexArray) -> TableLike:
        """Return these rows, in this order."""
        ...


class Ragged:
    """A column of lists: row i owns `values[offsets[i]:offsets[i + 1]]`, which may be a column or a whole table."""

    __slots__ = ("offsets", "values", "written")

    def __init__(self, offsets: npt.NDArray[Any], values: Strings | Ints | TableLike) -> None:
        """Take `offsets` (one more than rows, first 0, rising) and the values of all rows in order as they are."""
        self.offsets = offsets
        self.values = values
        self.written: list[bytes] | None = None
        """The bytes of each list by which `libs.columns.digest` hashes it, once they were needed; taken along with the rows."""

    @classmethod
    def of_lengths(cls, lengths: Sequence[int] | npt.NDArray[Any], values: Strings | Ints | TableLike) -> Ragged:
        """Make a column from the number of values of each row."""
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(np.asarray(lengths, np.int64), out=offsets[1:])
        return cls(offsets, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """Return the number of values of each row."""
        return np.diff(self.offsets)

    @property
    def present(self) -> BoolArray:
        """Return for each row whether it has a value."""
        filled: BoolArray = self.lengths > 0
        return filled

    def owners(self) -> IntArray:
        """Return for each value the row that owns it."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def span(self, row: int) -> slice:
        """Return the slice of the values of a row."""
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def take(self, rows: IndexArray) -> Ragged:
        """Return these rows with their values."""
        lengths = self.lengths[rows]
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.arange(int(offsets[-1]), dtype=np.int64) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        taken = Ragged(offsets, self.values.take(places))
        if self.written is not None:
            taken.written = list(map(self.written.__getitem__, rows.tolist()))
        return taken

    @staticmethod
    def concat(parts: Sequence[Ragged]) -> Ragged:
        """Put columns one after the other."""
        ends = np.cumsum([0] + [int(p.offsets[-1]) for p in parts])
        offsets = np.concatenate([np.zeros(1, np.int64), *(p.offsets[1:] + ends[i] for i, p in enumerate(parts))])
        values: list[Any] = [p.values for p in parts]
        joined = Ragged(offsets, type(values[0]).concat(values))
        written = [part.written for part in parts if part.written is not None]
        if len(written) == len(parts):
            joined.written = list(chain.from_iterable(written))
        return joined


Column: TypeAlias = Strings | Ints | Bools | Ragged
