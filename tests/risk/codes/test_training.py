"""Training of commodity codes: ridge regression as the textbook solves it, exactly and by steps; the same model each time."""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np
import pytest

from services.risk.codes import training
from services.risk.codes.code_weights import FEATURES, CodeWeights, idf_of, lengths_of, owners_of
from services.risk.codes.ngrams import features_of
from services.risk.codes.training import FEATURE_CODES_MAX, RIDGE, TrainingTexts, train

GOODS = {
    "330410": ("lipstick red matte", "lip gloss pink", "lpstck coral 4g", "lip balm tinted"),
    "620463": ("ladies trousers polyester", "womens trousers black", "wide leg trousers", "trsrs slim"),
    "851712": ("smartphone 128gb", "mobile phone dual sim", "refurbished smartphone", "phone handset"),
}
TEXTS = TrainingTexts(
    [text for texts in GOODS.values() for text in texts],
    [code for code, texts in GOODS.items() for _ in texts],
    np.array([1.0, 1.0, 1.0, 0.25] * len(GOODS)),
)
ASKED = ["matte lpstck", "polyester trousers", "phone 64gb", "wooden chair", ""]


def exact_scores(texts: TrainingTexts, asked: list[str]) -> np.ndarray:
    """Return the scores of weighted ridge regression on unit vectors, by the normal equations over texts."""

    def dense(descriptions: list[str]) -> np.ndarray:
        features = features_of(descriptions)
        rows = np.zeros((len(descriptions), FEATURES))
        np.add.at(rows, (owners_of(features), features.indices), 1)
        # A feature that occurs twice has the square of its idf twice in the length of the description.
        return rows * idf / np.sqrt(np.maximum(rows @ idf**2, 1e-12))[:, None]

    idf = idf_of(features_of(texts.descriptions)).astype(np.float64)
    learnt = dense(list(texts.descriptions))
    expected = np.array([[code == each for each in sorted(set(texts.codes))] for code in texts.codes], np.float64)
    return dense(asked) @ learnt.T @ np.linalg.solve(learnt @ learnt.T + np.diag(RIDGE / texts.weights), expected)


@pytest.mark.parametrize("exact_texts_max", [len(TEXTS.codes), len(TEXTS.codes) - 1])
def test_the_scores_are_those_of_ridge_regression(exact_texts_max: int) -> None:
    model = train(TEXTS, steps=40, exact_texts_max=exact_texts_max)
    assert model.codes == sorted(GOODS)
    np.testing.assert_allclose(model.scores(features_of(ASKED)), exact_scores(TEXTS, ASKED), atol=1e-4)


def test_the_code_of_goods_like_those_declared_has_the_highest_score() -> None:
    best = train(TEXTS).scores(features_of(ASKED[:3])).argmax(axis=1)
    assert [sorted(GOODS)[place] for place in best.tolist()] == ["330410", "620463", "851712"]


def test_the_same_texts_give_the_same_model() -> None:
    first, second = train(TEXTS), train(TEXTS)
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("offsets", "places", "weights"))


def test_the_largest_weights_stay() -> None:
    whole = train(TEXTS)
    small = train(TEXTS, weights_max=50)
    assert len(small.weights) == 50
    assert sorted(np.abs(small.weights).tolist()) == sorted(np.abs(whole.weights).tolist())[-50:]


@pytest.mark.parametrize("count", [FEATURE_CODES_MAX, FEATURE_CODES_MAX + 1])
def test_a_feature_has_its_largest_weights_of_24_codes_at_most(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = TrainingTexts(
        [f"goods {ascii_lowercase[place] * 4}" for place in range(count)],
        [f"{place:06}" for place in range(count)],
        np.linspace(0.5, 1, count),
    )
    model = train(texts)
    monkeypatch.setattr(training, "FEATURE_CODES_MAX", count)
    whole = train(texts)
    lengths = np.diff(whole.offsets)
    assert lengths.max() == count
    assert np.diff(model.offsets).tolist() == np.minimum(lengths, FEATURE_CODES_MAX).tolist()
    for feature in np.flatnonzero(lengths).tolist():
        weights = [dict(_weights(each, feature)) for each in (model, whole)]
        largest = sorted(weights[1].items(), key=lambda each: -abs(each[1]))[:FEATURE_CODES_MAX]
        assert weights[0] == dict(largest)


@pytest.mark.parametrize("limit", ["feature", "all"])
def test_weights_of_codes_with_more_declarations_stay_before_larger_ones(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"330410": 1, "620463": 6, "851712": 0}
    pairs = [(f"goods {code * (row + 1)}", code, 1.0) for code, count in counts.items() for row in range(count)]
    texts, codes, weights = zip(*pairs, ("goods phone", "851712", 0.9), strict=True)
    given = TrainingTexts(texts, codes, np.array(weights))
    whole = train(given)
    importance = [1 + np.log(1 + counts[code]) for code in whole.codes]
    if limit == "feature":
        monkeypatch.setattr(training, "FEATURE_CODES_MAX", 1)
    small = train(given, weights_max=10) if limit == "all" else train(given)
    spans = (
        [range(FEATURES)] if limit == "all" else [[each] for each in np.flatnonzero(np.diff(whole.offsets)).tolist()]
    )
    differing = 0
    for features in spans:
        stored, every = ([each for one in features for each in _weights(model, one)] for model in (small, whole))
        by_size = sorted(every, key=lambda each: -abs(each[1]))[: len(stored)]
        expected = sorted(every, key=lambda each: -abs(each[1]) * importance[each[0]])[: len(stored)]
        assert sorted(stored) == sorted(expected)
        differing += sorted(by_size) != sorted(expected)
    assert differing, "the importance decides in this case"


def test_codes_that_are_solved_in_blocks_compete_for_the_weights_of_a_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FEATURE_CODES_MAX", 2)
    whole = train(TEXTS)
    assert np.diff(whole.offsets).max() == 2 < len(whole.codes)
    monkeypatch.setattr(training, "CODES_AT_ONCE", 1)
    blocks = train(TEXTS)
    assert all(np.array_equal(getattr(whole, name), getattr(blocks, name)) for name in ("offsets", "places"))
    np.testing.assert_allclose(whole.weights, blocks.weights, rtol=1e-4, atol=1e-6)


def _weights(model: CodeWeights, feature: int) -> list[tuple[int, float]]:
    span = slice(*model.offsets[feature : feature + 2].tolist())
    return list(zip(model.places[span].tolist(), model.weights[span].tolist(), strict=True))


def test_a_description_without_words_and_no_description_have_no_score() -> None:
    model: CodeWeights = train(TEXTS)
    assert model.scores(features_of([""])).tolist() == [[0.0, 0.0, 0.0]]
    assert model.scores(features_of([])).shape == (0, 3)


def test_the_length_of_a_description_without_features_is_one() -> None:
    idf = np.full(FEATURES, 2, np.float32)
    assert lengths_of(features_of(["", "x"]), idf)[0] == 1
