"""How far the assessment before loading has come, by the referrals of a consignment. Pure.

Source: the filing's side of the state machine of ICS2: requests for information and for a screening run in parallel, and the assessment is complete
once none of them is open and no do-not-load stands (IE3Q01 to IE3Q03, IE3N03).
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from services.clearance.consignment.controls.control import REFERRALS, Control, ControlResult, controls_of, has_controls


class PreLoading(IntEnum):
    """How far the assessment before loading has come; the numbers are those of luxor.clearance.v1.PreLoading."""

    NONE = 0
    """Not assessed, or the consignment ended before the assessment was complete."""
    REFERRED = 1
    DO_NOT_LOAD = 2
    COMPLETE = 3


_TIMES: Final = ("ordered_at", "answered_at", "reminded_at", "overdue_at", "concluded_at")


def pre_loading(controls: Sequence[Control]) -> PreLoading:
    """Return how far the assessment of one consignment has come."""
    referrals = [each for each in controls if each.refers]
    if any(each.forbids_loading for each in referrals):
        return PreLoading.DO_NOT_LOAD
    if any(each.is_open for each in referrals):
        return PreLoading.REFERRED
    ended = any(each.result == ControlResult.ENDED for each in referrals)
    return PreLoading.COMPLETE if referrals and not ended else PreLoading.NONE


def pre_loading_of(states: Table) -> NDArray[np.int64]:
    """Return how far the assessment of each consignment has come, shape (n,)."""
    found = np.zeros(states.rows, np.int64)
    for row in np.unique(_owners_of_referrals(states)).tolist():
        found[row] = pre_loading(controls_of(states.take(np.array([row])))[0])
    return found


def announced(states: Table) -> NDArray[np.bool_]:
    """Return of which states this version announces something about loading: a referral changed in it, shape (n,)."""
    announced = np.zeros(states.rows, np.bool_)
    owners = _owners_of_referrals(states)
    if len(owners):
        lines = states.child("controls")
        chosen = np.isin(lines.ints("form").values, REFERRALS)
        changed = np.zeros(len(owners), np.bool_)
        for name in _TIMES:
            time = lines.ints(name)
            changed |= (
                time.valid & (time.values == states.ints("changed_at").values[states.ragged("controls").owners()])
            )[chosen]
        announced[owners[changed]] = True
    return announced


def _owners_of_referrals(states: Table) -> NDArray[np.int64]:
    """Return the row of each referral."""
    if not has_controls(states):
        return np.zeros(0, np.int64)
    referrals = np.isin(states.child("controls").ints("form").values, REFERRALS)
    owners: NDArray[np.int64] = states.ragged("controls").owners()[referrals]
    return owners
