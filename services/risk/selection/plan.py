"""The chances by which an office draws for an hour: they follow from its parameters and the traffic of the day before alone,
so they are found once and not for every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import IntArray
from services.risk.selection.batch import DRAWN_LANES, Cause
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane, LaneText, OfficeText
from services.risk.selection.tally import STEPS, UNRANKED, Rates, Tally

#: Consignments of the hours that have ended from which on their shares are believed.
TRAFFIC_MIN: Final = 200
#: Would-be greens that a model ranked in these hours from which on its ranks are believed; before, its parts are drawn at random.
RANKED_MIN: Final = 200
#: Ways in which a consignment may be ranked: by the model's score (1), its uncertainty (2), both (3) or not at all (0).
RANKINGS: Final = 4

Chances = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Edge:
    """Chances by step: 1 above the edge, a part at it, 0 below; per lane, (3,), or per place and lane, (places, 3)."""

    step: Chances
    """The step at the edge; STEPS where none is taken."""
    part: Chances
    """The chance at it."""

    @classmethod
    def none(cls) -> Edge:
        """No step is taken."""
        return cls(np.full(3, float(STEPS)), np.zeros(3))

    def chances(self, places: IntArray, lane: int, steps: IntArray) -> Chances:
        """The chance of each step at its place, for a lane by its place in PRECEDENCE; 0 where there is no step."""
        edge = self.step[places, lane]
        found: Chances = np.where(steps > edge, 1.0, np.where(steps == edge, self.part[places, lane], 0.0))
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """Chances from 0 to 1; lanes in the order of PRECEDENCE."""

    minimum: Chances
    """Of the minimum random rate; (3,)."""
    lane: Chances
    """Share of all consignments that is expected in a lane; (3,)."""
    expected: Chances
    """Of the draw that fills what is left, by the way in which a consignment is ranked; (3, RANKINGS). What is not ranked has the
    chance that the model's parts give to others.
    """
    ranked: Chances
    """Share of the would-be greens that are ranked which their ranks are to take; (3,)."""
    model: Edge
    """By the step of the model's score."""
    uncertainty: Edge
    """By the step of the model's uncertainty."""

    @classmethod
    def build(cls, office: OfficeText, rates: Rates) -> Plan:
        """Draw would-be greens, so many that each lane reaches what is expected if the hours to come are as those that have
        ended.

        What is expected is a share of all traffic, and what was ranked may be any part of it: of the ranked ones as large a share
        is taken as of all.
        """
        texts = [_text(office, lane) for lane in PRECEDENCE]
        minimum = np.array([text.minimum_random_ppm / PPM for text in texts])
        model, uncertainty, expected = Edge.none(), Edge.none(), np.zeros((3, RANKINGS))
        ranked = np.zeros(3)
        believed = rates.total >= TRAFFIC_MIN
        # Until a place has traffic to tell by, it is taken as if no rule selected anything there.
        total = float(rates.total) if believed else 1.0
        left = rates.weight if believed else 1.0
        greens = float(max(rates.lanes[Lane.GREEN], 1))
        remaining = 1.0
        by_model, by_uncertainty = (_Ranks(counts, believed, greens) for counts in (rates.model, rates.uncertainty))
        for place, (lane, text) in enumerate(zip(PRECEDENCE, texts, strict=True)):
            share = rates.lanes[lane] / total if believed else minimum[place]
            short = max(0.0, text.expected_ppm / PPM - share) * total
            of_model = of_uncertainty = 0.0
            if lane in DRAWN_LANES[Cause.MODEL]:
                of_model = by_model.take(short * text.by_model_ppm / PPM, model, place, remaining)
            if lane in DRAWN_LANES[Cause.UNCERTAINTY]:
                of_uncertainty = by_uncertainty.take(short * text.by_uncertainty_ppm / PPM, uncertainty, place, 1.0)
            for way in range(RANKINGS):
                taken = of_model * bool(way & 1) + of_uncertainty * bool(way & 2)
                expected[place, way] = _share(short - taken, left - taken)
            ranked[place] = min(1.0, (of_model + of_uncertainty) / greens)
            left = max(0.0, left - short)
            remaining *= 1 - expected[place, -1]
        lanes = np.array([text.expected_ppm / PPM for text in texts])
        return cls(minimum, lanes, expected, ranked, model, uncertainty)


