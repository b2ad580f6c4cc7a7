"""A store of 0.2 with data is opened by this release: columns that were renamed have their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.jobs.store import Jobs
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from luxor.revenue.v1.what_if_pb2 import LawChange, WhatIf
from services.revenue.api.what_if import JOB_TYPE
from tests.support.earlier_schema import migrate_to


async def test_runs_keep_what_was_stored_of_them(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.revenue", "0008", tmp_path, monkeypatch)
    # As 0.2 wrote it: from_day 5, to_day 6, changes 14 (path 1, value 2) of its message WhatIf.
    summary = b"\x28\x96\xa2\x01\x30\xb3\xa2\x01\x72\x0a\x0a\x05a.b:c\x12\x015"
    async with database.transaction() as tx:
        await tx.raw.execute(
            "insert into job (kind, state, request, started_by, told) values (1, 3, '', 'analyst/anna', $1)", summary
        )
    assert await migrate(database, "services.revenue") == ["0009"]
    (job,) = await Jobs(database).page(None, before=None, rows_max=10)
    expected = WhatIf(from_day=20_758, to_day=20_787, changes=[LawChange(path="a.b:c", value="5")])
    assert WhatIf.FromString(job.summary) == expected
    assert JOB_TYPE.title(job.summary) == "a.b:c = 5, 2026-11-01 to 2026-11-30"
