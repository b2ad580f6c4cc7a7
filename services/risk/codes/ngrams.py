"""Descriptions of goods as hashed n-grams.

A description is its words in lower case, and the same words without the vowels behind their first letter, because merchants shorten words
that way ("lpstck"). The first give the n-grams of SIZES that do not cross a word's end and the whole words, the second the n-grams of SHORT_SIZES.
Each feature is a number below 2^BITS, so there is no dictionary and any language and any misspelling has features.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

BITS: Final = 16
SIZES: Final = (3, 5)
"""Characters of the n-grams of words. In cross-validation over parcel texts, 2 to 5 of both forms are no better, and two and a half times as many."""
SHORT_SIZES: Final = (3,)
"""The same of words without vowels."""
CHARACTERS_MAX: Final = 128
"""Characters of a description that are read; the rest is ignored, because a description takes time in proportion. Of 100 parcel texts, 99 have
fewer than 45."""
_WORDS: Final = re.compile(r"[^\W_]+")
_VOWELS: Final = re.compile(r"(?<=[^\W_])[aeiouy]")
_SPACE: Final = ord(" ")
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(64 - BITS)

Indices = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """The features of n descriptions."""

    indices: Indices
    """The features of all descriptions, one description after the other; a feature that occurs twice is there twice."""
    offsets: Offsets
    """Where the features of each description begin, and the end; (n + 1,)."""

    @property
    def rows(self) -> int:
        """How many descriptions there are."""
        return len(self.offsets) - 1

    def part(self, first: int, end: int) -> Features:
        """Return those of the descriptions from `first` up to `end`."""
        offsets = self.offsets[first : end + 1]
        return Features(self.indices[offsets[0] : offsets[-1]], offsets - offsets[0])


def normal_form(description: str) -> str:
    """Return the words of a description in lower case, one space between them.

    >>> normal_form("Mybllne SPRSTY_lipstick, 50ml")
    'mybllne sprsty lipstick 50ml'
    """
    return " ".join(_WORDS.findall(description[:CHARACTERS_MAX].lower()))


def without_vowels(words: str) -> str:
    """Return words without the vowels behind their first letter.

    >>> without_vowels("lipstick air fryer")
    'lpstck ar frr'
    """
    return _VOWELS.sub("", words)


def features_of(descriptions: Sequence[str]) -> Features:
    """Return the features of some descriptions. One without a word has none."""
    texts = [normal_form(each) for each in descriptions]
    owners, values = [], []
    for salt, (forms, sizes) in enumerate(((texts, SIZES), ([without_vowels(each) for each in texts], SHORT_SIZES))):
        for owner, value in _grams(forms, salt, sizes):
            owners.append(owner)
            values.append(value)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=len(texts)), out=offsets[1:])
    return Features(np.concatenate(values)[order], offsets)


def _grams(texts: Sequence[str], salt: int, sizes: Sequence[int]) -> list[tuple[Offsets, Indices]]:
    """Return, for each of some sizes above 2, the owners and the hashes of the n-grams; and of whole words where `salt` is 0."""
    padded = [f" {each} " for each in texts]
    characters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    owner = np.repeat(np.arange(len(padded)), [len(each) for each in padded])
    is_space = characters == _SPACE
    found = []
    hashed = np.full(len(characters), salt + 1, np.uint64)
    inner = np.zeros(len(characters), np.bool_)
    for size in range(1, max(sizes) + 1):
        count = len(characters) - size + 1
        if count <= 0:
            break
        if size > 2:
            inner = inner[:count] | is_space[size - 2 : size - 2 + count]
        hashed = (hashed[:count] ^ characters[size - 1 :]) * _MULTIPLIER
        if size in sizes:
            places = np.flatnonzero(~inner)
            found.append((owner[places], _index(hashed[places] + np.uint64(size))))
    if salt == 0:
        found.append(_words(characters, is_space, owner))
    return found


def _words(
    characters: npt.NDArray[np.uint64], is_space: npt.NDArray[np.bool_], owner: Offsets
) -> tuple[Offsets, Indices]:
    starts = np.flatnonzero(is_space[:-1] & ~is_space[1:]) + 1
    ends = np.flatnonzero(~is_space[:-1] & is_space[1:]) + 1
    # A sum of powers by place, which needs no loop over the characters of a word.
    place = np.arange(len(characters)) - np.repeat(np.r_[0, starts], np.diff(np.r_[0, starts, len(characters)]))
    powers = np.cumprod(np.full(CHARACTERS_MAX + 2, _MULTIPLIER, np.uint64))
    terms = np.cumsum((characters + np.uint64(7)) * powers[np.minimum(place, CHARACTERS_MAX + 1)])
    return owner[starts], _index(terms[ends - 1] - terms[starts - 1])


def _index(hashed: npt.NDArray[np.uint64]) -> Indices:
    mixed = (hashed ^ (hashed >> np.uint64(29))) * _MULTIPLIER
    return (mixed >> _SHIFT).astype(np.int32)
