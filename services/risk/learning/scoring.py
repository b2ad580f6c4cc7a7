"""Scores of whole batches, and of one row alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.learning.model_file import Model
from services.risk.learning.sample import Floats, Sample


@dataclass(frozen=True)
class Scores:
    """What a model says of each row."""

    matrix: Floats
    """The features, rows × features: contributions are made of it."""
    log_odds: Floats
    """Mean of the members, natural logarithm of the odds of a violation."""
    spread: Floats
    """Standard deviation of the members' log-odds: how far they disagree."""

    @property
    def chance(self) -> Floats:
        """Chance of a violation, 0 to 1."""
        return chance_of(self.log_odds)


def chance_of(log_odds: Floats) -> Floats:
    """The chance that log-odds stand for, without overflow at either end."""
    chance: Floats = 0.5 * (1 + np.tanh(log_odds / 2))
    return chance


def score(model: Model, sample: Sample) -> Scores:
    """Score a batch, one call for each member over all rows; one thread. Raises ColumnsDoNotFit.

    A single row goes the same way: what LightGBM's row-wise call costs is far below what the features cost.
    """
    return score_matrix(model, model.encoding.matrix(sample))


def score_matrix(model: Model, matrix: Floats) -> Scores:
    """Score rows whose features are there already, such as those that a challenger shares with the champion."""
    if len(matrix) == 0:
        return Scores(matrix, np.zeros(0), np.zeros(0))
    each = np.stack([member.predict(matrix, raw_score=True, num_threads=1) for member in model.members])
    return Scores(matrix, each.mean(axis=0), each.std(axis=0))
