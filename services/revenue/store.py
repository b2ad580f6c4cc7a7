"""All SQL of revenue: the assessment log, in which the first answer stays the answer."""

from typing import Final

import numpy as np

from libs.columns import Table
from libs.store import schema
from libs.store.assessments import AssessmentLog
from libs.store.database import Database
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns

ASSESSMENT_DAYS: Final = 400
"""Days for which an answer is kept: as long as a reference binds, and as much again for amendments and disputes."""


class Store:
    """Revenue's own database."""

    def __init__(self, database: Database) -> None:
        """Keep the log in a database."""
        self._database = database
        self._log = AssessmentLog()

    async def settle(self, consignments: Table, purpose: int, assessments: AssessmentColumns) -> AssessmentColumns:
        """Keep assessments of what was not assessed before; gives for each row the first answer.

        `consignments` has the columns mrn and version, `assessments` is aligned with it.
        """
        mrns = consignments.strings("mrn").tolist()
        versions = consignments.ints("version").values
        payload = assessments.SerializeToString()
        async with self._database.transaction() as tx:
            settled = await self._log.settle(tx, mrns, versions, purpose, payload)
        if settled.all_fresh:
            return assessments
        # A consignment that the call names twice has its first answer in this very call, whose payload was stored.
        own = Table.decode(assessments)
        tables = [own, *(Table.parse(AssessmentColumns, each) for each in settled.payloads)]
        starts = np.cumsum([0, *(table.rows for table in tables[:-1])])
        source = np.where(settled.fresh, 0, settled.batch + 1)
        row = np.where(settled.fresh, np.arange(len(mrns)), settled.row)
        return Table.concat(tables).take(starts[source] + row).encode(AssessmentColumns)


async def purge(database: Database) -> None:
    """Forget what was assessed longer ago than ASSESSMENT_DAYS."""
    async with database.connection() as reader:
        today = await schema.today(reader)
    await AssessmentLog().purge(database, today - ASSESSMENT_DAYS)
