"""Training is repeatable, ranks what it should, and scoring, contributions and files agree with it."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from services.risk.learning.evaluation.metrics import auc, precision_at
from services.risk.learning.features.sample import Sample
from services.risk.learning.model.contributions import contributions
from services.risk.learning.model.model_file import read_model, write_model
from services.risk.learning.model.scoring import chance_of, score
from services.risk.learning.settings import Family, TrainingSettings
from services.risk.learning.training.training import TooFewOutcomes, folds_of, train
from tests.risk.learning.declarations import RECIPE, SETTINGS, content, declarations, model


def test_the_model_ranks_what_it_has_not_seen() -> None:
    sample, found = declarations(2000, 77)
    scores = score(model(), sample).log_odds
    assert auc(found, scores) > 0.75
    assert precision_at(found, scores, 0.05) > 2.5 * found.mean()


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    first, again, other = (content(seed=seed, rows=600) for seed in (3, 3, 4))
    assert first == again
    assert first.members != other.members


def test_too_few_outcomes_are_told_with_what_is_needed() -> None:
    sample, _ = declarations(50, 1)
    found = np.arange(50) < 19
    with pytest.raises(TooFewOutcomes, match=r"50 outcomes, 19 of them violations: a model needs at least 20"):
        train(RECIPE, sample, found, seed=1, settings=SETTINGS)


def test_near_copies_share_a_fold() -> None:
    groups = np.array([7, 3, 7, 3, 9, 7])
    folds = folds_of(groups, 4, 1)
    assert len({*folds[groups == 7].tolist()}) == len({*folds[groups == 3].tolist()}) == 1


def test_a_batch_and_its_rows_alone_score_the_same() -> None:
    sample, _ = declarations(30, 5)
    whole = score(model(), sample)
    alone = [score(model(), sample.take(np.array([row]))) for row in range(30)]
    np.testing.assert_array_equal(whole.log_odds, [each.log_odds[0] for each in alone])
    assert (whole.spread > 0).all()


def test_no_rows_have_no_scores() -> None:
    sample, _ = declarations(3, 5)
    scores = score(model(), sample.take(np.zeros(0, np.int64)))
    assert len(scores.log_odds) == len(scores.chance) == 0
    assert contributions(model(), scores, np.zeros(0, np.int64)).amounts.shape == (0, 5)


def test_chances_lie_between_zero_and_one_whatever_the_odds() -> None:
    np.testing.assert_allclose(chance_of(np.array([-800.0, 0.0, np.log(3), 800.0])), [0.0, 0.5, 0.75, 1.0])


def test_contributions_add_up_to_the_log_odds() -> None:
    sample, _ = declarations(60, 6)
    scores = score(model(), sample)
    told = contributions(model(), scores, np.arange(60), strongest=len(RECIPE.features))
    np.testing.assert_allclose(told.amounts.sum(axis=1) + told.base, scores.log_odds, atol=1e-9)


def test_the_strongest_contributions_of_the_selected_come_first() -> None:
    sample, _ = declarations(300, 6)
    scores = score(model(), sample)
    rows = np.argsort(-scores.log_odds)[:4]
    told = contributions(model(), scores, rows, strongest=3)
    whole = model().forest.contributions(scores.leaves[rows])[0]
    assert told.amounts.shape == (4, 3)
    np.testing.assert_allclose(np.abs(told.amounts), -np.sort(-np.abs(whole), axis=1)[:, :3])
    name, value, amount = told.named(RECIPE.names, 0)[0]
    place = RECIPE.names.index(name)
    assert amount == whole[0, place]
    assert value == scores.matrix[rows[0], place]


def test_the_reference_window_changes_counts_without_outcomes() -> None:
    sample, found = declarations(400, 2)
    more, _ = declarations(900, 3)
    alone = train(RECIPE, sample, found, seed=1, settings=SETTINGS).encoding.matrix(sample)
    with_more = train(RECIPE, sample, found, seed=1, settings=SETTINGS, reference=more).encoding.matrix(sample)
    rows, rate = RECIPE.names.index("hs_rows"), RECIPE.names.index("hs_rate")
    assert (with_more[:, rows] > alone[:, rows]).all()
    np.testing.assert_array_equal(with_more[:, rate], alone[:, rate])


def test_settings_are_bounded() -> None:
    wrong: tuple[object, ...] = (
        {"families": [{"members": 0}]},
        {"families": []},
        {"half_life_days": 0},
        {"members": 5},
    )
    for told in wrong:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(told, TrainingSettings)
    with pytest.raises(msgspec.ValidationError, match="60 members together, more than 50; take fewer"):
        msgspec.convert({"families": [{"members": 30}, {"members": 30}]}, TrainingSettings)


def test_families_are_trained_beside_each_other_and_each_member_counts_alike() -> None:
    sample, found = declarations(800, 1)
    best = Family(members=1, trees=3, leaves=4, leaf_rows_min=20, random_cuts=False)
    pair = TrainingSettings(families=(Family(members=2, trees=6, leaf_rows_min=20), best))
    trained = train(RECIPE, sample, found, seed=9, settings=pair)
    alone = train(RECIPE, sample, found, seed=9, settings=TrainingSettings(families=pair.families[:1]))
    # A family's members do not change with what stands behind it, and scoring takes the mean of all.
    assert trained.members[:2] == alone.members
    assert [text.count("\nTree=") for text in trained.members] == [6, 6, 3]
    made = msgspec.structs.replace(
        content(), members=trained.members, encoders=trained.encoding.encoders, settings=pair
    )
    read = read_model(write_model(made), "pair.json")
    scores = score(read, sample)
    each = read.forest.log_odds(scores.leaves)
    assert each.shape == (800, 3)
    np.testing.assert_allclose(scores.log_odds, each.sum(axis=1) / 3)
    np.testing.assert_allclose(scores.spread, each.std(axis=1))


def test_old_outcomes_fade_by_half_with_each_half_life() -> None:
    """The same rows twice, 30 days apart, and the other way round in the end: rates follow what is new."""
    sample, _ = declarations(400, 1)
    toys = np.array(sample.words["hs"].tolist()) == "950300"
    days = np.repeat([0, 30], 400)
    both, found = Sample.concat([sample, sample]), np.concatenate([toys, ~toys])
    rates = {}
    for half_life in (None, 1000.0, 10.0):
        how = TrainingSettings(families=SETTINGS.families, half_life_days=half_life)
        matrix = train(RECIPE, both, found, seed=1, days=days, settings=how).encoding.matrix(sample)
        rates[half_life] = float(matrix[toys, RECIPE.names.index("hs_rate")].mean())
    assert rates[None] > rates[1000.0] > rates[10.0]
    old, share, rows = 0.125, found.astype(float), float(toys.sum())
    weights = np.where(days == 0, old, 1.0)
    mean = weights.mean()
    # Toys were fraud on the first day alone: drawn towards the share of all, each row by its weight over the mean.
    expected = (rows * old / mean + 20.0 * np.average(share, weights=weights)) / (rows * (old + 1) / mean + 20.0)
    assert rates[10.0] == pytest.approx(expected)


def test_a_half_life_without_days_is_refused() -> None:
    sample, found = declarations(200, 1)
    with pytest.raises(ValueError, match="needs the day of each row; give days, or take no half-life"):
        train(RECIPE, sample, found, seed=1, settings=TrainingSettings(half_life_days=7.0))
