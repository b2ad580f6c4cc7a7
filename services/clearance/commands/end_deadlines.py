"""Reminds of controls and ends their deadlines."""

from typing import ClassVar

from libs.columns import Table
from libs.telemetry import counter
from services.clearance.commands.bulk.due import Due, DueCommand
from services.clearance.consignment.controls import steps
from services.clearance.consignment.state.event import EventDetails
from services.clearance.store.work import ControlTable

_ended = counter(
    "luxor_clearance_control_deadlines_total",
    "Consignments of which a control was answered or concluded too late, or whose addressee was reminded",
    ("kind",),
)


class EndDeadlines(DueCommand):
    """Carries out reminders and deadlines of controls."""

    chunk_rows: ClassVar = 200
    """Each consignment may have twenty controls."""
    effective = "an open control has an effect: goods that end or are seized end their controls"

    @property
    def due_list(self) -> ControlTable:
        """The open controls."""
        return self._store.controls

    def find(self, states: Table, now: int) -> Due:
        """Return the reminders and deadlines that are due at an instant."""
        table, events, changed, silent = steps.due(states, now)

        def count() -> None:
            part = table.take(changed.nonzero()[0])
            late = part.child("controls").ints("overdue_at").filled(0) == now
            overdue = len(set(part.ragged("controls").owners()[late].tolist()))
            _ended.labels("overdue").inc(overdue)
            _ended.labels("reminded").inc(part.rows - overdue)

        return Due(changed, table, EventDetails(event=events[changed], at=now, hidden=silent[changed]), count)
