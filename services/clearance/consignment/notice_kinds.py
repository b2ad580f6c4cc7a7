"""The kind of notice that filers, carriers and partner agencies receive about a change, from the state after it. Pure."""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table, among
from services.clearance.consignment.columns import was_moved
from services.clearance.consignment.transitions import CONTROLLED, HELD, Change, Debt, State


class NoticeKind(IntEnum):
    """The kind of a notice; the numbers are those of luxor.clearance.v1.NoticeKind."""

    DECIDED = 1
    HELD = 2
    ARRIVED = 3
    RELEASED = 4
    AMENDMENT_REFUSED = 5
    INVALIDATED = 6
    CHARGES_CHANGED = 7
    DEBT_SETTLED = 8
    DEBT_OPENED = 9
    RETURNED = 10
    ARRIVAL_REVERSED = 11
    SEIZED = 12
    DISPOSED = 13
    CONTROL_ORDERED = 14
    CONTROL_ANSWERED = 15
    CONTROL_REMINDED = 16
    CONTROL_CONCLUDED = 17
    EXPIRED = 18
    STORAGE_REMINDED = 19
    STORAGE_ENDED = 20
    HOLD_LIFTED = 21
    RETURN_ORDER_ENDED = 22
    TRANSIT_STARTED = 24
    TRANSIT_ARRIVED = 25
    TRANSIT_OVERDUE = 26
    TRANSIT_ENDED = 27
    LICENCE_USED = 28
    LICENCE_RESTORED = 29
    LICENCE_USED_UP = 30
    LICENCE_REMINDED = 32
    LICENCE_ENDED = 33
    PRESENTED = 23
    PRESENTATION_OVERDUE = 31
    EXITED = 34
    PART_MISSING = 35
    CONTRADICTED = 36


NOTICE_OF_STATE: Final = {
    State.AWAITING_ARRIVAL: NoticeKind.DECIDED,
    State.HELD: NoticeKind.HELD,
    State.DOCUMENTS_REQUESTED: NoticeKind.HELD,
    State.EXAMINATION: NoticeKind.HELD,
    State.RELEASED: NoticeKind.RELEASED,
    State.SEIZED: NoticeKind.SEIZED,
    State.DESTROYED: NoticeKind.DISPOSED,
    State.RE_EXPORTED: NoticeKind.DISPOSED,
    State.ABANDONED: NoticeKind.DISPOSED,
    State.CONFISCATED: NoticeKind.DISPOSED,
    State.INVALIDATED: NoticeKind.INVALIDATED,
    State.EXPIRED: NoticeKind.EXPIRED,
    State.EXITED: NoticeKind.EXITED,
}
"""The notice of a change to each state, where the change has none of its own."""

_OF_HELD: Final = {
    Change.CONTROL_ORDERED: NoticeKind.CONTROL_ORDERED,
    Change.CONTROL_ANSWERED: NoticeKind.CONTROL_ANSWERED,
    Change.CONTROL_REMINDED: NoticeKind.CONTROL_REMINDED,
    Change.CONTROL_CONCLUDED: NoticeKind.CONTROL_CONCLUDED,
    Change.STORAGE_REMINDED: NoticeKind.STORAGE_REMINDED,
    Change.STORAGE_ENDED: NoticeKind.STORAGE_ENDED,
}
"""Kinds of notices about controls and temporary storage of held goods.

The last conclusion of a control is announced as the release or the decision to which it leads."""
OF_TRANSIT: Final = {
    Change.TRANSIT_STARTED: NoticeKind.TRANSIT_STARTED,
    Change.TRANSIT_ARRIVED: NoticeKind.TRANSIT_ARRIVED,
    Change.TRANSIT_OVERDUE: NoticeKind.TRANSIT_OVERDUE,
    Change.TRANSIT_ENDED: NoticeKind.TRANSIT_ENDED,
}
"""Kinds of notices about movements to another office."""
_UNRELEASED: Final = {
    Change.ARRIVED: NoticeKind.ARRIVED,
    Change.PRESENTED: NoticeKind.PRESENTED,
    Change.PRESENTATION_OVERDUE: NoticeKind.PRESENTATION_OVERDUE,
}
"""Kinds of notices about goods on their way to their release; if they are released, the notice is the release."""
_LIFTED: Final = (Change.OFFICER_RELEASED, Change.SCREENING_MATCH_CLEARED)
"""Changes that lift a hold beside open controls."""
OWED: Final = (Change.DEBT, Change.REASSESSED, Change.ADJUSTED)
"""Changes of the amounts owed or of the status of the debt."""


