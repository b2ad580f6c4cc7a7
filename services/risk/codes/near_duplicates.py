"""Near duplicates among descriptions, and folds that never part them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

_WORDS: Final = re.compile(r"[^\W\d_]+")
_PLURAL_LETTERS_MIN: Final = 4

Numbers = npt.NDArray[np.int64]


def word_set(description: str) -> frozenset[str]:
    """Return what near duplicates share: the words without case, order, digits, punctuation and the s of a plural.

    >>> sorted(word_set("2 Stud EARRINGS (gold)")) == sorted(word_set("gold stud earring - 4"))
    True
    """
    words = _WORDS.findall(description.lower())
    return frozenset(
        word[:-1] if len(word) >= _PLURAL_LETTERS_MIN and word.endswith("s") and word[-2] != "s" else word
        for word in words
    )


def groups_of(descriptions: Sequence[str]) -> Numbers:
    """Return the group of each description. Near duplicates have the same; one without a word equals only itself as written."""
    numbers: dict[frozenset[str] | str, int] = {}
    return np.array([numbers.setdefault(word_set(each) or each, len(numbers)) for each in descriptions], np.int64)


def folds_of(groups: Numbers, count: int, seed: int) -> Numbers:
    """Return the fold of each row, 0 to `count` - 1: whole groups, the largest first, each into the fold with the fewest rows so far."""
    ids, sizes = np.unique(groups, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(ids))
    rows, folds = np.zeros(count, np.int64), np.zeros(len(ids), np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")].tolist():
        folds[group] = rows.argmin()
        rows[folds[group]] += sizes[group]
    chosen: Numbers = folds[np.searchsorted(ids, groups)]
    return chosen
