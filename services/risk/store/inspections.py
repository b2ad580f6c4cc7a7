"""Outcomes beside what was assessed: to learn from, and to compare models on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from libs.store.database import Database
from libs.store.tables.assessments import payloads
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_VIOLATION
from services.risk.inspections.violations import ConsignmentGroup, FoundGroup
from services.risk.learning.evaluation.compared_scores import Answered, Scored, compared, scored_of
from services.risk.learning.evaluation.comparison import Compared
from services.risk.learning.training.inspected_samples import is_violation
from services.risk.store.selection import vector_of

COMPARED_MAX: Final = 5_000
"""Outcomes that a comparison looks at, the newest."""
_BATCHES: Final = 64

_NEWEST: Final = """
select assessed_day, assessed_batch, assessed_row, result from outcome
where assessed_batch is not null and day > floor(extract(epoch from clock_timestamp()) / 86400)::integer - $1
order by day desc, mrn limit $2
"""

# An outcome without a stored answer counts on the day of its inspection: its chances are unknown, and it is not passed over.
_OUTCOMES: Final = f"""
select {vector_of("found.assessed_row")} as vector, found.result = $3 as violation, count(*) as count
from outcome found left join selection_batch stored on stored.day = found.assessed_day and stored.batch = found.assessed_batch
    and stored.day between $1 and $2
where coalesce(found.assessed_day, found.day) between $1 and $2 group by 1, 2
"""  # noqa: S608  # an expression of our own

_CONSIGNMENTS: Final = """
select cell, support, sum(count)::bigint as count from selection_count where day between $1 and $2 group by 1, 2
"""


class InspectionStore:
    """Outcomes with the places of what was inspected."""

    def __init__(self, database: Database) -> None:
        """Use risk's own database."""
        self._database = database

    async def count(self, from_day: int, until_day: int) -> int:
        """How many consignments that were assessed on some days, both counted in, have an outcome."""
        async with self._database.connection() as reader:
            found: int = await reader.raw.fetchval(
                "select count(*) from outcome where assessed_day between $1 and $2", from_day, until_day
            )
        return found

    async def groups(self, from_day: int, until_day: int) -> tuple[list[FoundGroup], list[ConsignmentGroup]]:
        """What was found of consignments that were assessed on some days, and how many of them there are."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_OUTCOMES, from_day, until_day, INSPECTION_RESULT_VIOLATION)
            counts = await reader.raw.fetch(_CONSIGNMENTS, from_day, until_day)
        return [FoundGroup(*row) for row in rows], [ConsignmentGroup(*row) for row in counts]

    async def compare(self, champion: str, challenger: str, *, days: int) -> Compared:
        """Compare two models on what was inspected in the last days and both had scored; at most the newest COMPARED_MAX."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_NEWEST, days, COMPARED_MAX)
        by_batch: dict[tuple[int, int], list[Answered]] = {}
        for row in rows:
            place = row["assessed_day"], row["assessed_batch"]
            by_batch.setdefault(place, []).append(Answered(row["assessed_row"], is_violation(row["result"])))
        found: list[Scored] = []
        places = list(by_batch)
        for start in range(0, len(places), _BATCHES):
            asked = places[start : start + _BATCHES]
            async with self._database.connection() as reader:
                answers = await payloads(reader, asked)
            told = [(by_batch[place], payload) for place, payload in answers.items()]
            found += await asyncio.to_thread(_scored, told, champion, challenger)
        return await asyncio.to_thread(compared, found)


def _scored(answers: Sequence[tuple[Sequence[Answered], Any]], champion: str, challenger: str) -> list[Scored]:
    return [scored_of(payload, rows, champion, challenger) for rows, payload in answers]
