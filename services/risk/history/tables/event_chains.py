"""The events of the last 30 days, one row each, and per key a chain through them from the newest to the oldest.

Most consignees, addresses and sellers come a few times a month. A row of buckets for each would cost kilobytes; a chain
costs four bytes an event. Rows stand in a ring in order of arrival, so the oldest go first, and with them the ends of
chains: expiry costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.tables.hash_table import BoolArray, IntArray
from services.risk.history.tables.time_windows import DAYS_STORED, MINUTES_PER_DAY
from services.risk.history.tables.undo_log import Undo

#: Greatest value of a consignment that is kept, euro cents (21 million euro); greater ones count as this.
VALUE_MAX: Final = 2**31 - 1
_LOW: Final = np.uint32(1 << 31)
#: Of the minute of an event that adds a value to a consignment that counted before.
_VALUE_ALONE: Final = np.uint32(1 << 31)
_COLUMNS: Final = ("minutes", "values", "tokens", "back")


class Events:
    """A ring of events. `chains` kinds of key have a chain through them."""

    def __init__(self, chains: int, capacity: int, capacity_max: int) -> None:
        """Make an empty ring; both capacities are powers of two."""
        self.capacity_max = max(capacity, capacity_max)
        #: The next event's number; event p stands in row p modulo the capacity. They begin at 1: 0 is none.
        self.arrived = 1
        #: Events that left although a window still held them.
        self.evicted = 0
        #: Where changes are told while a snapshot is written.
        self.undo: Undo | None = None
        self.minutes = np.zeros(capacity, np.uint32)
        self.values = np.zeros(capacity, np.uint32)
        self.tokens = np.zeros(capacity, np.uint32)
        #: Per event and kind how many events back the one before it in the chain arrived; 0: it is the last.
        self.back = np.zeros((capacity, chains), np.uint32)

    @property
    def capacity(self) -> int:
        """Rows of the ring."""
        return len(self.minutes)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.minutes.nbytes + self.values.nbytes + self.tokens.nbytes + self.back.nbytes

    @property
    def first(self) -> int:
        """The oldest event that is held."""
        return max(1, self.arrived - self.capacity)

    def append(
        self,
        minutes: IntArray,
        values: IntArray,
        low: BoolArray,
        counted: BoolArray,
        tokens: npt.NDArray[np.uint32],
        now: int,
    ) -> IntArray:
        """Add events; gives their numbers. `now` is the newest minute known, by which old events are told.

        An event that is not `counted` adds its value alone.
        """
        coming = len(minutes)
        while not self._has_room(coming, now):
            self._grow()
        rows = self.arrived + np.arange(coming, dtype=np.int64)
        places = rows & (self.capacity - 1)
        over = places[rows >= self.capacity]
        self.evicted += int((self._minutes(over) > now - DAYS_STORED * MINUTES_PER_DAY).sum())
        if self.undo is not None:
            self.undo.changing(self.arrays().values(), places)
        self.minutes[places] = minutes.astype(np.uint32) | np.where(counted, np.uint32(0), _VALUE_ALONE)
        self.values[places] = values.astype(np.uint32) | np.where(low, _LOW, np.uint32(0))
        self.tokens[places] = tokens
        self.back[places] = 0
        self.arrived += coming
        return rows

    def _has_room(self, count: int, now: int) -> bool:
        if count > self.capacity:
            return False
        if self.capacity >= self.capacity_max or self.arrived + count <= self.capacity:
            return True
        rows = np.arange(self.first, self.arrived + count - self.capacity)
        return bool((self._minutes(rows & (self.capacity - 1)) <= now - DAYS_STORED * MINUTES_PER_DAY).all())

    def _minutes(self, rows: IntArray) -> IntArray:
        minutes: IntArray = (self.minutes[rows] & ~_VALUE_ALONE).astype(np.int64)
        return minutes

    def reserve(self, capacity: int) -> None:
        """Have at least so many rows, a power of two."""
        while self.capacity < capacity:
            self._grow()

    def _grow(self) -> None:
        if self.capacity * 2 > self.capacity_max:
            raise ValueError(f"a batch does not fit into a ring of {self.capacity} events; raise its capacity")
        capacity = 2 * self.capacity
        rows = np.arange(self.first, self.arrived)
        old, new = rows & (self.capacity - 1), rows & (capacity - 1)
        for name in _COLUMNS:
            before: npt.NDArray[Any] = getattr(self, name)
            after = np.zeros((capacity, *before.shape[1:]), before.dtype)
            after[new] = before[old]
            setattr(self, name, after)

    def link(self, kind: int, rows: IntArray, before: IntArray) -> None:
        """Chain distinct events, that were just added, to those before them; 0, or one that is gone, ends the chain."""
        there = before >= self.first
        self.back[rows & (self.capacity - 1), kind] = np.where(there, rows - before, 0)

    def walk(self, heads: IntArray, kinds: IntArray) -> tuple[IntArray, IntArray]:
        """Every event of each chain: per event which chain it is of (its place in `heads`), and its row."""
        chains, rows = [], []
        which = np.flatnonzero(heads >= self.first)
        at, kind = heads[which], kinds[which]
        while len(which):
            places = at & (self.capacity - 1)
            chains.append(which)
            rows.append(places)
            back = self.back[places, kind].astype(np.int64)
            at = at - back
            on = (back > 0) & (at >= self.first)
            which, at, kind = which[on], at[on], kind[on]
        if not chains:
            nothing = np.zeros(0, np.int64)
            return nothing, nothing
        return np.concatenate(chains), np.concatenate(rows)

    def read(self, rows: IntArray) -> tuple[IntArray, IntArray, BoolArray, BoolArray, npt.NDArray[np.uint32]]:
        """Minute, value, whether under the threshold, whether counted, and token of events by their rows."""
        packed = self.values[rows]
        return (
            self._minutes(rows),
            (packed & ~_LOW).astype(np.int64),
            packed >= _LOW,
            self.minutes[rows] < _VALUE_ALONE,
            self.tokens[rows],
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that is held, by name."""
        return {name: getattr(self, name) for name in _COLUMNS}

    def take_over(self, arrays: Mapping[str, npt.NDArray[Any]], arrived: int) -> None:
        """Hold what `arrays` told of another ring. Raises ValueError where it does not fit, KeyError where something lacks."""
        capacity = len(arrays["minutes"])
        if capacity < 1 or capacity & (capacity - 1) or capacity > self.capacity_max:
            raise ValueError(f"a ring of {capacity} events; at most {self.capacity_max} are allowed")
        for name, values in self.arrays().items():
            column = arrays[name]
            if column.shape != (capacity, *values.shape[1:]) or column.dtype != values.dtype:
                raise ValueError(f"{name} has the shape {column.shape} of {column.dtype}; the ring has another")
        if arrived < 1:
            raise ValueError(f"the next event has the number {arrived}")
        for name in _COLUMNS:
            setattr(self, name, arrays[name])
        self.arrived = arrived
