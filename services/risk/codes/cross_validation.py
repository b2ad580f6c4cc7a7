"""How often a model is right on descriptions that it was not trained on, and how sure it may be: cross-validation in five folds.

Near duplicates are in one fold. Texts that count less than a declaration are references: they are in every training and are never judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from services.risk.codes.code_weights import Floats
from services.risk.codes.near_duplicates import folds_of, groups_of
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import SUGGESTIONS_MAX, combined_scores, probabilities_of
from services.risk.codes.training import TrainingTexts, train

FOLDS: Final = 5
SHARPNESSES: Final = tuple(float(each) for each in np.geomspace(2, 64, 21))
"""Those that are tried. 2 hardly parts the codes; 64 makes the best code all but certain."""


@dataclass(frozen=True)
class Accuracy:
    """What cross-validation found."""

    top1: float
    """Share of the declarations whose code is the most probable one."""
    top5: float
    """Share of the declarations whose code is among the five most probable."""
    top1_repeated: float
    """`top1` among declarations whose code occurs at least twice; NaN where none does."""
    sharpness: float
    """By which the probabilities of the right codes have the largest product."""
    quantiles: tuple[float, ...]
    """The 1st to the 99th percentile of these probabilities; all 0 where no model has a right code."""


def cross_validate(texts: TrainingTexts, seed: int = 0, **settings: float) -> Accuracy:
    """Judge each declaration by the model of the other folds. `settings` are those of training."""
    codes = np.asarray(texts.codes)
    declared = np.flatnonzero(texts.weights == 1)
    folds = np.full(len(codes), -1)
    folds[declared] = folds_of(groups_of([texts.descriptions[row] for row in declared.tolist()]), FOLDS, seed)
    ranks, columns, scores = np.full(len(codes), SUGGESTIONS_MAX), np.full(len(codes), -1), {}
    for fold in range(FOLDS):
        judged = np.flatnonzero(folds == fold)
        model = train(texts.rows(np.flatnonzero(folds != fold)), **settings)  # type: ignore[arg-type]
        found = combined_scores(
            model.codes, model.scores(features_of([texts.descriptions[row] for row in judged.tolist()]))
        )
        places = np.searchsorted(model.codes, codes[judged])
        present = np.asarray([*model.codes, ""])[places] == codes[judged]
        right = found[np.arange(len(judged)), np.where(present, places, 0)]
        ranks[judged] = np.where(present, (found > right[:, None]).sum(axis=1), SUGGESTIONS_MAX)
        columns[judged] = np.where(present, places, -1)
        scores[fold] = (found, columns[judged])
    sharpness = _sharpest(list(scores.values()))
    chances = np.concatenate([_right_chances(*each, sharpness) for each in scores.values()])
    counts = dict(zip(*np.unique(codes[declared], return_counts=True), strict=True))
    repeated = declared[[counts[code] > 1 for code in codes[declared]]]
    return Accuracy(
        top1=float((ranks[declared] == 0).mean()),
        top5=float((ranks[declared] < SUGGESTIONS_MAX).mean()),
        top1_repeated=float((ranks[repeated] == 0).mean()) if len(repeated) else float("nan"),
        sharpness=sharpness,
        quantiles=tuple(np.percentile(chances if len(chances) else [0.0], np.arange(1, 100)).tolist()),
    )


def _sharpest(scores: list[tuple[Floats, np.ndarray]]) -> float:
    """Return the sharpness of the best likelihood over descriptions whose code the model has."""

    def likelihood(sharpness: float) -> float:
        total = 0.0
        for found, columns in scores:
            total += float(np.log(np.maximum(_right_chances(found, columns, sharpness), 1e-12)).sum())
        return total

    return max(SHARPNESSES, key=likelihood)


def _right_chances(scores: Floats, columns: np.ndarray, sharpness: float) -> Floats:
    """Return the probabilities of the right codes that the model has."""
    rows = np.flatnonzero(columns >= 0)
    chances = probabilities_of(scores[rows], sharpness) if len(rows) else np.ones((0, 1), np.float32)
    right: Floats = chances[np.arange(len(rows)), columns[rows]]
    return right
