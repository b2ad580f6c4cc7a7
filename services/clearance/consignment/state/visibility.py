"""What filers and carriers see of the versions of a state: hidden versions, and the public version, change and time. Pure."""

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Table
from services.clearance.consignment.columns import choose
from services.clearance.consignment.transitions import INTERNAL, Event, State, flags_of

_INTERNAL = flags_of(INTERNAL)
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def is_hidden(events: IntArray, before: IntArray, state: IntArray) -> BoolArray:
    """Return which events, with the states before and after them, are hidden from filers and carriers, shape (n,).

    Hidden are inspections, proposals, scans, screening matches of released goods, and cleared matches that release nothing. What changes the
    state is not hidden.
    """
    hidden: BoolArray = (events == Event.INSPECTED) | _INTERNAL[events]
    hidden |= (events == Event.SCREENING_MATCHED) & (state == State.RELEASED)
    hidden |= (events == Event.FINDINGS_CHANGED) & (before == state)
    # A cleared match is hidden too if the goods remain held for their debt.
    hidden |= (events == Event.SCREENING_MATCH_CLEARED) & (state == State.HELD)
    return hidden


def public_columns(table: Table, done: BoolArray, hidden: BoolArray) -> dict[str, Column]:
    """Return the public version, change and time after an event with effect in the rows `done`.

    A hidden version keeps those of the version before it; any other version has its own.
    """
    version, change = table.ints("public_version"), table.ints("public_change")
    hidden = done & hidden
    if not (hidden.any() or version.valid.any()):
        return {}
    count = np.where(version.valid, version.values, table.ints("version").values)
    differs = np.where(done, hidden, change.valid)
    changed_at = choose(change.valid, table.ints("public_changed_at"), table.ints("changed_at"))
    return {
        "public_version": Ints.of(count + (done & ~hidden), version.valid | hidden),
        "public_change": Ints.of(choose(change.valid, change, table.ints("change")).values, differs),
        "public_changed_at": Ints.of(changed_at.values, differs),
    }
