"""Trees by numpy give what LightGBM's own walk gives, for any data, and only a whole and sound text is read."""

from __future__ import annotations

from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.learning.features.sample import Floats
from services.risk.learning.model.trees import Forest, read_trees

NAMES = ["plain", "holes", "few", "kind"]
CATEGORIES = [3]


def matrix(rows: int, seed: int) -> Floats:
    """Numbers, numbers that are often unknown, whole numbers, and a category."""
    rng = np.random.default_rng(seed)
    holes = np.where(rng.random(rows) < 0.3, np.nan, rng.normal(size=rows))
    kinds = np.where(rng.random(rows) < 0.1, np.nan, rng.integers(0, 40, rows).astype(np.float64))
    return np.column_stack([rng.normal(size=rows), holes, rng.integers(-3, 4, rows).astype(np.float64), kinds])


@cache
def trained(leaves: int, members: int = 2) -> tuple[tuple[lgb.Booster, ...], Forest]:
    values = matrix(3000, 1)
    chance = 1 / (1 + np.exp(-(values[:, 0] + np.nan_to_num(values[:, 1]) + (np.nan_to_num(values[:, 3]) % 3) - 2)))
    found = np.random.default_rng(2).random(3000) < chance
    boosters = []
    for seed in range(members):
        data = lgb.Dataset(values, label=found.astype(float), feature_name=NAMES, categorical_feature=CATEGORIES)
        how = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "seed": seed, "min_data_in_leaf": 5}
        boosters.append(lgb.train({**how, "bagging_fraction": 0.7, "bagging_freq": 1, "num_threads": 1}, data, 12))
    texts = [booster.model_to_string() for booster in boosters]
    return tuple(boosters), Forest([read_trees(text, NAMES, CATEGORIES) for text in texts], len(NAMES))


@cache
def text() -> str:
    return str(trained(15)[0][0].model_to_string())


def theirs(boosters: tuple[lgb.Booster, ...], values: Floats) -> Floats:
    return np.stack([np.asarray(each.predict(values, raw_score=True, num_threads=1)) for each in boosters], axis=1)


@pytest.mark.parametrize("leaves", [2, 15, 16, 17, 32, 33, 64])
def test_scores_are_those_of_lightgbm_for_trees_of_any_size(leaves: int) -> None:
    boosters, forest = trained(leaves)
    values = matrix(2500, 9)
    np.testing.assert_allclose(forest.log_odds(forest.leaves(values)), theirs(boosters, values), atol=1e-12)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(*[st.floats(allow_nan=True, width=32)] * 3, st.sampled_from([np.nan, -1.0, *range(70), 1e9])),
        min_size=1,
    )
)
def test_any_values_fall_where_lightgbm_lets_them_fall(rows: list[tuple[float, ...]]) -> None:
    boosters, forest = trained(15)
    values = np.array(rows, np.float64)
    np.testing.assert_allclose(forest.log_odds(forest.leaves(values)), theirs(boosters, values), atol=1e-12)


def test_a_value_on_a_cut_goes_left_and_the_next_one_right() -> None:
    boosters, forest = trained(15)
    cuts = [float(each) for line in text().splitlines() if line.startswith("threshold=") for each in line[10:].split()]
    edges = np.array(cuts)
    sides = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])
    values = np.column_stack([sides, sides, sides, np.full(len(sides), 3.0)])
    np.testing.assert_allclose(forest.log_odds(forest.leaves(values)), theirs(boosters, values), atol=1e-12)


def test_contributions_add_up_and_the_strongest_is_mostly_that_of_shap() -> None:
    boosters, forest = trained(15)
    values = matrix(400, 4)
    leaves = forest.leaves(values)
    amounts, base = forest.contributions(leaves)
    np.testing.assert_allclose(amounts.sum(axis=1) + base, forest.log_odds(leaves).mean(axis=1), atol=1e-9)
    shap: Any = np.mean([each.predict(values, pred_contrib=True) for each in boosters], axis=0)
    same = np.abs(amounts).argmax(axis=1) == np.abs(shap[:, :-1]).argmax(axis=1)
    assert same.mean() > 0.8


def test_a_cut_that_parts_the_known_from_the_unknown_is_read() -> None:
    values = np.array([[np.nan if row % 2 else float(row % 7)] for row in range(400)])
    data = lgb.Dataset(values, label=(np.arange(400) % 2).astype(float), feature_name=["only"])
    booster = lgb.train({"objective": "binary", "verbose": -1, "num_leaves": 4, "min_data_in_leaf": 5}, data, 3)
    told = booster.model_to_string()
    forest = Forest([read_trees(told, ["only"], [])], 1)
    asked = np.array([[np.nan], [0.0], [6.0], [np.inf], [-np.inf], [1e308]])
    assert "inf" in told
    np.testing.assert_allclose(forest.log_odds(forest.leaves(asked)), theirs((booster,), asked), atol=1e-12)


def test_no_rows_fall_nowhere() -> None:
    _, forest = trained(15)
    leaves = forest.leaves(np.zeros((0, 4)))
    assert forest.log_odds(leaves).shape == (0, 2)
    assert forest.contributions(leaves)[0].shape == (0, 4)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("version=v4", "version=v3", "of LightGBM's version v3 of the text; v4 is read: train with LightGBM 4"),
        ("\nend of trees\n", "\n", "it is no whole LightGBM model"),
        ("objective=binary sigmoid:1", "objective=regression", "its objective is 'regression'"),
        (
            "feature_names=plain holes",
            "feature_names=holes plain",
            "other features than the recipe, or in another order",
        ),
        ("num_leaves=15", "num_leaves=14", "tree 0: it has 14 leaves"),
        ("split_feature=", "split_feature=9 ", "tree 0: its columns do not all have 14 splits"),
        ("leaf_value=", "leaf_value=nan ", "tree 0: it has a number that is not finite"),
        ("decision_type=", "decision=", "tree 0: decision_type is absent"),
        ("is_linear=0", "is_linear=1", "tree 0: it has 15 leaves, at most 64 with one number each"),
    ],
)
def test_a_text_that_is_not_sound_is_refused(old: str, new: str, why: str) -> None:
    assert old in text()
    with pytest.raises(ValueError, match=why):
        read_trees(text().replace(old, new, 1), NAMES, CATEGORIES)


def _children(change: Any) -> str:
    lines = text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("left_child="))
    children = [int(each) for each in lines[place][11:].split()]
    change(children)
    lines[place] = "left_child=" + " ".join(map(str, children)) + "\n"
    return "".join(lines)


def test_splits_that_make_a_circle_or_share_a_leaf_are_refused() -> None:
    for change in (
        lambda each: each.__setitem__(3, 0),
        lambda each: each.__setitem__(0, -40),
        lambda each: each.sort(),
    ):
        with pytest.raises(ValueError, match="its splits and leaves do not make one tree"):
            read_trees(_children(change), NAMES, CATEGORIES)


def test_a_category_that_the_recipe_calls_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="splits feature 3 by sets; the recipe says otherwise"):
        read_trees(text(), NAMES, [])
