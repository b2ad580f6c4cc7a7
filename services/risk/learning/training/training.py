"""Training: a small ensemble of LightGBM models on the outcomes of a window, the same for the same seed.

Several small members instead of one large one: their mean ranks better, and how far they disagree tells what the model
does not know. Members of several families, that cut features in different ways, err in different ways, so their mean ranks
better still.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.learning.features.learner import Learner
from services.risk.learning.features.recipe import Recipe
from services.risk.learning.features.sample import Floats, Numbers, Sample, Truths
from services.risk.learning.model.model_file import Trained
from services.risk.learning.settings import Family, TrainingSettings

#: Fewer outcomes of either kind teach nothing that a rule does not know.
OUTCOMES_MIN: Final = 20


class LearningAbsent(RuntimeError):
    """What trains models is not installed; the message says what to install."""


class TooFewOutcomes(ValueError):
    """There is too little to learn from; the message says what there is and what is needed."""


def train(
    recipe: Recipe,
    labelled: Sample,
    violations: Truths,
    *,
    seed: int,
    groups: Numbers | None = None,
    reference: Sample | None = None,
    weights: Floats | None = None,
    days: Numbers | None = None,
    settings: TrainingSettings | None = None,
) -> Trained:
    """Train on rows whose outcome is known.

    `violations` tells per row whether an inspection found a violation; `groups` which rows are near copies of each other
    (they share a fold, and weigh less); `reference` the window that counts and medians are taken of (the labelled rows
    where not given); `weights` what each row counts (1 where not given); `days` the day of each, which a half-life needs.
    Raises TooFewOutcomes, ColumnsDoNotFit.
    """
    settings = settings or TrainingSettings()
    positives = int(violations.sum())
    if len(violations) != labelled.rows:
        raise ValueError(f"{labelled.rows} rows have {len(violations)} outcomes; each needs one")
    if min(positives, len(violations) - positives) < OUTCOMES_MIN:
        raise TooFewOutcomes(
            f"{len(violations)} outcomes, {positives} of them violations: a model needs at least {OUTCOMES_MIN} of either kind. "
            "Take a longer window, or inspect more at random"
        )
    group_ids = np.arange(labelled.rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    counted = _counted(group_ids, weights, days, settings)
    learner = Learner(recipe, labelled, violations, counted, reference)
    encoding = learner.learn()
    scored = encoding.matrix(labelled)
    members: list[str] = []
    for family in settings.families:
        for _ in range(family.members):
            number = len(members)
            matrix = learner.training_matrix(scored, folds_of(group_ids, settings.folds, [seed, number]))
            members.append(
                _member(matrix, violations, counted, recipe, family, member_seed(seed, number), settings.threads)
            )
    return Trained(encoding, tuple(members))


def _counted(group_ids: Numbers, weights: Floats | None, days: Numbers | None, settings: TrainingSettings) -> Floats:
    """What each row counts, 1 in the mean: less for copies, and for what is old."""
    copies = np.bincount(group_ids)[group_ids].astype(np.float64)
    counted: Floats = copies**-settings.copies_exponent * (1.0 if weights is None else weights)
    if settings.half_life_days is not None:
        if days is None:
            raise ValueError("a half-life needs the day of each row; give days, or take no half-life")
        counted = counted * 0.5 ** ((days.max() - days) / settings.half_life_days)
    counted /= counted.mean()
    return counted


def folds_of(groups: npt.NDArray[np.integer[Any]], folds: int, seed: int | list[int]) -> Numbers:
    """A fold for each row, 0 to `folds` - 1, at random by the seed; rows of one group share it."""
    distinct, members = np.unique(groups, return_inverse=True)
    drawn: Numbers = np.random.default_rng(seed).integers(0, folds, len(distinct))
    return drawn[members]


def member_seed(seed: int, number: int) -> int:
    """A seed that LightGBM takes, one for each member."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def lightgbm() -> Any:
    """LightGBM, imported when something is trained: it is an extra, and scoring needs none of it. Raises LearningAbsent."""
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise LearningAbsent(
            f"models are trained by LightGBM, which cannot be loaded ({error}): install luxor[learning], and on Linux the "
            "library libgomp (Debian: apt-get install libgomp1)"
        ) from None
    return lightgbm


def _member(
    matrix: Floats, violations: Truths, weights: Floats, recipe: Recipe, family: Family, seed: int, threads: int
) -> str:
    lgb = lightgbm()
    data = lgb.Dataset(
        matrix,
        label=violations.astype(np.float64),
        weight=weights,
        feature_name=recipe.names,
        categorical_feature=recipe.categories,
        params={"verbose": -1, "data_random_seed": seed},
        free_raw_data=True,
    )
    parameters = {
        "objective": "binary",
        "learning_rate": family.learning_rate,
        "num_leaves": family.leaves,
        "min_data_in_leaf": family.leaf_rows_min,
        "feature_fraction": family.features_share,
        "bagging_fraction": family.rows_share,
        "bagging_freq": 1 if family.rows_share < 1 else 0,
        "lambda_l2": family.l2,
        "extra_trees": family.random_cuts,
        "seed": seed,
        "data_random_seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbose": -1,
    }
    booster = lgb.train(parameters, data, num_boost_round=family.trees)
    return str(booster.model_to_string(importance_type="gain"))
