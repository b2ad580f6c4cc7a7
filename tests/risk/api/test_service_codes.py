"""Suggested codes over real gRPC: the life of a model of codes, and what its suggestions say."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from libs.columns import Table
from libs.server import catalogue
from libs.store.database import Database
from libs.telemetry.metrics import REGISTRY
from luxor.risk.v1 import models_pb2 as pb
from luxor.risk.v1 import risk_pb2
from services.risk.__main__ import assemble
from services.risk.codes.code_model_file import read_code_model
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import suggest, warning_of
from services.risk.store.assessment_inputs import stored_inputs
from tests.risk import code_models
from tests.risk.code_models import activate
from tests.risk.filings import table
from tests.risk.learning import traffic_model
from tests.risk.model_client import analyst, assess, propose, until
from tests.risk.service_client import refusal, request, risk, stub
from tests.support.services import Running, running

__all__ = ["risk"]


def lines(*goods: tuple[str, str]) -> risk_pb2.SuggestCodesRequest:
    return risk_pb2.SuggestCodesRequest(
        lines=[risk_pb2.DescribedGoods(description=text, declared_code=code) for text, code in goods]
    )


async def ask(risk: Running, *goods: tuple[str, str], role: str = "filer") -> risk_pb2.SuggestCodesResponse:
    answer: risk_pb2.SuggestCodesResponse = await (await stub(risk, role, "someone")).SuggestCodes(
        lines(*goods), timeout=10
    )
    return answer


async def test_without_an_active_model_the_answer_says_so(risk: Running) -> None:
    filer = await stub(risk, "filer", "someone")
    code, reason, _ = await refusal(filer.SuggestCodes(lines(("lipstick", "")), timeout=10))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CODE_MODEL_MISSING")
    assert "luxor learn codes" in catalogue.reason(reason).hint


async def test_a_model_becomes_active_by_two_people_without_a_challenger(risk: Running) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    proposed = await propose(ann, code_models.file())
    assert (proposed.version, proposed.kind, proposed.state, proposed.proposed_by, proposed.bytes) == (
        code_models.version(),
        pb.MODEL_KIND_CODES,
        pb.MODEL_STATE_CANDIDATE,
        "analyst/ann",
        len(code_models.file()),
    )
    assert {each.name: each.value for each in proposed.metrics} == {
        "codes": 6, "declarations": 6, "references": 0, "top1": 0.5, "top5": 1.0,
    }  # fmt: skip
    assert (proposed.label, proposed.HasField("window"), proposed.trees) == ("", False, 0)
    assert await propose(ann, code_models.file()) == proposed

    challenge = pb.ChallengeModelRequest(request_id="c", version=proposed.version)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ann.ChallengeModel(challenge, timeout=10)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "has no challenger" in (caught.value.details() or "")
    own = ann.ActivateModel(pb.ActivateModelRequest(request_id="a0", version=proposed.version), timeout=10)
    assert (await refusal(own))[:2] == (grpc.StatusCode.PERMISSION_DENIED, "MODEL_SECOND_PERSON")
    activation = pb.ActivateModelRequest(request_id="a1", version=proposed.version)
    active = await bob.ActivateModel(activation, timeout=10)
    assert (active.model.state, active.model.activated_by) == (pb.MODEL_STATE_CHAMPION, "analyst/bob")
    assert await bob.ActivateModel(activation, timeout=10) == active
    assert (await ask(risk, ("lipstick", ""))).model == proposed.version
    shown = await bob.GetModel(pb.GetModelRequest(version=proposed.version, compared_days=30), timeout=10)
    assert (shown.model, len(shown.columns), shown.HasField("comparison")) == (active.model, 0, False)
    # It scores nothing, and the champion of the other kind is not it.
    assert not (await assess(risk, 0)).ints("model_score_ppm").valid.any()
    assert (await refusal(bob.GetModel(pb.GetModelRequest(), timeout=10)))[1] == "MODEL_UNKNOWN"

    await activate(ann, bob, "later")
    assert (await ask(risk, ("lipstick", ""))).model == code_models.version("later")
    assert REGISTRY.get_sample_value("luxor_risk_model_active", {"role": "codes"}) == 1
    await bob.RetireModel(pb.RetireModelRequest(request_id="r", version=code_models.version("later")), timeout=10)
    filer = await stub(risk, "filer", "someone")
    assert (await refusal(filer.SuggestCodes(lines(("x", "")), timeout=10)))[1] == "CODE_MODEL_MISSING"
    assert REGISTRY.get_sample_value("luxor_risk_model_active", {"role": "codes"}) == 0
    former = pb.ActivateModelRequest(request_id="a9", version=code_models.version())
    assert (await bob.ActivateModel(former, timeout=10)).model.state == pb.MODEL_STATE_CHAMPION


async def test_models_are_listed_by_kind_page_by_page(risk: Running) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    await propose(ann, traffic_model.file(), "scores")
    versions = [await activate(ann, bob, name) for name in ("first", "second")]
    scoring = await ann.ListModels(pb.ListModelsRequest(), timeout=10)
    assert [each.kind for each in scoring.models] == [pb.MODEL_KIND_RISK]
    assert not scoring.HasField("champion")
    page = await ann.ListModels(pb.ListModelsRequest(kind=pb.MODEL_KIND_CODES, page_size=1), timeout=10)
    rest = await ann.ListModels(
        pb.ListModelsRequest(kind=pb.MODEL_KIND_CODES, page_size=1, page_token=page.next_page_token), timeout=10
    )
    assert [each.version for each in (*page.models, *rest.models)] == versions[::-1]
    assert (rest.next_page_token, rest.champion.version) == ("", versions[1])
    # A token of one kind is none of the other.
    other = pb.ListModelsRequest(page_size=1, page_token=page.next_page_token)
    assert (await refusal(ann.ListModels(other, timeout=10)))[1] == "PAGE_TOKEN_MALFORMED"
    unknown = pb.ListModelsRequest(kind=9)  # type: ignore[arg-type]
    assert (await refusal(ann.ListModels(unknown, timeout=10)))[1] == "CHOICE_UNKNOWN"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (code_models.file()[:-1], "no whole JSON document"),
        (code_models.file().replace(b'"references":0', b'"references":1', 1), "does not have the digest"),
    ],
    ids=["cut off", "changed"],
)
async def test_a_damaged_file_is_refused_and_nothing_is_stored(risk: Running, content: bytes, why: str) -> None:
    ann = await analyst(risk)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await propose(ann, content)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert why in (caught.value.details() or "")
    assert not (await ann.ListModels(pb.ListModelsRequest(kind=pb.MODEL_KIND_CODES), timeout=10)).models


async def test_another_replica_follows_and_a_new_one_has_the_model_from_its_first_answer_on(database_url: str) -> None:
    async with running("risk", assemble, database_url) as first, running("risk", assemble, database_url) as second:
        version = await activate(await analyst(first), await analyst(first, "bob"))
        filer = await stub(second, "filer", "someone")

        async def follows() -> Any:
            try:
                return (await filer.SuggestCodes(lines(("lipstick", "")), timeout=10)).model
            except grpc.aio.AioRpcError:
                return ""

        assert await until(follows) == version
    async with running("risk", assemble, database_url) as third:
        assert (await ask(third, ("lipstick", ""))).model == version


async def test_a_model_that_this_replica_cannot_read_leaves_the_one_before_active(
    risk: Running, database: Database
) -> None:
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    version = await activate(ann, bob)
    await propose(ann, code_models.file("later"), "later")
    document = json.loads(code_models.file("later"))
    async with database.transaction() as tx:
        await tx.raw.execute(
            "update code_model_file set content = $1 where version = $2",
            json.dumps({**document, "version": 9}).encode(),
            code_models.version("later"),
        )
    await bob.ActivateModel(pb.ActivateModelRequest(request_id="a", version=code_models.version("later")), timeout=10)
    assert (await ask(risk, ("lipstick", ""))).model == version
    assert REGISTRY.get_sample_value("luxor_risk_model_refused", {"role": "codes"}) == 1
    await bob.ActivateModel(pb.ActivateModelRequest(request_id="b", version=version), timeout=10)
    assert REGISTRY.get_sample_value("luxor_risk_model_refused", {"role": "codes"}) == 0


async def test_a_line_has_five_codes_with_probabilities_and_its_declared_code_is_checked(risk: Running) -> None:
    await activate(await analyst(risk), await analyst(risk, "bob"))
    goods = [
        ("Lipstick, matte", "330410"), ("Lipstick, matte", "3304"), ("Lipstick, matte", "6204630000"),
        ("Lipstick, matte", "010121"), ("Lipstick, matte", ""), ("?!", "330410"),
    ]  # fmt: skip
    answers = (await ask(risk, *goods, role="gateway")).answers
    model = read_code_model(code_models.file(), "file")
    expected = suggest(
        model.weights, model.content.sharpness, features_of([text for text, _ in goods]), [code for _, code in goods]
    )
    for row, answer in enumerate(answers[:5]):
        assert [one.code for one in answer.suggestions] == [
            model.weights.codes[place] for place in expected.places[row].tolist()
        ]
        chances = [one.probability for one in answer.suggestions]
        assert chances == pytest.approx(expected.probabilities[row].tolist(), abs=1e-6)
        assert chances == sorted(chances, reverse=True)
    assert answers[0].suggestions[0].code == "330410"
    assert answers[0].declared_probability == answers[0].suggestions[0].probability
    assert answers[1].declared_probability == pytest.approx(float(expected.declared[1]), abs=1e-6)
    assert answers[1].declared_probability > answers[0].declared_probability
    found = [(answer.HasField("declared_probability"), answer.warning, answer.path) for answer in answers]
    assert found == [
        (True, "", ""), (True, "", ""), (True, "CODE_UNLIKELY", "declared_code"),
        (False, "CODE_NOT_IN_MODEL", "declared_code"), (False, "", ""), (False, "", ""),
    ]  # fmt: skip
    assert answers[2].hint == catalogue.reason("CODE_UNLIKELY").hint
    assert (len(answers[5].suggestions), answers[5].reason) == (0, "")


async def test_a_line_that_cannot_be_answered_says_why_and_affects_no_other(risk: Running) -> None:
    await activate(await analyst(risk), await analyst(risk, "bob"))
    goods = [(" ", "330410"), ("x" * 513, ""), ("lipstick", "330"), ("x" * 512, "3304100000"), ("lipstick", "33o4")]
    answers = (await ask(risk, *goods)).answers
    assert [(answer.reason, answer.path) for answer in answers] == [
        ("DESCRIPTION_MISSING", "description"),
        ("TEXT_TOO_LONG", "description"),
        ("GOODS_ELEMENT_MALFORMED", "declared_code"),
        ("", ""),
        ("GOODS_ELEMENT_MALFORMED", "declared_code"),
    ]
    assert [bool(answer.suggestions) for answer in answers] == [False, False, False, True, False]
    assert [bool(answer.hint) for answer in answers] == [bool(answer.reason) for answer in answers]


async def assessed(risk: Running, *items: dict[str, Any], first_mrn: int = 0) -> tuple[list[list[int]], Table]:
    """Assess consignments of one item each with a proper one before it; return the items that CODE_UNLIKELY names, by consignment."""
    proper = {"commodity_code": "330410", "description": "Lipstick, matte"}
    rows = table([{"items": [proper | {"number": 1}, each | {"number": 2}]} for each in items], first_mrn=first_mrn)
    answer = Table.decode((await (await stub(risk)).AssessConsignments(request(rows), timeout=10)).assessments)
    findings, found = answer.ragged("findings"), answer.child("findings")
    named = zip(found.strings("rule").tolist(), found.ints("item_number").tolist(), strict=True)
    numbers = [number if rule == "CODE_UNLIKELY" else None for rule, number in named]
    return [[each for each in numbers[findings.span(row)] if each is not None] for row in range(rows.rows)], answer


async def test_the_assessment_finds_unlikely_codes_while_a_model_is_active_and_its_first_answer_stays(
    risk: Running, database: Database
) -> None:
    wrong = {"commodity_code": "3304100000", "description": "Trousers, wide leg"}
    items = [
        wrong,
        wrong | {"description": "Lipstick"},
        wrong | {"commodity_code": "010121"},
        wrong | {"description": "?!"},
    ]
    before, answer = await assessed(risk, *items)
    assert before == [[], [], [], []]
    unjudged = answer.ints("unjudged").tolist()
    assert not answer.strings("code_model").present.any()
    ann, bob = await analyst(risk), await analyst(risk, "bob")
    version = await activate(ann, bob)
    found, answer = await assessed(risk, *items, first_mrn=100)
    assert found == [[2], [], [], []]
    assert answer.ints("unjudged").tolist() == unjudged
    place = answer.child("findings").strings("rule").tolist().index("CODE_UNLIKELY")
    assert answer.child("findings").strings("reason")[place] == "CODE_UNLIKELY"
    assert not answer.child("findings").bools("confidential").values[place]
    # The answer names the model of the finding.
    assert set(answer.strings("code_model").tolist()) == {version}
    # What it said is stored beside the answer, for backtests and trainings.
    (stored, *_) = await stored_inputs(database).newest(risk_pb2.PURPOSE_CLEARANCE)
    history = stored.unpack().history
    assert history is not None
    probability, permille = (history.items[name] for name in ("code_probability_ppm", "code_permille"))
    assert probability.valid.tolist() == permille.valid.tolist() == [True, True, True, True, True, False, True, False]
    assert probability.values[1] < 5_000 < 500_000 < probability.values[0]
    assert (permille.values[1], permille.values[0]) == (0, 990)

    await bob.RetireModel(pb.RetireModelRequest(request_id="r", version=version), timeout=10)
    assert (await assessed(risk, *items, first_mrn=100))[0] == found, "the first answer is binding"
    assert (await assessed(risk, *items, first_mrn=200))[0] == before


async def test_a_batch_has_one_to_a_thousand_lines(risk: Running) -> None:
    await activate(await analyst(risk), await analyst(risk, "bob"))
    filer = await stub(risk, "filer", "someone")
    for count, reason in ((0, "BATCH_EMPTY"), (1_001, "BATCH_TOO_LARGE")):
        request = lines(*[("lipstick", "")] * count)
        assert (await refusal(filer.SuggestCodes(request, timeout=10)))[1] == reason
    assert len((await ask(risk, *[("lipstick", "")] * 1_000)).answers) == 1_000


@pytest.mark.parametrize(
    ("code", "probability", "has_words", "warning"),
    [
        ("330410", 0.01, True, ""),
        ("330410", 0.01 - 1e-9, True, "CODE_UNLIKELY"),
        ("330410", float("nan"), True, "CODE_NOT_IN_MODEL"),
        ("330410", float("nan"), False, ""),
        ("", float("nan"), True, ""),
    ],
)
def test_a_declared_code_is_unlikely_below_its_bound_and_never_where_it_is_unknown(
    code: str, probability: float, has_words: bool, warning: str
) -> None:
    assert warning_of(code, probability, has_words, 0.01) == warning
