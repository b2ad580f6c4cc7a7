"""Drift: how far a column's distribution has moved between the training window and a recent one.

The population stability index sums (recent - training) * ln(recent / training) over bins. The steps at 0.1 and 0.25 are
those of credit scoring practice (Siddiqi, Credit Risk Scorecards, 2006). Training's side is kept as a profile in
the model file, so that no training data need be kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from services.risk.learning.features.sample import ColumnsDoNotFit, ColumnType, Floats, Sample, require

BINS: Final = 10
WORDS_MAX: Final = 20
#: An empty bin counts as this share, or its logarithm would be infinite.
SHARE_MIN: Final = 1e-4
SHIFTING_FROM: Final = 0.1
DRIFTED_FROM: Final = 0.25
#: Below so many rows chance alone moves the index: its expectation without drift is about bins / rows.
ROWS_MIN: Final = 200

Verdict = Literal["stable", "shifting", "drifted", "too few rows"]
Shares = tuple[Annotated[float, msgspec.Meta(ge=0, le=1)], ...]


class NumberProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="number"):
    """Shares of a column of numbers: below each edge in turn, from the last edge on, and unknown."""

    edges: tuple[float, ...]
    shares: Shares

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.edges) + 2:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 2} shares; there are {len(self.shares)}")


class WordProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="word"):
    """Shares of a column of words: each of the most frequent ones, all others, and unknown."""

    words: tuple[str, ...]
    shares: Shares

    def __post_init__(self) -> None:
        if len(self.shares) != len(self.words) + 2:
            raise ValueError(f"{len(self.words)} words need {len(self.words) + 2} shares; there are {len(self.shares)}")


Profile = NumberProfile | WordProfile


class Drift(msgspec.Struct, frozen=True):
    """What became of one column."""

    column: str
    index: float
    """Population stability index; 0 where nothing moved."""
    verdict: Verdict


def profiles(sample: Sample) -> dict[str, Profile]:
    """The profile of each column of a window: tenths of the numbers, the 20 most frequent words. Raises ColumnsDoNotFit."""
    if sample.rows == 0:
        raise ColumnsDoNotFit("a window without rows has no profile; take a longer one")
    told: dict[str, Profile] = {name: _number_profile(column) for name, column in sample.numbers.items()}
    return told | {name: _word_profile(column) for name, column in sample.words.items()}


def drifts(training: Mapping[str, Profile], recent: Sample) -> list[Drift]:
    """Each column's drift, the greatest first. Raises ColumnsDoNotFit where `recent` lacks a column."""
    types: dict[str, ColumnType] = {
        name: "number" if isinstance(profile, NumberProfile) else "word" for name, profile in training.items()
    }
    require(types, recent.columns, "the recent window")
    found = []
    for name, profile in training.items():
        if recent.rows < ROWS_MIN:
            found.append(Drift(name, 0.0, "too few rows"))
            continue
        index = psi(np.array(profile.shares), shares_of(profile, recent, name))
        found.append(Drift(name, index, verdict_of(index)))
    return sorted(found, key=lambda drift: (-drift.index, drift.column))


def shares_of(profile: Profile, sample: Sample, name: str) -> Floats:
    """The shares of a sample's column in the bins of a profile."""
    if isinstance(profile, NumberProfile):
        return _number_shares(sample.numbers[name], np.array(profile.edges))
    return _word_shares(sample.words[name], profile.words)


def psi(training: npt.NDArray[Any], recent: npt.NDArray[Any]) -> float:
    """The population stability index of two lists of shares over the same bins."""
    before, now = np.maximum(training, SHARE_MIN), np.maximum(recent, SHARE_MIN)
    return float(((now - before) * np.log(now / before)).sum())


def verdict_of(index: float) -> Verdict:
    """What an index means."""
    return "drifted" if index >= DRIFTED_FROM else "shifting" if index >= SHIFTING_FROM else "stable"


def _number_profile(column: Floats) -> NumberProfile:
    known = column[~np.isnan(column)]
    tenths = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(known, tenths, method="higher")) if len(known) else np.zeros(0)
    return NumberProfile(tuple(edges.tolist()), tuple(_number_shares(column, edges).tolist()))


def _number_shares(column: Floats, edges: Floats) -> Floats:
    unknown = np.isnan(column)
    bins = np.where(unknown, len(edges) + 1, np.searchsorted(edges, column, side="right"))
    return np.bincount(bins, minlength=len(edges) + 2) / len(column)


def _word_profile(column: Strings) -> WordProfile:
    counts = np.bincount(column.indices, minlength=len(column.dictionary))
    total: dict[str, int] = {}
    for word, count in zip(column.dictionary, counts.tolist(), strict=True):
        if word and count:
            total[word] = total.get(word, 0) + count
    words = tuple(sorted(total, key=lambda word: (-total[word], word))[:WORDS_MAX])
    return WordProfile(words, tuple(_word_shares(column, words).tolist()))


def _word_shares(column: Strings, words: tuple[str, ...]) -> Floats:
    places = {word: place for place, word in enumerate(words)}
    bins = column.map(lambda word: places.get(word, len(words)) if word else len(words) + 1, np.int64)
    return np.bincount(bins, minlength=len(words) + 2) / len(column)
