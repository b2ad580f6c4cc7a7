"""By what chance selection had to take what was inspected, and what inspections therefore say of all consignments. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Table
from luxor.common.v1.common_pb2 import SELECTION_CAUSE_RULE, SELECTION_CAUSE_SCORE

PPM: Final = 1_000_000
WEIGHT_MAX: Final = 20.0
"""In learning and in comparisons no outcome counts more than this many times one that was sure to be selected."""
_CERTAIN: Final = (SELECTION_CAUSE_RULE, SELECTION_CAUSE_SCORE)
_Z: Final = 1.959963984540054
"""The normal distribution's quantile for 95 % between both sides."""

_BAND: Final = 4.0
"""Weights in a band differ by less than this factor: rare violations among heavy outcomes are not judged by those of light ones."""

Floats = npt.NDArray[np.float64]


def inclusion_of(table: Table) -> Ints:
    """The chance of all stages of selection together, millionths; absent where it is unknown.

    `table` has answers or states (AssessmentColumns, ClearanceColumns). Rows of earlier releases have no inclusion: there it
    is certain for what a rule or the score selected, and unknown for what was drawn. Of what nothing selected and somebody
    inspected all the same it is always unknown.
    """
    known, cause = table.ints("inclusion_ppm"), table.ints("selection_cause")
    certain = ~known.valid & cause.valid & np.isin(cause.values, _CERTAIN)
    return Ints.of(np.where(certain, PPM, known.values), known.valid | certain)


@dataclass(frozen=True, slots=True)
class Weights:
    """What outcomes count, and what a cap did to it."""

    values: Floats
    """One over the inclusion, at most the cap; where that is unknown the mean of the others, or 1 without others; (n,)."""
    unknown: int
    """Of how many the inclusion is unknown."""
    capped: int
    """How many were cut."""
    capped_share: float
    """The part of the weight of those that are known, as it was before, that was cut off: so much the outcomes that are hardest
    to come by count less than they should. 0.0 where there is none.
    """


def weights_of(inclusion: Floats, weight_max: float | None = WEIGHT_MAX) -> Weights:
    """One over the chance of having been selected (Horvitz and Thompson 1952), each 0 to 1, NaN for unknown; None: without a cap.

    A cap makes what is learnt or compared less dependent on a few outcomes, and biased towards what is selected most: rows
    whose chance is below one over the cap stand for fewer than they are.
    """
    known = ~np.isnan(inclusion)
    whole = 1 / inclusion[known]
    cut = whole if weight_max is None else np.minimum(whole, weight_max)
    values = np.full(len(inclusion), float(cut.mean()) if len(cut) else 1.0)
    values[known] = cut
    total = float(whole.sum())
    share = float((whole - cut).sum()) / total if total else 0.0
    return Weights(values, int((~known).sum()), int((cut < whole).sum()), share)


def shares_of(inclusion: Ints) -> Floats:
    """Inclusions as parts of 1, NaN where they are unknown."""
    shares: Floats = np.where(inclusion.valid, inclusion.values / PPM, np.nan)
    return shares


@dataclass(frozen=True, slots=True)
class Estimate:
    """What share of all consignments is in violation, by those that were selected and inspected."""

    outcomes: int
    violations: int
    share: float
    """The estimate; NaN without outcomes."""
    low: float
    """Lower bound of the interval that covers the share 95 times of 100; NaN without outcomes."""
    high: float


def estimate(is_violation: npt.NDArray[np.bool_], inclusion: Floats) -> Estimate:
    """Estimate the share of violations by the ratio of Hájek (1971): the sum of one over the inclusion of violations over that of all.

    What was sure to be selected is counted and adds no doubt. The others are put in bands of like chances. In each the bounds are
    Wilson's (1927), with as many outcomes as an even sample of the same variance would have, so that there are two where no violation
    was found, and bounds of bands are put together as Zou and Donner (2008) do; how many outcomes stand for is an estimate too. No
    weight is capped: that would bias the share.
    """
    outcomes, violations = len(is_violation), int(is_violation.sum())
    if outcomes == 0:
        return Estimate(0, 0, float("nan"), float("nan"), float("nan"))
    weights = 1 / inclusion
    total = float(weights.sum())
    share = float(weights[is_violation].sum()) / total
    drawn = inclusion < 1
    if not drawn.any():
        return Estimate(outcomes, violations, share, share, share)
    bands = np.where(drawn, np.floor(np.log(weights) / np.log(_BAND)), -1)
    below = above = 0.0
    for band in np.unique(bands[drawn]).tolist():
        inside = bands == band
        in_band, weight, left = is_violation[inside], weights[inside], 1 - inclusion[inside]
        of_band = float(weight.sum())
        part = float(weight[in_band].sum()) / of_band
        low, high = _wilson(part, in_band, weight / of_band, left)
        # Outcomes that stand for more, or for fewer, move the share towards theirs, or away from it.
        count = (part - share) ** 2 * float((left * weight**2).sum()) / total**2
        below += ((part - low) * of_band / total) ** 2 + _Z**2 * count
        above += ((high - part) * of_band / total) ** 2 + _Z**2 * count
    return Estimate(
        outcomes, violations, share, max(0.0, share - float(np.sqrt(below))), min(1.0, share + float(np.sqrt(above)))
    )


def _wilson(share: float, is_violation: npt.NDArray[np.bool_], parts: Floats, left: Floats) -> tuple[float, float]:
    """The bounds of a share of rows that stand for parts of 1, each drawn independently with the chance of 1 less `left`."""
    even = share * (1 - share)
    variance = float((left * parts**2 * (is_violation - share) ** 2).sum())
    # A share of 0 or 1 has no variance of its own to tell by.
    size = even / variance if variance > 0 else 1 / float((left * parts**2).sum())
    centre = (share + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * float(np.sqrt(even / size + _Z**2 / (4 * size**2)))
    return max(0.0, centre - half), min(1.0, centre + half)
