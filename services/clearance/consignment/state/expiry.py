"""Declarations whose goods never arrived, and exports whose exit nobody confirmed: which of them end, and the state before the event. Pure.

Law: Union Customs Code, article 171: a declaration lodged before the goods are presented counts as not lodged if they are not presented in time. The
default of 200 days is that of ICS2, which invalidates a filing by itself.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Ragged, Strings, Table, among
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.direction import exports
from services.clearance.consignment.decision import lacks_parts
from services.clearance.consignment.inspection import open_violations
from services.clearance.consignment.screening import only_matches
from services.clearance.consignment.state.times import never_released
from services.clearance.consignment.transitions import Debt, State

ARRIVAL_DAYS: Final = 200
"""Days after the day of acceptance within which the goods have to arrive, by default."""
EXIT_NOT_CONFIRMED: Final = "EXIT_NOT_CONFIRMED"
"""Reason of an export whose exit was not confirmed in time, which filers read."""
NEVER_ARRIVED: Final = "NEVER_ARRIVED"
"""Reason of an expired declaration, which filers read."""


def expirable(states: Table) -> NDArray[np.bool_]:
    """Return which declarations expire once their days are over, shape (n,): the goods have not arrived and had no release.

    What an officer or a screening match holds, has an open violation, or lacks a required part after an inspection, stays: a timer does not remove
    evidence. An arrival that was reversed counts as none.
    """
    state, every = states.ints("state").values, np.ones(states.rows, np.bool_)
    waiting = among(state, (State.AWAITING_ARRIVAL, State.HELD)) & ~states.ints("arrived_at").valid
    evidence = states.bools("officer_hold").values | states.bools("screening_hold").values | open_violations(states)
    # Of a missing part only goods that an officer inspected or adjusted.
    inspected = states.ints("inspected_at").valid | states.ints("adjusted_at").valid
    evidence |= inspected & lacks_parts(states.ragged("reasons"))
    # Matches that the assessment itself found.
    evidence |= (state == State.HELD) & (only_matches(states.ragged("findings"), every).lengths > 0)
    return waiting & never_released(states) & ~evidence


def exit_overdue(states: Table, exit_days: int, at: int) -> NDArray[np.bool_]:
    """Return which released exports have no confirmed exit although `exit_days` whole days have passed since the day of their release, shape (n,).

    Law: Commission Delegated Regulation (EU) 2015/2446, article 248(2).
    """
    released = states.ints("released_at")
    due = (released.values // MICROS_PER_DAY + exit_days + 1) * MICROS_PER_DAY
    open_: NDArray[np.bool_] = exports(states) & (states.ints("state").values == State.RELEASED)
    return open_ & released.valid & (due <= at) & ~open_violations(states)


def expiring(states: Table, reason: str = NEVER_ARRIVED) -> Table:
    """Return the states before the event: the declaration counts as never lodged, so nothing is owed."""
    rows = states.rows
    return states.with_columns(
        {
            "reasons": Ragged.of_lengths(np.ones(rows, np.int64), Strings.constant(reason, rows)),
            "debt_status": Ints.constant(Debt.NONE, rows),
            "debt_account": Strings.absent(rows),
        }
    )
