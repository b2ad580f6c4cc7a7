"""The share of violations among all consignments, by what was inspected: what `EstimateViolations` answers. Pure.

An inspection is the end of two selections. Selection puts a consignment into a lane, by a chance that is known for each lane and kind
of cause (`Chances`). Whether what is in a lane is inspected depends on the lane: of red all may be, of blue none. That part is measured:
inspected consignments over all, per lane and kind of cause. The chance that an outcome exists is therefore the sum over lanes of the
chance to be in the lane times the part of the lane that was inspected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.inspections.inclusion import Estimate, estimate
from services.risk.selection.chances import CELL_GREEN, CELLS, Chances

Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

WITHOUT_CHANCE_MAX: Final = 0.05
"""Up to this part of all consignments may have had no chance of being inspected: the interval allows for all and none of them in
violation. Above it there is no estimate.
"""


@dataclass(frozen=True, slots=True)
class FoundGroup:
    """Inspected consignments that are alike."""

    vector: bytes | None
    """Their chances (`Chances.pack`); None where they are not stored."""
    violation: bool
    count: int


@dataclass(frozen=True, slots=True)
class ConsignmentGroup:
    """Assessed consignments that are alike, each in its newest version."""

    cell: int
    """Lane and kind of cause; see CELL_GREEN."""
    support: int
    """The cells that they could get into, as bits; 0 where that is unknown."""
    count: int


class NoEstimate(IntEnum):
    """Why there is no estimate; the numbers are those of luxor.risk.v1.NoEstimate."""

    NONE = 0
    NOTHING_INSPECTED = 1
    NOT_COUNTED = 2
    WITHOUT_CHANCE = 3


@dataclass(frozen=True, slots=True)
class Violations:
    """An estimate, and what it follows from."""

    estimate: Estimate
    """Share and bounds are NaN where there is none."""
    reason: NoEstimate
    """Why there is none."""
    unknown: int
    """Inspected consignments that are left out, since by what chance they were selected is unknown."""
    consignments: int
    """All consignments that were assessed."""
    without_chance: int
    """Those that no inspected lane could get."""
    lanes: IntArray = field(default_factory=lambda: np.zeros(CELLS, np.int64))
    """Consignments by cell; (7,)."""
    inspected: IntArray = field(default_factory=lambda: np.zeros(CELLS, np.int64))
    """Those with an outcome and known chances; (7,)."""
    is_violation: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Per outcome that is used whether it is a violation; (n,)."""
    inclusion: Floats = field(default_factory=lambda: np.zeros(0))
    """Per such outcome the chance that it exists, above 0 and at most 1; (n,)."""


def violations_of(outcomes: Sequence[FoundGroup], consignments: Sequence[ConsignmentGroup]) -> Violations:
    """Estimate the share of violations among consignments, each outcome weighing one over the chance that it exists.

    Within a lane and kind of cause what was inspected must be as what was not. Outcomes of green consignments, which somebody picked,
    and of unknown chances are left out and counted.
    """
    lanes = np.zeros(CELLS, np.int64)
    for group in consignments:
        lanes[group.cell] += group.count
    total = int(lanes.sum())
    stored = [group for group in outcomes if group.vector is not None]
    chances = Chances.unpack([group.vector for group in stored if group.vector is not None])
    used = chances.is_known & (chances.cell != CELL_GREEN) & (lanes[chances.cell] > 0)
    counts = np.array([group.count for group in stored], np.int64)
    inspected = np.bincount(chances.cell[used], counts[used], minlength=CELLS).astype(np.int64)
    parts = np.where(lanes > 0, np.minimum(1.0, inspected / np.maximum(lanes, 1)), 0.0)
    of_group = np.concatenate([chances.by_draw, chances.by_rule], axis=1) @ parts[1:]
    used &= of_group > 0
    repeats = counts[used]
    violation = np.repeat(np.array([group.violation for group in stored], np.bool_)[used], repeats)
    inclusion = np.minimum(1.0, np.repeat(of_group[used], repeats))
    unknown = sum(group.count for group in outcomes) - int(repeats.sum())
    seen = int((parts[1:] > 0) @ (1 << np.arange(CELLS - 1)))
    without = sum(group.count for group in consignments if not group.support & seen)
    result = estimate(violation, inclusion)
    reason = NoEstimate.NONE
    if total <= 0:
        reason = NoEstimate.NOT_COUNTED
    elif not len(violation):
        reason = NoEstimate.NOTHING_INSPECTED
    elif without > WITHOUT_CHANCE_MAX * total:
        reason = NoEstimate.WITHOUT_CHANCE
    if reason is NoEstimate.NONE:
        part = max(0, without) / total
        result = Estimate(
            result.outcomes, result.violations, result.share, result.low * (1 - part), result.high * (1 - part) + part
        )
    else:
        nothing = float("nan")
        result = Estimate(result.outcomes, result.violations, nothing, nothing, nothing)
    return Violations(result, reason, unknown, total, without, lanes, inspected, violation, inclusion)
