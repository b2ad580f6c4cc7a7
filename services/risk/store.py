"""All SQL of risk: the assessment log, in which the first answer stays the answer."""

from __future__ import annotations

from typing import Final

import numpy as np

from libs.columns import Table
from libs.store import schema
from libs.store.assessments import AssessmentLog
from libs.store.database import Database
from luxor.risk.v1.risk_pb2 import AssessmentColumns

#: Days for which an answer is kept: as long as a reference binds, and as much again for amendments and disputes.
ASSESSMENT_DAYS: Final = 400


class Store:
    """Risk's own database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = AssessmentLog()

    async def settle(self, consignments: Table, purpose: int, assessments: Table) -> tuple[Table, int]:
        """Keep assessments of what was not assessed before; gives for each row the first answer, and how many are new.

        `consignments` has the columns mrn and version, `assessments` is aligned with it.
        """
        mrns = consignments.strings("mrn").tolist()
        versions = consignments.ints("version").values
        payload = assessments.encode(AssessmentColumns).SerializeToString()
        async with self._database.transaction() as tx:
            settled = await self._log.settle(tx, mrns, versions, purpose, payload)
        fresh = int(settled.fresh.sum())
        if settled.all_fresh:
            return assessments, fresh
        # A consignment that the call names twice has its first answer in this very call, whose payload was stored.
        tables = [assessments, *(Table.parse(AssessmentColumns, each) for each in settled.payloads)]
        starts = np.cumsum([0, *(table.rows for table in tables[:-1])])
        source = np.where(settled.fresh, 0, settled.batch + 1)
        row = np.where(settled.fresh, np.arange(len(mrns)), settled.row)
        return Table.concat(tables).take(starts[source] + row), fresh


async def purge(database: Database) -> None:
    """Forget what was assessed longer ago than ASSESSMENT_DAYS."""
    async with database.connection() as reader:
        today = await schema.today(reader)
    await AssessmentLog().purge(database, today - ASSESSMENT_DAYS)
