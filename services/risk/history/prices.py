"""Prices by HS6 and origin: how many were seen in each of 96 steps, and where in them a price lies.

A step is a third of an octave (26 %), from 1 cent to 43 million euro a kilogram. Steps and not a KLL sketch, since
counts of steps are the same in whatever order prices come, merge exactly, cost 768 bytes a pair and are updated for a
whole batch by one gather; a KLL of the library costs a call of some microseconds for each price and its answer
depends on order and chance. Two periods of 30 days are held, this and the last, so a price leaves after 30 to 60 days.

A price counts from the next full hour on. So what a batch holds does not depend on how it was cut, and a flood of one
hour does not move its own yardstick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.open_table import Field, IntArray, Keys, OpenTable
from services.risk.history.windows import MINUTES_PER_DAY, MINUTES_PER_HOUR

STEPS: Final = 96
STEPS_PER_OCTAVE: Final = 3
#: Fewer prices than this say nothing.
PRICES_MIN: Final = 30
PERIOD_DAYS: Final = 30
#: Prices that wait for their hour to end, at most; then the oldest hour counts at once.
WAITING_MAX: Final = 4_000_000
#: Hours that wait at most: while a log is read again nobody asks, and nothing would be counted.
HOURS_WAITING: Final = 3

_WAITING: Final = ("waiting.hour", "waiting.keys", "waiting.steps")
_EDGES: Final[IntArray] = np.unique(
    np.array([round(2.0 ** (step / STEPS_PER_OCTAVE)) for step in range(STEPS + 1)], np.int64)
)


def _spread(goods: IntArray) -> Keys:
    """A hash of each pair (splitmix64's last steps); pairs are no secret."""
    mixed = (goods.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: Keys = np.maximum(mixed ^ (mixed >> np.uint64(31)), np.uint64(1))
    return spread


class Waiting:
    """Prices that wait for their hour to end, at one moment: parts by hour, which nobody changes."""

    def __init__(self, parts: Sequence[tuple[int, Keys, npt.NDArray[np.uint8]]]) -> None:
        self._parts = parts

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Hour, key and step of each price, by name."""
        hours = [np.full(len(keys), hour, np.int64) for hour, keys, _ in self._parts]
        columns: tuple[npt.NDArray[Any], ...] = (
            np.concatenate([np.zeros(0, np.int64), *hours]),
            np.concatenate([np.zeros(0, np.uint64), *(keys for _, keys, _ in self._parts)]),
            np.concatenate([np.zeros(0, np.uint8), *(steps for _, _, steps in self._parts)]),
        )
        return dict(zip(_WAITING, columns, strict=True))


class Prices:
    """The distribution of prices of every pair of HS6 and origin."""

    def __init__(self, pairs: int, pairs_max: int) -> None:
        fields = {"period": Field(np.uint32), "counts": Field(np.uint32, (2, STEPS))}
        self.table = OpenTable(fields, pairs, pairs_max)
        #: Prices of hours that have not ended, by hour.
        self._waiting: dict[int, list[tuple[Keys, npt.NDArray[np.uint8]]]] = {}
        self._waiting_count = 0

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; 9 for each price that waits."""
        return self.table.nbytes + 9 * self._waiting_count

    def add(self, goods: IntArray, price: IntArray, minute: int) -> None:
        """Take prices in; those without a pair (-1) or a price (0) do not count."""
        kept = (goods >= 0) & (price > 0)
        if not kept.any():
            return
        hour = minute // MINUTES_PER_HOUR
        keys, steps = _spread(goods[kept]), _step(price[kept]).astype(np.uint8)
        self._waiting.setdefault(hour, []).append((keys, steps))
        self._waiting_count += len(keys)
        if len(self._waiting) > HOURS_WAITING or self._waiting_count > WAITING_MAX:
            self._count(min(self._waiting))

    def _settle(self, hour: int) -> None:
        """Count the prices of all hours before `hour`."""
        if self._waiting:
            for ended in sorted(each for each in self._waiting if each < hour):
                self._count(ended)

    def _count(self, hour: int) -> None:
        parts = self._waiting.pop(hour)
        keys = np.concatenate([part[0] for part in parts])
        steps = np.concatenate([part[1] for part in parts]).astype(np.int64)
        self._waiting_count -= len(keys)
        period = hour * MINUTES_PER_HOUR // (PERIOD_DAYS * MINUTES_PER_DAY)
        distinct, which = np.unique(keys, return_inverse=True)
        rows = self.table.place(distinct, oldest=max(0, period - 1))
        self.table.changing(rows)
        fields = self.table.fields
        held = fields["period"][rows].astype(np.int64)
        newer = rows[period == held + 1]
        fields["counts"][newer, 1] = fields["counts"][newer, 0]
        fields["counts"][newer, 0] = 0
        fields["counts"][rows[period > held + 1]] = 0
        fields["period"][rows] = np.maximum(held, period)
        fields["last"][rows] = fields["period"][rows]
        behind = np.maximum(held, period)[which] - period
        kept = behind < 2
        np.add.at(fields["counts"], (rows[which][kept], behind[kept], steps[kept]), np.uint32(1))

    def rank(self, goods: IntArray, price: IntArray, minute: int) -> tuple[IntArray, IntArray]:
        """Where each price lies among those of its pair, in thousandths from 0 (the lowest) to 1,000; and how many
        prices that is told by. Where fewer than PRICES_MIN are known, or the price or the pair is not, the rank is -1.
        """
        self._settle(minute // MINUTES_PER_HOUR)
        rank, known = np.full(len(goods), -1, np.int64), np.zeros(len(goods), np.int64)
        asked = np.flatnonzero((goods >= 0) & (price > 0))
        distinct, which = np.unique(goods[asked], return_inverse=True)
        rows = self.table.find(_spread(distinct))
        period = minute // (PERIOD_DAYS * MINUTES_PER_DAY)
        behind = period - self.table.fields["period"][rows].astype(np.int64)
        counts = self.table.fields["counts"][rows].astype(np.int64)
        counts[:, 0] *= ((rows >= 0) & (behind <= 1))[:, None]
        counts[:, 1] *= ((rows >= 0) & (behind <= 0))[:, None]
        below = np.zeros((len(rows), STEPS + 1), np.int64)
        np.cumsum(counts.sum(axis=1), axis=1, out=below[:, 1:])
        known[asked] = below[which, STEPS]
        step = _step(price[asked])
        low, high = _EDGES[np.minimum(step, len(_EDGES) - 2)], _EDGES[np.minimum(step, len(_EDGES) - 2) + 1]
        share = np.clip((price[asked] - low) / (high - low), 0.0, 1.0)
        inside = below[which, step + 1] - below[which, step]
        enough = known[asked] >= PRICES_MIN
        position = 1_000 * (below[which, step] + inside * share) / np.maximum(known[asked], 1)
        rank[asked] = np.where(enough, position.astype(np.int64), -1)
        return rank, known

    def waiting(self) -> Waiting:
        """The prices that wait for their hour to end, as they are now."""
        return Waiting([(hour, *part) for hour, parts in self._waiting.items() for part in parts])

    def take_over(self, arrays: Mapping[str, npt.NDArray[Any]], waiting: Mapping[str, npt.NDArray[Any]]) -> None:
        """Hold what another table and what waited (`Waiting.arrays`) told. Raises ValueError where it does not fit."""
        hours, keys, steps = (waiting[name] for name in _WAITING)
        if not len(hours) == len(keys) == len(steps) <= 2 * WAITING_MAX or keys.dtype != np.uint64:
            raise ValueError(f"{len(hours)} hours, {len(keys)} keys and {len(steps)} steps of waiting prices")
        if len(hours) and not (steps.dtype == np.uint8 and steps.max() < STEPS and hours.min() >= 0):
            raise ValueError(f"a price lies in step {steps.max()}; there are {STEPS}")
        self.table.take_over(arrays)
        for hour in np.unique(hours).tolist():
            rows = hours == hour
            self._waiting[hour] = [(keys[rows], steps[rows])]
        self._waiting_count = len(hours)


def _step(price: IntArray) -> IntArray:
    steps: IntArray = np.searchsorted(_EDGES, price, side="right") - 1
    return np.clip(steps, 0, STEPS - 1)
