"""From inspections to a model in force: outcomes in the store, a training in a process of its own, and scores that beat chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.columns import Table
from libs.customs.time import day_of, day_text
from libs.store.database import Database
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_CONFORM as CONFORM
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_VIOLATION as VIOLATION
from luxor.jobs.v1 import jobs_pb2
from luxor.risk.v1 import models_pb2 as pb
from services.risk.__main__ import assemble
from services.risk.inspections.outcomes import Outcome, pack_items
from services.risk.learning.evaluation.metrics import auc, precision_at
from services.risk.store.outcomes import OutcomeStore
from tests.risk import code_models
from tests.risk.learning.traffic_model import file, traffic
from tests.risk.model_client import analyst, in_force, propose, until
from tests.risk.service_client import refusal, request, stub
from tests.support.services import Running, running

BATCH = 500


async def inspected(risk: Running, database: Database, seed: int, count: int, first_mrn: int) -> None:
    """Simulated consignments that were assessed, and whose inspection found what is true of them."""
    rows, truths = traffic(seed, count, first_mrn)
    caller, store = await stub(risk), OutcomeStore(database)
    now = await database.now()
    for start in range(0, count, BATCH):
        batch = rows.take(np.arange(start, start + BATCH))
        await caller.AssessConsignments(request(batch), timeout=60)
        outcomes = []
        for mrn, truth in zip(batch.strings("mrn").tolist(), truths[start : start + BATCH], strict=True):
            items = [(number + 1, VIOLATION if bad else CONFORM, 0) for number, bad in enumerate(truth)]
            result = VIOLATION if any(truth) else CONFORM
            outcomes.append(Outcome(mrn, 1, 1, now, 3, result, pack_items(items)))
        places = await store.places([(each.mrn, each.filing_version) for each in outcomes])
        assert len(places) == BATCH
        async with database.transaction() as tx:
            await store.put(tx, outcomes, places)


async def trained(caller: Any, day: int, request_id: str) -> pb.GetTrainingResponse:
    """A training of some days around a day, at its end."""
    asked = pb.StartTrainingRequest(
        request_id=request_id, from_day=day_text(day - 2), to_day=day_text(day), name="learnt", seed=4
    )
    number = (await caller.StartTraining(asked, timeout=10)).job.id

    async def ended() -> pb.GetTrainingResponse | None:
        answer: pb.GetTrainingResponse = await caller.GetTraining(pb.GetTrainingRequest(id=number), timeout=10)
        return answer if answer.job.state > jobs_pb2.JOB_STATE_RUNNING else None

    found: pb.GetTrainingResponse = await until(ended, 120)
    return found


async def test_a_model_learns_of_inspections_and_finds_more_than_chance(database_url: str) -> None:
    rows, truths = traffic(13, 1000, 900_000)
    async with running("risk", assemble, database_url) as risk, Database(database_url, name="risk") as database:
        ann, bob = await analyst(risk), await analyst(risk, "bob")
        day = day_of(await database.now())

        nothing = await trained(ann, day, "t0")
        assert nothing.job.state == jobs_pb2.JOB_STATE_FAILED
        assert "has an outcome" in nothing.job.error

        await inspected(risk, database, 12, 3000, 10_000)
        done = await trained(ann, day, "t2")
        assert (done.job.state, done.job.error) == (jobs_pb2.JOB_STATE_DONE, "")
        told = (await ann.GetModel(pb.GetModelRequest(version=done.version), timeout=10)).model
        metrics = {each.name: each.value for each in told.metrics}
        assert told.proposed_by == "analyst/ann"
        columns = (await ann.GetModel(pb.GetModelRequest(version=done.version), timeout=10)).columns
        assert "code_probability_ppm" not in {each.name for each in columns}
        assert told.window.outcomes > 3000
        assert 0.02 < metrics["base_rate"] < 0.3
        assert metrics["auc"] > 0.65

        await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c", version=done.version), timeout=10)
        own = ann.ActivateModel(pb.ActivateModelRequest(request_id="a0", version=done.version), timeout=10)
        assert (await refusal(own))[1] == "MODEL_SECOND_PERSON"
        await bob.ActivateModel(pb.ActivateModelRequest(request_id="a", version=done.version), timeout=10)
        await in_force(risk, "model", done.version, 700_000)
        answer = Table.decode((await (await stub(risk)).AssessConsignments(request(rows), timeout=60)).assessments)
        found = np.array([any(truth) for truth in truths])
        scores = answer.ints("model_score_ppm")
        assert scores.valid.all()
        chances = scores.values / 1e6
        assert auc(found, chances) > 0.65
        assert precision_at(found, chances, 0.1) > 2 * found.mean()


async def test_a_model_learns_how_probable_codes_were_where_a_model_of_codes_was_active(database_url: str) -> None:
    items = traffic(12, 2000, 10_000)[0].child("items")
    pairs = dict(zip(items.strings("description").tolist(), items.strings("commodity_code").tolist(), strict=True))
    pairs = {text: code[:6] for text, code in pairs.items() if text and len(code) >= 6}
    content = code_models.file_of(list(pairs), list(pairs.values()), "traffic")
    async with running("risk", assemble, database_url) as risk, Database(database_url, name="risk") as database:
        ann, bob = await analyst(risk), await analyst(risk, "bob")
        await code_models.activate(ann, bob, "traffic", content)
        await inspected(risk, database, 12, 2000, 10_000)
        done = await trained(ann, day_of(await database.now()), "t")
        assert (done.job.state, done.job.error) == (jobs_pb2.JOB_STATE_DONE, "")
        told = await ann.GetModel(pb.GetModelRequest(version=done.version), timeout=10)
        assert "code_probability_ppm" in {each.name for each in told.columns}
        await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c", version=done.version), timeout=10)
        await in_force(risk, "challenger", done.version, 700_000)


async def test_champion_and_challenger_are_compared_on_what_was_inspected(database_url: str) -> None:
    files = file(1, "small"), file(2, "other")  # trained before the service shares this loop
    async with running("risk", assemble, database_url) as risk, Database(database_url, name="risk") as database:
        ann, bob = await analyst(risk), await analyst(risk, "bob")
        first = (await propose(ann, files[0], "p1")).version
        second = (await propose(ann, files[1], "p2")).version
        await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c1", version=first), timeout=10)
        await bob.ActivateModel(pb.ActivateModelRequest(request_id="a1", version=first), timeout=10)
        await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c2", version=second), timeout=10)
        await in_force(risk, "challenger", second, 600_000)
        await in_force(risk, "model", first, 650_000)
        await inspected(risk, database, 21, 1000, 0)
        told = await ann.GetModel(pb.GetModelRequest(version=second, compared_days=5), timeout=30)
        comparison = told.comparison
        assert (comparison.champion, comparison.challenger) == (first, second)
        assert comparison.outcomes == 1000
        assert 20 < comparison.violations < 300
        assert comparison.champion_auc > 0.6
        assert comparison.verdict in (pb.COMPARISON_VERDICT_CHAMPION_STAYS, pb.COMPARISON_VERDICT_CHALLENGER_IS_BETTER)
        assert comparison.auc_difference_low <= comparison.auc_difference_high
        without = await ann.GetModel(pb.GetModelRequest(version=second), timeout=10)
        assert not without.HasField("comparison")
