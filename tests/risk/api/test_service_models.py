"""The life of a model in the service: proposed, in shadow, put in force by a second person, retired, over real gRPC and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache

import grpc
import numpy as np
import pytest
import pytest_asyncio

from luxor.common.v1 import common_pb2
from luxor.risk.v1 import models_pb2 as pb
from luxor.risk.v1.models_pb2_grpc import ModelServiceStub
from services.risk.__main__ import assemble
from services.risk.api import models as model_service
from services.risk.learning.features.consignments import TRAFFIC_COLUMNS
from services.risk.learning.model.model_file import ModelFileRefused, read_model
from services.risk.learning.model.scoring import score
from tests.risk.learning import declarations as made
from tests.risk.learning import traffic_model
from tests.risk.learning.declarations import written
from tests.risk.model_client import analyst, assess, in_force, propose
from tests.risk.service_client import refusal
from tests.support.services import Running, running


@cache
def version() -> str:
    """Return the version of the model that these tests propose; to train it takes a second."""
    return read_model(traffic_model.file(), "file").version


@pytest_asyncio.fixture
async def risk(database_url: str) -> AsyncIterator[Running]:
    # Trained before the service shares this loop.
    version()
    traffic_model.file(2, "other")
    async with running("risk", assemble, database_url) as service:
        yield service


async def test_a_model_comes_into_force_by_two_people_and_scores_every_assessment(risk: Running) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    before = await assess(risk, 0)
    assert not before.ints("model_score_ppm").valid.any()
    assert set(before.strings("model").tolist()) == {""}

    proposed = await propose(ann, traffic_model.file())
    assert (proposed.version, proposed.state, proposed.proposed_by) == (
        version(),
        pb.MODEL_STATE_CANDIDATE,
        "analyst/ann",
    )
    assert proposed.window.violations == traffic_model.content().window.violations
    assert {metric.name for metric in proposed.metrics} >= {"auc", "base_rate", "precision_at_5"}

    early = bob.ActivateModel(pb.ActivateModelRequest(request_id="a0", version=version()), timeout=10)
    assert (await refusal(early))[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_STATE_WRONG")
    await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c", version=version()), timeout=10)
    shadow = await in_force(risk, "challenger", version())
    assert shadow.ints("challenger_score_ppm").valid.all()
    assert not shadow.ints("model_score_ppm").valid.any()

    same = ann.ActivateModel(pb.ActivateModelRequest(request_id="a1", version=version()), timeout=10)
    assert (await refusal(same))[:2] == (grpc.StatusCode.PERMISSION_DENIED, "MODEL_SECOND_PERSON")
    active = await bob.ActivateModel(pb.ActivateModelRequest(request_id="a2", version=version()), timeout=10)
    assert (active.model.state, active.model.activated_by) == (pb.MODEL_STATE_CHAMPION, "analyst/bob")

    # The replica that was asked looks at once; the others look each second.
    assert set((await assess(risk, 300_000)).strings("model").tolist()) == {version()}
    answer = await in_force(risk, "model", version(), 310_000)
    scores, doubts = answer.ints("model_score_ppm"), answer.ints("model_uncertainty_ppm")
    assert scores.valid.all()
    assert doubts.valid.all()
    assert len(set(scores.tolist())) > 10
    assert set(answer.strings("challenger").tolist()) == {""}

    await bob.RetireModel(pb.RetireModelRequest(request_id="r", version=version()), timeout=10)
    after = await in_force(risk, "model", "", 500_000)
    assert not after.ints("model_score_ppm").valid.any()
    again = await bob.ActivateModel(pb.ActivateModelRequest(request_id="a3", version=version()), timeout=10)
    assert again.model.state == pb.MODEL_STATE_CHAMPION


async def test_what_is_not_green_tells_at_most_five_contributions_and_the_rest_none(risk: Running) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    await propose(ann, traffic_model.file())
    await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c", version=version()), timeout=10)
    await bob.ActivateModel(pb.ActivateModelRequest(request_id="a", version=version()), timeout=10)
    await in_force(risk, "model", version())
    answer = await assess(risk, 800_000, 300)
    green = answer.ints("lane").values == common_pb2.LANE_GREEN
    lengths = answer.ragged("contributions").lengths
    told = answer.child("contributions")
    assert (~green).any()
    assert (lengths[green] == 0).all()
    assert ((lengths[~green] > 0) & (lengths[~green] <= 5)).all()
    names = set(read_model(traffic_model.file(), "file").content.recipe.names)
    assert set(told.strings("column").tolist()) <= names
    first = answer.ragged("contributions").offsets[:-1][~green]
    strength = np.abs(told.ints("weight").values)
    for start, length in zip(first.tolist(), lengths[~green].tolist(), strict=True):
        assert (np.diff(strength[start : start + length]) <= 0).all()


async def test_a_repeated_proposal_gets_its_first_answer_and_the_same_file_the_same_model(risk: Running) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    first = await propose(ann, traffic_model.file())
    assert await propose(ann, traffic_model.file()) == first
    assert (await propose(bob, traffic_model.file(), "other")).proposed_by == "analyst/ann"
    listed = await bob.ListModels(pb.ListModelsRequest(), timeout=10)
    assert [model.version for model in listed.models] == [version()]
    reused = ann.ProposeModel(pb.ProposeModelRequest(request_id="p", content=b"{}"), timeout=10)
    assert (await refusal(reused))[1] == "REQUEST_REUSED"


async def test_a_repeat_is_answered_by_a_release_that_would_refuse_the_file(
    risk: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await analyst(risk)
    first = await propose(ann, traffic_model.file())

    def refuses(*_: object) -> None:
        raise ModelFileRefused("no longer known")

    monkeypatch.setattr(model_service, "read_model", refuses)
    assert await propose(ann, traffic_model.file()) == first
    fresh = ann.ProposeModel(pb.ProposeModelRequest(request_id="q", content=traffic_model.file()), timeout=10)
    assert (await refusal(fresh))[1] == "MODEL_FILE_REFUSED"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no whole JSON document"),
        (traffic_model.file()[:-1], "no whole JSON document"),
        (traffic_model.file().replace(b'"seed":1', b'"seed":2', 1), "does not have the digest"),
        (written(), "departure (word) is absent"),
        (b" " * 6_000_001, "more than 6000000"),
    ],
    ids=["empty", "cut off", "changed", "other columns", "too large"],
)
async def test_a_file_that_does_not_fit_is_refused_and_nothing_is_kept(risk: Running, content: bytes, why: str) -> None:
    ann = await analyst(risk)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await propose(ann, content)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert why in (caught.value.details() or "")
    assert not (await ann.ListModels(pb.ListModelsRequest(), timeout=10)).models


async def test_of_two_challengers_the_later_one_counts_and_of_two_champions_the_former_is_retired(
    risk: Running,
) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    other = traffic_model.file(2, "other")
    versions = [
        (await propose(ann, each, f"p{place}")).version for place, each in enumerate((traffic_model.file(), other))
    ]
    for place, version in enumerate(versions):
        await ann.ChallengeModel(pb.ChallengeModelRequest(request_id=f"c{place}", version=version), timeout=10)
    states = {each.version: each.state for each in (await ann.ListModels(pb.ListModelsRequest(), timeout=10)).models}
    assert states == {versions[0]: pb.MODEL_STATE_CANDIDATE, versions[1]: pb.MODEL_STATE_CHALLENGER}
    await bob.ActivateModel(pb.ActivateModelRequest(request_id="a1", version=versions[1]), timeout=10)
    await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c9", version=versions[0]), timeout=10)
    both = await in_force(risk, "challenger", versions[0])
    assert set(both.strings("model").tolist()) == {versions[1]}
    assert both.ints("model_score_ppm").tolist() != both.ints("challenger_score_ppm").tolist()
    # Whatever page and state are asked for, those that score are told.
    asked = pb.ListModelsRequest(state=pb.MODEL_STATE_RETIRED, page_size=1)
    told = await ann.ListModels(asked, timeout=10)
    assert (list(told.models), told.next_page_token) == ([], "")
    assert (told.champion.version, told.challenger.version) == (versions[1], versions[0])
    page = await ann.ListModels(pb.ListModelsRequest(page_size=1), timeout=10)
    rest = await ann.ListModels(pb.ListModelsRequest(page_size=1, page_token=page.next_page_token), timeout=10)
    assert [each.version for each in (*page.models, *rest.models)] == versions[::-1]
    assert rest.next_page_token == ""
    await bob.ActivateModel(pb.ActivateModelRequest(request_id="a2", version=versions[0]), timeout=10)
    states = {each.version: each.state for each in (await ann.ListModels(pb.ListModelsRequest(), timeout=10)).models}
    assert states == {versions[0]: pb.MODEL_STATE_CHAMPION, versions[1]: pb.MODEL_STATE_RETIRED}


async def test_a_new_replica_scores_by_the_model_from_its_first_answer_on(database_url: str) -> None:
    async with running("risk", assemble, database_url) as first:
        ann, bob = await analyst(first), await analyst(first, "bob")
        await propose(ann, traffic_model.file())
        await ann.ChallengeModel(pb.ChallengeModelRequest(request_id="c", version=version()), timeout=10)
        await bob.ActivateModel(pb.ActivateModelRequest(request_id="a", version=version()), timeout=10)
    async with running("risk", assemble, database_url) as second:
        answer = await assess(second, 0)
    assert set(answer.strings("model").tolist()) == {version()}
    rows, _ = traffic_model.traffic(7, 60)
    assert answer.ints("model_score_ppm").valid.all()
    assert rows.rows == 60


async def test_unknown_models_trainings_and_wrong_windows_are_told(risk: Running) -> None:
    ann = await analyst(risk)
    unknown = ann.GetModel(pb.GetModelRequest(), timeout=10)
    assert (await refusal(unknown))[:2] == (grpc.StatusCode.NOT_FOUND, "MODEL_UNKNOWN")
    assert (await refusal(ann.GetTraining(pb.GetTrainingRequest(id=9), timeout=10)))[1] == "JOB_UNKNOWN"
    window = pb.StartTrainingRequest(request_id="t", from_day="2026-12-13", to_day="2026-09-04")
    assert (await refusal(ann.StartTraining(window, timeout=10)))[1] == "MODEL_WINDOW_WRONG"
    named = pb.StartTrainingRequest(request_id="t", from_day="2026-09-04", to_day="2026-12-13", name="Not So")
    assert (await refusal(ann.StartTraining(named, timeout=10)))[1] == "MODEL_NAME_MALFORMED"
    officer = ModelServiceStub(await risk.channel("officer", "o"))
    retire = officer.RetireModel(pb.RetireModelRequest(request_id="r", version=version()), timeout=10)
    assert (await refusal(retire))[1] == "ROLE_NOT_ALLOWED"


def test_the_small_model_fits_what_risk_has_and_the_made_one_does_not() -> None:
    read_model(traffic_model.file(), "file").require_columns(TRAFFIC_COLUMNS)
    sample, _ = made.declarations(10, 1)
    assert len(score(made.model(), sample).chance) == 10
