"""What one replica may draw in an hour to reach what is expected, by what it has assessed in that hour.

Chances follow from hours that have ended, so they are wrong where this hour is another: a model that scores otherwise than
it did, a rule that hits more. What bounds the harm needs no counter that replicas share: each replica may draw in proportion to
what it assesses itself, so all of them together may in proportion to all traffic, from the first consignment of an hour on. Nothing
is carried into the next hour, so a long idle saves nothing up.

The tolerance. Of n consignments of an hour, of which a lane is to take the share e, a replica takes at most
e n + 3 sqrt(e n) + 3 into the lane before it stops to draw into it: three standard deviations of a draw at random, which
is no mistake. Of m would-be greens that the model ranked, of which ranks are to take the share r, they take at most 1.1 r m + 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from libs.columns.arrays import BoolArray, IntArray
from services.risk.selection.hours import MICROS_PER_HOUR

#: Standard deviations of the draw, and consignments, by which a lane may be above what is expected.
DEVIATIONS: Final = 3.0
LANE_EXTRA: Final = 3.0
#: Part of their share, and consignments, by which ranks may be above it.
RANKED_PART: Final = 0.1
RANKED_EXTRA: Final = 2.0
#: Hours that are counted: the present one, and the one before for batches that were under way when it ended.
_HOURS_COUNTED: Final = 2
_LANES: Final = 3

Floats = npt.NDArray[np.float64]


def lane_most(share: Floats, consignments: Floats | IntArray) -> Floats:
    """How many of the consignments seen may be in a lane before drawing into it stops."""
    expected = share * consignments
    most: Floats = expected + DEVIATIONS * np.sqrt(expected) + LANE_EXTRA
    return most


def ranked_most(share: Floats, ranked: Floats | IntArray) -> Floats:
    """How many of the would-be greens that were ranked their ranks may take."""
    most: Floats = share * ranked * (1 + RANKED_PART) + RANKED_EXTRA
    return most


@dataclass(slots=True)
class Counted:
    """What was assessed at a place in an hour; lanes in the order of PRECEDENCE."""

    consignments: int = 0
    """Consignments."""
    ranked: int = 0
    """Would-be greens that the model ranked."""
    lanes: IntArray = field(default_factory=lambda: np.zeros(_LANES, np.int64))
    """Consignments in a lane, by whatever cause."""
    by_rank: IntArray = field(default_factory=lambda: np.zeros(_LANES, np.int64))
    """Those that their rank took."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a batch adds to the counts: one value a consignment."""

    counted: BoolArray
    ranked: BoolArray
    lane: IntArray
    """The place of the lane in PRECEDENCE that counts as taken, -1 where none does."""
    by_rank: BoolArray


class DrawnBatch(Protocol):
    """A batch that was selected; it counts nowhere where no office draws."""

    @property
    def place(self) -> Strings:
        """Office and direction of each consignment."""

    @property
    def marks(self) -> Marks | None:
        """What each adds to the counts; None where no office draws."""


class Allotments:
    """What one replica has assessed in the present hour, by office and direction."""

    def __init__(self) -> None:
        self._hours: dict[int, dict[str, Counted]] = {}

    def hour_counts(self, place: str, time: int) -> Counted:
        """What was counted at a place in the hour of `time`; the caller changes nothing of it."""
        return self._hours.get(time // MICROS_PER_HOUR, {}).get(place) or Counted()

    def count(self, batch: DrawnBatch, time: int) -> None:
        """Count a batch as soon as it is selected, before another one is."""
        self._add(batch, time, np.arange(len(batch.place)), 1)

    def give_back(self, batch: DrawnBatch, time: int, rows: IntArray | None = None) -> None:
        """Take back what was counted for rows that got another answer, or for a batch that was not stored."""
        self._add(batch, time, np.arange(len(batch.place)) if rows is None else rows, -1)

    def _add(self, batch: DrawnBatch, time: int, rows: IntArray, sign: int) -> None:
        hour, marks = time // MICROS_PER_HOUR, batch.marks
        counted = self._hours.get(hour)
        if marks is None or (counted is None and sign < 0):
            return
        if counted is None:
            counted = self._hours[hour] = {}
            for old in sorted(self._hours)[:-_HOURS_COUNTED]:
                del self._hours[old]
        names = batch.place.dictionary
        codes, lane = batch.place.indices[rows].astype(np.int64), marks.lane[rows]

        def by_place(where: BoolArray) -> IntArray:
            return np.bincount(codes[where], minlength=len(names))

        def by_lane(where: BoolArray) -> IntArray:
            cells = codes[where] * _LANES + lane[where]
            return np.bincount(cells, minlength=len(names) * _LANES).reshape(-1, _LANES)

        seen, ranked = by_place(marks.counted[rows]), by_place(marks.ranked[rows])
        lanes, by_rank = by_lane(lane >= 0), by_lane((lane >= 0) & marks.by_rank[rows])
        for code, name in enumerate(names):
            each = counted.setdefault(name, Counted())
            each.consignments += sign * int(seen[code])
            each.ranked += sign * int(ranked[code])
            each.lanes += sign * lanes[code]
            each.by_rank += sign * by_rank[code]
