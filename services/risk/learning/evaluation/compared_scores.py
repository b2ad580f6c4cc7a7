"""Scores that champion and challenger gave to what was inspected later, as stored answers tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from libs.columns import Table
from luxor.risk.v1.risk_pb2 import AssessmentColumns
from services.risk.inspections.inclusion import PPM, inclusion_of, shares_of, weights_of
from services.risk.learning.evaluation.comparison import Compared, compare
from services.risk.learning.features.sample import Floats, Truths

SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Answered:
    """An inspected consignment by its row in the stored answers, and whether it was in violation."""

    row: int
    violation: bool


@dataclass(frozen=True)
class Scored:
    """Inspected consignments that both models scored."""

    violations: Truths
    champion: Floats
    challenger: Floats
    inclusion: Floats
    """By what chance each had to be selected, a part of 1; NaN where that is unknown."""


def scored_of(payload: bytes, outcomes: Sequence[Answered], champion: str, challenger: str) -> Scored:
    """Those of a batch of stored answers that both models, by their versions, scored."""
    answers = Table.parse(AssessmentColumns, payload).take(np.array([each.row for each in outcomes], np.int64))
    ours, theirs = answers.ints("model_score_ppm"), answers.ints("challenger_score_ppm")
    both = answers.strings("model").isin({champion}) & answers.strings("challenger").isin({challenger})
    kept = np.flatnonzero(both & ours.valid & theirs.valid)
    return Scored(
        np.array([each.violation for each in outcomes], np.bool_)[kept],
        ours.values[kept] / PPM,
        theirs.values[kept] / PPM,
        shares_of(inclusion_of(answers))[kept],
    )


def compared(parts: Sequence[Scored]) -> Compared:
    """Compare both models on all of them."""
    none = np.zeros(0)

    def joined(values: Sequence[Floats]) -> Floats:
        return np.concatenate([none, *values])

    weights = weights_of(joined([each.inclusion for each in parts]))
    found = compare(
        np.concatenate([np.zeros(0, np.bool_), *(each.violations for each in parts)]),
        joined([each.champion for each in parts]),
        joined([each.challenger for each in parts]),
        share=SHARE,
        weights=weights.values,
    )
    return msgspec.structs.replace(
        found,
        outcomes_of_unknown_inclusion=weights.unknown,
        outcomes_capped=weights.capped,
        weight_capped_share=weights.capped_share,
    )
