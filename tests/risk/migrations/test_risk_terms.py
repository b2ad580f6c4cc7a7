"""A store of 0.2 with a job and a model is opened by this release: columns that were renamed have their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.jobs.days import fill_days, stored_days
from libs.jobs.store import Jobs
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from luxor.risk.v1.backtests_pb2 import Backtest, BacktestPlan
from luxor.risk.v1.models_pb2 import StartTrainingRequest
from services.risk.api.jobs import TYPES
from services.risk.store.job_kinds import JobKind
from services.risk.store.models import ModelStore
from tests.support.earlier_schema import migrate_to


async def test_jobs_and_models_keep_what_was_stored_of_them(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.risk", "0006", tmp_path, monkeypatch)
    # As 0.2 wrote it: version 3, model 4, from_day 5, to_day 6, office 7 of its message Backtest.
    summary = b"\x1a\x08land/1+0\x28\x96\xa2\x01\x30\xb3\xa2\x01\x3a\x05DE001"
    # rule_set_version 2, from_day 4, to_day 5, office 6 of its message BacktestPlan.
    plan = b"\x12\x08land/1+0\x20\x96\xa2\x01\x28\xb3\xa2\x01\x32\x05DE001"
    async with database.transaction() as tx:
        await tx.raw.execute(
            "insert into job (kind, state, request, started_by, told, total) values (1, 1, $1, 'analyst/anna', $2, 500)",
            plan,
            summary,
        )
        await tx.raw.execute("insert into model_file (version, content) values ('m+1', '')")
        await tx.raw.execute(
            "insert into model (version, state, told, note, proposed_by) values ('m+1', 1, $1, 'a note', 'analyst/anna')",
            b"{}",
        )
    assert await migrate(database, "services.risk") == ["0007", "0008", "0009", "0010"]
    (job,) = await Jobs(database).page(JobKind.BACKTEST, before=None, rows_max=10)
    assert (job.summary, job.total, job.started_by) == (summary, 500, "analyst/anna")
    backtest = Backtest.FromString(job.summary)
    fill_days(backtest, (5, 6))
    assert backtest == Backtest(version="land/1+0", from_day="2026-11-01", to_day="2026-11-30", office="DE001")
    assert TYPES[job.kind].title(job.summary) == "rule set land/1+0, 2026-11-01 to 2026-11-30, office DE001"
    whole = await Jobs(database).get(job.id)
    assert whole is not None
    stored = BacktestPlan.FromString(whole.request)
    assert (stored.rule_set_version, stored.office, stored_days(stored, (4, 5))) == (
        "land/1+0",
        "DE001",
        (20_758, 20_787),
    )
    model = await ModelStore(database).get("m+1")
    assert (model.summary, model.note, model.proposed_by) == (b"{}", "a note", "analyst/anna")


def test_the_days_of_a_training_that_0_2_started_are_read() -> None:
    stored = StartTrainingRequest.FromString(
        b"\x0a\x01t\x10\x96\xa2\x01\x18\xb3\xa2\x01"
    )  # request_id 1, from_day 2, to_day 3
    assert stored_days(stored, (2, 3)) == (20_758, 20_787)
