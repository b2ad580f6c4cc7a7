"""A store with the assessments of former releases gets pages: their answers bind, and are found beside those of pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from libs.store.tables.assessments import AssessmentLog
from libs.store.tables.migrate import migrate
from libs.store.tables.schema import TODAY
from luxor.revenue.v1.revenue_pb2 import PURPOSE_ADJUSTMENT, PURPOSE_CLEARANCE
from services.revenue.store.assessments import answers
from services.revenue.store.assessments.periods import Periods
from tests.support.earlier_schema import migrate_to

FILED = make_mrns(["DE"] * 4, [1, 2, 3, 4], 20_400, 7_000)
OTHER = "26DE-other-form"


async def fill(database: Database) -> int:
    """Answers as the release with revision 0010 stored them; returns the day."""
    async with database.transaction() as tx:
        day = int(await tx.raw.fetchval(f"select {TODAY}"))
        rows = [
            (FILED[0], 1, PURPOSE_CLEARANCE, 1, 0), (OTHER, 1, PURPOSE_CLEARANCE, 1, 1), (FILED[0], 3, PURPOSE_CLEARANCE, 2, 0),
            (FILED[0], 4, PURPOSE_ADJUSTMENT, 3, 0), (FILED[0], 6, PURPOSE_ADJUSTMENT, 4, 0),
        ]  # fmt: skip
        for batch in range(1, 5):
            await tx.raw.fetchval("select nextval('assessment_batch_number')")
            await tx.raw.execute(
                "insert into assessment_batch (day, batch, payload) values ($1, $2, $3)",
                day,
                batch,
                b"former %d" % batch,
            )
        await tx.raw.executemany(
            'insert into assessment (mrn, version, purpose, batch, "row", day) values ($1, $2, $3, $4, $5, $6)',
            [(*row, day) for row in rows],
        )
    return day


async def test_rows_of_assessments_bind_and_are_found_beside_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.revenue", "0010", tmp_path, monkeypatch)
    day = await fill(database)
    assert await migrate(database, "services.revenue") == ["0011", "0012", "0013", "0014", "0015", "0016", "0017"]
    log = AssessmentLog()
    async with database.transaction() as tx:
        settled = await log.settle(tx, [*FILED, OTHER], np.ones(5, np.int32), PURPOSE_CLEARANCE, b"pages")
    assert settled.fresh.tolist() == [False, True, True, True, False]
    assert settled.payloads == [b"former 1"]
    assert settled.row.tolist() == [0, -1, -1, -1, 1]
    async with database.transaction() as tx:
        await log.settle(tx, [FILED[1]], np.array([2]), PURPOSE_CLEARANCE, b"amended")
        await log.settle(tx, [FILED[0], FILED[1]], np.array([6, 5]), PURPOSE_ADJUSTMENT, b"adjusted")

    async with database.connection() as reader:
        mrns = [FILED[0], FILED[0], FILED[1], OTHER, FILED[3]]
        first = await answers.first(reader, [10, 11, 12, 13, 14], mrns, [1, 3, 2, 1, 2])
        assert first == {10: (day, 1, 0), 11: (day, 2, 0), 12: (day, 6, 0), 13: (day, 1, 1)}
        adjusted = await answers.adjusted(reader, [0, 1, 2, 3], [FILED[0], FILED[0], FILED[0], FILED[1]], [3, 5, 6, 9])
        assert adjusted == {1: (day, 3, 0), 2: (day, 4, 0), 3: (day, 7, 1)}
        later = await answers.later_adjustments(
            reader, [0, 1, 2, 3], [FILED[0], FILED[0], FILED[0], FILED[1]], [3, 4, 6, 4], before_day=day + 1
        )
        assert later == {0: 6, 1: 6, 3: 5}
        assert not await answers.later_adjustments(reader, [0], [FILED[0]], [3], before_day=day)
    amended = await Periods(database).amended(day, day, 7)
    assert amended.numbers([*FILED[:3], OTHER]).tolist() == [3, 2, -1, -1]
    assert (await Periods(database).amended(day, day, 5)).numbers(FILED[:2]).tolist() == [3, -1]
    assert len(await Periods(database).amended(day + 1, day + 9, 7)) == 0
