"""Counts by key and hour, of the hours that a chance follows from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import IntArray

MICROS_PER_HOUR: Final = 3_600_000_000
#: Hours that a chance follows from, and hours that are counted, a power of two: replicas may lag by the difference.
HOURS: Final = 24
HOURS_COUNTED: Final = 32


class HourCounts:
    """Arrays of counts, one row of HOURS_COUNTED hours for each key.

    A key whose counts have all ended makes room for a new one, so that keys that come and go, as the versions of models do, need
    no more memory than those that are in use.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], keys_max: int) -> None:
        """Count so many keys at most; `shapes` has the shape of one hour's counts by their name."""
        self._keys_max = keys_max
        self._rows: dict[str, int] = {}
        self._newest: IntArray = np.full(0, -1, np.int64)
        self._counts: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((0, HOURS_COUNTED, *shape), np.int64) for name, shape in shapes.items()
        }

    def row(self, key: str, hour: int) -> int:
        """The row of a key, moved on to an hour; -1 where there are too many keys."""
        row = self._rows.get(key)
        if row is None:
            row = self._new_row(key, hour)
            if row < 0:
                return row
        newest = int(self._newest[row])
        if hour > newest:
            past = [each % HOURS_COUNTED for each in range(max(newest + 1, hour - HOURS_COUNTED + 1), hour + 1)]
            for counts in self._counts.values():
                counts[row, past] = 0
            self._newest[row] = hour
        return row

    def _new_row(self, key: str, hour: int) -> int:
        row = len(self._rows)
        if row == len(self._newest):
            ended = next((each for each, old in self._rows.items() if self._newest[old] <= hour - HOURS_COUNTED), None)
            if ended is not None:
                row = self._rows.pop(ended)
                self._newest[row] = -1
            elif row >= self._keys_max:
                return -1
            else:
                self._resize(min(max(16, 2 * row), self._keys_max))
        self._rows[key] = row
        return row

    def counted(self, rows: IntArray, hour: int) -> npt.NDArray[np.bool_]:
        """Whether each row, one that `row` gave, still counts an hour; rows of -1 count none."""
        if len(self._newest) == 0:
            return np.zeros(len(rows), np.bool_)
        within: npt.NDArray[np.bool_] = (rows >= 0) & (hour > self._newest[rows] - HOURS_COUNTED)
        return within

    def add(self, name: str, rows: IntArray, hour: int, where: IntArray | None, counts: IntArray | int) -> None:
        """Add counts to rows in an hour that they count; `where` is the place within the hour's counts where they have a shape."""
        slots = np.full(len(rows), hour % HOURS_COUNTED)
        np.add.at(self._counts[name], (rows, slots) if where is None else (rows, slots, where), counts)

    def ended(self, key: str, hour: int) -> dict[str, npt.NDArray[Any]] | None:
        """The counts of the 24 hours that ended before an hour, by their name; None where the key was never counted."""
        row = self._rows.get(key)
        if row is None:
            return None
        newest = int(self._newest[row])
        hours = newest - ((newest - np.arange(HOURS_COUNTED)) % HOURS_COUNTED)
        ended = (hours < hour) & (hours >= hour - HOURS) & (hours >= 0)
        return {name: counts[row][ended].sum(axis=0) for name, counts in self._counts.items()}

    def _resize(self, rows: int) -> None:
        newest: IntArray = np.full(rows, -1, np.int64)
        newest[: len(self._newest)] = self._newest
        self._newest = newest
        for name, old in self._counts.items():
            new: npt.NDArray[Any] = np.zeros((rows, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            self._counts[name] = new

    def snapshot(self) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
        """The keys in the order of their rows, and the arrays by name."""
        keys = sorted(self._rows, key=lambda key: self._rows[key])
        rows = [self._rows[key] for key in keys]
        arrays = {name: counts[rows] for name, counts in self._counts.items()}
        return keys, arrays | {"hour": self._newest[rows]}

    def restore(self, keys: list[str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        self._rows = {key: row for row, key in enumerate(keys)}
        self._newest = arrays["hour"].copy()
        for name in self._counts:
            self._counts[name] = arrays[name].copy()
