"""Risk's models as an analyst's program asks for them, as plain values."""

from typing import Any, Final

from libs.client.client import Answer, Client
from libs.client.jobs import PlainJob, plain_job
from libs.client.pages import pages
from libs.client.plain import plain
from libs.customs.time import day_text, parse_day
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import models_pb2 as pb
from luxor.risk.v1.models_pb2_grpc import ModelServiceStub

PAGE: Final = 100
_COUNTS: Final = (
    "outcomes", "violations", "outcomes_of_unknown_inclusion", "outcomes_capped", "weight_capped_share",
)  # fmt: skip


async def propose(client: Client, content: bytes, note: str = "") -> dict[str, Any]:
    """Hand in a model file; return the candidate."""
    request = pb.ProposeModelRequest(content=content, note=note)
    return plain_model((await _ask(client, "ProposeModel", request, pb.ProposeModelResponse)).model)


async def challenge(client: Client, version: str) -> dict[str, Any]:
    """Make a model the challenger, which scores in parallel with the champion."""
    request = pb.ChallengeModelRequest(version=version)
    return plain_model((await _ask(client, "ChallengeModel", request, pb.ChallengeModelResponse)).model)


async def activate(client: Client, version: str) -> dict[str, Any]:
    """Activate a model, as a second person."""
    request = pb.ActivateModelRequest(version=version)
    return plain_model((await _ask(client, "ActivateModel", request, pb.ActivateModelResponse)).model)


async def retire(client: Client, version: str) -> dict[str, Any]:
    """Take a model out."""
    request = pb.RetireModelRequest(version=version)
    return plain_model((await _ask(client, "RetireModel", request, pb.RetireModelResponse)).model)


async def models(client: Client, *, of_codes: bool = False) -> list[dict[str, Any]]:
    """Return the stored models that score by risk, or those of commodity codes, the newest first."""
    request = pb.ListModelsRequest(page_size=PAGE, kind=pb.MODEL_KIND_CODES if of_codes else pb.MODEL_KIND_RISK)
    answers = pages(client, "risk", ModelServiceStub, "ListModels", request, pb.ListModelsResponse)
    return [plain_model(each) async for page in answers for each in page.models]


async def model(client: Client, version: str = "", *, compared_days: int = 0) -> dict[str, Any]:
    """Return a model ("" for the champion) with columns, drift and, for some days of outcomes, the comparison."""
    request = pb.GetModelRequest(version=version, compared_days=compared_days)
    answer = await _ask(client, "GetModel", request, pb.GetModelResponse)
    told = plain_model(answer.model)
    told["columns"] = {column.name: "words" if column.words else "numbers" for column in answer.columns}
    told["drift"] = {drift.column: round(drift.index, 4) for drift in answer.drifts}
    if answer.HasField("comparison"):
        told["comparison"] = plain(answer.comparison)
    return told


async def start_training(
    client: Client, from_day: int, until_day: int, *, name: str = "", seed: int = 0, note: str = ""
) -> PlainJob:
    """Start the training of a model on the results of inspections of some days; return its job.

    Days are days since 1970-01-01 UTC, both included. Raise LuxorError if it is refused.
    """
    request = pb.StartTrainingRequest(
        from_day=day_text(from_day), to_day=day_text(until_day), name=name, seed=seed, note=note
    )
    return plain_job((await _ask(client, "StartTraining", request, pb.StartTrainingResponse)).job)


async def training(client: Client, number: int) -> PlainJob:
    """Return a training with its progress and the `version` of the model that it made, which is empty before its end."""
    answer = await _ask(client, "GetTraining", pb.GetTrainingRequest(id=number), pb.GetTrainingResponse)
    return {**plain_job(answer.job), "version": answer.version}


async def violations(client: Client, from_day: int, until_day: int) -> dict[str, Any]:
    """Return the estimated share of violations among all consignments that were assessed on some days, both counted in."""
    request = pb.EstimateViolationsRequest(from_day=day_text(from_day), to_day=day_text(until_day))
    return plain_violations(await _ask(client, "EstimateViolations", request, pb.EstimateViolationsResponse))


def plain_violations(answer: pb.EstimateViolationsResponse) -> dict[str, Any]:
    """An estimate as plain values: a count of 0 is a fact, and a share that is absent is unknown."""
    counts: dict[str, Any] = dict.fromkeys((*_COUNTS, "consignments", "consignments_without_chance"), 0)
    found = counts | {field.name: value for field, value in answer.ListFields()}
    if answer.no_estimate:
        found["no_estimate"] = pb.NoEstimate.Name(answer.no_estimate)
    found["lanes"] = [
        {
            "lane": common_pb2.Lane.Name(each.lane),
            "by_draw": each.by_draw,
            "consignments": each.consignments,
            "inspected": each.inspected,
        }
        for each in answer.lanes
    ]
    return found


def plain_model(model: pb.Model) -> dict[str, Any]:
    """A model as plain values; only what is known."""
    told = {
        field.name: value
        for field, value in model.ListFields()
        if field.name not in ("window", "metrics", "state", "kind")
    }
    window = model.window
    if model.HasField("window"):
        told["window"] = {
            "first_day": parse_day(window.from_day) if window.from_day else 0,
            "last_day": parse_day(window.to_day) if window.to_day else 0,
            "outcomes": window.outcomes,
            "violations": window.violations,
            "source": window.source,
        }
    return {
        **told,
        "kind": pb.ModelKind.Name(model.kind),
        "state": pb.ModelState.Name(model.state),
        "metrics": {each.name: each.value if each.HasField("value") else None for each in model.metrics},
    }


async def _ask(client: Client, method: str, request: Any, kind: type[Answer]) -> Answer:
    return await client.ask("risk", ModelServiceStub, method, request, kind)
