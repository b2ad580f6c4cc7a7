"""An open-addressing hash table over numpy arrays, for whole batches of 64-bit keys that are hashes already.

A key's place is its lower bits; a taken place sends it to the next one (linear probing). Every step of a look-up is one
gather for all keys that are still on their way, so a batch costs some passes over short arrays and no Python per key.
Nothing is deleted one by one: what is out of date leaves when the table is built anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.tables.undo_log import Undo

Keys = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: The key of an empty place; nobody's key.
EMPTY: Final = np.uint64(0)
#: Share of places that may be taken before the table grows: at 0.6 a look-up takes some two probes.
LOAD_MAX: Final = 0.6
CAPACITY_MIN: Final = 1_024


@dataclass(frozen=True, slots=True)
class Field:
    """What each row holds under one name: its type, and its shape beyond the row. A new row holds zeros, so that places
    which nobody took cost no memory.
    """

    dtype: npt.DTypeLike
    shape: tuple[int, ...] = ()


class OpenTable:
    """Rows of named fields by key. `last` (uint32, a time that the owner chooses) is always among the fields: by it the
    oldest rows are told.
    """

    def __init__(self, fields: Mapping[str, Field], capacity: int, capacity_max: int) -> None:
        """Make an empty table. Both capacities are powers of two, at least CAPACITY_MIN; raises ValueError."""
        for name, places in (("capacity", capacity), ("capacity_max", capacity_max)):
            if places < CAPACITY_MIN or places & (places - 1):
                raise ValueError(f"{name} is {places}; it must be a power of two, {CAPACITY_MIN} or more")
        self.layout = {"last": Field(np.uint32), **fields}
        self.capacity_max = max(capacity, capacity_max)
        self.used = 0
        #: Rows that left although they were not out of date, since the table may not grow any more.
        self.evicted = 0
        #: Where changes are told while a snapshot is written.
        self.undo: Undo | None = None
        self._make(capacity)

    def _make(self, capacity: int) -> None:
        self.keys: Keys = np.zeros(capacity, np.uint64)
        self.fields: dict[str, npt.NDArray[Any]] = {
            name: np.zeros((capacity, *field.shape), field.dtype) for name, field in self.layout.items()
        }

    @property
    def capacity(self) -> int:
        """Places, taken or not."""
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.keys.nbytes + sum(values.nbytes for values in self.fields.values())

    def find(self, keys: Keys) -> IntArray:
        """The row of each key, -1 where it has none; shape (n,)."""
        mask = np.uint64(self.capacity - 1)
        place = (keys & mask).astype(np.int64)
        held = self.keys[place]
        found = np.where(held == keys, place, -1)
        away = np.flatnonzero((held != keys) & (held != EMPTY))
        while len(away):
            wanted = keys[away]
            there = (place[away] + 1) & (self.capacity - 1)
            held = self.keys[there]
            place[away] = there
            same = held == wanted
            found[away[same]] = there[same]
            away = away[~same & (held != EMPTY)]
        return found

    def place(self, keys: Keys, oldest: int) -> IntArray:
        """The row of each key, made where it has none; `keys` are distinct and not EMPTY.

        `oldest` is the least `last` that is still of use: rows below it may leave when the table is built anew.
        """
        found = self.find(keys)
        new = np.flatnonzero(found < 0)
        if len(new) == 0:
            return found
        if self.used + len(new) > LOAD_MAX * self.capacity:
            self._rebuild(len(keys), oldest)
            # Some of these keys may have left, too.
            found = self.find(keys)
            new = np.flatnonzero(found < 0)
        found[new] = self._insert(keys[new])
        self.used += len(new)
        if self.undo is not None:
            self.undo.was(self.keys, found[new], np.zeros(len(new), np.uint64))
        return found

    def changing(self, rows: IntArray) -> None:
        """Say that fields of rows are about to change; whoever changes them says so first."""
        if self.undo is not None:
            self.undo.changing(self.fields.values(), rows)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that is held, by name; `keys` among them."""
        return {"keys": self.keys, **self.fields}

    def _insert(self, keys: Keys) -> IntArray:
        """Take a free place for each of distinct keys that have none."""
        places = (keys & np.uint64(self.capacity - 1)).astype(np.int64)
        away = np.arange(len(keys))
        while len(away):
            there = places[away]
            free = self.keys[there] == EMPTY
            # Two keys that want one place both write; who stands there afterwards has it.
            self.keys[there[free]] = keys[away[free]]
            away = away[self.keys[there] != keys[away]]
            places[away] = (places[away] + 1) & (self.capacity - 1)
        return places

    def _rebuild(self, new_keys: int, oldest: int) -> None:
        rows = np.flatnonzero(self.keys != EMPTY)
        last = self.fields["last"]
        rows = rows[last[rows] >= oldest]
        capacity = self.capacity
        # Half full after the move, so that the next one is not near.
        while capacity < self.capacity_max and len(rows) + new_keys > LOAD_MAX * capacity * 0.75:
            capacity *= 2
        most = int(LOAD_MAX * capacity) - new_keys
        if most < 0:
            raise ValueError(
                f"a batch of {new_keys} new keys does not fit into a table of {capacity}; raise its capacity"
            )
        if len(rows) > most:
            # A quarter at once: it costs as much for few as for many.
            count = int(most * 0.75)
            self.evicted += len(rows) - count
            rows = rows[_newest(last[rows], self.keys[rows], count)]
        self._refill(capacity, self.keys[rows], {name: values[rows] for name, values in self.fields.items()})

    def reserve(self, capacity: int) -> None:
        """Have at least so many places, a power of two."""
        if capacity > self.capacity:
            rows = np.flatnonzero(self.keys != EMPTY)
            self._refill(capacity, self.keys[rows], {name: values[rows] for name, values in self.fields.items()})

    def _refill(self, capacity: int, keys: Keys, values: Mapping[str, npt.NDArray[Any]]) -> None:
        self._make(capacity)
        places = self._insert(keys)
        for name, column in values.items():
            self.fields[name][places] = column
        self.used = len(keys)

    def take_over(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Hold what `arrays` told of another table. Raises ValueError where it does not fit, KeyError where something lacks."""
        keys = arrays["keys"]
        capacity = len(keys)
        if capacity < CAPACITY_MIN or capacity & (capacity - 1) or capacity > self.capacity_max:
            raise ValueError(f"a table of {capacity} places; at most {self.capacity_max} are allowed")
        for name, field in {"keys": Field(np.uint64), **self.layout}.items():
            column = arrays[name]
            if column.shape != (capacity, *field.shape) or column.dtype != np.dtype(field.dtype):
                raise ValueError(f"{name} has the shape {column.shape} of {column.dtype}; the table has another")
        used = int((keys != EMPTY).sum())
        if used > LOAD_MAX * capacity:
            raise ValueError(f"{used} of {capacity} places are taken, which is too full")
        self.keys, self.used = keys, used
        self.fields = {name: arrays[name] for name in self.layout}


def _newest(last: npt.NDArray[Any], keys: Keys, count: int) -> IntArray:
    """The places of the newest, in their order; where some are as old, those of the greater keys, as every replica does."""
    edge = np.partition(last, len(last) - count)[len(last) - count]
    chosen = last > edge
    alike = np.flatnonzero(last == edge)
    short = count - int(chosen.sum())
    chosen[alike[np.argpartition(keys[alike], len(alike) - short)[len(alike) - short :]]] = True
    return np.flatnonzero(chosen)
