"""Records that goods in transit did not arrive within their time limit."""

from typing import ClassVar

from libs.columns import Ints, Table
from services.clearance.commands.bulk.due import Due, DueCommand
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event
from services.clearance.store.timers.transit import TransitTable
from services.clearance.transit.movement import due_times


class EndTransitLimits(DueCommand):
    """Records the ends of time limits of movements."""

    chunk_rows: ClassVar = 1_000
    effective = "goods in transit have arrived and are not released"

    @property
    def due_list(self) -> TransitTable:
        """The goods in transit."""
        return self._store.transits

    def find(self, states: Table, now: int) -> Due:
        """Return the limits that ended before an instant, or at it."""
        _, due = due_times(states)
        ready = due.valid & (due.values <= now)
        overdue = {"transit_overdue_at": Ints.constant(now, int(ready.sum()))}
        return Due(ready, states, EventDetails(event=Event.TRANSIT_OVERDUE, at=now, columns=overdue))
