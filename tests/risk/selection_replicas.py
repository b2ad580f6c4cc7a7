"""Replicas of risk that select by parameters of a test, on one store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from libs.columns import Table
from libs.store.database import Database
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.assessment.assessment import ActiveVersions, assess_batch
from services.risk.assessment.lane_selection import days_of_seeds
from services.risk.assessment.prior_state import PriorState
from services.risk.commands.assess import settle
from services.risk.commands.follow_log import LogFollower
from services.risk.commands.make_seeds import Seeds
from services.risk.config import PROFILES
from services.risk.selection import Parameters, load_parameters
from services.risk.store.assessment_log import AssessmentLogStore
from tests.risk.active_versions import in_force
from tests.risk.filings import table

SHIPPED = PROFILES / "data" / "selection.yaml"
CLEARANCE, LOADING = pb.PURPOSE_CLEARANCE, pb.PURPOSE_PRE_LOADING
SECRET = b"secret of the tests"
EXPECTS_A_QUARTER = "minimum_random_ppm: 250000, expected_ppm: 250000"


def parameters(tmp_path: Path, more: str = "", office: str = "", **changes: str) -> Parameters:
    """The shipped parameters, which draw nothing, with changes of their text."""
    text = SHIPPED.read_text()
    for lane, rates in changes.items():
        text = text.replace(f"{lane}: {{minimum_random_ppm: 0, expected_ppm: 0}}", f"{lane}: {{{rates}}}")
    text = text.replace("    direction: import\n", f"    direction: import\n{office}") + more
    (tmp_path / "selection.yaml").write_text(text)
    return load_parameters(tmp_path / "selection.yaml")


def people(count: int, first: int = 0, change: dict[str, Any] | None = None) -> Table:
    return table(
        [{"consignee": {"name": f"Person {number}"}, **(change or {})} for number in range(count)], first_mrn=first
    )


def means(selection: Parameters) -> ActiveVersions:
    return replace(in_force(), selection=selection)


class Replica:
    """A replica of risk on a store, without its server."""

    def __init__(self, database: Database, directory: Path, selection: Parameters) -> None:
        self.store, self.seeds = AssessmentLogStore(database), Seeds(database)
        self.memory = LogFollower(self.store, directory, secret=SECRET)
        self.selection = selection

    async def assess(self, rows: Table, purpose: int = CLEARANCE, known: PriorState | None = None) -> Table:
        known = known or await self.store.prior_state(rows)
        past = await self.memory.replica_state()
        past.seeds.update(await self.seeds.ensure(days_of_seeds(self.selection, known, rows)))
        assessed = assess_batch(means(self.selection), rows, purpose, known, past)
        answer, _, place = await settle(self.store, rows, purpose, assessed.table, assessed)
        self.memory.committed(place, assessed.log_records)
        return answer


async def replicas_of(database: Database, tmp_path: Path, selection: Parameters) -> list[Replica]:
    replicas = [Replica(database, tmp_path / name, selection) for name in ("one", "two")]
    for replica in replicas:
        await replica.memory.follow()
    return replicas


def amended(rows: Table, version: int = 2) -> Table:
    return rows.with_columns({"version": rows.ints("version").of([version] * rows.rows)})
