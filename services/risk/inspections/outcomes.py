"""Outcomes of inspections, as clearance's states tell them and as risk keeps them. Pure.

A state repeats its last inspection with each later version, so an inspection is known by when it was recorded: a state
that tells the same time again tells nothing new, another time is a further inspection or a correction, and replaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.filing_stages.direction import exports
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_UNSPECIFIED, INSPECTION_RESULT_VIOLATION
from services.risk.inspections.inclusion import inclusion_of

MICROS_PER_MINUTE: Final = 60_000_000
MICROS_PER_DAY: Final = 86_400_000_000
_ITEM: Final = np.dtype("<i4")


class OutcomeError(ValueError):
    """A state that tells an inspection which cannot be counted; the message says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the last inspection of a consignment found."""

    mrn: str
    filing_version: int
    """Version of the filing that was inspected."""
    state_version: int
    """Version of clearance's state that told it."""
    inspected_at: int
    """When it was recorded, microseconds since 1970-01-01 UTC."""
    method: int
    """luxor.clearance.v1.InspectionMethod."""
    result: int
    """luxor.clearance.v1.InspectionResult: the gravest of the items'."""
    items: bytes
    """Of each item that was inspected number, result and violation (pack_items)."""
    epoch: int = 0
    """Epoch of clearance's feed that announced the state; 0 where a former release stored it."""
    inclusion_ppm: int | None = None
    """The chance that any stage of selection had to take the consignment, millionths; None where it is unknown."""

    def follows(self, other: Outcome) -> bool:
        """Return whether the state is newer than another: by the epoch, and within one by the version."""
        if other.epoch in (0, self.epoch):
            return self.state_version > other.state_version
        return self.epoch > other.epoch

    @property
    def violation(self) -> bool:
        """Whether a violation was found."""
        return self.result == INSPECTION_RESULT_VIOLATION

    @property
    def minute(self) -> int:
        """When it was recorded, minutes since 1970."""
        return self.inspected_at // MICROS_PER_MINUTE

    @property
    def day(self) -> int:
        """The day of it, days since 1970-01-01 UTC."""
        return self.inspected_at // MICROS_PER_DAY


def inspected(states: Table) -> npt.NDArray[np.intp]:
    """The rows of a table of ClearanceColumns whose consignment was inspected and is no export: history and models are about imports.

    Reads one column, since most were not.
    """
    return np.flatnonzero(states.ints("inspected_at").valid & ~exports(states))


def outcomes_of(states: Table, epoch: int = 0) -> list[Outcome]:
    """The newest outcome of each consignment of a table of ClearanceColumns, announced in an epoch, whose rows are all inspected.

    Raises OutcomeError.
    """
    at, results = states.ints("inspected_at"), states.ints("inspection_result")
    told = results.valid & (results.values > INSPECTION_RESULT_UNSPECIFIED)
    mrns = states.strings("mrn").tolist()
    if not (told & at.valid).all():
        row = int(np.flatnonzero(~(told & at.valid))[0])
        raise OutcomeError(f"{mrns[row]} was inspected, but its state has no result of the inspection")
    lines, items = states.ragged("items"), states.child("items")
    columns = [items.ints(name) for name in ("number", "inspection_result", "violation")]
    versions, filings = states.ints("version").values.tolist(), states.ints("filing_version").values.tolist()
    methods = states.ints("inspection_method").filled(0).tolist()
    inclusions = inclusion_of(states).tolist()
    newest: dict[str, int] = {}
    for row, mrn in enumerate(mrns):
        if mrn not in newest or versions[row] > versions[newest[mrn]]:
            newest[mrn] = row
    found = []
    for mrn, row in newest.items():
        span = lines.span(row)
        of_items = np.column_stack([column.values[span] for column in columns])[columns[1].valid[span]]
        found.append(
            Outcome(
                mrn,
                filings[row],
                versions[row],
                int(at.values[row]),
                methods[row],
                int(results.values[row]),
                of_items.astype(_ITEM).tobytes(),
                epoch,
                inclusions[row],
            )
        )
    return found


def unpack_items(items: bytes) -> list[tuple[int, int, int]]:
    """Of each inspected item its number, InspectionResult and Violation (0: nothing, or not told)."""
    return [
        (number, result, violation) for number, result, violation in np.frombuffer(items, _ITEM).reshape(-1, 3).tolist()
    ]


def pack_items(items: Sequence[tuple[int, int, int]]) -> bytes:
    """Return the items in their stored form."""
    return np.array(items, _ITEM).reshape(-1, 3).tobytes()


@dataclass(frozen=True, slots=True)
class OutcomeChange:
    """A change for history: further inspections and violations of the parties of a filing."""

    mrn: str
    filing_version: int
    inspected: int
    violations: int
    minute: int


def differences(old: Outcome | None, new: Outcome) -> tuple[OutcomeChange, ...]:
    """What changes in the counts of parties when an outcome takes the place of an older one.

    A correction of the same filing changes the hits alone. Where a later version of the filing was inspected, its parties
    may be others: what was counted for the former is taken back.
    """
    if old is None:
        return (OutcomeChange(new.mrn, new.filing_version, 1, int(new.violation), new.minute),)
    if old.filing_version == new.filing_version:
        if old.violation == new.violation:
            return ()
        return (OutcomeChange(new.mrn, new.filing_version, 0, int(new.violation) - int(old.violation), new.minute),)
    return (
        OutcomeChange(new.mrn, old.filing_version, -1, -int(old.violation), old.minute),
        OutcomeChange(new.mrn, new.filing_version, 1, int(new.violation), new.minute),
    )
