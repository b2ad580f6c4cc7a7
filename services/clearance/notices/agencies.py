"""What partner agencies are notified of: their controls, the goods that wait for these, and the licences of their registers. Pure.

Goods with controls by agencies or with licences are rare, so they are worked on one by one.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from services.clearance.consignment.controls.control import Control, controls_of, has_controls
from services.clearance.consignment.notice_kinds import NoticeKind
from services.clearance.consignment.transitions import FINAL, Change
from services.clearance.licences.need import NeedOutcome, has_needs, needs_of

_OF_GOODS: Final = {
    Change.ARRIVED: NoticeKind.ARRIVED,
    Change.TRANSIT_ARRIVED: NoticeKind.ARRIVED,
    Change.ARRIVAL_REVERSED: NoticeKind.ARRIVAL_REVERSED,
}
"""Changes of the goods that concern an agency while a control of it is open."""
_OF_LICENCES: Final = (
    Change.DECIDED,
    Change.AMENDED,
    Change.RETURNED,
    Change.CONTROL_ORDERED,
    Change.CONTROL_CONCLUDED,
)
"""Changes with which licences are written off or restored, beside the end of the goods; readers look up which were."""
_CHANGED: Final = (NeedOutcome.WRITTEN_OFF, NeedOutcome.CHECKED, NeedOutcome.RESTORED, NeedOutcome.USED_UP)


def control_kind(controls: Sequence[Control], agency: str, at: int, change: int) -> int:
    """Return what a version of a state, made `at` an instant by a change, reports to an agency of its controls; 0: nothing."""
    own = [each for each in controls if each.authority == agency]
    if Change(change) in _OF_GOODS:
        return _OF_GOODS[Change(change)] if any(each.is_open for each in own) else 0
    # All versions of a transaction have one time. Referrals of a first decision follow what the goods order.
    ordered = [each for each in controls if each.ordered_at == at]
    if (
        change == Change.CONTROL_ORDERED
        and any(each.authority == agency for each in ordered)
        and not ordered[-1].refers
    ):
        return NoticeKind.CONTROL_ORDERED
    if any(each.answered_at == at for each in own):
        return NoticeKind.CONTROL_ANSWERED
    if any(each.concluded_at == at for each in own):
        return NoticeKind.CONTROL_CONCLUDED
    if any(at in (each.reminded_at, each.overdue_at) for each in own):
        return NoticeKind.CONTROL_REMINDED
    return 0


def notified(table: Table) -> dict[str, list[int]]:
    """Return by agency the rows of versions that it is notified of, rising; of those with its licences it may be that none changed."""
    rows: dict[str, list[int]] = {}
    places = _with_agencies(table)
    if not len(places):
        return rows
    chosen = table.take(places)
    facts = (chosen.ints(name).values.tolist() for name in ("changed_at", "change", "state"))
    for place, controls, needs, at, change, state in zip(
        places.tolist(), controls_of(chosen), needs_of(chosen), *facts, strict=True
    ):
        authorities = {each.authority for each in controls}
        found = {each for each in authorities if control_kind(controls, each, at, change)}
        if change in _OF_LICENCES or state in FINAL:
            found |= {each.authority for each in needs if each.outcome in _CHANGED}
        for agency in sorted(found - {""}):
            rows.setdefault(agency, []).append(place)
    return rows


def _with_agencies(table: Table) -> NDArray[np.int64]:
    """Return the rows with a control or a licence of an agency."""
    parts = [
        table.ragged(name).owners()[table.child(name).strings("authority").present]
        for name, some in (("controls", has_controls(table)), ("licences", has_needs(table)))
        if some
    ]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
