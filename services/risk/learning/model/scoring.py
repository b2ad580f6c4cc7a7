"""Scores of whole batches, and of one row alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.risk.learning.features.sample import Floats, Sample
from services.risk.learning.model.model_file import Model
from services.risk.learning.model.trees import Leaves


@dataclass(frozen=True)
class Scores:
    """What a model says of each row."""

    matrix: Floats
    """The features, rows × features: contributions are made of it."""
    log_odds: Floats
    """Mean of the members, natural logarithm of the odds of a violation."""
    spread: Floats
    """Standard deviation of the members' log-odds: how far they disagree."""
    leaves: Leaves
    """The leaf of each row in each tree: contributions are made of it."""
    uncertainty: Floats
    """How little the model knows of such rows, 0 to 1, see `uncertainty_of`."""

    @property
    def chance(self) -> Floats:
        """Chance of a violation, 0 to 1."""
        return chance_of(self.log_odds)


def chance_of(log_odds: Floats) -> Floats:
    """The chance that log-odds stand for, without overflow at either end."""
    chance: Floats = 0.5 * (1 + np.tanh(log_odds / 2))
    return chance


def score(model: Model, sample: Sample) -> Scores:
    """Score a batch; one row alone goes the same way. Raises ColumnsDoNotFit."""
    matrix, known = model.encoding.look(sample)
    return score_matrix(model, matrix, known)


def score_matrix(model: Model, matrix: Floats, group_outcomes: Floats | None = None) -> Scores:
    """Score rows whose features are there already; `group_outcomes` has the outcomes known of each row's least known group."""
    leaves = model.forest.leaves(matrix)
    each = model.forest.log_odds(leaves)
    return Scores(matrix, each.mean(axis=1), each.std(axis=1), leaves, uncertainty_of(chance_of(each), group_outcomes))


def uncertainty_of(chances: Floats, group_outcomes: Floats | None = None) -> Floats:
    """How little is known of rows, 0 to 1, from each member's chance (rows x members).

    Two kinds of doubt, either of which is enough: the members disagree (twice the standard deviation of their chances, which
    is at most a half), or hardly any outcome is known of a group that the row belongs to (one over one plus their number).
    """
    agreed = 1 - np.minimum(1.0, 2 * chances.std(axis=1))
    familiar = 1.0 if group_outcomes is None else group_outcomes / (1 + group_outcomes)
    uncertainty: Floats = 1 - agreed * familiar
    return uncertainty
