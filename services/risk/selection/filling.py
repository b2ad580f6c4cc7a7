"""Drawing would-be greens until lanes reach what is expected, and no further than the allotments of the hour go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from libs.columns.arrays import BoolArray, IntArray
from services.risk.selection.allotments import Counted, Marks, lane_most, ranked_most
from services.risk.selection.batch import DRAWN_LANES, DRAWS, Cause
from services.risk.selection.draws import Draw, Draws, below
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane
from services.risk.selection.plan import Plans, Stages

_FILLS: Final = (Cause.MODEL, Cause.UNCERTAINTY, Cause.EXPECTED)


class Filling:
    """One batch that is drawn from, row after row as it came, so that it matters not how calls cut the traffic."""

    def __init__(
        self,
        place: Strings,
        stages: Stages,
        draws: Draws,
        lane: IntArray,
        plans: Plans,
        counted: Sequence[Counted],
        ranked: BoolArray,
        marks: Marks,
    ) -> None:
        """Fill in what rules, score and minimum left green of `lane`; `counted` has what each place has had in the hour, `ranked`
        whether a row is a would-be green with a rank, and `marks` what the batch adds to the counts so far.
        """
        self.lane, self.marks = lane.copy(), marks
        rows = len(lane)
        self.cause: IntArray = np.zeros(rows, np.int64)
        self.chance_ppm: IntArray = np.full(rows, PPM, np.int64)
        self._codes, self._stages, self._draws = place.indices.astype(np.int64), stages, draws
        self._by_place = np.argsort(self._codes, kind="stable")
        lanes = np.array([each.lanes for each in counted])
        by_rank = np.array([each.by_rank for each in counted])
        # Within the batch every row gives room, also one that is not counted since an earlier version was.
        seen = np.array([each.consignments for each in counted])[self._codes] + self._running(np.ones(rows, np.int64))
        rankable = np.array([each.ranked for each in counted])[self._codes] + self._running(ranked)
        #: Whether a row may still be drawn to reach what is expected, and by its rank; (n, 3).
        self._open: BoolArray = np.zeros((rows, len(PRECEDENCE)), np.bool_)
        self._ranks_open: BoolArray = np.zeros((rows, len(PRECEDENCE)), np.bool_)
        for number, each in enumerate(PRECEDENCE):
            most = lane_most(plans.lane[self._codes, number], seen)
            most_ranked = ranked_most(plans.ranked[self._codes, number], rankable)
            self._fill(number, each, lanes[:, number], by_rank[:, number], most, most_ranked)

    def _running(self, values: npt.NDArray[Any]) -> IntArray:
        """How many of the values up to a row, with its own, are of its place."""
        order = self._by_place
        running = np.cumsum(values[order])
        codes = self._codes[order]
        starts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: len(codes)])
        before = running[starts] - values[order][starts]
        counts: IntArray = np.empty(len(values), np.int64)
        counts[order] = running - np.repeat(before, np.diff(np.append(starts, len(codes))))
        return counts

    def _fill(
        self,
        number: int,
        lane: Lane,
        in_lane: IntArray,
        by_rank: IntArray,
        most: npt.NDArray[np.float64],
        most_ranked: npt.NDArray[np.float64],
    ) -> None:
        """Draw into one lane. `in_lane` and `by_rank` have the hour's counts of each place, `most` and `most_ranked` how many
        there may be when a row has its turn.
        """
        green = np.flatnonzero(self.lane == Lane.GREEN)
        wanted = np.zeros((len(green), len(_FILLS)), np.bool_)
        for place, cause in enumerate(_FILLS):
            if lane in DRAWN_LANES[cause]:
                wanted[:, place] = below(
                    self._draws[green, DRAWS[cause, lane]], self._stages.by_cause(cause)[green, number]
                )
        some = wanted.any(axis=1)
        candidates, wanted = green[some], wanted[some]
        inside = self.marks.lane == number
        forced = in_lane[self._codes] + self._running(inside) - inside
        taken, ranked = [0] * len(in_lane), by_rank.tolist()
        # One after the other, since each that is taken counts for the next: these are the few that are drawn.
        for row, code, (by_model, by_doubt, at_random), before, limit, limit_ranked in zip(
            candidates.tolist(),
            self._codes[candidates].tolist(),
            wanted.tolist(),
            forced[candidates].tolist(),
            most[candidates].tolist(),
            most_ranked[candidates].tolist(),
            strict=True,
        ):
            if before + taken[code] + 1 > limit:
                continue
            if (by_model or by_doubt) and ranked[code] + 1 <= limit_ranked:
                self._take(row, number, lane, Cause.MODEL if by_model else Cause.UNCERTAINTY)
                ranked[code] += 1
            elif at_random:
                self._take(row, number, lane, Cause.EXPECTED)
            else:
                continue
            taken[code] += 1
        inside = self.marks.lane == number
        ranks = inside & self.marks.by_rank
        self._open[:, number] = in_lane[self._codes] + self._running(inside) - inside + 1 <= most
        self._ranks_open[:, number] = by_rank[self._codes] + self._running(ranks) - ranks + 1 <= most_ranked

    def _take(self, row: int, number: int, lane: Lane, cause: Cause) -> None:
        self.lane[row], self.cause[row] = lane, cause
        self.chance_ppm[row] = self._stages.by_cause(cause)[row, number]
        self.marks.lane[row] = number
        self.marks.by_rank[row] = cause != Cause.EXPECTED

    def chances_ppm(self) -> IntArray:
        """The chance that each Draw has to take a row as its turn comes, millionths; (n, 9)."""
        stages, may = self._stages, self._open
        of_cause = {
            Cause.MINIMUM: stages.minimum,
            Cause.EXPECTED: may * stages.expected,
            Cause.MODEL: (may & self._ranks_open) * stages.model,
            Cause.UNCERTAINTY: (may & self._ranks_open) * stages.uncertainty,
        }
        found: IntArray = np.zeros((len(self.lane), len(Draw)), np.int64)
        for (cause, lane), draw in DRAWS.items():
            found[:, draw] = of_cause[cause][:, PRECEDENCE.index(lane)]
        return found
