"""The chances by which an office draws for an hour: they follow from its parameters and the traffic of the day before alone,
so they are found once and not for every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.conditions.vectors import IntArray
from services.risk.selection.batch import DRAWN_LANES, Cause
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane, LaneText, OfficeText
from services.risk.selection.tally import STEPS, Rates, Tally

#: Consignments of the hours that have ended from which on their shares are believed.
TRAFFIC_MIN: Final = 200

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
    expected: Chances
    """Of the draw that fills what is left; (3,)."""
    model: Edge
    """By the step of the model's score."""
    uncertainty: Edge
    """By the step of the model's uncertainty."""

    @classmethod
    def of(cls, office: OfficeText, rates: Rates) -> Plan:
        """Draw would-be greens, so many that each lane reaches what is expected if the hours to come are as those that have
        ended.
        """
        texts = [_text(office, lane) for lane in PRECEDENCE]
        minimum = np.array([text.minimum_random_ppm / PPM for text in texts])
        model, uncertainty, expected = Edge.none(), Edge.none(), np.zeros(3)
        believed = rates.total >= TRAFFIC_MIN
        # Until a place has traffic to tell by, it is taken as if no rule selected anything there.
        total = float(rates.total) if believed else 1.0
        left = rates.weight if believed else 1.0
        kept = 1.0
        by_model, by_uncertainty = rates.model.astype(np.float64), rates.uncertainty.astype(np.float64)
        for place, (lane, text) in enumerate(zip(PRECEDENCE, texts, strict=True)):
            share = rates.lanes[lane] / total if believed else minimum[place]
            short = max(0.0, text.expected_ppm / PPM - share) * total
            taken = 0.0
            if believed and lane in DRAWN_LANES[Cause.MODEL]:
                gone = _highest(by_model * kept, short * text.by_model_ppm / PPM, model, place)
                by_model -= gone / max(kept, 1e-9)
                taken += float(gone.sum())
            if believed and lane in DRAWN_LANES[Cause.UNCERTAINTY]:
                gone = _highest(by_uncertainty, short * text.by_uncertainty_ppm / PPM, uncertainty, place)
                taken += float(gone.sum())
            left = max(0.0, left - taken)
            rest = max(0.0, min(1.0, (short - taken) / left)) if left > 0 else 0.0
            expected[place] = rest
            left = max(0.0, left - (short - taken))
            kept *= 1 - rest
        return cls(minimum, expected, model, uncertainty)


class Plans:
    """The plans of the places of a batch, side by side."""

    def __init__(self, offices: Sequence[OfficeText], names: Sequence[str], tally: Tally, time: int) -> None:
        plans = []
        for office, name in zip(offices, names, strict=True):
            rates = tally.rates(name, time)
            # Held with the traffic that it follows from, as long as that is.
            held = rates.plans.get(id(office))
            if held is None:
                held = rates.plans[id(office)] = office, Plan.of(office, rates)
            plans.append(held[1])
        self.minimum = np.array([plan.minimum for plan in plans])
        self.expected = np.array([plan.expected for plan in plans])
        self.model, self.uncertainty = (
            _beside([each.model for each in plans]),
            _beside([each.uncertainty for each in plans]),
        )


def _beside(edges: Sequence[Edge]) -> Edge:
    return Edge(np.array([each.step for each in edges]), np.array([each.part for each in edges]))


def _highest(counts: Chances, wanted: float, edge: Edge, place: int) -> Chances:
    """Set the edge of a lane so that so many of the highest steps are taken as would have been `wanted` in the hours that have
    ended. Gives how many of each step that would have been; (STEPS,).
    """
    above = np.append(np.cumsum(counts[::-1])[::-1], 0.0)
    taken = np.flatnonzero(above[1:] < wanted)
    if len(taken) == 0:
        return np.zeros(STEPS)
    step = int(taken[0])
    part = min(1.0, (wanted - above[step + 1]) / max(counts[step], 1e-9))
    edge.step[place], edge.part[place] = step, part
    gone = counts.copy()
    gone[:step] = 0.0
    gone[step] *= part
    return gone


def _text(office: OfficeText, lane: Lane) -> LaneText:
    text: LaneText = getattr(office.lanes, lane.name.lower())
    return text
