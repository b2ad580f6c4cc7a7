"""Train a model of commodity codes: ridge regression of each code on hashed n-grams, of which the largest weights stay.

A weight counts the more, the more declarations its code has: 1 + log(1 + declarations) times its size.

The texts are declarations of the administration itself, and reference texts such as the wording of its tariff, which count less. Few texts are
solved exactly. With many texts the regressions of a block of codes are solved together by conjugate gradients over the texts, so memory is bounded
by texts times CODES_AT_ONCE, whatever the number of codes. Nothing is drawn at random: the same texts give the same model.

Source: Saunders, Gammerman and Vovk (1998), "Ridge regression learning algorithm in dual variables".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve  # type: ignore[import-untyped]
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]  # a part of LightGBM's own needs

from services.risk.codes.code_weights import (
    FEATURE_CODES_MAX,
    FEATURES,
    CodeWeights,
    Floats,
    Places,
    idf_of,
    lengths_of,
    owners_of,
)
from services.risk.codes.ngrams import features_of

RIDGE: Final = 0.3
STEPS: Final = 12
"""Steps of the conjugate gradients. On parcel texts, 10 reach the accuracy of the exact solution to half a percentage point."""
CODES_AT_ONCE: Final = 256
EXACT_TEXTS_MAX: Final = 8_000
"""Texts up to which the regressions are solved exactly, by a matrix of their products: 256 MB."""
WEIGHTS_MAX: Final = 580_000
"""Weights that stay, the largest of all codes together: 4.7 MB in the file of a model, which has a limit."""


@dataclass(frozen=True)
class TrainingTexts:
    """Descriptions with their codes."""

    descriptions: Sequence[str]
    codes: Sequence[str]
    """Six digits each."""
    weights: npt.NDArray[np.float64]
    """What each counts, above 0: 1 for a declaration."""

    def rows(self, chosen: npt.NDArray[np.int64]) -> TrainingTexts:
        """Return some of them."""
        places = chosen.tolist()
        return TrainingTexts(
            [self.descriptions[row] for row in places], [self.codes[row] for row in places], self.weights[chosen]
        )


def train(
    texts: TrainingTexts,
    *,
    ridge: float = RIDGE,
    steps: int = STEPS,
    weights_max: int = WEIGHTS_MAX,
    exact_texts_max: int = EXACT_TEXTS_MAX,
) -> CodeWeights:
    """Train on texts, of which each has a code."""
    features = features_of(texts.descriptions)
    idf = idf_of(features)
    values = idf[features.indices] / lengths_of(features, idf)[owners_of(features)]
    present, columns = np.unique(features.indices, return_inverse=True)
    matrix = csr_matrix((values, columns, features.offsets), shape=(features.rows, len(present)))
    codes, targets = np.unique(np.asarray(texts.codes), return_inverse=True)
    shrinkage = (ridge / texts.weights).astype(np.float32)[:, None]
    solve = _exact(matrix, shrinkage) if features.rows <= exact_texts_max else _by_steps(matrix, shrinkage, steps)
    importance = (1 + np.log1p(np.bincount(targets, texts.weights == 1, len(codes)))).astype(np.float32)
    places, weights = np.zeros((len(present), 0), np.uint16), np.zeros((len(present), 0), np.float32)
    for first in range(0, len(codes), CODES_AT_ONCE):
        block = np.arange(first, min(first + CODES_AT_ONCE, len(codes)), dtype=np.uint16)
        indicators = (targets[:, None] == block[None, :]).astype(np.float32)
        found = (matrix.T @ solve(indicators)) * idf[present, None]
        places = np.hstack((places, np.broadcast_to(block, found.shape)))
        places, weights = _largest(places, np.hstack((weights, found)), importance)
    size = np.abs(weights) * importance[places]
    is_stored = size > 0
    if is_stored.sum() > weights_max:
        is_stored = np.zeros(size.shape, np.bool_)
        is_stored.ravel()[np.argpartition(size, -weights_max, axis=None)[-weights_max:]] = True
    offsets = np.zeros(FEATURES + 1, np.int64)
    offsets[present + 1] = is_stored.sum(axis=1)
    np.cumsum(offsets, out=offsets)
    return CodeWeights(codes.tolist(), idf, offsets, places[is_stored], weights[is_stored])


def _largest(places: Places, weights: Floats, importance: Floats) -> tuple[Places, Floats]:
    """Return the FEATURE_CODES_MAX weights of each row that are largest by the importance of their codes, and their places, in the order of these."""
    if weights.shape[1] <= FEATURE_CODES_MAX:
        return places, weights
    size = np.abs(weights) * importance[places]
    chosen = np.sort(np.argpartition(size, -FEATURE_CODES_MAX, axis=1)[:, -FEATURE_CODES_MAX:], axis=1)
    return np.take_along_axis(places, chosen, 1), np.take_along_axis(weights, chosen, 1)


def _exact(matrix: csr_matrix, shrinkage: Floats) -> Callable[[Floats], Floats]:
    """Return what solves (X X' + shrinkage) a = indicators by Cholesky's factors: what each text contributes to each code."""
    products = (matrix @ matrix.T).toarray()
    products[np.diag_indices_from(products)] += shrinkage[:, 0]
    factors = cho_factor(products, overwrite_a=True)
    return lambda indicators: cho_solve(factors, indicators)


def _by_steps(matrix: csr_matrix, shrinkage: Floats, steps: int) -> Callable[[Floats], Floats]:
    """Return what solves the same by conjugate gradients."""

    def solve(indicators: Floats) -> Floats:
        scale = 1 + shrinkage
        solution, rest = np.zeros_like(indicators), indicators
        step = direction = rest / scale
        size = (rest * step).sum(axis=0)
        for _ in range(steps):
            image = matrix @ (matrix.T @ direction) + shrinkage * direction
            share = size / np.maximum((direction * image).sum(axis=0), np.float32(1e-20))
            solution = solution + share * direction
            rest = rest - share * image
            step = rest / scale
            before, size = size, (rest * step).sum(axis=0)
            direction = step + size / np.maximum(before, np.float32(1e-20)) * direction
        return solution

    return solve
