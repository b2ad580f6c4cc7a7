"""Rows of buckets for keys that come often; keys that come seldom live in chains of events (event_chains.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.tables.hash_table import EMPTY, BoolArray, IntArray, Keys
from services.risk.history.tables.time_windows import (
    DAYS_STORED,
    LEVELS,
    MINUTES_PER_DAY,
    SPLIT_LEVELS,
    WORDS,
    Rings,
    bit_of,
)
from services.risk.history.tables.undo_log import Undo

ROWS_MIN: Final = 64


class BucketPool:
    """Rows of rings; with `split` also the rings of consignments under the threshold, and bits of distinct consignees
    per day.
    """

    def __init__(self, split: bool, rows: int, rows_max: int) -> None:
        self.rows_max = max(rows_max, ROWS_MIN)
        rows = min(max(rows, ROWS_MIN), self.rows_max)
        self.windows = Rings(LEVELS, rows)
        self.low = Rings(SPLIT_LEVELS, rows) if split else None
        self.bits = np.zeros((rows if split else 0, DAYS_STORED, WORDS), np.uint64)
        self.owners: Keys = np.zeros(rows, np.uint64)
        # Row 0 is nobody's: it stands for none.
        self._free = list(range(rows - 1, 0, -1))
        #: Rows that were taken from a key although it was in use, since no more may be made.
        self.evicted = 0
        self._undo: Undo | None = None
        self._recorded = np.zeros(0, np.bool_)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(values.nbytes for values in self.arrays().values())

    @property
    def used(self) -> int:
        """Rows in use."""
        return len(self.owners) - 1 - len(self._free)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that is held, by name."""
        arrays: dict[str, npt.NDArray[Any]] = {"owners": self.owners}
        arrays |= {f"windows.{name}": values for name, values in self.windows.arrays().items()}
        if self.low is not None:
            arrays |= {f"low.{name}": values for name, values in self.low.arrays().items()}
            arrays["bits"] = self.bits
        return arrays

    def allot(self, owners: Keys, now: int) -> tuple[IntArray, Keys]:
        """Give each of distinct keys an empty row, 0 to those beyond the most there may be; and tell the keys that
        lost theirs for it.
        """
        lost = np.zeros(0, np.uint64)
        wanted = min(len(owners), self.rows_max - 1)
        if wanted > len(self._free):
            lost = self._reclaim(wanted, now)
        rows = np.zeros(len(owners), np.int64)
        rows[:wanted] = [self._free.pop() for _ in range(wanted)]
        self._changing(rows[:wanted])
        self.owners[rows[:wanted]] = owners[:wanted]
        return rows, lost

    def _reclaim(self, count: int, now: int) -> Keys:
        """Free the rows that nobody used for as long as the longest window; then make more; then take the oldest."""
        newest = self.windows.newest.astype(np.int64)
        taken = self.owners != EMPTY
        idle = np.flatnonzero(taken & (newest < now - DAYS_STORED * MINUTES_PER_DAY))
        lost = [self._release(idle)]
        rows = len(self.owners)
        if count > len(self._free) and rows < self.rows_max:
            more = min(max(2 * rows, rows + count), self.rows_max)
            self._resize(more)
        short = count - len(self._free)
        if short > 0:
            taken_rows = np.flatnonzero(self.owners != EMPTY)
            order = np.lexsort((self.owners[taken_rows], self.windows.newest[taken_rows]))
            oldest = taken_rows[order[: max(short, len(taken_rows) // 4)]]
            self.evicted += len(oldest)
            lost.append(self._release(oldest))
        return np.concatenate(lost)

    def _release(self, rows: IntArray) -> Keys:
        owners: Keys = self.owners[rows]
        self._changing(rows)
        self.owners[rows] = EMPTY
        self.windows.clear(rows)
        if self.low is not None:
            self.low.clear(rows)
            self.bits[rows] = 0
        self._free += rows.tolist()
        return owners

    def reserve(self, rows: int) -> None:
        """Have at least so many rows."""
        if len(self.owners) < (rows := min(rows, self.rows_max)):
            self._resize(rows)

    def _resize(self, rows: int) -> None:
        old = len(self.owners)
        self.windows.resize(rows)
        if self.low is not None:
            self.low.resize(rows)
            bits = np.zeros((rows, DAYS_STORED, WORDS), np.uint64)
            bits[:old] = self.bits
            self.bits = bits
        owners = np.zeros(rows, np.uint64)
        owners[:old] = self.owners
        self.owners = owners
        self._free = list(range(rows - 1, old - 1, -1)) + self._free

    def add(
        self,
        rows: IntArray,
        minutes: IntArray,
        values: IntArray,
        low: BoolArray,
        counted: BoolArray,
        tokens: npt.NDArray[Any],
    ) -> None:
        """Count events, one each; rows may repeat. One that is not `counted` adds its value alone, and counts among those under the
        threshold where it is `low`. A token says who is counted as distinct; 0 is nobody.
        """
        if len(rows) == 0:
            return
        distinct, newest = _newest(rows, minutes)
        self._changing(distinct)
        before = self.windows.newest[distinct].astype(np.int64)
        self.windows.advance(distinct, newest)
        self.windows.add(rows, minutes, counted.astype(np.int64), values)
        if self.low is None:
            return
        self.low.advance(distinct, newest)
        if low.any():
            self.low.add(rows[low], minutes[low], np.ones(int(low.sum()), np.int64), values[low])
        self._clear_days(distinct, before, np.maximum(before, newest))
        days = minutes // MINUTES_PER_DAY
        kept = (days > self.windows.newest[rows].astype(np.int64) // MINUTES_PER_DAY - DAYS_STORED) & (tokens > 0)
        words, bits = bit_of(tokens)
        np.bitwise_or.at(self.bits, (rows[kept], days[kept] % DAYS_STORED, words[kept]), bits[kept])

    def _clear_days(self, rows: IntArray, old: IntArray, new: IntArray) -> None:
        old, new = old // MINUTES_PER_DAY, new // MINUTES_PER_DAY
        later = np.flatnonzero(new > old)
        if len(later):
            slots = np.arange(DAYS_STORED)
            top = new[later, None]
            where, which = np.nonzero(top - ((top - slots) % DAYS_STORED) > old[later, None])
            self.bits[rows[later][where], which] = 0

    def distinct_bits(self, rows: IntArray, now: int) -> npt.NDArray[np.uint64]:
        """The bits that consignees of the last 30 days set, shape (n, WORDS)."""
        top = self.windows.newest[rows].astype(np.int64)[:, None] // MINUTES_PER_DAY
        day = top - ((top - np.arange(DAYS_STORED)) % DAYS_STORED)
        inside = day > now // MINUTES_PER_DAY - LEVELS[-1].span
        gathered: npt.NDArray[np.uint64] = np.bitwise_or.reduce(self.bits[rows] * inside[:, :, None], axis=1)
        return gathered

    def take_over(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Hold what `arrays` told of another pool. Raises ValueError where it does not fit, KeyError where something lacks."""
        rows = len(arrays["owners"])
        if not ROWS_MIN <= rows <= self.rows_max:
            raise ValueError(f"{rows} rows of buckets; {ROWS_MIN} to {self.rows_max} are allowed")
        for name, values in self.arrays().items():
            column = arrays[name]
            if column.shape != (rows, *values.shape[1:]) or column.dtype != values.dtype:
                raise ValueError(f"{name} has the shape {column.shape} of {column.dtype}; the pool has another")
        self.owners = arrays["owners"]
        for part, rings in (("windows", self.windows), ("low", self.low)):
            if rings is not None:
                rings.take_over({name: arrays[f"{part}.{name}"] for name in rings.arrays()})
        if self.low is not None:
            self.bits = arrays["bits"]
        self._free = np.flatnonzero(self.owners[1:] == EMPTY)[::-1].tolist()
        self._free = [row + 1 for row in self._free]

    def watch(self, undo: Undo | None) -> None:
        """Tell changes to `undo` from now on; a row's first change alone, since its row is large and it comes often."""
        self._undo = undo
        self._recorded = np.zeros(len(self.owners) if undo is not None else 0, np.bool_)

    def _changing(self, rows: IntArray) -> None:
        # After a resize all arrays are new ones, and none is watched.
        if self._undo is not None and len(self._recorded) == len(self.owners):
            rows = rows[~self._recorded[rows]]
            self._recorded[rows] = True
            self._undo.changing(self.arrays().values(), rows)


def _newest(rows: IntArray, minutes: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct rows and the newest minute of each."""
    distinct, places = np.unique(rows, return_inverse=True)
    newest = np.zeros(len(distinct), np.int64)
    np.maximum.at(newest, places, minutes)
    return distinct, newest
