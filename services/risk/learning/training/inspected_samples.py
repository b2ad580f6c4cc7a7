"""What inspections found, as rows to learn from: the items of stored consignments with their outcomes.

What is inspected was mostly chosen, so an outcome says little of the many that nobody looked at. Each weighs one over the chance
that its consignment had to be selected (`inclusion_ppm` of its assessment): the few that were drawn at random stand for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_VIOLATION
from services.risk.elements.computed import Facts
from services.risk.history.columns import HistoryColumns
from services.risk.inspections.inclusion import Weights, inclusion_of, shares_of, weights_of
from services.risk.learning.features.consignments import ASSESSED_WITH_CODES, Items, assessed_items
from services.risk.learning.features.sample import Floats, Numbers, Sample, Truths


@dataclass(frozen=True)
class InspectedRow:
    """What an inspection found of one consignment."""

    row: int
    """Its row in the batch."""
    violation: bool
    items: Mapping[int, bool]
    """By item number whether it is in violation; only those that were inspected one by one."""


@dataclass(frozen=True)
class InspectedItems:
    """Rows to learn from: items whose outcome is known."""

    sample: Sample
    violations: Truths
    inclusion: Floats
    """By what chance each had to be selected, a part of 1; NaN where that is unknown."""
    owners: Numbers
    """Per item its consignment, counted from 0 over all parts that were put together."""
    days: Numbers
    """Per item the day of its assessment, days since 1970-01-01 UTC."""
    consignments: int

    @property
    def weights(self) -> Weights:
        """What each counts in learning."""
        return weights_of(self.inclusion)

    @staticmethod
    def concat(parts: Sequence[InspectedItems]) -> InspectedItems:
        """Parts one after the other."""
        starts = np.cumsum([0, *(part.consignments for part in parts)])
        return InspectedItems(
            Sample.concat([part.sample for part in parts]),
            np.concatenate([part.violations for part in parts]),
            np.concatenate([part.inclusion for part in parts]),
            np.concatenate([part.owners + start for part, start in zip(parts, starts.tolist(), strict=False)]),
            np.concatenate([part.days for part in parts]),
            int(starts[-1]),
        )

    def from_to(self, start: int, end: int) -> InspectedItems:
        """The consignments from one place up to another."""
        rows = np.flatnonzero((self.owners >= start) & (self.owners < end))
        return InspectedItems(
            self.sample.take(rows),
            self.violations[rows],
            self.inclusion[rows],
            self.owners[rows] - start,
            self.days[rows],
            end - start,
        )


def stored_items(
    table: Table,
    history: HistoryColumns | None,
    answers: Table,
    rates: Mapping[str, int],
    rows: npt.NDArray[np.integer[Any]],
) -> Items:
    """The items of some consignments of a stored batch, as the model would have seen them."""
    taken = table.take(rows)
    facts = Facts(taken, rates)
    facts.history = None if history is None else _taken(history, table, rows)
    return assessed_items(taken, facts, answers.ints("score").take(rows), ASSESSED_WITH_CODES.columns)


def part_of(
    table: Table,
    history: HistoryColumns | None,
    answers: Table,
    rates: Mapping[str, int],
    outcomes: Sequence[InspectedRow],
    day: int,
) -> InspectedItems:
    """The rows of a batch, stored on a day, whose outcome is known.

    Where a consignment was found in violation and nobody said which of its items, the only one is; of several none is learnt.
    """
    rows = np.array([outcome.row for outcome in outcomes], np.int64)
    items = stored_items(table, history, answers, rates, rows)
    numbers = Facts(table.take(rows), rates).item_numbers
    inclusion = shares_of(inclusion_of(answers).take(rows))
    alone = np.bincount(items.owners, minlength=len(rows)) == 1
    found, known = np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.bool_)
    for place, (owner, number) in enumerate(zip(items.owners.tolist(), numbers.tolist(), strict=True)):
        outcome = outcomes[owner]
        told = outcome.items.get(number)
        if not outcome.violation:
            known[place] = True
        elif told is not None:
            found[place], known[place] = told, True
        elif alone[owner]:
            found[place] = known[place] = True
    kept = np.flatnonzero(known)
    owners = items.owners[kept]
    return InspectedItems(
        items.sample.take(kept), found[kept], inclusion[owners], owners, np.full(len(kept), day), len(rows)
    )


def is_violation(result: int) -> bool:
    """Whether a luxor.clearance.v1.InspectionResult is a violation."""
    return result == INSPECTION_RESULT_VIOLATION


def _taken(history: HistoryColumns, table: Table, rows: npt.NDArray[np.integer[Any]]) -> HistoryColumns:
    lines = table.ragged("items")
    lengths = lines.lengths[rows]
    ends = np.cumsum(lengths)
    places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(lines.offsets[rows] - ends + lengths, lengths)
    return HistoryColumns(
        {name: column.take(rows) for name, column in history.consignments.items()},
        {name: column.take(places) for name, column in history.items.items()},
    )
