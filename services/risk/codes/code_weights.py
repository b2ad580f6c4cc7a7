"""A trained model of commodity codes: the weights of features, and the scores that they give. Needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.codes.ngrams import BITS, Features

FEATURES: Final = 1 << BITS
FEATURE_CODES_MAX: Final = 24
"""Codes that a feature has weights of, the largest. In cross-validation over parcel texts, the right code is among five as often as with 32, half a
percentage point less often than with all, and half a point more often than with 12."""

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class CodeWeights:
    """A trained model: the score of a code is the sum of its weights of a description's features, divided by their length."""

    codes: list[str]
    """Sorted."""
    idf: Floats
    """What each feature counts in the length of a description; (FEATURES,)."""
    offsets: Numbers
    """Where the weights of each feature begin, and the end; (FEATURES + 1,)."""
    places: Places
    """The code of each weight, its place in `codes`."""
    weights: Floats
    """Idf included."""

    def scores(self, features: Features) -> Floats:
        """Return the score of each code for each description, (descriptions, codes); 0 for one without features.

        In memory, the scores of a code are side by side: sums over a heading then are sums of whole rows.
        """
        places, weights = self._table
        owners = owners_of(features)
        cells = places.take(features.indices, axis=0)
        cells *= features.rows
        cells += owners[:, None]
        terms = weights.take(features.indices, axis=0)
        terms /= lengths_of(features, self.idf)[owners][:, None]
        sums = np.bincount(cells.ravel(), terms.ravel(), len(self.codes) * features.rows)
        return sums.reshape(len(self.codes), features.rows).astype(np.float32).T

    @cached_property
    def _table(self) -> tuple[Numbers, Floats]:
        """Return `places` and `weights` with a row for each feature, filled with weights of 0: whole rows are found faster than parts of an array."""
        lengths = np.diff(self.offsets)
        is_filled = np.arange(max(int(lengths.max()), 1)) < lengths[:, None]
        places, weights = np.zeros(is_filled.shape, np.int64), np.zeros(is_filled.shape, np.float32)
        places[is_filled], weights[is_filled] = self.places, self.weights
        return places, weights


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
