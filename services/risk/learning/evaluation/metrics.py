"""Measures of a ranking: how many of the first ones are violations, and the area under the ROC curve.

Ties are judged by their expectation over all orders, so that no model gains by an order that nobody chose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from services.risk.learning.features.sample import Floats, Truths

SHARES: Final = (0.05, 0.10)


def precision_at(violations: Truths, scores: Floats, share: float) -> float:
    """Share of violations among the `share` (0 to 1) of rows with the highest scores, at least one row; NaN for no rows."""
    if len(scores) == 0:
        return math.nan
    first = min(len(scores), max(1, math.ceil(len(scores) * share)))
    cut = np.partition(scores, len(scores) - first)[len(scores) - first]
    above, level = scores > cut, scores == cut
    return float((violations[above].sum() + violations[level].mean() * (first - above.sum())) / first)


def auc(violations: Truths, scores: Floats) -> float:
    """Chance that a violation scores above what is none, a tie counting half (Mann-Whitney); NaN where one kind is absent."""
    positives = int(violations.sum())
    rest = len(violations) - positives
    if positives == 0 or rest == 0:
        return math.nan
    _, level, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[level]
    return float((ranks[violations].sum() - positives * (positives + 1) / 2) / (positives * rest))


def log_loss(violations: Truths, scores: Floats) -> float:
    """Mean of minus the logarithm of the chance that was given to what came; scores are chances. NaN for no rows."""
    if len(scores) == 0:
        return math.nan
    given = np.clip(np.where(violations, scores, 1 - scores), 1e-12, 1.0)
    return float(-np.log(given).mean())


def measures(violations: Truths, scores: Floats, shares: Sequence[float] = SHARES) -> Mapping[str, float]:
    """All measures by name: `auc`, `log_loss` and `precision_at_5` (per cent) and so on."""
    told = {f"precision_at_{share * 100:g}": precision_at(violations, scores, share) for share in shares}
    return {**told, "auc": auc(violations, scores), "log_loss": log_loss(violations, scores)}
