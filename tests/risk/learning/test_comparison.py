"""Two models on the same outcomes, and the measures of a ranking."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.learning.evaluation.comparison import Verdict, compare
from services.risk.learning.evaluation.metrics import auc, log_loss, measures, precision_at


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_the_area_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[bool, int]]) -> None:
    found, scores = np.array([hit for hit, _ in rows]), np.array([float(score) for _, score in rows])
    pairs = [(a > b) + (a == b) / 2 for a in scores[found] for b in scores[~found]]
    if pairs:
        assert auc(found, scores) == pytest.approx(sum(pairs) / len(pairs))
    else:
        assert math.isnan(auc(found, scores))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=7),
    st.floats(0.05, 1.0),
)
def test_precision_with_ties_is_the_mean_over_all_orders(rows: list[tuple[bool, int]], share: float) -> None:
    from itertools import permutations

    first = min(len(rows), max(1, math.ceil(len(rows) * share)))
    orders = [
        order for order in permutations(rows) if [s for _, s in order] == sorted((s for _, s in rows), reverse=True)
    ]
    expected = sum(sum(hit for hit, _ in order[:first]) for order in orders) / len(orders) / first
    found, scores = np.array([hit for hit, _ in rows]), np.array([float(score) for _, score in rows])
    assert precision_at(found, scores, share) == pytest.approx(expected)


def test_measures_have_names() -> None:
    found, scores = np.array([True, False, False, True]), np.array([0.9, 0.1, 0.4, 0.8])
    told = measures(found, scores)
    assert set(told) == {"precision_at_5", "precision_at_10", "auc", "log_loss"}
    assert told["auc"] == 1.0
    assert told["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.9, 0.6, 0.8])))
    assert math.isnan(log_loss(found[:0], scores[:0]))
    assert math.isnan(precision_at(found[:0], scores[:0], 0.1))


def outcomes(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows)
    found = rng.random(rows) < 1 / (1 + np.exp(2 - 2 * truth))
    return found, truth + rng.normal(size=rows) * 3, truth + rng.normal(size=rows) * 0.3


def test_a_clearly_better_challenger_wins() -> None:
    found, weak, strong = outcomes(1500, 1)
    told = compare(found, weak, strong)
    assert told.verdict == Verdict.CHALLENGER_IS_BETTER
    assert told.auc_difference_low > 0
    assert told.challenger_precision > told.champion_precision
    assert compare(found, strong, weak).verdict == Verdict.CHAMPION_STAYS


def test_an_equal_challenger_does_not_win() -> None:
    found, weak, _ = outcomes(1500, 2)
    told = compare(found, weak, weak)
    assert told.verdict == Verdict.CHAMPION_STAYS
    assert told.auc_difference_low == told.auc_difference_high == 0.0


def test_the_comparison_is_the_same_for_the_same_seed() -> None:
    found, weak, strong = outcomes(400, 3)
    assert compare(found, weak, strong, seed=4) == compare(found, weak, strong, seed=4)


def test_few_outcomes_give_no_verdict() -> None:
    found, weak, strong = outcomes(150, 3)
    told = compare(found, weak, strong)
    assert (told.verdict, told.outcomes) == (Verdict.TOO_FEW_OUTCOMES, 150)
    assert math.isnan(told.auc_difference_low)


def test_weights_undo_what_the_champion_chose_to_inspect() -> None:
    """The champion inspects where it scores high; rows that it missed are rare among outcomes and weigh more."""
    rng = np.random.default_rng(6)
    rows = 8000
    kind = rng.random(rows) < 0.5
    champion = np.where(kind, 2.0, 0.0) + rng.normal(size=rows)
    challenger = np.where(kind, 0.0, 2.0) + rng.normal(size=rows)
    found = rng.random(rows) < np.where(kind, 0.3, 0.5)
    chance = np.where(kind, 1.0, 0.05)
    seen = rng.random(rows) < chance
    without = compare(found[seen], champion[seen], challenger[seen])
    weighed = compare(found[seen], champion[seen], challenger[seen], weights=1 / chance[seen])
    assert weighed.auc_difference_low > without.auc_difference_low
    assert weighed.verdict == Verdict.CHALLENGER_IS_BETTER
