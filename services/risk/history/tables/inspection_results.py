"""Results of inspections by the day on which they were found, so that each leaves what a party has of them after its days."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.tables.hash_table import BoolArray, IntArray, Keys

Changes = npt.NDArray[np.int8]
Part = tuple[int, Keys, Changes, Changes]

_COLUMNS: Final = ("results.day", "results.keys", "results.inspected", "results.hits")


class Results:
    """Results at one moment: parts by day, which nobody changes."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Day, key, inspections and hits of each change, by name."""
        days = [np.full(len(part[1]), part[0], np.int64) for part in self._parts]
        columns: tuple[npt.NDArray[Any], ...] = (
            np.concatenate([np.zeros(0, np.int64), *days]),
            np.concatenate([np.zeros(0, np.uint64), *(part[1] for part in self._parts)]),
            np.concatenate([np.zeros(0, np.int8), *(part[2] for part in self._parts)]),
            np.concatenate([np.zeros(0, np.int8), *(part[3] for part in self._parts)]),
        )
        return dict(zip(_COLUMNS, columns, strict=True))


class ResultsByDay:
    """What has to be taken back of parties' sums, and when."""

    def __init__(self) -> None:
        self._days: dict[int, list[Part]] = {}
        #: Results of days before this have left.
        self.first_day = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(part[1].nbytes + 2 * len(part[1]) for parts in self._days.values() for part in parts)

    def add(self, days: IntArray, keys: Keys, inspected: IntArray, violations: IntArray) -> BoolArray:
        """Add changes; return which of them are of days that are still stored."""
        kept: BoolArray = days >= self.first_day
        for day in np.unique(days[kept]).tolist():
            mine = days == day
            part = (day, keys[mine], inspected[mine].astype(np.int8), violations[mine].astype(np.int8))
            self._days.setdefault(day, []).append(part)
        return kept

    def leave(self, before: int) -> Sequence[Part]:
        """Give up the results of days before one."""
        self.first_day = max(self.first_day, before)
        return [part for day in sorted(self._days) if day < before for part in self._days.pop(day)]

    def retain(self, is_stored: Callable[[Keys], BoolArray]) -> None:
        """Forget the results of keys that are not known any more."""
        for day, parts in self._days.items():
            kept = [(is_stored(keys), keys, inspected, hits) for _, keys, inspected, hits in parts]
            self._days[day] = [(day, keys[mine], inspected[mine], hits[mine]) for mine, keys, inspected, hits in kept]

    def now(self) -> Results:
        """All that is held, as it is now."""
        return Results([part for parts in self._days.values() for part in parts])

    def take_over(self, first_day: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Hold what `Results.arrays` told. Raises ValueError where it does not fit, KeyError where something lacks."""
        days, keys, inspected, hits = (arrays[name] for name in _COLUMNS)
        types = "".join(values.dtype.char for values in (keys, inspected, hits))
        if types != "Lbb" or not len(days) == len(keys) == len(inspected) == len(hits):
            raise ValueError(f"{len(days)} days, {len(keys)} keys, {len(inspected)} and {len(hits)} results of {types}")
        self.first_day = first_day
        self.add(days, keys, inspected, hits)
