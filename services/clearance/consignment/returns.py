"""Goods that were returned or destroyed after release, the reason, and the resulting state of the consignment. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.consignment.columns import item_numbers
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event, State

_REMOVED: Final = (State.RE_EXPORTED, State.DESTROYED)


@dataclass(frozen=True, slots=True)
class Return:
    """The returned goods of one consignment."""

    reason: int
    """luxor.clearance.v1.ReturnReason."""
    document: str
    """Number of the transport document of the return, "" for destroyed goods."""
    items: frozenset[int]
    """Numbers of the items; none for all remaining ones."""


def unfit(states: Table, returns: Mapping[str, Return]) -> list[str]:
    """Return for each state why these goods cannot be returned, "" if they can. The transitions check that they are released."""
    reasons = []
    items = states.ragged("items")
    numbers = item_numbers(states).tolist()
    back = states.child("items").bools("returned").values.tolist()
    for row, (mrn, state) in enumerate(
        zip(states.strings("mrn").tolist(), states.ints("state").values.tolist(), strict=True)
    ):
        returned = dict(zip(numbers[items.span(row)], back[items.span(row)], strict=True))
        asked = returns[mrn].items
        if any(returned.get(number) for number in asked) or (state in _REMOVED and any(returned.values())):
            reasons.append("ALREADY_RETURNED")
        elif state in _REMOVED:
            # Customs destroyed or re-exported the goods as a disposal: nothing of them was returned.
            reasons.append("STATE_FINAL")
        elif not asked <= returned.keys():
            reasons.append("RETURN_ITEM_UNKNOWN")
        else:
            reasons.append("")
    return reasons


def returning(states: Table, at: int, returns: Mapping[str, Return], by: str) -> tuple[Table, EventDetails]:
    """Return the states with their goods marked as returned, before the event is applied, and the event of each.

    If no item remains, the consignment is final: DESTROYED if all of it was destroyed, else RE_EXPORTED.
    """
    items, goods = states.ragged("items"), states.child("items")
    numbers = item_numbers(states)
    back = goods.bools("returned").values.copy()
    reasons = goods.ints("return_reason").filled(0).copy()
    since = goods.ints("returned_at").filled(0).copy()
    reports = [returns[mrn] for mrn in states.strings("mrn").tolist()]
    events = np.empty(states.rows, np.int64)
    for row, each in enumerate(reports):
        span = items.span(row)
        now = ~back[span] & (np.isin(numbers[span], list(each.items)) if each.items else True)
        reasons[span] = np.where(now, each.reason, reasons[span])
        since[span] = np.where(now, at, since[span])
        back[span] |= now
        destroyed = (reasons[span] == pb.RETURN_REASON_DESTROYED).all() and each.reason == pb.RETURN_REASON_DESTROYED
        whole = Event.DESTROYED_WHOLE if destroyed else Event.RETURNED_WHOLE
        events[row] = whole if back[span].all() else Event.RETURNED
    below: dict[str, Column] = {
        "returned": Bools.of(back),
        "return_reason": Ints.of(reasons, reasons > 0),
        "returned_at": Ints.of(since, since > 0),
    }
    columns: dict[str, Column] = {
        "returned_at": Ints.constant(at, states.rows),
        "return_reason": Ints.of([each.reason for each in reports]),
        "return_document_number": Strings.of([each.document for each in reports]),
        "items": Ragged(items.offsets, goods.with_columns(below)),
    }
    return states.with_columns(columns), EventDetails(event=events, at=at, by=by)
