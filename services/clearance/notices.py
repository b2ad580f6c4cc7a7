"""Notices: what a filer or carrier is told of a change, read from the state after it."""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from services.clearance.lifecycle import Change, State


class Kind(IntEnum):
    """What a notice tells; the numbers are those of luxor.clearance.v1.NoticeKind."""

    DECIDED = 1
    HELD = 2
    ARRIVED = 3
    RELEASED = 4
    AMENDMENT_REFUSED = 5
    INVALIDATED = 6


_BY_STATE: Final = {State.AWAITING_ARRIVAL: Kind.DECIDED, State.HELD: Kind.HELD, State.RELEASED: Kind.RELEASED}


def quiet(table: Table) -> NDArray[np.bool_]:
    """Tell which versions filers and carriers do not hear of: they were told another one last."""
    return table.ints("told_change").valid


def kinds(table: Table) -> NDArray[np.int64]:
    """Give the kind of notice for each state, shape (n,); 0 where there is nothing to tell."""
    state, change = table.ints("state").values, table.ints("change").values
    by_state = np.zeros(max(State) + 1, np.int64)
    for each, kind in _BY_STATE.items():
        by_state[each] = kind
    found = np.where(quiet(table), 0, by_state[state])
    found = np.where((change == Change.ARRIVED) & (state != State.RELEASED), np.int64(Kind.ARRIVED), found)
    found = np.where(change == Change.INVALIDATED, np.int64(Kind.INVALIDATED), found)
    return np.where(change == Change.AMENDMENT_REFUSED, np.int64(Kind.AMENDMENT_REFUSED), found)
