"""The results of inspections, as columns of the state. The numbers are those of luxor.clearance.v1; a test compares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table
from services.clearance.consignment.decision import same_person
from services.clearance.consignment.transitions import State

RESOLUTION: Final = ("violation_found_by", "violation_resolved_by", "violation_resolved_at")
"""Columns of the state: who found the last violation, who resolved it, and when."""
INSPECTED: Final = ("inspected_at", "inspection_method", "inspection_result", "inspected_by")
"""Columns of the state about the last inspection."""


class Result(IntEnum):
    """The result of an inspection; a higher number is graver."""

    CONFORM = 1
    VIOLATION = 2


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection of one consignment."""

    method: int
    result: Result
    """The gravest result of all items."""
    whole: Result | None
    """The result for each item; None if only `items` were inspected."""
    violation: int
    """The violation of the whole consignment; 0 for none."""
    items: Mapping[int, tuple[Result, int]]
    """Result and violation by number of the item."""
    note: str = ""


def finders_of(table: Table) -> Strings:
    """Return the officer who found the violation of each state that is not released since, "" where there is none.

    States of earlier releases name none: there it is the last inspector of what is held with a violation.
    """
    finders = table.strings("violation_found_by")
    found = table.ints("inspection_result").filled(0) == Result.VIOLATION
    derived = found & ~finders.present & (table.ints("state").filled(0) == State.HELD)
    if derived.any():
        derived &= ~_resolved(table)
    if not derived.any():
        return finders
    both = Strings.concat([finders, table.strings("inspected_by")])
    return both.take(np.arange(table.rows) + np.where(derived, table.rows, 0))


def open_violations(table: Table) -> NDArray[np.bool_]:
    """Return which states have a violation that no officer has resolved, shape (n,)."""
    return finders_of(table).present & ~_resolved(table)


def _resolved(table: Table) -> NDArray[np.bool_]:
    return table.strings("violation_resolved_by").present


def not_releasable(table: Table, officer: str, note: str) -> list[bool]:
    """Return which states this officer may not release, since the violation is the officer's own finding.

    A second officer may. The same one may once the violation is resolved, and states in a note why: a reason alone may be a client's default.
    """
    explained = _resolved(table) & bool(note.strip())
    own: list[bool] = (_is_finder(table, officer) & ~explained).tolist()
    return own


def _is_finder(table: Table, officer: str) -> NDArray[np.bool_]:
    """Return of which states this officer found the violation."""
    return finders_of(table).map(lambda finder: same_person(finder, officer), np.bool_)


def resolved(table: Table, rows: NDArray[np.bool_], officers: Sequence[str], at: int) -> dict[str, Column]:
    """Return the columns of states after an officer each resolved the open violation in some rows, shape (n,); none where nothing is resolved.

    Resolved are a release by an officer, an inspection by another officer that finds the goods in order, and an adjustment by an officer that
    changed a value or the goods.
    """
    resolves = rows & open_violations(table)
    if not resolves.any():
        return {}
    by, when = table.strings("violation_resolved_by").tolist(), table.ints("violation_resolved_at")
    return {
        "violation_found_by": finders_of(table),
        "violation_resolved_by": Strings.of(
            [new if now else old for new, old, now in zip(officers, by, resolves.tolist(), strict=True)]
        ),
        "violation_resolved_at": Ints.of(np.where(resolves, at, when.values), when.valid | resolves),
    }


def violations_of(
    table: Table, done: NDArray[np.bool_], inspections: Mapping[str, Inspection], officer: str, at: int
) -> dict[str, Column]:
    """Return the columns of the violation, after inspections by an officer that took effect in the rows `done`.

    A new violation is open, whatever was resolved before. Whoever found a violation does not undo it by finding the goods in order later: another
    officer does.
    """
    finders = finders_of(table)
    results = np.array([inspections[mrn].result for mrn in table.strings("mrn").tolist()], np.int64)
    found = done & (results == Result.VIOLATION)
    cleared = done & ~found & finders.present & ~_is_finder(table, officer)
    table = table.with_columns(resolved(table, cleared, [officer] * table.rows, at))
    by, when = table.strings("violation_resolved_by").tolist(), table.ints("violation_resolved_at")
    names = [
        officer if now else "" if ended else before
        for before, now, ended in zip(finders.tolist(), found.tolist(), cleared.tolist(), strict=True)
    ]
    return {
        "violation_found_by": Strings.of(names),
        "violation_resolved_by": Strings.of(
            ["" if now else name for name, now in zip(by, found.tolist(), strict=True)]
        ),
        "violation_resolved_at": Ints.of(when.values, when.valid & ~found),
    }


def missing_item(table: Table, inspections: Mapping[str, Inspection]) -> list[bool]:
    """Return for each state whether an inspected item is not among its goods."""
    items = table.ragged("items")
    numbers = table.child("items").ints("number").values.tolist()
    mrns = table.strings("mrn").tolist()
    return [not inspections[mrn].items.keys() <= set(numbers[items.span(row)]) for row, mrn in enumerate(mrns)]


def inspected(
    table: Table, done: NDArray[np.bool_], inspections: Mapping[str, Inspection], at: int
) -> dict[str, Column]:
    """Return the columns of states after inspections by MRN, which took effect in the rows `done`; other items have no result."""
    items = table.ragged("items")
    goods = table.child("items")
    numbers = goods.ints("number").values.tolist()
    results, violations = goods.ints("inspection_result").tolist(), goods.ints("violation").tolist()
    method, result = table.ints("inspection_method").tolist(), table.ints("inspection_result").tolist()
    for row, mrn in enumerate(table.strings("mrn").tolist()):
        if not done[row]:
            continue
        found = inspections[mrn]
        method[row], result[row] = found.method, int(found.result)
        span = items.span(row)
        for place in range(span.start, span.stop):
            told = found.items.get(numbers[place])
            if told is None and found.whole is not None:
                told = (found.whole, found.violation)
            results[place] = None if told is None else int(told[0])
            violations[place] = None if told is None else told[1] or None
    below: dict[str, Column] = {"inspection_result": _ints(results), "violation": _ints(violations)}
    before = table.ints("inspected_at")
    return {
        "inspected_at": Ints.of(np.where(done, at, before.values), before.valid | done),
        "inspection_method": _ints(method),
        "inspection_result": _ints(result),
        "items": Ragged(items.offsets, goods.with_columns(below)),
    }


def _ints(values: list[int | None]) -> Ints:
    return Ints.of([value or 0 for value in values], [value is not None for value in values])
