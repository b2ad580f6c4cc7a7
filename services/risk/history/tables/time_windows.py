"""Windows of time in buckets: counts and sums of the last hour, day and 30 days, for many rows at once.

A window is whole buckets: the last hour is this minute and the 59 before it, the last day this hour and the 23 before
it, 30 days this day (UTC) and the 29 before it. So a window is short by up to one bucket, 1/60, 1/24 and 1/30 of it,
and whoever holds the same events gives the same answer, whether he keeps the events or their buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from services.risk.history.tables.hash_table import BoolArray, IntArray

MINUTES_PER_HOUR: Final = 60
MINUTES_PER_DAY: Final = 1_440
MICROS_PER_MINUTE: Final = 60_000_000
#: Days after which an event is in no window, with the spare of the rings below: what is older is forgotten.
DAYS_STORED: Final = 32


Small: TypeAlias = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Level:
    """One window: minutes of a bucket, how many buckets it spans, and how many a ring holds. The ring's spare buckets
    let a reader lag behind the newest event by as much.
    """

    name: str
    unit: int
    span: int
    slots: int

    def begins(self, now: int) -> int:
        """The first minute of the window that ends at the minute `now`."""
        return (now // self.unit - self.span + 1) * self.unit


HOUR: Final = Level("1h", 1, 60, 64)
DAY: Final = Level("24h", MINUTES_PER_HOUR, 24, 32)
MONTH: Final = Level("30d", MINUTES_PER_DAY, 30, 32)
LEVELS: Final = (HOUR, DAY, MONTH)
#: Splitting shows over a day or a month; nobody splits within the hour.
SPLIT_LEVELS: Final = (DAY, MONTH)


def within(level: Level, minutes: npt.NDArray[Any], now: int) -> BoolArray:
    """Which events lie in the window that ends at the minute `now`."""
    inside: BoolArray = minutes.astype(np.int64) // level.unit > now // level.unit - level.span
    return inside


class Rings:
    """Per row a ring of buckets for each level, with a count and a sum in every bucket."""

    def __init__(self, levels: tuple[Level, ...], rows: int) -> None:
        self.levels = levels
        self._unit = np.concatenate([np.full(level.slots, level.unit) for level in levels])
        self._slot = np.concatenate([np.arange(level.slots) for level in levels])
        self._mask = np.concatenate([np.full(level.slots, level.slots - 1) for level in levels])
        self._starts = np.cumsum([0] + [level.slots for level in levels])
        self.width = int(self._starts[-1])
        self.counts = np.zeros((rows, self.width), np.uint32)
        self.totals = np.zeros((rows, self.width), np.int64)
        #: The newest minute of each row.
        self.newest = np.zeros(rows, np.uint32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that a row holds, by name."""
        return {"counts": self.counts, "sums": self.totals, "newest": self.newest}

    def take_over(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Hold other arrays of the same shape in a row."""
        self.counts, self.totals, self.newest = arrays["counts"], arrays["sums"], arrays["newest"]

    def resize(self, rows: int) -> None:
        """Make room; rows keep what they hold."""
        larger = {}
        for name, old in self.arrays().items():
            larger[name] = np.zeros((rows, *old.shape[1:]), old.dtype)
            larger[name][: len(old)] = old
        self.take_over(larger)

    def clear(self, rows: IntArray) -> None:
        """Empty rows, for others to use."""
        for values in self.arrays().values():
            values[rows] = 0

    def _buckets(self, newest: IntArray) -> IntArray:
        """Per row and slot the bucket that it holds, shape (n, width), for rows whose newest minute is `newest`."""
        top = newest[:, None] // self._unit
        buckets: IntArray = top - ((top - self._slot) & self._mask)
        return buckets

    def advance(self, rows: IntArray, newest: IntArray) -> None:
        """Move distinct rows on to a newest minute and empty the buckets that fell out; an earlier minute does nothing."""
        old = self.newest[rows].astype(np.int64)
        later = np.flatnonzero(newest > old)
        if len(later) == 0:
            return
        rows, newest, old = rows[later], newest[later], old[later]
        stale = self._buckets(newest) > old[:, None] // self._unit
        if stale.any():
            where, slots = np.nonzero(stale)
            self.counts[rows[where], slots] = 0
            self.totals[rows[where], slots] = 0
        self.newest[rows] = newest

    def add(self, rows: IntArray, minutes: IntArray, counts: IntArray, totals: IntArray) -> None:
        """Add to the buckets of `minutes`; rows may repeat and were advanced before. What is older than a ring is lost."""
        newest = self.newest[rows].astype(np.int64)
        for level, start in zip(self.levels, self._starts.tolist(), strict=False):
            bucket = minutes // level.unit
            kept = bucket > newest // level.unit - level.slots
            slots = start + (bucket & (level.slots - 1))
            if kept.all():
                flat = rows * self.width + slots
                np.add.at(self.counts.reshape(-1), flat, counts.astype(np.uint32))
                np.add.at(self.totals.reshape(-1), flat, totals)
            else:
                flat = rows[kept] * self.width + slots[kept]
                np.add.at(self.counts.reshape(-1), flat, counts[kept].astype(np.uint32))
                np.add.at(self.totals.reshape(-1), flat, totals[kept])

    def read(self, rows: IntArray, now: int) -> tuple[IntArray, IntArray]:
        """Counts and sums per level of the windows that end at the minute `now`; shape (levels, n) each."""
        newest = self.newest[rows].astype(np.int64)
        found = np.zeros((len(self.levels), len(rows)), np.int64)
        total = np.zeros_like(found)
        for place, level in enumerate(self.levels):
            part = slice(int(self._starts[place]), int(self._starts[place + 1]))
            top = newest // level.unit
            # Small numbers and not the buckets themselves: a batch may read a thousand rows, and this is most of the work.
            newest_slot = (top % level.slots).astype(np.int16)
            age: Small = np.subtract.outer(newest_slot, np.arange(level.slots, dtype=np.int16))
            age &= np.int16(level.slots - 1)
            reach = np.clip(top - now // level.unit + level.span, 0, level.slots).astype(np.int16)
            inside = age < reach[:, None]
            found[place] = np.einsum("ij,ij->i", self.counts[rows, part], inside.astype(np.uint32))
            total[place] = np.einsum("ij,ij->i", self.totals[rows, part], inside.astype(np.int64))
        return found, total

    def first_bucket(self, rows: IntArray, now: int) -> IntArray:
        """Of the longest level per row the oldest bucket in the window that ends at `now` with something in it; else that of `now`."""
        level, start = self.levels[-1], int(self._starts[-2])
        top = self.newest[rows].astype(np.int64)[:, None] // level.unit
        bucket = top - ((top - np.arange(level.slots)) & (level.slots - 1))
        inside = (self.counts[rows, start:] > 0) & (bucket > now // level.unit - level.span)
        oldest: IntArray = np.where(inside, bucket, now // level.unit).min(axis=1)
        return oldest


#: Words of 64 bits by which distinct values are counted: 256 bits.
WORDS: Final = 4
BITS: Final = WORDS * 64


def distinct_of(bits: npt.NDArray[np.uint64]) -> IntArray:
    """Estimate from bits how many distinct values set them, shape (n, WORDS) to (n,).

    Linear counting (Whang, Vander-Zanden and Taylor 1990): -m ln(1 - x/m) for x of m bits. Of 3 values 1 time in 85 one is
    missed, of 5 1 in 25, of 10 1 in 6; at 60 and at 200 the standard error is 5 %. Beyond 1,400 it says 1,419 and means
    "that many or more".
    """
    set_bits: IntArray = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    return np.take(_DISTINCT, set_bits)


_DISTINCT: Final[IntArray] = np.rint(-BITS * np.log(1 - np.minimum(np.arange(BITS + 1), BITS - 1) / BITS)).astype(
    np.int64
)


def bit_of(tokens: npt.NDArray[Any]) -> tuple[IntArray, npt.NDArray[np.uint64]]:
    """The word and the bit in it that a token (a hash) sets; the token 0 is nobody's and sets none."""
    words = (tokens & 3).astype(np.int64)
    bits = np.uint64(1) << ((tokens.astype(np.uint64) >> np.uint64(2)) & np.uint64(63))
    return words, np.where(tokens > 0, bits, np.uint64(0))
