"""Goods that were returned or destroyed after release, the reason, and the resulting state of the consignment. Pure."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table
from libs.filing_stages.direction import exports
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.consignment.columns import item_numbers
from services.clearance.consignment.disposal import Disposal
from services.clearance.consignment.disposal import unfit as unfit_to_dispose
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.times import never_released
from services.clearance.consignment.transitions import CONTROLLED, FINAL, Event, State

EXPORT_NOT_RETURNED: Final = "EXPORT_NOT_RETURNED"
"""Reason of exports: what does not leave is held and invalidated by an officer, or invalidated when nobody confirms its exit."""
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


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """What is ordered for whole consignments that leave under one transport document."""

    reason: int
    """luxor.clearance.v1.ReturnReason; not DESTROYED."""
    document: str
    """Number of the transport document under which the goods leave."""
    officer: str
    """The officer who decides on goods that are not released; "" for a filer or carrier, who decides on none."""
    note: str = ""
    named: bool = True
    """Whether each consignment is named, and not only their master document."""
    override_officers: bool = False
    """Whether goods that are not named are returned although an officer holds them."""
    departed: bool = False
    """Whether the goods left, so that a declaration of goods that did not arrive is not invalidated."""

    @property
    def returned(self) -> Return:
        """The return of released goods."""
        return Return(self.reason, self.document, frozenset())

    def disposals(self, states: Table) -> dict[str, Disposal]:
        """Return the decision on the goods of each state that is not released: re-export, or invalidation where they did not arrive."""
        reason = f"RETURNED_{pb.ReturnReason.Name(self.reason).removeprefix('RETURN_REASON_')}"  # type: ignore[arg-type]
        decisions = (
            Disposal(Event.INVALIDATED_BY_CUSTOMS, reason, "", self.note),
            Disposal(Event.RE_EXPORTED, reason, self.document, self.note),
        )
        arrived = states.ints("arrived_at").valid.tolist()
        return {mrn: decisions[there] for mrn, there in zip(states.strings("mrn").tolist(), arrived, strict=True)}


def earliest_departures(states: Table, ordered_at: Sequence[int]) -> list[int]:
    """Return for each ordered return the first instant at which its goods can have left, 0 where any counts.

    It is the arrival, at the office of destination where the goods moved to another one, and the first release where the return was ordered after it.
    Goods that left between their arrival and a release that followed the order wait for that release: the officer decided on them.
    """
    former, released, arrived = (states.ints(name) for name in ("former_released_at", "released_at", "arrived_at"))
    first = np.where(former.valid, former.values, released.filled(0))
    came = np.where(arrived.valid, arrived.values, first)
    moved = states.ints("transit_ended_at")
    came = np.where(moved.valid, np.maximum(came, moved.values), came)
    found: list[int] = np.where(first <= np.array(ordered_at, np.int64), np.maximum(first, came), came).tolist()
    return found


def unfit_in_bulk(states: Table, order: BulkOrder, viewed: Container[str]) -> list[str]:
    """Return for each state why a bulk order does not return its goods, "" if nothing but the transitions may refuse it.

    `viewed` are the MRNs named with a version. Of goods that are not named, controls and colleagues' holds stay, as in a bulk release.
    """
    mrns, values = states.strings("mrn").tolist(), states.ints("state").values.tolist()
    of_return = unfit(states, dict.fromkeys(mrns, order.returned))
    of_disposal = unfit_to_dispose(states, order.disposals(states), order.officer, viewed)
    arrived = states.ints("arrived_at").valid.tolist()
    held, outside = states.bools("officer_hold").values.tolist(), never_released(states).tolist()
    second, exported = requires_second(states).tolist(), exports(states).tolist()
    reasons = []
    for row, state in enumerate(values):
        if exported[row]:
            reasons.append(EXPORT_NOT_RETURNED)
        elif state == State.RELEASED or state in FINAL:
            reasons.append(of_return[row] or ("STATE_FINAL" if state in FINAL else ""))
        elif not order.officer:
            reasons.append("NOT_RELEASED")
        elif state == State.SEIZED:
            reasons.append("GOODS_SEIZED")
        elif not outside[row]:
            # A re-export as a disposal would take the refunds that the rulebook gives for a return.
            reasons.append("RETURN_AFTER_RELEASE")
        elif order.departed and not arrived[row]:
            reasons.append("NOT_ARRIVED")
        elif not order.named and state in CONTROLLED:
            reasons.append("CONTROL_OPEN")
        elif not order.named and held[row] and not order.override_officers:
            reasons.append("HELD_BY_OFFICER")
        elif second[row]:
            # A disposal of each is proposed, and confirmed by a second officer.
            reasons.append("SECOND_PERSON_REQUIRED")
        else:
            reasons.append(of_disposal[row])
    own = came_under(states, dict.fromkeys(mrns, order.document))
    return [reason or ("RETURN_DOCUMENT_OWN" if inbound else "") for reason, inbound in zip(reasons, own, strict=True)]


def came_under(states: Table, documents: Mapping[str, str]) -> list[bool]:
    """Return for each state whether its goods came under the document, by MRN, under which they are to leave; "" is none."""
    mrns = states.strings("mrn").tolist()
    masters, houses = (states.strings(f"{name}_document_number").tolist() for name in ("master", "house"))
    own = zip((documents.get(mrn, "") for mrn in mrns), masters, houses, strict=True)
    return [document != "" and document in inbound for document, *inbound in own]


def unfit(states: Table, returns: Mapping[str, Return]) -> list[str]:
    """Return for each state why these goods cannot be returned, "" if they can. The transitions check that they are released."""
    reasons = []
    own = came_under(states, {mrn: each.document for mrn, each in returns.items()})
    items = states.ragged("items")
    numbers = item_numbers(states).tolist()
    back = states.child("items").bools("returned").values.tolist()
    exported = exports(states).tolist()
    for row, (mrn, state) in enumerate(
        zip(states.strings("mrn").tolist(), states.ints("state").values.tolist(), strict=True)
    ):
        returned = dict(zip(numbers[items.span(row)], back[items.span(row)], strict=True))
        asked = returns[mrn].items
        if exported[row]:
            reasons.append(EXPORT_NOT_RETURNED)
        elif any(returned.get(number) for number in asked) or (state in _REMOVED and any(returned.values())):
            reasons.append("ALREADY_RETURNED")
        elif state in _REMOVED:
            # Customs destroyed or re-exported the goods as a disposal: nothing of them was returned.
            reasons.append("STATE_FINAL")
        elif not asked <= returned.keys():
            reasons.append("RETURN_ITEM_UNKNOWN")
        else:
            reasons.append("RETURN_DOCUMENT_OWN" if own[row] and state == State.RELEASED else "")
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
