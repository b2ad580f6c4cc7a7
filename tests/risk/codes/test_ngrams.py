"""Descriptions as hashed n-grams: the vectorised features are those that a plain loop finds, and a batch changes nothing."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.risk.codes.ngrams import (
    BITS,
    CHARACTERS_MAX,
    SHORT_SIZES,
    SIZES,
    features_of,
    normal_form,
    without_vowels,
)

DESCRIPTIONS = st.text(alphabet="aeflptxz AÉß茶中09-_.,\n", max_size=40)


def count_of(description: str) -> int:
    """Return how many features a description has, by the definition."""
    words = re.findall(r"[^\W_]+", description[:CHARACTERS_MAX].lower())
    short = [word[0] + re.sub("[aeiouy]", "", word[1:]) for word in words]
    pairs = [
        (word, size) for forms, sizes in ((words, SIZES), (short, SHORT_SIZES)) for word in forms for size in sizes
    ]
    return sum(max(len(word) + 2 - size + 1, 0) for word, size in pairs) + len(words)


@given(st.lists(DESCRIPTIONS, min_size=1, max_size=6))
def test_each_description_has_the_ngrams_and_words_of_the_definition(descriptions: list[str]) -> None:
    features = features_of(descriptions)
    assert np.diff(features.offsets).tolist() == [count_of(each) for each in descriptions]
    assert features.indices.min(initial=0) >= 0
    assert features.indices.max(initial=0) < 1 << BITS


@given(st.lists(DESCRIPTIONS, min_size=1, max_size=6))
def test_the_features_of_a_description_are_the_same_alone_and_in_a_batch(descriptions: list[str]) -> None:
    batch = features_of(descriptions)
    for row, description in enumerate(descriptions):
        alone = features_of([description])
        assert batch.indices[batch.offsets[row] : batch.offsets[row + 1]].tolist() == alone.indices.tolist()


def test_case_and_punctuation_make_no_difference_and_letters_do() -> None:
    first, second, other = (features_of([each]).indices.tolist() for each in ("Air-Fryer", "air fryer!", "air dryer"))
    assert first == second
    assert first != other
    assert len(set(first) & set(other)) > len(first) // 3


def test_a_word_that_a_merchant_shortened_shares_features_with_the_whole_word() -> None:
    assert without_vowels(normal_form("Lipstick")) == "lpstck"
    whole, shortened, other = (set(features_of([each]).indices.tolist()) for each in ("lipstick", "lpstck", "trouser"))
    assert len(whole & shortened) >= len("lpstck") > len(whole & other), (
        "at least the n-grams of the word without vowels"
    )


def test_what_follows_the_limit_is_ignored() -> None:
    text = "ab " * (CHARACTERS_MAX // 3 + 1)
    assert features_of([text[:CHARACTERS_MAX]]).indices.tolist() == features_of([text + "hats"]).indices.tolist()
    assert features_of([text[: CHARACTERS_MAX - 3]]).rows == 1


def test_no_descriptions_and_descriptions_without_a_word_have_no_features() -> None:
    assert features_of([]).rows == 0
    assert features_of(["", " - !"]).offsets.tolist() == [0, 0, 0]
