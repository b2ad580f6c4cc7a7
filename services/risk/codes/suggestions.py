"""Suggested codes: the codes with the highest scores, with probabilities, and the probability of a declared code."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.codes.code_weights import CodeWeights, Floats
from services.risk.codes.ngrams import Features

SUGGESTIONS_MAX: Final = 5
HEADING_SHARE: Final = 0.2
"""What the scores of all codes of the same heading add to the score of a code. In cross-validation over parcel texts, with 0.4 the first suggestion
is right as often, and one of five half a percentage point less often."""
CHAPTER_SHARE: Final = 0.2
"""The same of the chapter."""
ROWS_AT_ONCE: Final = 64
"""Descriptions whose scores are computed together: those of more do not fit into the cache of a processor."""

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Suggestions:
    """What a model says of n descriptions. For one without features each suggestion has probability 0: the model knows nothing of it."""

    places: Places
    """The codes of each description, the most probable first, as places in the model's codes; (n, SUGGESTIONS_MAX or fewer)."""
    probabilities: Floats
    """Of these codes."""
    declared: Floats
    """Of the declared code, the sum over the model's codes that begin with it; NaN where it is unknown: none is declared, the model has no such
    code, or the description has no features."""


def combined_scores(codes: Sequence[str], scores: Floats) -> Floats:
    """Return the scores with the shares of heading and chapter; `codes` are sorted."""
    headings, heading_sizes, heading_ranks = _runs(tuple(codes), 4)
    _, chapter_sizes, chapter_ranks = _runs(headings, 2)
    heading_sums = _totals(scores.T, heading_ranks)
    chapter_sums = _totals(heading_sums, chapter_ranks)
    heading_sums *= np.float32(HEADING_SHARE)
    heading_sums += np.repeat(np.float32(CHAPTER_SHARE) * chapter_sums, chapter_sizes, axis=0)
    sums: Floats = np.repeat(heading_sums, heading_sizes, axis=0)
    sums += scores.T
    return sums.T


@lru_cache(maxsize=16)
def _runs(codes: tuple[str, ...], digits: int) -> tuple[tuple[str, ...], Places, tuple[tuple[Places, Places], ...]]:
    """Return the distinct beginnings of sorted codes, how many codes begin with each, and the codes by their rank in their run.

    Of each rank: the runs that have a code of this rank, and these codes, as places.
    """
    values, starts, sizes = np.unique([code[:digits] for code in codes], return_index=True, return_counts=True)
    runs = [np.flatnonzero(sizes > rank) for rank in range(sizes.max())]
    return tuple(values.tolist()), sizes, tuple((each, starts[each] + rank) for rank, each in enumerate(runs))


def _totals(rows: Floats, ranks: tuple[tuple[Places, Places], ...]) -> Floats:
    """Return the sum of each run of rows: rank by rank, since numpy's reduceat adds row by row and takes five times as long."""
    sums: Floats = rows.take(ranks[0][1], axis=0)
    for runs, places in ranks[1:]:
        sums[runs] += rows.take(places, axis=0)
    return sums


def probabilities_of(scores: Floats, sharpness: float) -> Floats:
    """Return the probability of each code for each description: exp(sharpness times score), in proportion."""
    powers: Floats = scores - scores.max(axis=1, keepdims=True)
    powers *= np.float32(sharpness)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def suggest(
    weights: CodeWeights, sharpness: float, features: Features, declared: Sequence[str] | None = None
) -> Suggestions:
    """Return the suggestions for descriptions, and the probabilities of the codes that were declared, each of 2 to 6 digits or ""."""
    asked = declared or [""] * features.rows
    count = min(SUGGESTIONS_MAX, len(weights.codes))
    parts = [(np.zeros((0, count), np.int64), np.zeros((0, count), np.float32), np.zeros(0, np.float32))]
    for rows, chances, is_empty in _chances(weights, sharpness, features):
        declared_chances = _declared(weights.codes, chances, is_empty, asked[rows])
        parts.append((*_largest(chances, count), declared_chances))
    return Suggestions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def declared_probabilities(
    weights: CodeWeights, sharpness: float, features: Features, declared: Sequence[str]
) -> Floats:
    """Return the probabilities of declared codes alone, as `suggest` does."""
    parts = [
        _declared(weights.codes, chances, is_empty, declared[rows])
        for rows, chances, is_empty in _chances(weights, sharpness, features)
    ]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def _chances(
    weights: CodeWeights, sharpness: float, features: Features
) -> Iterator[tuple[slice, Floats, npt.NDArray[np.bool_]]]:
    """Yield for some rows at a time the probabilities of all codes, and which descriptions have no features: these have 0."""
    for first in range(0, features.rows, ROWS_AT_ONCE):
        part = features.part(first, min(first + ROWS_AT_ONCE, features.rows))
        chances = probabilities_of(combined_scores(weights.codes, weights.scores(part)), sharpness)
        is_empty = np.diff(part.offsets) == 0
        chances[is_empty] = 0
        yield slice(first, first + part.rows), chances, is_empty


def _largest(chances: Floats, count: int) -> tuple[Places, Floats]:
    """Return the places of the largest values of each row in their order, and these values."""
    chances = np.array(chances, order="C")
    rows = np.arange(len(chances))
    places, found = np.zeros((len(rows), count), np.int64), np.zeros((len(rows), count), np.float32)
    for rank in range(count):
        places[:, rank] = chances.argmax(axis=1)
        found[:, rank] = chances[rows, places[:, rank]]
        chances[rows, places[:, rank]] = -1
    return places, found


def warning_of(declared_code: str, probability: float, has_words: bool, unlikely_below: float) -> str:
    """Return the warning of the catalogue about a declared code by its probability, which is NaN where it is unknown; "" for none."""
    if not declared_code or not has_words:
        return ""
    if probability != probability:
        return "CODE_NOT_IN_MODEL"
    return "CODE_UNLIKELY" if probability < unlikely_below else ""


def _declared(
    codes: Sequence[str], chances: Floats, is_empty: npt.NDArray[np.bool_], declared: Sequence[str]
) -> Floats:
    sums = np.full(len(declared), np.nan, np.float32)
    for row, code in enumerate(declared):
        # Codes that begin with the same digits are neighbours, and ":" follows the digits.
        first, end = bisect_left(codes, code[:6]), bisect_left(codes, code[:6] + ":")
        if code and end > first and not is_empty[row]:
            sums[row] = chances[row, first:end].sum()
    return sums
