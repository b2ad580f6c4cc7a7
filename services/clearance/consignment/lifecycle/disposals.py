"""The kinds of disposals by officers: the event of each, and the state that it leads to."""

from collections.abc import Mapping
from typing import Final

from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.consignment.lifecycle.table import TABLE
from services.clearance.consignment.transitions import Event

EVENTS: Final[Mapping[int, Event]] = {
    pb.DISPOSAL_KIND_SEIZED: Event.SEIZED,
    pb.DISPOSAL_KIND_SEIZURE_LIFTED: Event.SEIZURE_LIFTED,
    pb.DISPOSAL_KIND_CONFISCATED: Event.CONFISCATED,
    pb.DISPOSAL_KIND_DESTROYED: Event.DESTROYED,
    pb.DISPOSAL_KIND_RE_EXPORTED: Event.RE_EXPORTED,
    pb.DISPOSAL_KIND_ABANDONED: Event.ABANDONED,
    pb.DISPOSAL_KIND_INVALIDATED: Event.INVALIDATED_BY_CUSTOMS,
}
"""The event of each luxor.clearance.v1.DisposalKind."""
INTERIM: Final = (Event.SEIZED, Event.SEIZURE_LIFTED)
"""Disposals after which customs still decides on the goods."""
ENDS: Final = {
    kind: row.next
    for kind, event in EVENTS.items()
    for row in TABLE
    if row.event == event and event not in INTERIM and not row.refusal
}
"""The state after each kind that is not interim."""
