"""A candidate: a model trained on what is known, with measures on what came later, ready to be written as a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from services.risk.inspections.inclusion import weights_of
from services.risk.learning.evaluation.drift import profiles
from services.risk.learning.evaluation.drift_watch import SCORE
from services.risk.learning.evaluation.metrics import measures
from services.risk.learning.features.recipe import Recipe
from services.risk.learning.features.sample import Floats, Sample
from services.risk.learning.model.model_file import Content, Model, Trained, Window, content_of
from services.risk.learning.model.scoring import score
from services.risk.learning.settings import TrainingSettings
from services.risk.learning.training.inspected_samples import InspectedItems
from services.risk.learning.training.training import TooFewOutcomes, train

OUTCOMES_MIN: Final = 200
"""Inspected items below which nothing is trained."""
VIOLATIONS_MIN: Final = 40
"""Items in violation below which nothing is trained; as many must be in order."""
TEST_SHARE: Final = 0.2
"""Share of the consignments, the latest, that the measures are taken on."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a candidate is made."""

    name: str
    label: str
    window: Window
    recipe: Recipe
    settings: TrainingSettings
    seed: int


def candidate(plan: TrainingPlan, inspected: InspectedItems, reference: Sample | None = None) -> Content:
    """Train a model on consignments whose outcome is known, the earliest first.

    Measures are those of a model that was trained without the latest fifth, on that fifth; what is given is trained on all.
    `reference` is traffic, inspected or not, that prices, counts and the profiles for drift are taken of (the known rows where
    not given). Raises TooFewOutcomes, ColumnsDoNotFit.
    """
    check_enough(inspected)
    later = inspected.consignments - max(1, round(inspected.consignments * TEST_SHARE))
    measured, unseen = _measured(
        plan, inspected.from_to(0, later), inspected.from_to(later, inspected.consignments), reference
    )
    weights = inspected.weights
    measured |= {
        "outcomes_of_unknown_inclusion": float(weights.unknown),
        "outcomes_capped": float(weights.capped),
        "weight_capped_share": weights.capped_share,
    }
    trained = _train(plan, inspected, reference)
    traffic = inspected.sample if reference is None else reference
    content = _content(plan, trained, measured, traffic)
    # A model is surer of rows that it was trained on, so the profile of its score is taken of others.
    chances = unseen if reference is None else score(Model(content, ""), reference).chance
    told = profiles(Sample(len(chances), {SCORE: chances}, {})) if len(chances) else {}
    return msgspec.structs.replace(content, profiles=content.profiles | told)


def check_enough(inspected: InspectedItems) -> None:
    """Refuse to train on too little. Raises TooFewOutcomes."""
    violations = int(inspected.violations.sum())
    clean = len(inspected.violations) - violations
    if len(inspected.violations) < OUTCOMES_MIN or min(violations, clean) < VIOLATIONS_MIN:
        raise TooFewOutcomes(
            f"{len(inspected.violations)} inspected items, {violations} of them in violation: a model needs at least {OUTCOMES_MIN}, "
            f"and {VIOLATIONS_MIN} of either kind. Take a longer window, or inspect more at random"
        )


def _measured(
    plan: TrainingPlan, earlier: InspectedItems, later: InspectedItems, reference: Sample | None
) -> tuple[dict[str, float], Floats]:
    """The measures on the later part, and the scores of its rows."""
    # Without a cap, which would bias it.
    uncapped = weights_of(later.inclusion, None).values
    told: dict[str, float] = {
        "base_rate": float(np.average(later.violations, weights=uncapped)) if len(later.violations) else math.nan,
        "measured_consignments": float(later.consignments),
    }
    try:
        trained = _train(plan, earlier, reference)
    except TooFewOutcomes:
        return told | dict.fromkeys(measures(np.zeros(0, np.bool_), np.zeros(0)), math.nan), np.zeros(0)
    model = Model(_content(plan, trained, {}, earlier.sample), "")
    scores = score(model, later.sample).chance
    found, chances = by_consignment(later, scores)
    share = float(found.mean()) if len(found) else math.nan
    return told | {"violating_share": share, **measures(found, chances)}, scores


def by_consignment(part: InspectedItems, values: Floats) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], Floats]:
    """Per consignment with known items whether one of them is in violation, and the highest of their values."""
    highest = np.full(part.consignments, -np.inf)
    np.maximum.at(highest, part.owners, values)
    found = np.zeros(part.consignments, np.bool_)
    found[part.owners[part.violations]] = True
    there = highest > -np.inf
    return found[there], highest[there]


def _train(plan: TrainingPlan, inspected: InspectedItems, reference: Sample | None) -> Trained:
    return train(
        plan.recipe,
        inspected.sample,
        inspected.violations,
        seed=plan.seed,
        groups=inspected.owners,
        reference=reference,
        weights=inspected.weights.values,
        days=inspected.days,
        settings=plan.settings,
    )


def _content(plan: TrainingPlan, trained: Trained, measured: Mapping[str, float], traffic: Sample) -> Content:
    needed = plan.recipe.columns
    shown = Sample(
        traffic.rows,
        {name: column for name, column in traffic.numbers.items() if name in needed},
        {name: column for name, column in traffic.words.items() if name in needed},
    )
    return content_of(
        trained,
        name=plan.name,
        label=plan.label,
        window=plan.window,
        settings=plan.settings,
        seed=plan.seed,
        metrics=measured,
        profiles=profiles(shown),
    )
