"""The assessment log, in which the first answer stays the answer."""

from typing import Final

from libs.columns import Table
from libs.store.assessments import AssessmentLog, first_answers
from libs.store.database import Database
from libs.telemetry import traceparent
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
        trace = traceparent()
        async with self._database.transaction() as tx:
            settled = await self._log.settle(tx, mrns, versions, purpose, payload, trace=trace)
        if settled.all_fresh:
            return assessments
        return first_answers(settled, Table.decode(assessments), AssessmentColumns).encode(AssessmentColumns)
