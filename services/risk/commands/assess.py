"""Assess a batch by the active rules, lists and model and by this replica's history; the first answer for a consignment is binding."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.wire import MalformedColumns
from libs.store.tables.assessments import first_answers
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE, AssessmentColumns
from services.risk.assessment.assessment import ActiveVersions, Assessment, assess_batch, begin_findings
from services.risk.assessment.lane_selection import days_of_seeds
from services.risk.assessment.prior_state import ReplicaState
from services.risk.commands.follow_log import LogFollower
from services.risk.commands.make_seeds import Seeds
from services.risk.learning.model.opinion import Opinion
from services.risk.store.assessment_log import AssessedBatch, AssessmentLogStore, LogEntry, Place

_NO_ROWS: Final = np.zeros(0, np.intp)


class UnreadableBatch(ValueError):
    """A batch whose columns cannot be read."""


@dataclass(frozen=True, slots=True)
class Assessments:
    """The answers to a batch."""

    answer: Table
    """The binding answers, a table of AssessmentColumns: of what was assessed before the first one."""
    assessments: Table
    """What was assessed now, of all rows."""
    repeated: int
    """Rows that had been assessed before."""


class Assess:
    """The assessment of batches at one replica."""

    def __init__(
        self,
        store: AssessmentLogStore,
        follower: LogFollower,
        active: Callable[[], ActiveVersions],
        seeds: Seeds,
        *,
        scored: Callable[[Opinion | None], None] = lambda _: None,
    ) -> None:
        """Assess by a store and what is remembered; `active` gives what is in force, and is asked once a batch; `scored`
        receives what the models said of it.
        """
        self._store = store
        self._follower = follower
        self._active = active
        self._seeds = seeds
        self._scored = scored

    async def run(self, consignments: Table, purpose: int, content: Callable[[], bytes]) -> Assessments:
        """Assess a batch of consignments (a table of ConsignmentColumns) for a purpose; `content` gives it as it came.

        Raises UnreadableBatch, and Refusal while this replica has not read the log.
        """
        try:
            replica_state, assessed = await self._assess(consignments, purpose, content)
        except MalformedColumns as error:
            raise UnreadableBatch(str(error)) from None
        assessed.count(replica_state.allotments)
        fresh = _NO_ROWS
        try:
            answer, fresh, place = await settle(self._store, consignments, purpose, assessed.table, assessed)
        finally:
            # Draws of rows that were not stored, or that had an earlier answer, do not count.
            assessed.give_back(replica_state.allotments, fresh)
        self._follower.committed(place, assessed.log_records)
        self._scored(assessed.opinion)
        return Assessments(answer, assessed.table, consignments.rows - len(fresh))

    async def _assess(
        self, consignments: Table, purpose: int, content: Callable[[], bytes]
    ) -> tuple[ReplicaState, Assessment]:
        replica_state = await self._follower.replica_state()
        active = self._active()
        # The question is on its way while the work is done that needs no answer to it.
        asked = await self._store.ask(consignments)
        try:
            looked = begin_findings(active, consignments, purpose)
            # Long work in a thread: nobody can make others wait by filing names that are listed.
            seen = await asyncio.to_thread(looked.finish) if looked.long else looked.finish()
            prior_state = await asked
        finally:
            asked.cancel()
        if purpose == PURPOSE_CLEARANCE:
            replica_state.seeds.update(
                await self._seeds.ensure(days_of_seeds(active.selection, prior_state, consignments))
            )
        # Meanwhile history may have been begun anew, and would know nothing now.
        replica_state = await self._follower.replica_state()
        return replica_state, assess_batch(active, consignments, purpose, prior_state, replica_state, seen, content())


async def settle(
    store: AssessmentLogStore, consignments: Table, purpose: int, assessments: Table, entry: LogEntry | None = None
) -> tuple[Table, npt.NDArray[np.intp], Place | None]:
    """Store assessments of what was not assessed before, and what they leave in the log, in one transaction.

    Return for each row the first answer, which rows are new, and their place in the log. `consignments` has the
    columns mrn and version, `assessments` is aligned with it.
    """
    batch = AssessedBatch.pack(consignments, purpose, assessments, entry)
    async with store.database.transaction() as tx:
        settled, place = await store.settle(tx, batch)
    return first_answers(settled, assessments, AssessmentColumns), np.flatnonzero(settled.fresh), place
