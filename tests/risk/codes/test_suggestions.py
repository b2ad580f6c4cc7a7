"""Suggested codes: probabilities by the definition, the five most probable codes, and the declared code."""

from __future__ import annotations

import numpy as np
import pytest

from services.risk.codes.code_weights import CodeWeights
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import ROWS_AT_ONCE, SUGGESTIONS_MAX, combined_scores, probabilities_of, suggest
from services.risk.codes.training import TrainingTexts, train

GOODS = {
    "330410": "lipstick red matte",
    "330420": "mascara black",
    "330510": "shampoo anti dandruff",
    "392690": "phone case clear",
    "620463": "trousers wide leg",
    "640411": "running trainers",
}
SHARPNESS = 8.0


@pytest.fixture(scope="module")
def weights() -> CodeWeights:
    return train(TrainingTexts(list(GOODS.values()), list(GOODS), np.ones(len(GOODS))))


def test_a_score_has_the_shares_of_its_heading_and_its_chapter() -> None:
    codes = ["330410", "330420", "330499", "330510", "330610", "392690"]
    scores = np.array([[0.5, 0.25, 0.75, 0.125, 0.0625, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]], np.float32)
    expected = [
        [
            own[place]
            + 0.2 * sum(own[other] for other in range(len(codes)) if codes[other][:4] == codes[place][:4])
            + 0.2 * sum(own[other] for other in range(len(codes)) if codes[other][:2] == codes[place][:2])
            for place in range(len(codes))
        ]
        for own in scores.tolist()
    ]
    np.testing.assert_allclose(combined_scores(codes, scores), expected, rtol=1e-6)


def test_probabilities_are_in_proportion_to_the_powers_of_the_scores_and_sum_to_one() -> None:
    scores = np.array([[0.1, 0.4, 0.2]], np.float32)
    powers = np.exp(SHARPNESS * scores[0].astype(np.float64))
    np.testing.assert_allclose(probabilities_of(scores, SHARPNESS)[0], powers / powers.sum(), rtol=1e-5)


def test_the_five_most_probable_codes_are_suggested_in_their_order(weights: CodeWeights) -> None:
    found = suggest(weights, SHARPNESS, features_of(list(GOODS.values())))
    assert found.places.shape == (len(GOODS), SUGGESTIONS_MAX)
    assert found.places[:, 0].tolist() == list(range(len(GOODS)))
    assert (np.diff(found.probabilities, axis=1) <= 0).all()
    everything = probabilities_of(
        combined_scores(weights.codes, weights.scores(features_of(list(GOODS.values())))), SHARPNESS
    )
    np.testing.assert_array_equal(found.probabilities, -np.sort(-everything, axis=1)[:, :SUGGESTIONS_MAX])


def test_a_description_has_the_same_suggestions_alone_and_in_a_batch(weights: CodeWeights) -> None:
    texts = [f"{text} {row}" for row in range(ROWS_AT_ONCE // 3 + 1) for text in GOODS.values()][: 2 * ROWS_AT_ONCE + 1]
    batch = suggest(weights, SHARPNESS, features_of(texts), ["3304"] * len(texts))
    assert batch.places.shape == (2 * ROWS_AT_ONCE + 1, SUGGESTIONS_MAX)
    for row in (0, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE):
        alone = suggest(weights, SHARPNESS, features_of([texts[row]]), ["3304"])
        np.testing.assert_array_equal(alone.places[0], batch.places[row])
        np.testing.assert_allclose(alone.probabilities[0], batch.probabilities[row], rtol=1e-6)
        np.testing.assert_allclose(alone.declared[0], batch.declared[row], rtol=1e-6)


def test_a_model_of_few_codes_suggests_them_all() -> None:
    few = train(TrainingTexts(["lipstick", "trousers"], ["330410", "620463"], np.ones(2)))
    found = suggest(few, SHARPNESS, features_of(["matte lipstick"]))
    assert [few.codes[place] for place in found.places[0].tolist()] == ["330410", "620463"]
    np.testing.assert_allclose(found.probabilities.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("declared", "codes"),
    [
        ("33", ["330410", "330420", "330510"]),
        ("3304", ["330410", "330420"]),
        ("330410", ["330410"]),
        ("3304100000", ["330410"]),
        ("", []),
        ("999999", []),
        ("34", []),
    ],
)
def test_a_declared_code_has_the_probability_of_all_codes_that_begin_with_it_and_is_unknown_without_one(
    weights: CodeWeights, declared: str, codes: list[str]
) -> None:
    asked = features_of(["red lipstick"])
    everything = probabilities_of(combined_scores(weights.codes, weights.scores(asked)), SHARPNESS)[0]
    expected = sum(float(everything[weights.codes.index(code)]) for code in codes) if codes else float("nan")
    np.testing.assert_allclose(suggest(weights, SHARPNESS, asked, [declared]).declared, [expected], rtol=1e-6)


def test_a_description_without_words_has_no_probability_and_no_description_has_no_answer(weights: CodeWeights) -> None:
    found = suggest(weights, SHARPNESS, features_of(["?!", "lipstick"]), ["330410", "330410"])
    assert found.probabilities[0].tolist() == [0.0] * SUGGESTIONS_MAX
    assert np.isnan(found.declared[0])
    assert found.declared[1] > 0
    assert found.probabilities[1, 0] > 0
    assert suggest(weights, SHARPNESS, features_of([])).places.shape == (0, SUGGESTIONS_MAX)
