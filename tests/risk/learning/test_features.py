"""What features are made of, and that nothing of a row's own outcome reaches its features."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Strings
from services.risk.learning.features.encoders import fineness
from services.risk.learning.features.learner import Learner
from services.risk.learning.features.recipe import (
    Code,
    Count,
    Deviation,
    Differs,
    Fineness,
    KeyPart,
    Number,
    Quotient,
    Rate,
    Recipe,
    key_of,
)
from services.risk.learning.features.sample import ColumnsDoNotFit, Sample
from tests.risk.learning.declarations import one_key, plain_counts

NAN = float("nan")


def learner(recipe: Recipe, sample: Sample, found: list[bool], reference: Sample | None = None) -> Learner:
    return Learner(recipe, sample, np.array(found), np.ones(sample.rows), reference)


def test_what_is_unknown_stays_unknown_and_never_becomes_zero() -> None:
    sample = Sample(
        4,
        {"price": np.array([20.0, NAN, 0.0, 5.0]), "mass": np.array([2.0, 1.0, 1.0, NAN])},
        {"from": Strings.of(["CN", "CN", "", "HK"]), "to": Strings.of(["CN", "HK", "HK", ""])},
    )
    recipe = Recipe(
        (
            Number("price", "price"),
            Number("log_price", "price", "log"),
            Quotient("per_kg", "price", "mass"),
            Differs("differs", "from", "to"),
            Rate("rate", key_of("from")),
            Count("rows", key_of("from")),
            Code("code", key_of("from")),
        )
    )
    matrix = learner(recipe, sample, [True, False, True, False]).learn().matrix(sample)
    np.testing.assert_array_equal(matrix[:, 0], [20.0, NAN, 0.0, 5.0])
    np.testing.assert_allclose(matrix[:, 1], [np.log(20), NAN, NAN, np.log(5)])
    np.testing.assert_allclose(matrix[:, 2], [np.log(10), NAN, NAN, NAN])
    np.testing.assert_array_equal(matrix[:, 3], [0.0, 1.0, NAN, NAN])
    assert np.isnan(matrix[2, 4:]).all()
    assert not np.isnan(matrix[[0, 1, 3], 4:]).any()


def test_fineness_is_decimals_less_the_zeros_at_the_end() -> None:
    stated = {
        12.5: 1,
        12.0: 0,
        1200.0: -2,
        100.5: 1,
        0.1: 1,
        0.125: 3,
        1.2345: 4,
        1e-9: 4,
        0.0: 0,
        3e9: -6,
        -250.0: -1,
        NAN: NAN,
    }
    stated[float("inf")] = NAN
    sample = Sample(len(stated), {"price": np.array(list(stated))}, {})
    matrix = (
        learner(Recipe((Fineness("price_fineness", "price"),)), sample, [True] * len(stated)).learn().matrix(sample)
    )
    np.testing.assert_array_equal(matrix[:, 0], list(stated.values()))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 10**10), st.integers(-4, 6))
def test_fineness_of_a_float_is_that_of_the_number_as_it_was_written(digits: int, exponent: int) -> None:
    written = Decimal(digits).scaleb(exponent)
    ends_at = written.normalize().as_tuple().exponent
    assert isinstance(ends_at, int)
    assert fineness(np.array([float(written)]))[0] == min(4, max(-6, -ends_at))


def test_a_rate_is_drawn_towards_the_share_of_all_by_the_smoothing() -> None:
    sample = one_key(["a", "a", "a", "b"])
    encoding = learner(Recipe((Rate("rate", key_of("key"), 2.0),)), sample, [True, True, False, False]).learn()
    # Of all, half are violations: a has (2 + 2 * 0.5) / (3 + 2), b (0 + 1) / (1 + 2), and what never came the half itself.
    np.testing.assert_allclose(encoding.matrix(one_key(["a", "b", "c", ""]))[:, 0], [0.6, 1 / 3, 0.5, NAN])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_rates_of_training_rows_see_other_folds_alone(data: st.DataObject) -> None:
    rows = data.draw(st.integers(6, 40))
    keys = data.draw(st.lists(st.sampled_from(["", "a", "b", "cc"]), min_size=rows, max_size=rows))
    found = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    folds = np.array([row % 3 for row in range(rows)])
    made = learner(Recipe((Rate("rate", key_of("key"), 3.0),)), one_key(keys), found)
    rates = made.training_matrix(made.learn().matrix(one_key(keys)), folds)[:, 0]
    np.testing.assert_allclose(rates, plain_counts(np.array(found), keys, folds, 3.0))


def test_the_outcomes_of_a_fold_do_not_change_its_own_rates() -> None:
    keys, folds = ["a", "a", "b", "a", "b", "b"], np.array([0, 0, 0, 1, 1, 1])
    recipe = Recipe((Rate("rate", key_of("key")),))
    rates = []
    for first in (True, False):
        made = learner(recipe, one_key(keys), [first, first, first, True, False, False])
        rates.append(made.training_matrix(np.zeros((6, 1)), folds)[:3, 0].tolist())
    assert rates[0] == rates[1]


def test_a_deviation_takes_the_finest_group_with_enough_rows() -> None:
    words = {
        "hs": Strings.of(["610910"] * 3 + ["610990"] * 2 + ["850440"]),
        "origin": Strings.of(["CN", "CN", "CN", "CN", "TR", "CN"]),
    }
    prices = np.exp([1.0, 2.0, 6.0, 4.0, 5.0, 3.0])
    recipe = Recipe(
        (Deviation("deviation", Number("price", "price", "log"), (key_of("hs origin"), key_of("hs:2")), rows_min=3),)
    )
    sample = Sample(6, {"price": prices}, words)
    deviations = learner(recipe, sample, [True] * 6).learn().matrix(sample)[:, 0]
    # 610910 from China has a median of 2; the two of 610990 fall back to chapter 61 with 4; chapter 85 has one row only.
    np.testing.assert_allclose(deviations, [-1.0, 0.0, 4.0, 0.0, 1.0, NAN])


def test_counts_and_medians_come_from_the_reference_window() -> None:
    recipe = Recipe((Count("rows", key_of("key")),))
    encoding = learner(recipe, one_key(["a"]), [True], one_key(["a", "b", "b"])).learn()
    np.testing.assert_allclose(encoding.matrix(one_key(["a", "b", "c"]))[:, 0], np.log([2.0, 3.0, 1.0]))


def test_groups_of_several_parts_are_told_apart() -> None:
    def pair(first: list[str], second: list[str]) -> Sample:
        return Sample(len(first), {}, {"one": Strings.of(first), "two": Strings.of(second)})

    sample = pair(["a", "a", "b", "b", "b"], ["x", "y", "x", "y", "y"])
    encoding = learner(Recipe((Count("rows", key_of("one two")),)), sample, [True] * 5).learn()
    asked = pair(["b", "a", "b", "c", "", "a"], ["y", "x", "x", "x", "x", ""])
    np.testing.assert_allclose(
        encoding.matrix(asked)[:, 0], [np.log(3), np.log(2), np.log(2), 0.0, NAN, NAN], equal_nan=True
    )


def test_a_row_alone_has_the_features_that_it_has_in_a_batch() -> None:
    from tests.risk.learning.declarations import declarations, model

    sample, _ = declarations(40, 9)
    whole = model().encoding.matrix(sample)
    alone = np.concatenate([model().encoding.matrix(sample.take(np.array([row]))) for row in range(40)])
    np.testing.assert_array_equal(whole, alone)


def test_a_column_that_is_absent_or_of_another_type_is_named() -> None:
    encoding = learner(Recipe((Rate("rate", key_of("key")),)), one_key(["a"]), [True]).learn()
    with pytest.raises(ColumnsDoNotFit, match=r"key \(word\) is absent"):
        encoding.matrix(Sample(1, {}, {"other": Strings.of(["a"])}))
    with pytest.raises(ColumnsDoNotFit, match="key is number, not word"):
        encoding.matrix(Sample(1, {"key": np.ones(1)}, {}))


def test_a_recipe_whose_features_share_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="features price stand twice"):
        Recipe((Number("price", "price"), Number("price", "mass")))
    with pytest.raises(ValueError, match="used as number and as word"):
        Recipe((Number("price", "price"), Rate("rate", key_of("price"))))


def test_the_short_form_of_a_key_names_columns_and_lengths() -> None:
    assert key_of("hs:4 origin") == (KeyPart("hs", 4), KeyPart("origin"))
