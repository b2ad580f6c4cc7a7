"""What was found once and may be wanted again: bounded stores, and cases that many rows or items of a stream share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.arithmetic import Int64, some

V = TypeVar("V")
_CASES_MAX = 8192


class Kept(Generic[V]):
    """Values by key; when it is full, that which was kept first goes. It may be used by several threads at once."""

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        """Hold up to `most` values."""
        self._known: dict[bytes, V] = {}
        self._most = most

    def get(self, key: bytes) -> V | None:
        """Give what is kept under a key."""
        return self._known.get(key)

    def keep(self, key: bytes, value: V) -> V:
        """Keep a value, and give it back."""
        while len(self._known) >= self._most:
            self._known.pop(next(iter(self._known), key), None)
        self._known[key] = value
        return value


@dataclass(frozen=True, slots=True)
class Cases(Generic[V]):
    """Cases that were decided, by their keys. It does not change: several batches at once each hold their own."""

    keys: Int64
    """Sorted."""
    columns: list[NDArray[Any]]
    """What was decided; one element a case."""
    facts: V
    """What follows of the columns."""

    @staticmethod
    def found(
        known: "Cases[V] | None",
        keys: Int64,
        decide: Callable[[Int64], list[NDArray[Any]]],
        facts_of: Callable[[list[NDArray[Any]]], V],
    ) -> "tuple[Cases[V], Int64]":
        """Find the case of each key, with those decided that are new: `decide` gives columns for some places in `keys`."""
        if known is None or not len(known.keys) or len(known.keys) > _CASES_MAX:
            added, chosen = np.unique(keys, return_index=True)
            columns = decide(chosen)
            cases = Cases(added, columns, facts_of(columns))
            return cases, added.searchsorted(keys)
        case = known.keys.searchsorted(keys)
        # A key behind the last is new, whichever it is compared with.
        new = known.keys.take(case, mode="clip") != keys
        if not some(new):
            return known, case
        added, at = np.unique(keys[new], return_index=True)
        decided = decide(new.nonzero()[0][at])
        both = np.concatenate([known.keys, added])
        order = np.argsort(both)
        columns = [np.concatenate(pair)[order] for pair in zip(known.columns, decided, strict=True)]
        both = both[order]
        return Cases(both, columns, facts_of(columns)), both.searchsorted(keys)