def _owed(table: Table) -> NDArray[np.int64]:
    """Return the kinds of notices about a change of debt: released or held goods, otherwise the change of the debt or of the charges."""
    state, debt = table.ints("state").values, table.ints("debt_status").filled(0)
    released, at = table.ints("released_at"), table.ints("changed_at").values
    unsettled = among(debt, (Debt.OPEN, Debt.UNKNOWN))
    holds = (state == State.HELD) & unsettled & table.bools("debt_hold").values
    of_debt = np.where(debt == Debt.OPEN, np.int64(NoticeKind.DEBT_OPENED), np.int64(NoticeKind.DEBT_SETTLED))
    # A debt that could not be computed is neither open nor settled.
    changed = (table.ints("change").values != Change.DEBT) | (debt == Debt.UNKNOWN)
    kind = np.where(changed, np.int64(NoticeKind.CHARGES_CHANGED), of_debt)
    kind = np.where(holds, np.int64(NoticeKind.HELD), kind)
    fresh = (state == State.RELEASED) & released.valid & (released.values == at)
    return np.where(fresh, np.int64(NoticeKind.RELEASED), kind)


def hidden_versions(table: Table) -> NDArray[np.bool_]:
    """Return which versions are hidden from filers and carriers."""
    return table.ints("public_change").valid


def of_movements(table: Table) -> NDArray[np.bool_]:
    """Return which versions are steps of movements to another office, shape (n,): these concern the carrier of the movement, too."""
    moved = was_moved(table)
    return moved & np.isin(table.ints("change").values, tuple(OF_TRANSIT)) if moved.any() else moved


def kinds(table: Table) -> NDArray[np.int64]:
    """Return the kind of notice of each state, shape (n,); 0 for none."""
    state, change, shown = table.ints("state").values, table.ints("change").values, ~hidden_versions(table)
    by_state = np.zeros(max(State) + 1, np.int64)
    for each, kind in NOTICE_OF_STATE.items():
        by_state[each] = kind
    found = np.where(shown, by_state[state], 0)
    # A batch has few changes, so most of them are passed over.
    present = set(change.tolist())

    def announce(cause: Change, kind: NoticeKind, where: NDArray[np.bool_]) -> None:
        if cause in present:
            found[(change == cause) & where] = kind

    unreleased, everywhere = state != State.RELEASED, np.ones(table.rows, np.bool_)
    for cause, kind in _UNRELEASED.items():
        announce(cause, kind, unreleased)
    announce(Change.RETURNED, NoticeKind.RETURNED, shown)
    announce(Change.ARRIVAL_REVERSED, NoticeKind.ARRIVAL_REVERSED, everywhere)
    if not present.isdisjoint(OWED):
        found = np.where(among(change, OWED) & shown, _owed(table), found)
    for cause in _LIFTED:
        announce(cause, NoticeKind.HOLD_LIFTED, among(state, CONTROLLED) & shown)
    if not present.isdisjoint(_OF_HELD):
        waits = among(state, HELD) & shown
        for cause, kind in _OF_HELD.items():
            announce(cause, kind, waits)
    if not present.isdisjoint(OF_TRANSIT) and was_moved(table).any():
        for cause, kind in OF_TRANSIT.items():
            # Goods that are released with their arrival are announced as released.
            announce(cause, kind, unreleased)
    announce(Change.RETURN_ORDER_ENDED, NoticeKind.RETURN_ORDER_ENDED, everywhere)
    announce(Change.CONTRADICTED, NoticeKind.CONTRADICTED, everywhere)
    announce(Change.INVALIDATED, NoticeKind.INVALIDATED, everywhere)
    announce(Change.AMENDMENT_REFUSED, NoticeKind.AMENDMENT_REFUSED, everywhere)
    return found
