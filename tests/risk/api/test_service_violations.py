"""The estimated share of violations as an analyst asks for it: over stored answers and outcomes, by the chance that each exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from libs.cli.commands.risk.models import show_violations
from libs.client.risk.models import plain_violations
from libs.columns import Table
from libs.customs.time import day_of, day_text
from libs.store.database import Database
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_CONFORM as CONFORM
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_VIOLATION as VIOLATION
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import models_pb2 as pb
from luxor.risk.v1.models_pb2_grpc import ModelServiceStub
from services.risk.__main__ import assemble
from services.risk.commands.housekeeping import sum_counts
from services.risk.inspections.outcomes import Outcome
from services.risk.store.outcomes import OutcomeStore
from tests.risk.model_client import analyst
from tests.risk.selection_replicas import amended, parameters, people, replicas_of
from tests.risk.service_client import refusal
from tests.support.services import running

QUARTER = "minimum_random_ppm: 250000, expected_ppm: 250000"
TENTH = "minimum_random_ppm: 100000, expected_ppm: 100000"
RED = common_pb2.LANE_RED


async def put(
    database: Database, mrns: list[str], violating: set[str], *, version: int = 1, lost: bool = False
) -> None:
    store, now = OutcomeStore(database), await database.now()
    outcomes = [Outcome(mrn, version, version, now, 3, VIOLATION if mrn in violating else CONFORM, b"") for mrn in mrns]
    places = {} if lost else await store.places([(mrn, version) for mrn in mrns])
    async with database.transaction() as tx:
        await store.put(tx, outcomes, places)


async def counts_of(database: Database) -> list[tuple[Any, ...]]:
    async with database.connection() as reader:
        rows = await reader.raw.fetch(
            "select day, cell, support, sum(count)::bigint from selection_count group by 1, 2, 3 having sum(count) <> 0 order by 1, 2, 3"
        )
    return [tuple(row) for row in rows]


def printed(answer: pb.EstimateViolationsResponse) -> str:
    """What the command prints."""
    lines: list[str] = []
    show_violations(type("Out", (), {"print": lambda _, text="": lines.append(str(text))})(), plain_violations(answer))
    return "\n".join(lines)


def column(table: Table, name: str) -> np.ndarray[Any, Any]:
    return table.ints(name).values


async def test_red_alone_is_inspected_and_the_estimate_is_of_all_consignments(
    database_url: str, tmp_path: Path
) -> None:
    async with running("risk", assemble, database_url) as risk, Database(database_url, name="risk") as database:
        ann = await analyst(risk)
        today = day_of(await database.now())
        asked = pb.EstimateViolationsRequest(from_day=day_text(today - 1), to_day=day_text(today + 1))
        nothing = await ann.EstimateViolations(asked, timeout=10)
        assert (nothing.outcomes, nothing.HasField("share"), nothing.HasField("low")) == (0, False, False)
        assert nothing.no_estimate == pb.NO_ESTIMATE_NOT_COUNTED

        drawing, _ = await replicas_of(database, tmp_path, parameters(tmp_path, red=TENTH, blue=QUARTER))
        rows = people(600)
        lanes = column(await drawing.assess(rows), "lane")
        mrns = rows.strings("mrn").tolist()
        uninspected = await ann.EstimateViolations(asked, timeout=10)
        red = [mrn for mrn, lane in zip(mrns, lanes.tolist(), strict=True) if lane == RED]
        await put(database, red, set(red[:5]))
        answer = await ann.EstimateViolations(asked, timeout=10)
        wrong = await refusal(
            ann.EstimateViolations(pb.EstimateViolationsRequest(from_day="2026-11-02", to_day="2026-11-01"), timeout=10)
        )
        none = await refusal(ann.EstimateViolations(pb.EstimateViolationsRequest(from_day="2026-11-02"), timeout=10))
        filer = ModelServiceStub(await risk.channel("filer", "f"))
        denied = await refusal(filer.EstimateViolations(asked, timeout=10))

        # An outcome of what is not stored any more has no day of assessment: it counts as unknown on the day of its inspection.
        await put(database, ["26DE000000999999R1"], {"26DE000000999999R1"}, lost=True)
        later = await ann.EstimateViolations(asked, timeout=10)
        elsewhere = await ann.EstimateViolations(
            pb.EstimateViolationsRequest(from_day=day_text(today - 9), to_day=day_text(today - 5)), timeout=10
        )

    assert uninspected.no_estimate == pb.NO_ESTIMATE_NOTHING_INSPECTED
    assert "no estimate" in printed(uninspected)
    assert (answer.outcomes, answer.violations, answer.outcomes_of_unknown_inclusion) == (len(red), 5, 0)
    assert (answer.consignments, answer.consignments_without_chance) == (600, 0)
    # All had the same chance to be examined, though more are drawn into blue, which nobody audited.
    assert answer.share == pytest.approx(5 / len(red))
    assert answer.low < answer.share < answer.high
    lanes_of = {(each.lane, each.by_draw): (each.consignments, each.inspected) for each in answer.lanes}
    assert lanes_of[RED, True] == (len(red), len(red))
    assert lanes_of[common_pb2.LANE_BLUE, True] == (int((lanes == common_pb2.LANE_BLUE).sum()), 0)
    assert "(95 %)" in printed(answer)
    assert wrong[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_WINDOW_WRONG")
    assert none[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "DAY_MALFORMED")
    assert denied[0] is grpc.StatusCode.PERMISSION_DENIED
    assert (later.outcomes_of_unknown_inclusion, later.outcomes, later.share) == (1, answer.outcomes, answer.share)
    assert elsewhere.outcomes_of_unknown_inclusion == 0


async def test_a_lane_of_which_a_part_was_inspected_weighs_by_that_part(database_url: str, tmp_path: Path) -> None:
    async with running("risk", assemble, database_url) as risk, Database(database_url, name="risk") as database:
        drawing, _ = await replicas_of(database, tmp_path, parameters(tmp_path, red=TENTH))
        gifts = people(300, change={"items": [{"description": "Gift"}]})
        plain = people(300, first=1_000)
        vague = column(await drawing.assess(gifts), "lane") != RED
        red = column(await drawing.assess(plain), "lane") == RED
        assert vague.all(), "the score calls for blue"
        await put(
            database, [mrn for mrn, is_red in zip(plain.strings("mrn").tolist(), red, strict=True) if is_red], set()
        )
        today = day_of(await database.now())
        asked = pb.EstimateViolationsRequest(from_day=day_text(today - 1), to_day=day_text(today + 1))
        ann = await analyst(risk)
        hidden = await ann.EstimateViolations(asked, timeout=10)
        audited = gifts.strings("mrn").tolist()[:60]
        await put(database, audited, set(audited[:30]))
        answer = await ann.EstimateViolations(asked, timeout=10)
    # Half of all went to blue by their score, and no audit has looked at one.
    assert (hidden.no_estimate, hidden.HasField("low")) == (pb.NO_ESTIMATE_WITHOUT_CHANCE, False)
    assert hidden.consignments_without_chance == 300
    assert "300 of 600" in printed(hidden)
    # 60 of the 300 stand for all of them; the drawn ones for ten each.
    drawn = int(red.sum())
    assert answer.share == pytest.approx(30 * 5 / (60 * 5 + drawn * 10))


async def test_versions_at_unlike_rates_count_once_and_have_the_chance_of_both(
    database: Database, tmp_path: Path
) -> None:
    first, second = await replicas_of(database, tmp_path, parameters(tmp_path, red=TENTH))
    second.selection = parameters(tmp_path, red=QUARTER)
    rows = people(800)
    one = await first.assess(rows)
    day = day_of(await database.now())
    assert sum(row[3] for row in await counts_of(database)) == 800
    two = await second.assess(amended(rows))
    await second.assess(amended(rows))
    counts = await counts_of(database)
    assert sum(row[3] for row in counts) == 800, "each counts as its newest version"
    lanes = column(two, "lane")
    assert {(row[0], row[1]): row[3] for row in counts} == {
        (day, 1): int((lanes == RED).sum()),
        (day, 0): int((lanes != RED).sum()),
    }
    assert (lanes == RED)[column(one, "lane") == RED].all()
    inclusion = column(two, "inclusion_ppm")[lanes == RED]
    assert set(inclusion.tolist()) == {250_000}
    # And back to the lower rate: what either drew has the chance of both.
    three = await first.assess(amended(rows, 3))
    assert (column(three, "lane") == lanes).all()
    assert set(column(three, "inclusion_ppm")[lanes == RED].tolist()) == {250_000}


async def test_versions_in_one_call_have_the_chance_of_all_of_them(database: Database, tmp_path: Path) -> None:
    first, _ = await replicas_of(database, tmp_path, parameters(tmp_path, red=TENTH, yellow=TENTH))
    rows = people(200)
    answer = await first.assess(Table.concat([amended(rows, 3), rows, amended(rows, 2)]))
    chosen = column(answer, "selection_cause") > 2
    assert (column(answer, "lane")[:200] == column(answer, "lane")[200:400]).all()
    assert set(column(answer, "inclusion_ppm")[chosen].tolist()) == {190_000}
    assert sum(row[3] for row in await counts_of(database)) == 200


async def test_counts_of_days_that_ended_are_added_up_and_forgotten_in_time(database: Database) -> None:
    today = day_of(await database.now())
    async with database.transaction() as tx:
        for day in (today, today - 1, today - 1, today - 400, today - 401):
            await tx.raw.execute("insert into selection_count values ($1, 0, 7, 5), ($1, 1, 7, 2)", day)
    for _ in range(2):
        await sum_counts(400)(database)
        assert await counts_of(database) == [
            (today - 400, 0, 7, 5), (today - 400, 1, 7, 2), (today - 1, 0, 7, 10), (today - 1, 1, 7, 4), (today, 0, 7, 5),
            (today, 1, 7, 2),
        ]  # fmt: skip
    async with database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from selection_count where day = $1", today - 1) == 2
