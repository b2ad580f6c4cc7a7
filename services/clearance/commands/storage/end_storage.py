"""Reminds of the time limit of temporary storage, and records its end and that of the time in which goods are to be presented."""

from typing import ClassVar

import numpy as np

from libs.columns import Ints, Table
from libs.telemetry import counter
from services.clearance.commands.bulk.due import Due, DueCommand
from services.clearance.consignment.columns import choose
from services.clearance.consignment.presentation.times import unpresented
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event
from services.clearance.store.timers.storage import StorageTable
from services.clearance.temporary_storage.limits import ends, next_times

_timed = counter(
    "luxor_clearance_storage_total",
    "Consignments of which filer and carrier were reminded that temporary storage ends, whose time limit ended, or that were not presented in time",
    ("kind",),
)


class EndStorage(DueCommand):
    """Carries out reminders and ends of temporary storage; where both are due, the end counts."""

    chunk_rows: ClassVar = 1_000
    effective = "goods in temporary storage are held and were presented"

    @property
    def due_list(self) -> StorageTable:
        """The goods in temporary storage, and those that are to be presented."""
        return self._store.storage

    def find(self, states: Table, now: int) -> Due:
        """Return the reminders and ends that are due at an instant."""
        found = ends(states)
        due = next_times(states, found)
        ready = due.valid & (due.values <= now)
        over, late = ready & (found.at.values <= now), ready & unpresented(states)
        times = Ints.constant(now, states.rows)
        ended = np.where(late, np.int64(Event.PRESENTATION_OVERDUE), np.int64(Event.STORAGE_ENDED))
        events = np.where(over, ended, np.int64(Event.STORAGE_REMINDED))
        table = states.with_columns(
            {
                "storage_reminded_at": choose(ready & ~over, times, states.ints("storage_reminded_at")),
                "storage_ended_at": choose(over & ~late, times, states.ints("storage_ended_at")),
                "presentation_overdue_at": choose(late, times, states.ints("presentation_overdue_at")),
            }
        )

        def count() -> None:
            _timed.labels("ended").inc(int((over & ~late).sum()))
            _timed.labels("presentation_overdue").inc(int(late.sum()))
            _timed.labels("reminded").inc(int((ready & ~over).sum()))

        return Due(ready, table, EventDetails(event=events[ready], at=now), count)
