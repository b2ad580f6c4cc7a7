"""Champion and challenger: two models judged on the same outcomes, the challenger in shadow, without effect.

Outcomes come from what was inspected, and that was mostly chosen by the champion, which would favour it. So each
outcome may weigh one over the chance with which it was inspected; the explored ones make that chance known.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec
import numpy as np

from services.risk.learning.evaluation.metrics import auc, precision_at
from services.risk.learning.features.sample import Floats, Truths

OUTCOMES_MIN: Final = 200
VIOLATIONS_MIN: Final = 20
REPEATS: Final = 400


class Verdict(IntEnum):
    """The result of a comparison, with the numbers of the contract's ComparisonVerdict."""

    CHALLENGER_IS_BETTER = 1
    CHAMPION_STAYS = 2
    TOO_FEW_OUTCOMES = 3


class Compared(msgspec.Struct, frozen=True):
    """How two models did on the same outcomes; a difference is the challenger's minus the champion's."""

    outcomes: int
    violations: int
    champion_precision: float
    challenger_precision: float
    precision_difference_low: float
    precision_difference_high: float
    """Bounds of the middle 95 % of the difference over resamples."""
    champion_auc: float
    challenger_auc: float
    auc_difference_low: float
    auc_difference_high: float
    verdict: Verdict
    outcomes_of_unknown_inclusion: int = 0
    """By what chance they had to be selected is unknown, so they weigh as the mean of the others."""
    outcomes_capped: int = 0
    """Their weight was cut at the cap."""
    weight_capped_share: float = 0.0
    """The part of all weight that was cut off; it biases both models' figures towards what is selected most."""


def compare(
    violations: Truths,
    champion: Floats,
    challenger: Floats,
    *,
    share: float = 0.1,
    seed: int = 0,
    weights: Floats | None = None,
    repeats: int = REPEATS,
) -> Compared:
    """Compare two models' scores on inspected rows.

    `share` of the rows is what a selection would take; `weights` are one over the chance of having been selected. The
    challenger is better when the middle 95 % of 400 resamples (bootstrap, both models on the same rows) lie above zero
    for precision or area under the curve, and neither's lies below.
    """
    positives = int(violations.sum())
    counted = np.ones(len(violations)) if weights is None else weights
    chances = counted / counted.sum() if len(violations) else counted
    rng = np.random.default_rng(seed)
    differences = np.full((repeats, 2), np.nan)
    enough = len(violations) >= OUTCOMES_MIN and min(positives, len(violations) - positives) >= VIOLATIONS_MIN
    if enough:
        for repeat in range(repeats):
            rows = rng.choice(len(violations), len(violations), p=chances)
            ours, theirs = (
                _measured(violations[rows], challenger[rows], share),
                _measured(violations[rows], champion[rows], share),
            )
            differences[repeat] = ours[0] - theirs[0], ours[1] - theirs[1]
        low, high = np.nanquantile(differences, [0.025, 0.975], axis=0)
    else:
        low = high = np.array([np.nan, np.nan])
    better = enough and bool((low > 0).any() and (high >= 0).all())
    old, new = _measured(violations, champion, share), _measured(violations, challenger, share)
    return Compared(
        outcomes=len(violations),
        violations=positives,
        champion_precision=old[0],
        challenger_precision=new[0],
        precision_difference_low=float(low[0]),
        precision_difference_high=float(high[0]),
        champion_auc=old[1],
        challenger_auc=new[1],
        auc_difference_low=float(low[1]),
        auc_difference_high=float(high[1]),
        verdict=Verdict.TOO_FEW_OUTCOMES
        if not enough
        else Verdict.CHALLENGER_IS_BETTER
        if better
        else Verdict.CHAMPION_STAYS,
    )


def _measured(violations: Truths, scores: Floats, share: float) -> tuple[float, float]:
    return precision_at(violations, scores, share), auc(violations, scores)
