"""Bounded caches, and memo tables for cases that many rows or items of a stream share."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.batch.arithmetic import Flags, Int64, some

V = TypeVar("V")
CASES_MAX = 8192
_IN_TABLE_MAX, _TABLE_SIZE, _ATTEMPTS = 200, 1 << 14, 20
_ODD = 0x9E3779B97F4A7C15


class BoundedCache(Generic[V]):
    """Values by key; when it is full, the value that was stored first is dropped. Several threads may use it at once."""

    __slots__ = ("_most", "_values")

    def __init__(self, most: int) -> None:
        """Store up to `most` values."""
        self._values: dict[Hashable, V] = {}
        self._most = most

    def get(self, key: Hashable) -> V | None:
        """Return what is stored under a key."""
        return self._values.get(key)

    def put(self, key: Hashable, value: V) -> V:
        """Store a value and return it."""
        while len(self._values) >= self._most:
            # A list is made in one step: another thread may change what an iterator is at.
            for oldest in [*self._values][:1]:
                self._values.pop(oldest, None)
        self._values[key] = value
        return value


class _Places:
    """Finds keys among known ones.

    A table whose place is computed from the key is several times faster than a binary search, whose every step is a guess to
    the processor. Its factor is chosen so that no two known keys have the same place.
    """

    __slots__ = ("_factor", "_keys", "_table")

    def __init__(self, keys: Int64) -> None:
        """Take the known keys, sorted."""
        self._keys = keys
        self._table: Int64 | None = None
        for attempt in range(_ATTEMPTS if len(keys) <= _IN_TABLE_MAX else 0):
            self._factor = _ODD * (2 * attempt + 1) % (1 << 62) | 1
            place = self._place(keys)
            if len(np.unique(place)) == len(keys):
                self._table = np.zeros(_TABLE_SIZE, dtype=np.int64)
                self._table[place] = np.arange(len(keys))
                break

    def _place(self, keys: Int64) -> Int64:
        # The product wraps; its upper bits hang on all bits of the key.
        return keys * self._factor >> 40 & (_TABLE_SIZE - 1)

    def find(self, keys: Int64) -> tuple[Int64, Flags]:
        """Return the place of each key, and which are not known; those may have any place."""
        if not len(self._keys):
            return np.zeros(len(keys), dtype=np.int64), np.ones(len(keys), dtype=np.bool_)
        place = self._keys.searchsorted(keys) if self._table is None else self._table[self._place(keys)]
        # A key behind the last has no place.
        return place, self._keys.take(place, mode="clip") != keys


@dataclass(frozen=True, slots=True)
class Memo(Generic[V]):
    """Cases that were decided, by their keys. It does not change: several batches at once each have their own."""

    keys: Int64
    """Sorted."""
    places: _Places
    columns: list[NDArray[Any]]
    """What was decided; one element a case."""
    facts: V
    """What follows of the columns."""

    @staticmethod
    def find(
        memo: "Memo[V] | None",
        keys: Int64,
        decide: Callable[[Int64], list[NDArray[Any]]],
        facts_of: Callable[[list[NDArray[Any]]], V],
    ) -> "tuple[Memo[V], Int64]":
        """Find the case of each key, with those decided that are new: `decide` gives columns for some places in `keys`."""
        if memo is None or len(memo.keys) > CASES_MAX:
            added, chosen = np.unique(keys, return_index=True)
            columns = decide(chosen)
            return Memo(added, _Places(added), columns, facts_of(columns)), added.searchsorted(keys)
        case, new = memo.places.find(keys)
        if not some(new):
            return memo, case
        added, at = np.unique(keys[new], return_index=True)
        decided = decide(new.nonzero()[0][at])
        both = np.concatenate([memo.keys, added])
        order = np.argsort(both)
        columns = [np.concatenate(pair)[order] for pair in zip(memo.columns, decided, strict=True)]
        both = both[order]
        return Memo(both, _Places(both), columns, facts_of(columns)), both.searchsorted(keys)
