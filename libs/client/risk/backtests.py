"""Backtests of rule sets and models for an analyst's program, as plain values; libs.client.jobs lists and cancels them."""

from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from libs.client.client import Answer, Client
from libs.client.jobs import PlainJob, plain_job
from libs.client.risk import rule_sets
from libs.customs.time import day_text
from luxor.common.v1.common_pb2 import Lane
from luxor.risk.v1 import backtests_pb2 as pb
from luxor.risk.v1.backtests_pb2_grpc import BacktestServiceStub


async def start(
    client: Client,
    from_day: int,
    to_day: int,
    *,
    profile: Path | None = None,
    rule_set: str = "",
    model: str = "",
    office: str = "",
    examples: int = 5,
    request_id: str = "",
) -> PlainJob:
    """Start a backtest of a profile, a stored rule set or a model on the assessments of some days; return its job.

    Days are days since 1970-01-01 UTC, both included. Raise LuxorError if it is refused.
    """
    plan = pb.BacktestPlan(from_day=day_text(from_day), to_day=day_text(to_day), office=office, examples=examples)
    if profile is not None:
        files, _ = rule_sets.gather(profile)
        plan.rule_set.CopyFrom(files)
    elif model:
        plan.model_version = model
    else:
        plan.rule_set_version = rule_set
    request = pb.StartBacktestRequest(request_id=request_id, plan=plan)
    return plain_job((await _ask(client, "StartBacktest", request, pb.StartBacktestResponse)).job)


async def get(client: Client, number: int) -> PlainJob:
    """Return a backtest with its progress and its results so far (`result`, None before its first step)."""
    answer = await _ask(client, "GetBacktest", pb.GetBacktestRequest(id=number), pb.GetBacktestResponse)
    result = _whole(answer.result) if answer.HasField("result") else None
    return {"model": False, "office": "", **plain_job(answer.job, answer.backtest), "result": result}


def _whole(message: Message) -> dict[str, Any]:
    """A message as plain values with its counts and lists also where they are 0 and empty."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            found[field.name] = [_whole(each) for each in value]
        elif field.message_type is not None:
            found[field.name] = _whole(value)
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = Lane.Name(value).removeprefix("LANE_") if field.enum_type is not None else value
    return found


async def _ask(client: Client, method: str, request: Any, kind: type[Answer]) -> Answer:
    return await client.ask("risk", BacktestServiceStub, method, request, kind)
