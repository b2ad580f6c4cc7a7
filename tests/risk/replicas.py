"""Replicas of risk without their edge, for tests of what they remember."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from libs.columns import Table
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.assessment.assessment import Assessment, assess_batch
from services.risk.commands.assess import settle
from services.risk.commands.follow_log import LogFollower
from services.risk.history import KeyKind
from services.risk.store.assessment_log import AssessmentLogStore
from tests.risk.active_versions import in_force
from tests.risk.filings import table

CLEARANCE, LOADING = pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING
SECRET = b"secret of the tests"


class Replica:
    """A replica without its edge: it assesses as the service does."""

    def __init__(self, store: AssessmentLogStore, directory: Path, **settings: Any) -> None:
        self.store = store
        self.memory = LogFollower(store, directory, **settings)

    async def assess(self, rows: Table, purpose: int = CLEARANCE) -> Table:
        past = await self.memory.replica_state()
        known = await self.store.prior_state(rows)
        assessed = assess_batch(in_force(), rows, purpose, known, past)
        answer, _, place = await settle(self.store, rows, purpose, assessed.table, assessed)
        self.memory.committed(place, assessed.log_records)
        return answer

    async def counts(self, rows: Table, kind: KeyKind = KeyKind.CONSIGNEE) -> list[int | None]:
        """How many consignments of each consignee in 24 hours history tells for a batch that is not committed."""
        return await self.told(rows, f"{kind.name.lower()}_count_24h")

    async def told(self, rows: Table, name: str) -> list[int | None]:
        """A column of history for a batch that is not committed."""
        past = await self.memory.replica_state()
        assessed: Assessment = assess_batch(in_force(), rows, CLEARANCE, await self.store.prior_state(rows), past)
        assert assessed.record is not None
        column = past.history.read(assessed.record).column("", name)
        assert column is not None
        return column.tolist()


def parcels(count: int, first: int = 0, name: str = "Erika Sommer", versions: Sequence[int] | None = None) -> Table:
    return table([{"consignee": {"name": name}}] * count, first_mrn=first, versions=versions)
