"""A store with the assessments of former releases gets pages: their answers bind, and are found beside those of pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from libs.store.tables.schema import TODAY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE, PURPOSE_PRE_LOADING, AssessmentColumns
from services.risk.commands.assess import settle
from services.risk.store.assessment_log import AssessmentLogStore
from services.risk.store.outcomes import AssessedPlace, OutcomeStore
from services.risk.store.screening_matches import ScreeningMatchStore
from tests.support.earlier_schema import migrate_to

FILED = make_mrns(["DE"] * 4, [1, 2, 3, 4], 20_400, 7_000)


def consignments(mrns: list[str], version: int) -> Table:
    versions = Ints.of([version] * len(mrns))
    return Table.of(ConsignmentColumns, len(mrns), {"mrn": Strings.of(mrns), "version": versions})


def scores(*values: int) -> Table:
    return Table.of(AssessmentColumns, len(values), {"score": Ints.of(list(values))})


async def fill(database: Database) -> int:
    """Answers to the first two consignments, as the release with revision 0007 stored them; returns the day."""
    async with database.transaction() as tx:
        day = int(await tx.raw.fetchval(f"select {TODAY}"))
        for batch, (version, purpose, rows) in enumerate(
            ((1, PURPOSE_CLEARANCE, [0, 1]), (2, PURPOSE_CLEARANCE, [1]), (1, PURPOSE_PRE_LOADING, [0])), 1
        ):
            assert await tx.raw.fetchval("select nextval('assessment_batch_number')") == batch
            payload = scores(*(100 * batch + row for row in rows)).serialize(AssessmentColumns)
            await tx.raw.execute(
                "insert into assessment_batch (day, batch, payload, traceparent) values ($1, $2, $3, 'trace')",
                day, batch, payload,
            )  # fmt: skip
            await tx.raw.executemany(
                'insert into assessment (mrn, version, purpose, day, batch, "row") values ($1, $2, $3, $4, $5, $6)',
                [(FILED[row], version, purpose, day, batch, place) for place, row in enumerate(rows)],
            )
    return day


async def test_rows_of_assessments_bind_and_are_found_beside_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.risk", "0007", tmp_path, monkeypatch)
    day = await fill(database)
    assert await migrate(database, "services.risk") == ["0008", "0009", "0010"]
    store = AssessmentLogStore(database)
    before = await store.prior_state(consignments(FILED[:3], 3))
    assert before.new.tolist() == before.new_at_clearance.tolist() == [False, False, True]
    assert before.draws is not None

    answer, fresh, _ = await settle(store, consignments(FILED, 1), PURPOSE_CLEARANCE, scores(1, 2, 3, 4))
    assert answer.ints("score").tolist() == [100, 101, 3, 4]
    assert fresh.tolist() == [2, 3]
    answer, fresh, _ = await settle(store, consignments(FILED[:2], 2), PURPOSE_CLEARANCE, scores(5, 6))
    assert answer.ints("score").tolist() == [5, 201]

    def told(each: tuple[int, int, int, Table]) -> tuple[int, int, int, int | None]:
        return (*each[:3], each[3].ints("score").tolist()[0])

    first = [(1, PURPOSE_CLEARANCE, day, 100), (1, PURPOSE_PRE_LOADING, day, 300), (2, PURPOSE_CLEARANCE, day, 5)]
    assert [told(each) for each in await store.answers(FILED[0])] == sorted(first)
    assert [told(each) for each in await store.answers(FILED[3])] == [(1, PURPOSE_CLEARANCE, day, 4)]
    assert await ScreeningMatchStore(database).newest([*FILED, "unknown"]) == dict(
        zip(FILED, (2, 2, 1, 1), strict=True)
    )
    places = await OutcomeStore(database).places([(FILED[1], 2), (FILED[3], 1), (FILED[3], 2), (FILED[0], 2)])
    assert places == {
        (FILED[1], 2): AssessedPlace(day, 2, 0), (FILED[3], 1): AssessedPlace(day, 4, 3), (FILED[0], 2): AssessedPlace(day, 5, 0),
    }  # fmt: skip
    after = await store.prior_state(consignments(FILED, 3))
    assert not np.any(after.new | after.new_at_clearance)
