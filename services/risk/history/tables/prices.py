"""Prices by HS6 and origin: how many were seen in each of 96 steps, and where in them a price lies.

A step is a third of an octave (26 %), from 1 cent to 43 million euro a kilogram. Steps and not a KLL sketch, since
counts of steps are the same in whatever order prices come, merge exactly, cost 1,152 bytes a pair and are updated for a
whole batch by one gather; a KLL of the library costs a call of some microseconds for each price and its answer
depends on order and chance. Two periods of 15 days are held, this and the last, so a price leaves after 15 to 30 days.

A price counts from the next full hour on. So what a batch holds does not depend on how it was cut, and a flood of one
hour does not move its own yardstick. A pair keeps the prices of its newest hour apart, so no hour's end costs anything.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.tables.hash_table import Field, IntArray, Keys, OpenTable
from services.risk.history.tables.time_windows import MINUTES_PER_HOUR
from services.risk.history.tables.undo_log import Undo

STEPS: Final = 96
STEPS_PER_OCTAVE: Final = 3
#: Fewer prices than this say nothing.
PRICES_MIN: Final = 30
#: Two periods lie within the days that the log keeps, so that who reads it again knows the same prices.
PERIOD_DAYS: Final = 15
PERIOD_HOURS: Final = 24 * PERIOD_DAYS

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


class Prices:
    """The distribution of prices of every pair of HS6 and origin."""

    def __init__(self, pairs: int, pairs_max: int) -> None:
        # `last` is the hour of the newest price, and `fresh` holds that hour's prices, which do not count within it.
        fields = {"counts": Field(np.uint32, (2, STEPS)), "fresh": Field(np.uint32, (STEPS,))}
        self.table = OpenTable(fields, pairs, pairs_max)
        self._recorded = np.zeros(0, np.bool_)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.table.nbytes

    def add(self, goods: IntArray, price: IntArray, minute: int) -> None:
        """Take prices in; those without a pair (-1) or a price (0) do not count."""
        kept = (goods >= 0) & (price > 0)
        if not kept.any():
            return
        hour = minute // MINUTES_PER_HOUR
        distinct, which = np.unique(_spread(goods[kept]), return_inverse=True)
        steps = _step(price[kept])
        rows = self.table.place(distinct, oldest=max(0, hour // PERIOD_HOURS - 1) * PERIOD_HOURS)
        self._changing(rows)
        held = self.table.fields["last"][rows].astype(np.int64)
        self._move_on(rows[held < hour], hour)
        late = (held > hour)[which]
        _add(self.table.fields["fresh"], rows[which[~late]], steps[~late])
        if late.any():
            # Their hour ended before they came, so they count at once.
            behind = held[which[late]] // PERIOD_HOURS - hour // PERIOD_HOURS
            inside = behind < 2
            places = 2 * rows[which[late][inside]] + behind[inside]
            _add(self.table.fields["counts"], places, steps[late][inside])

    def _move_on(self, rows: IntArray, hour: int) -> None:
        """Let the prices of the hours that have ended count, and those of periods that have ended leave."""
        if len(rows) == 0:
            return
        counts, fresh, last = (self.table.fields[name] for name in ("counts", "fresh", "last"))
        counts[rows, 0] += fresh[rows]
        fresh[rows] = 0
        periods = hour // PERIOD_HOURS - last[rows].astype(np.int64) // PERIOD_HOURS
        newer = rows[periods == 1]
        counts[newer, 1] = counts[newer, 0]
        counts[newer, 0] = 0
        counts[rows[periods > 1]] = 0
        last[rows] = hour

    def watch(self, undo: Undo | None) -> None:
        """Tell changes to `undo` from now on; a row's first change alone, since its row is large and it comes often."""
        self.table.undo = undo
        self._recorded = np.zeros(self.table.capacity if undo is not None else 0, np.bool_)

    def _changing(self, rows: IntArray) -> None:
        # After a growth all arrays are new ones, and none is watched.
        if len(self._recorded) == self.table.capacity:
            rows = rows[~self._recorded[rows]]
            self._recorded[rows] = True
            self.table.changing(rows)

    def rank(self, goods: IntArray, price: IntArray, minute: int) -> tuple[IntArray, IntArray]:
        """Where each price lies among those of its pair, in thousandths from 0 (the lowest) to 1,000; and how many
        prices that is told by. Where fewer than PRICES_MIN are known, or the price or the pair is not, the rank is -1.
        """
        rank, known = np.full(len(goods), -1, np.int64), np.zeros(len(goods), np.int64)
        asked = np.flatnonzero((goods >= 0) & (price > 0))
        distinct, which = np.unique(goods[asked], return_inverse=True)
        rows = self.table.find(_spread(distinct))
        hour = minute // MINUTES_PER_HOUR
        held = self.table.fields["last"][rows].astype(np.int64)
        behind = hour // PERIOD_HOURS - held // PERIOD_HOURS
        this, before = (rows >= 0) & (behind <= 1), (rows >= 0) & (behind <= 0)
        counts = self.table.fields["counts"][rows].astype(np.int64)
        told = counts[:, 0] * this[:, None] + counts[:, 1] * before[:, None]
        ended = np.flatnonzero(this & (held < hour))
        told[ended] += self.table.fields["fresh"][rows[ended]]
        below = np.zeros((len(rows), STEPS + 1), np.int64)
        np.cumsum(told, axis=1, out=below[:, 1:])
        known[asked] = below[which, STEPS]
        step = _step(price[asked])
        low, high = _EDGES[np.minimum(step, len(_EDGES) - 2)], _EDGES[np.minimum(step, len(_EDGES) - 2) + 1]
        share = np.clip((price[asked] - low) / (high - low), 0.0, 1.0)
        inside = below[which, step + 1] - below[which, step]
        enough = known[asked] >= PRICES_MIN
        position = 1_000 * (below[which, step] + inside * share) / np.maximum(known[asked], 1)
        rank[asked] = np.where(enough, position.astype(np.int64), -1)
        return rank, known


def _add(counts: npt.NDArray[Any], rows: IntArray, steps: IntArray) -> None:
    """Add one to each of some steps; `rows` are of STEPS numbers each."""
    np.add.at(counts.reshape(-1), rows * STEPS + steps, np.uint32(1))


def _step(price: IntArray) -> IntArray:
    steps: IntArray = np.searchsorted(_EDGES, price, side="right") - 1
    return np.clip(steps, 0, STEPS - 1)
