"""Backtests of rule sets and models as an analyst's program asks for them, as plain values."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from libs.client.client import Answer, Client
from libs.client.plain import plain
from libs.client.risk import rule_sets
from luxor.common.v1.common_pb2 import Lane
from luxor.risk.v1 import backtests_pb2 as pb
from luxor.risk.v1.backtests_pb2_grpc import BacktestServiceStub

LOOK_SECONDS: Final = 0.5
PAGE: Final = 200
OPEN: Final = ("BACKTEST_STATE_WAITING", "BACKTEST_STATE_RUNNING")


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
) -> int:
    """Have a profile, a kept rule set or a model tried on the assessments of some days; return the backtest's id.

    Days are days since 1970-01-01 UTC, both counted in. Raise LuxorError where it is refused.
    """
    plan = pb.BacktestPlan(from_day=from_day, to_day=to_day, office=office, examples=examples)
    if profile is not None:
        files, _ = rule_sets.gather(profile)
        plan.rule_set.CopyFrom(files)
    elif model:
        plan.model_version = model
    else:
        plan.rule_set_version = rule_set
    request = pb.StartBacktestRequest(request_id=request_id, plan=plan)
    return (await _ask(client, "StartBacktest", request, pb.StartBacktestResponse)).id


async def get(client: Client, number: int) -> dict[str, Any]:
    """Return a backtest with what it found so far (`result`, None before its first step)."""
    answer = await _ask(client, "GetBacktest", pb.GetBacktestRequest(id=number), pb.GetBacktestResponse)
    return _told(answer)


async def follow(client: Client, number: int, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Wait for the end of a backtest and return it; `progress` is told it at each look."""
    while True:
        found = await get(client, number)
        progress(found)
        if found["state"] not in OPEN:
            return found
        await asyncio.sleep(LOOK_SECONDS)


async def listed(client: Client) -> list[dict[str, Any]]:
    """Return the newest backtests, without what they found."""
    request = pb.ListBacktestsRequest(page_size=PAGE)
    answer = await _ask(client, "ListBacktests", request, pb.ListBacktestsResponse)
    return [_backtest(each) for each in answer.backtests]


async def cancel(client: Client, number: int) -> dict[str, Any]:
    """End a backtest; return it as it is now."""
    answer = await _ask(client, "CancelBacktest", pb.CancelBacktestRequest(id=number), pb.CancelBacktestResponse)
    return _backtest(answer.backtest)


def _told(answer: pb.GetBacktestResponse) -> dict[str, Any]:
    told = _backtest(answer.backtest)
    told["result"] = None
    if answer.HasField("result"):
        told["result"] = _whole(answer.result)
    return told


def _backtest(message: pb.Backtest) -> dict[str, Any]:
    return {"done": 0, "total": 0, "model": False, "office": "", "error": "", **plain(message)}


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