class _Ranks:
    """Would-be greens of a day by the step of a rank, scaled to all of them, from which lanes take the highest in turn."""

    def __init__(self, counts: IntArray, believed: bool, greens: float) -> None:
        ranked = float(counts.sum())
        self._believed = believed and ranked >= RANKED_MIN
        scale = greens / ranked if self._believed else 0.0
        self._left: Chances = counts.astype(np.float64) * scale

    def take(self, count: float, edge: Edge, place: int, remaining: float) -> float:
        """Set the edge of a lane so that it takes as many as are wanted; gives how many that is. `remaining` is the part of each step
        that lanes before have left by drawing at random.
        """
        if not self._believed:
            return 0.0
        gone = _highest(self._left * remaining, count, edge, place)
        self._left -= gone / max(remaining, 1e-9)
        return float(gone.sum())


@dataclass(frozen=True, slots=True)
class Stages:
    """Chances of a batch's consignments in millionths by the stages of the draw, lanes in the order of PRECEDENCE; (n, 3)."""

    minimum: IntArray
    model: IntArray
    uncertainty: IntArray
    expected: IntArray

    def by_cause(self, cause: Cause) -> IntArray:
        """The chances of a cause that fills up a lane."""
        return {Cause.MODEL: self.model, Cause.UNCERTAINTY: self.uncertainty, Cause.EXPECTED: self.expected}[cause]


class Plans:
    """The plans of the places of a batch, side by side."""

    def __init__(
        self, offices: Sequence[OfficeText], names: Sequence[str], tally: Tally, time: int, model_version: str
    ) -> None:
        plans = []
        for office, name in zip(offices, names, strict=True):
            rates = tally.rates(name, time, model_version)
            # Held with the traffic that it follows from, as long as that is.
            held = rates.plans.get(id(office))
            if held is None:
                held = rates.plans[id(office)] = office, Plan.build(office, rates)
            plans.append(held[1])
        self.minimum = np.array([plan.minimum for plan in plans])
        self.lane = np.array([plan.lane for plan in plans])
        self.expected = np.array([plan.expected for plan in plans])
        self.ranked = np.array([plan.ranked for plan in plans])
        self.model = _stack([each.model for each in plans])
        self.uncertainty = _stack([each.uncertainty for each in plans])

    def stages(self, places: IntArray, weight: IntArray, model: IntArray, uncertainty: IntArray) -> Stages:
        """The chances of consignments by their place, their weight in millionths, and the steps of their ranks; (n,) each."""
        ways = way_of(model, uncertainty)
        by_model, by_uncertainty = (
            np.stack([edge.chances(places, lane, steps) for lane in range(len(PRECEDENCE))], axis=1)
            for edge, steps in ((self.model, model), (self.uncertainty, uncertainty))
        )
        weights = weight[:, None] / PPM
        return Stages(
            _ppm(self.minimum[places] * weights),
            _ppm(by_model),
            _ppm(by_uncertainty),
            _ppm(self.expected[places, :, ways] * weights),
        )


def way_of(model: IntArray, uncertainty: IntArray) -> IntArray:
    """In which way consignments are ranked, by the steps of their ranks: 0 where in none."""
    ways: IntArray = (model != UNRANKED) * np.int64(1) + (uncertainty != UNRANKED) * np.int64(2)
    return ways


def _ppm(chances: Chances) -> IntArray:
    rounded: IntArray = np.rint(chances * PPM).astype(np.int64)
    return rounded


def _share(count: float, left: float) -> float:
    return max(0.0, min(1.0, count / left)) if left > 0 else 0.0


def _stack(edges: Sequence[Edge]) -> Edge:
    return Edge(np.array([each.step for each in edges]), np.array([each.part for each in edges]))


def _highest(counts: Chances, count: float, edge: Edge, place: int) -> Chances:
    """Set the edge of a lane so that so many of the highest steps are taken as would have been `count` in the hours that have
    ended. Gives how many of each step that would have been; (STEPS,).
    """
    above = np.append(np.cumsum(counts[::-1])[::-1], 0.0)
    taken = np.flatnonzero(above[1:] < count)
    if len(taken) == 0:
        return np.zeros(STEPS)
    step = int(taken[0])
    part = min(1.0, (count - above[step + 1]) / max(counts[step], 1e-9))
    edge.step[place], edge.part[place] = step, part
    gone = counts.copy()
    gone[:step] = 0.0
    gone[step] *= part
    return gone


def _text(office: OfficeText, lane: Lane) -> LaneText:
    text: LaneText = getattr(office.lanes, lane.name.lower())
    return text
