"""A trained model of commodity codes: the weights of features, and the scores that they give. Needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.codes.ngrams import BITS, Features

FEATURES: Final = 1 << BITS
FEATURE_CODES_MAX: Final = 12
"""Codes that a feature has weights of, the largest: on parcel texts 57 % of the weights of a description, and as accurate. With 8 it is 41 %, and the
right code is among five in one percentage point less."""

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CodeWeights:
    """A trained model: the score of a code is the sum of its weights of a description's features, divided by their length."""

    codes: list[str]
    """Sorted."""
    idf: Floats
    """What each feature counts in the length of a description; (FEATURES,)."""
    offsets: Numbers
    """Where the weights of each feature begin, and the end; (FEATURES + 1,)."""
    places: npt.NDArray[np.int32]
    """The code of each weight, its place in `codes`."""
    weights: Floats
    """Idf included."""

    def scores(self, features: Features) -> Floats:
        """Return the score of each code for each description, (descriptions, codes); 0 for one without features.

        In memory, the scores of a code are side by side: sums over a heading then are sums of whole rows.
        """
        owners = owners_of(features)
        starts = self.offsets[features.indices]
        lengths = self.offsets[features.indices + 1] - starts
        ends = np.cumsum(lengths)
        taken = np.repeat(starts - ends + lengths, lengths)
        taken += np.arange(len(taken))
        cells = np.repeat(owners, lengths)
        cells += self.places[taken].astype(np.int64) * features.rows
        sums = np.bincount(cells, self.weights[taken], len(self.codes) * features.rows)
        scores = sums.reshape(len(self.codes), features.rows) / lengths_of(features, self.idf)
        return scores.astype(np.float32).T


def idf_of(features: Features) -> Floats:
    """Return what each feature counts, by the number of descriptions that have it; the most where none has it."""
    occurrences = np.unique(owners_of(features) * FEATURES + features.indices)
    counts = np.bincount(occurrences % FEATURES, minlength=FEATURES)
    return (np.log((1 + features.rows) / (1 + counts)) + 1).astype(np.float32)


def lengths_of(features: Features, idf: Floats) -> Floats:
    """Return the length of each description, by the idf of its features; 1 without features."""
    squares = np.bincount(owners_of(features), idf[features.indices].astype(np.float64) ** 2, features.rows)
    return np.sqrt(np.where(squares > 0, squares, 1)).astype(np.float32)


def owners_of(features: Features) -> Numbers:
    """Return the description of each feature."""
    return np.repeat(np.arange(features.rows, dtype=np.int64), np.diff(features.offsets))
