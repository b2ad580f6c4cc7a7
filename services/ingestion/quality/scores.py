"""The scores of filings by the four terms of data quality: timeliness, accuracy, completeness, consistency. Pure; whole batches.

Each term begins with 100 points, of which each finding takes some, by the table of the administration. A term that could not be judged has no score.
Source of the terms: WCO-UPU guidelines on the exchange of electronic advance data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import BoolArray

FULL: Final = 100
"""Points of a term without findings."""
NOT_JUDGED: Final = 255
"""In the place of the score of a term that could not be judged."""
QUALITY: Final = np.dtype([("scores", np.uint8, 4), ("reasons", "<u8")])
"""The quality of a filing as it is stored: a score for each term, and the bits of the reasons that were found."""
REASONS: Final = (
    "FILED_LATE",
    "DESCRIPTION_VAGUE",
    "PRICE_NOMINAL",
    "ADDRESS_WITHOUT_LETTERS",
    "POSTCODE_MALFORMED",
    "EORI_MALFORMED",
    "LOCODE_MALFORMED",
    "SCHEME_NUMBER_MALFORMED",
    "IMEI_MALFORMED",
    "UNIT_UNKNOWN",
    "PACKAGE_TYPE_UNKNOWN",
    "TIME_IN_FUTURE",
    "TIME_LONG_PAST",
    "NET_MASS_ABOVE_GROSS",
    "PRICE_PER_KG_IMPLAUSIBLE",
    "CONSIGNOR_IS_CONSIGNEE",
    "RETURN_REFERENCE_UNUSED",
    "RETURN_DOCUMENT_UNUSED",
    "RETURN_WITHOUT_REFERENCE",
    "STAGE_ELEMENT_MISSING",
    "STAGE_INCOMPLETE",
    "IMPORT_ELEMENT_UNUSED",
    "PARTS_REQUIRED",
    "DECLARANT_NOT_ENTRUSTED",
    "SCHEME_NUMBER_UNKNOWN",
    "S10_MALFORMED",
    "GTIN_MALFORMED",
    "VALUATION_METHOD_UNKNOWN",
    "ITEM_NUMBER_WRONG",
    "SCHEME_REPEATED",
    "EXPORT_WITHIN_COUNTRY",
    "COMMODITY_CODE_UNKNOWN",
    "COMMODITY_CODE_WITHDRAWN",
)
"""The reasons that can warn. The place of each is its bit in stored qualities: add at the end, and never remove one."""
REASONS_MAX: Final = 64

Array = npt.NDArray[np.void]
"""Of type QUALITY."""


class Term(IntEnum):
    """The terms, by their place in `scores`."""

    TIMELINESS = 0
    ACCURACY = 1
    COMPLETENESS = 2
    CONSISTENCY = 3


@dataclass(frozen=True, slots=True)
class Weights:
    """What findings take from the scores of a filing."""

    terms: Mapping[str, Term]
    """The term of each of REASONS."""
    points: Mapping[str, int]
    """The points that each of them takes, once for a filing."""
    element_points: int
    """The points of completeness that each element takes that a filing lacks of its stage."""


def score(
    rows: int,
    owners: Mapping[str, Sequence[npt.NDArray[np.int64]]],
    weights: Weights,
    *,
    judged_in_time: BoolArray,
    lacking: npt.NDArray[np.integer],
) -> Array:
    """Return the quality of each filing of a batch, shape (rows,).

    `owners` has by reason the rows that it concerns, each any number of times; `judged_in_time`, shape (rows,), the filings whose deadline and time
    are known; `lacking`, shape (rows,), the number of elements that each lacks of its stage.
    """
    taken = np.zeros((rows, len(Term)), np.int64)
    taken[:, Term.COMPLETENESS] = lacking * weights.element_points
    bits = np.zeros(rows, np.uint64)
    for place, reason in enumerate(REASONS):
        if reason in owners:
            found = np.zeros(rows, np.bool_)
            for some in owners[reason]:
                found[some] = True
            taken[found, weights.terms[reason]] += weights.points[reason]
            bits[found] |= np.uint64(1 << place)
    quality = np.empty(rows, QUALITY)
    quality["scores"] = np.maximum(FULL - taken, 0)
    quality["scores"][~judged_in_time, Term.TIMELINESS] = NOT_JUDGED
    quality["reasons"] = bits
    return quality


def overall(quality: Array) -> npt.NDArray[np.int64]:
    """Return the score of each filing: the mean of its judged terms, rounded down, shape (n,)."""
    scores = quality["scores"].astype(np.int64)
    judged = scores != NOT_JUDGED
    means: npt.NDArray[np.int64] = np.where(judged, scores, 0).sum(axis=1) // judged.sum(axis=1)
    return means


def later_version(quality: Array, prior: Array, *, declares: bool = False) -> Array:
    """Return the quality of later versions: their timeliness is that of the ones before them, which came in time or not.

    A version that `declares` what was filed before the declaration has a deadline of its own as well, and is late if either was missed.
    """
    late = np.uint64(1 << REASONS.index("FILED_LATE"))
    changed = quality.copy()
    own, before = quality["scores"][:, Term.TIMELINESS], prior["scores"][:, Term.TIMELINESS]
    # What is not judged is above every score.
    changed["scores"][:, Term.TIMELINESS] = np.minimum(own, before) if declares else before
    own_late = quality["reasons"] & late if declares else np.zeros_like(quality["reasons"])
    changed["reasons"] = (quality["reasons"] & ~late) | (prior["reasons"] & late) | own_late
    return changed


def reasons_of(bits: int) -> list[str]:
    """Return the reasons of bits."""
    return [reason for place, reason in enumerate(REASONS) if bits >> place & 1]
