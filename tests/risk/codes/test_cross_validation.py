"""Cross-validation of commodity codes: near duplicates are never parted, and what is judged was not trained on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.codes.cross_validation import SHARPNESSES, cross_validate
from services.risk.codes.near_duplicates import folds_of, groups_of
from services.risk.codes.training import TrainingTexts


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ("Gold stud earrings", "earring, STUD 2 gold", True),
        ("glass", "glas", False),
        ("bus", "bu", False),
        ("caps", "cap", True),
        ("gold earrings", "gold hoop earrings", False),
        ("12", "12", True),
        ("12", "13", False),
    ],
)
def test_near_duplicates_have_the_same_words_without_case_order_digits_and_plurals(
    first: str, second: str, near: bool
) -> None:
    groups = groups_of([first, second])
    assert (groups[0] == groups[1]) == near


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(0, 5))
def test_folds_have_whole_groups_and_differ_in_size_by_the_largest_group_at_most(groups: list[int], seed: int) -> None:
    numbers = np.array(groups)
    folds = folds_of(numbers, 5, seed)
    assert all(len(set(folds[numbers == group].tolist())) == 1 for group in set(groups))
    sizes = np.bincount(folds, minlength=5)
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= max(groups.count(group) for group in set(groups))


WORDS = {"330410": "lipstick", "620463": "trousers", "640411": "trainers", "851830": "headphones", "950300": "doll"}


def texts(count: int) -> TrainingTexts:
    """Return `count` declarations of each code, each with the word of its code and one of its own."""
    pairs = [(f"{word} q{'abcdefghijklmnop'[row]}z", code) for code, word in WORDS.items() for row in range(count)]
    return TrainingTexts([text for text, _ in pairs], [code for _, code in pairs], np.ones(len(pairs)))


def test_a_word_that_the_other_folds_have_is_always_right() -> None:
    found = cross_validate(texts(10))
    assert (found.top1, found.top5, found.top1_repeated) == (1, 1, 1)
    assert found.sharpness > SHARPNESSES[10], "codes that are always right may be all but certain"
    assert len(found.quantiles) == 99
    assert found.quantiles[0] > 0.5
    assert list(found.quantiles) == sorted(found.quantiles)


def test_a_code_that_occurs_once_is_never_right_and_does_not_count_among_the_repeated() -> None:
    found = cross_validate(texts(1))
    assert (found.top1, found.top5) == (0, 0)
    assert math.isnan(found.top1_repeated)
    assert found.quantiles == (0.0,) * 99, "no right code has a probability"


def test_references_are_trained_on_and_never_judged() -> None:
    declared = texts(1)
    referred = TrainingTexts(list(WORDS.values()), list(WORDS), np.full(len(WORDS), 0.5))
    found = cross_validate(
        TrainingTexts(
            [*declared.descriptions, *referred.descriptions],
            [*declared.codes, *referred.codes],
            np.concatenate((declared.weights, referred.weights)),
        )
    )
    assert (found.top1, found.top5) == (1, 1)


def test_near_duplicates_do_not_help_each_other() -> None:
    copies = [(text, code) for code, text in WORDS.items() for text in (text, text.upper(), f"{text} 2")]
    found = cross_validate(
        TrainingTexts([text for text, _ in copies], [code for _, code in copies], np.ones(len(copies)))
    )
    assert found.top1 == 0
