"""A risk without its edge that screens again what it assessed, over a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest_asyncio

from libs.columns import Table
from libs.store.database import Database
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1 import risk_pb2 as pb
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.risk.assessment.assessment import ActiveVersions, assess_batch
from services.risk.assessment.prior_state import ReplicaState
from services.risk.commands.assess import settle
from services.risk.commands.load_lists import ListLoader
from services.risk.jobs.rescreening import Rescreening
from services.risk.screening.parties import LEVELS, MatchLevels, screened_by
from services.risk.store.assessment_log import AssessmentLogStore
from services.risk.store.screening_matches import ScreeningMatchStore
from tests.risk.active_versions import in_force
from tests.risk.filings import table
from tests.risk.screening.list_files import NAMES, write

CLEARANCE, LOADING = pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING
FENCHURCH, MARVIN = "Fenchurch Rickmansworth", "Marvin Androidovich"


@dataclass
class Desk:
    """A store, a directory of lists, and replicas as a test asks for them."""

    store: AssessmentLogStore
    hits: ScreeningMatchStore
    directory: Path
    past: ReplicaState

    def lists(self) -> ListLoader:
        """The lists of a replica that has just begun."""
        return ListLoader(self.directory)

    def job(self, lists: ListLoader, replica: str = "a", **settings: Any) -> Rescreening:
        return Rescreening(self.hits, replica, lambda: lists.state, days=30, **settings)

    async def assess(
        self, lists: ListLoader, rows: Table, purpose: int = CLEARANCE, levels: MatchLevels = LEVELS
    ) -> Table:
        """Assess a batch as a replica with these lists does."""
        means = ActiveVersions(in_force().rules, lists.index, in_force().controls, match=levels)
        content = rows.serialize(ConsignmentColumns)
        known = await self.store.prior_state(rows)
        assessed = assess_batch(means, rows, purpose, known, self.past, content=content)
        answer, _, _ = await settle(self.store, rows, purpose, assessed.table, assessed)
        return answer

    async def lists_of_batches(self) -> list[str]:
        async with self.hits.database.connection() as reader:
            return [row["lists"] for row in await reader.raw.fetch("select lists from assessed_input order by batch")]

    async def events(self) -> list[Table]:
        """What the feed has announced, batch by batch."""
        async with self.hits.database.connection() as reader:
            rows = await reader.raw.fetch(
                "select payload from batch where exists (select from outbox where seq = batch.id) order by id"
            )
        return [Table.parse(ScreeningColumns, row["payload"]) for row in rows]

    async def told(self) -> list[tuple[str, int, list[tuple[str, str, int | None]]]]:
        """The announced filings in their order: MRN, version, and of each hit the party, the entry and the lane."""
        found = []
        for event in await self.events():
            findings = event.ragged("findings")
            child = event.child("findings")
            each = list(
                zip(
                    child.strings("party").tolist(),
                    child.strings("list_entry").tolist(),
                    child.ints("lane").tolist(),
                    strict=True,
                )
            )
            found += [
                (event.strings("mrn")[row], int(event.ints("filing_version").values[row]), each[findings.span(row)])
                for row in range(event.rows)
            ]
        return found


async def drain(job: Rescreening) -> None:
    async with asyncio.timeout(60):
        while await job.step():
            pass


@pytest_asyncio.fixture
async def desk(database: Database, tmp_path: Path) -> AsyncIterator[Desk]:
    directory = tmp_path / "lists"
    directory.mkdir()
    write(
        directory / "lists.yaml",
        text="format: 1\ncleared: cleared.yaml\nlists:\n  - {name: OWN, kind: own, files: [own.csv], published: 2026-11-01}\n",
    )
    write(directory / "cleared.yaml", text="format: 1\npairs: []\n")
    write(directory / "own.csv", *NAMES)
    store = AssessmentLogStore(database)
    yield Desk(store, ScreeningMatchStore(database), directory, ReplicaState.begin(b"a secret of the tests", None))


def consignees(*names: str, first: int = 0, versions: Sequence[int] | None = None) -> Table:
    return table([{"consignee": {"name": name}} for name in names], first_mrn=first, versions=versions)


def by(lists: ListLoader, levels: MatchLevels = LEVELS) -> str:
    return screened_by(lists.state.versions, levels)


def mrn(number: int) -> str:
    return f"26DE{number:012d}R1"


def counted(name: str, labels: Mapping[str, str] | None = None) -> float:
    return REGISTRY.get_sample_value(name, dict(labels or {})) or 0.0
