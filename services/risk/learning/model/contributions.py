"""Why the model gave a score: the strongest contributions of its features, along the paths of its trees (Saabas 2014).

A split that a row passes moves what its tree expects, and that is its feature's. Contributions and base add up to the mean of
the members' log-odds exactly. SHAP values (Lundberg et al. 2020) share credit more evenly among features that a tree asks
together, at 50 times the cost; the strongest feature is mostly the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.learning.features.sample import Floats, Numbers
from services.risk.learning.model.model_file import Model
from services.risk.learning.model.scoring import Scores

STRONGEST: Final = 5


@dataclass(frozen=True)
class Contributions:
    """Of each selected row the features that moved its score most, the strongest first; arrays are rows × count."""

    features: Numbers
    """Places in the recipe."""
    values: Floats
    """The features' values, NaN where unknown."""
    amounts: Floats
    """What each added to the log-odds; negative where it spoke for the row."""
    base: Floats
    """Per row the log-odds that it starts from."""

    def named(self, names: list[str], row: int) -> list[tuple[str, float, float]]:
        """A row's contributions as (feature, value, amount)."""
        return [
            (names[place], value, amount)
            for place, value, amount in zip(
                self.features[row].tolist(), self.values[row].tolist(), self.amounts[row].tolist(), strict=True
            )
        ]


def contributions(
    model: Model, scores: Scores, rows: npt.NDArray[np.integer[Any]], strongest: int = STRONGEST
) -> Contributions:
    """The `strongest` contributions of the `rows` that were selected among what was scored."""
    amounts, base = model.forest.contributions(scores.leaves[rows])
    count = min(strongest, amounts.shape[1])
    order = np.argsort(-np.abs(amounts), axis=1, kind="stable")[:, :count]
    return Contributions(
        order.astype(np.int64),
        np.take_along_axis(scores.matrix[rows], order, axis=1),
        np.take_along_axis(amounts, order, axis=1),
        base,
    )
