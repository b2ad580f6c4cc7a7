"""How well the declared codes of items fit their descriptions, for whole batches."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Strings
from services.risk.codes.code_model_file import CodeModel
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import declared_probabilities

PROBABILITY: Final = "code_probability_ppm"
PERMILLE: Final = "code_permille"
#: What each column means. All are whole numbers.
DESCRIBED: Final = {
    PROBABILITY: "Probability that goods of this description have this commodity code (its first six digits), by the model of codes that was active, "
    "millionths. Absent without a model, without a word in the description, and for a code that the model does not have.",
    PERMILLE: "Where this probability lies among those of right codes, in thousandths from the lowest and in steps of ten; absent likewise.",
}
_PPM: Final = 1_000_000
_DIGITS: Final = 6
PAIRS_AT_ONCE: Final = 1_024
"""Pairs whose features are in memory together: of a long description they are some 100 kB, and a batch may have a pair for each item."""


def declared_codes(model: CodeModel, descriptions: Strings, codes: Strings) -> dict[str, Ints]:
    """Return the columns of DESCRIBED by name. Equal pairs of description and code are computed once."""
    short = codes.translate(lambda code: code[:_DIGITS])
    has_both = np.flatnonzero(descriptions.present & short.present)
    pairs = descriptions.indices[has_both].astype(np.int64) * len(short.dictionary) + short.indices[has_both]
    distinct, inverse = np.unique(pairs, return_inverse=True)
    chances_of_pairs = np.zeros(len(distinct), np.float32)
    for first in range(0, len(distinct), PAIRS_AT_ONCE):
        part = [divmod(pair, len(short.dictionary)) for pair in distinct[first : first + PAIRS_AT_ONCE].tolist()]
        features = features_of([descriptions.dictionary[text] for text, _ in part])
        declared = [short.dictionary[code] for _, code in part]
        chances_of_pairs[first : first + len(part)] = declared_probabilities(
            model.weights, model.content.sharpness, features, declared
        )
    found = chances_of_pairs[inverse]
    is_known = np.isfinite(found)
    rows, chances = has_both[is_known], found[is_known].astype(np.float64)
    columns = {
        # Rounded down, so that what is below a bound stays below it.
        PROBABILITY: np.floor(chances * _PPM),
        PERMILLE: 10 * np.searchsorted(model.content.quantiles, chances, side="right"),
    }
    return {name: _column(len(codes), rows, values) for name, values in columns.items()}


def _column(count: int, rows: npt.NDArray[np.intp], values: npt.ArrayLike) -> Ints:
    column, is_known = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    column[rows], is_known[rows] = values, True
    return Ints.of(column, is_known)
