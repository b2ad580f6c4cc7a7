"""Outcomes of inspections by clearance's feed, and a risk without its edge that takes them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from libs.feed.types import BEGINNING, FeedBatch
from libs.store.database import Database
from luxor.clearance.v1 import clearance_columns_pb2 as clearance
from luxor.clearance.v1 import clearance_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.assessment.assessment import assess_batch
from services.risk.commands.assess import settle
from services.risk.commands.follow_log import LogFollower
from services.risk.commands.record_outcomes import RecordOutcomes
from services.risk.feeds.inspections import InspectionFeed
from services.risk.store.assessment_log import AssessmentLogStore
from services.risk.store.outcomes import OutcomeStore
from tests.risk.active_versions import in_force
from tests.risk.filings import table

CONFORM, VIOLATION = clearance_pb2.INSPECTION_RESULT_CONFORM, clearance_pb2.INSPECTION_RESULT_VIOLATION
NOON = 20_782 * 86_400_000_000 + 12 * 3_600_000_000
PERSON = "Erika Sommer"


def state(mrn: str, version: int, result: int | None = None, *, at: int = NOON, filing: int = 1) -> dict[str, Any]:
    """One version of a consignment's state; with a result it was inspected."""
    return {"mrn": mrn, "version": version, "filing": filing, "at": at, "result": result}


def states(rows: Sequence[Mapping[str, Any]]) -> Table:
    schema = schema_of(clearance.ClearanceColumns)
    results = [row["result"] or 0 for row in rows]
    there = [row["result"] is not None for row in rows]
    violations = [clearance_pb2.VIOLATION_VALUE if result == VIOLATION else 0 for result in results]
    items = Table(
        schema.children["items"],
        len(rows),
        {
            "number": Ints.of([1] * len(rows)),
            "inspection_result": Ints.of(results, there),
            "violation": Ints.of(violations, [violation > 0 for violation in violations]),
        },
    )
    return Table(
        schema,
        len(rows),
        {
            "mrn": Strings.of([row["mrn"] for row in rows]),
            "version": Ints.of([row["version"] for row in rows]),
            "filing_version": Ints.of([row["filing"] for row in rows]),
            "inspected_at": Ints.of([row["at"] for row in rows], there),
            "inspection_method": Ints.of([clearance_pb2.INSPECTION_METHOD_PHYSICAL] * len(rows), there),
            "inspection_result": Ints.of(results, there),
            "items": Ragged.of_lengths([1] * len(rows), items),
        },
    )


def page(rows: Sequence[Mapping[str, Any]], epoch: int = 0) -> list[FeedBatch]:
    nothing = np.zeros(len(rows), np.int64)
    return [
        FeedBatch(
            states(rows),
            nothing,
            BEGINNING._replace(epoch=epoch),
            nothing,
            0,
            "",
            "luxor.clearance.v1.ClearanceColumns",
        )
    ]


class Risk:
    """Risk without its edge: it assesses and stores, and takes outcomes in."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.store = AssessmentLogStore(database)
        self.outcomes = OutcomeStore(database)
        self.memory = LogFollower(self.store, directory, secret=b"secret of the tests")
        self.intake = InspectionFeed(RecordOutcomes(self.outcomes, self.store, self.memory.hasher))

    async def assess(self, rows: Table) -> None:
        past = await self.memory.replica_state()
        content = rows.serialize(ConsignmentColumns)
        assessed = assess_batch(
            in_force(), rows, pb.PURPOSE_CLEARANCE, await self.store.prior_state(rows), past, content=content
        )
        _, _, place = await settle(self.store, rows, pb.PURPOSE_CLEARANCE, assessed.table, assessed)
        self.memory.committed(place, assessed.log_records)

    async def take(self, rows: Sequence[Mapping[str, Any]], epoch: int = 0) -> None:
        prepared = await self.intake.prepare(page(rows, epoch))
        async with self.database.transaction() as tx:
            await self.intake.apply(tx, prepared)

    async def history(self, name: str = PERSON) -> tuple[int | None, int | None]:
        """What history tells of a consignee: inspections, and thousandths of them that found something."""
        await self.memory.follow()
        past = await self.memory.replica_state()
        rows = table([{"consignee": {"name": name}}], first_mrn=900_000)
        record = assess_batch(in_force(), rows, pb.PURPOSE_CLEARANCE, await self.store.prior_state(rows), past).record
        assert record is not None
        told = past.history.read(record)
        inspected, permille = (told.column("", f"consignee_{what}") for what in ("inspected", "hit_permille"))
        assert inspected is not None
        assert permille is not None
        return inspected[0], permille[0]

    async def kept(self) -> list[tuple[Any, ...]]:
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch("select * from outcome order by mrn")
        return [tuple(row) for row in rows]
