"""The times of presentation in states: until when it is due, and of which goods it is missing. Pure."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Table, among
from services.clearance.consignment.columns import incomplete
from services.clearance.consignment.transitions import FINAL, State

PRESENTATION: Final = ("presentation_due_at", "presented_at", "presentation_overdue_at")
"""Columns of the state: until when the goods are to be presented, absent where their arrival is the presentation; when they were; and when it was
recorded that they were not."""
_NOT_AWAITED: Final = (State.RELEASED, State.SEIZED, *FINAL)


def unpresented(states: Table) -> NDArray[np.bool_]:
    """Return of which goods a presentation is required and missing, shape (n,): in states with an arrival alone."""
    required = states.ints("presentation_due_at").valid
    return required & ~states.ints("presented_at").valid if required.any() else required


def completable(states: Table) -> NDArray[np.bool_]:
    """Return which filings are incomplete though their goods were presented, and may be completed, shape (n,): the goods were not released before."""
    found = incomplete(states) & states.ints("arrived_at").valid & ~unpresented(states)
    found &= ~states.ints("former_released_at").valid
    return found


def presentation_due(states: Table) -> Ints:
    """Return until when goods that have arrived are to be presented; absent where they were presented, or nobody waits for it."""
    due = states.ints("presentation_due_at")
    if not due.valid.any():
        return due
    return Ints.of(due.values, unpresented(states) & ~among(states.ints("state").values, _NOT_AWAITED))
