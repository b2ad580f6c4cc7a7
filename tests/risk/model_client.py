"""Calls of an analyst to the service of models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from libs.columns import Table
from luxor.risk.v1 import models_pb2 as pb
from luxor.risk.v1.models_pb2_grpc import ModelServiceStub
from tests.risk.learning import traffic_model
from tests.risk.service_client import request, stub
from tests.support.services import Running


async def analyst(risk: Running, ident: str = "ann") -> Any:
    return ModelServiceStub(await risk.channel("analyst", ident))


async def propose(caller: Any, content: bytes, request_id: str = "p") -> pb.Model:
    call = pb.ProposeModelRequest(request_id=request_id, content=content, note="try it")
    answer: pb.ProposeModelResponse = await caller.ProposeModel(call, timeout=20)
    return answer.model


async def assess(risk: Running, first_mrn: int, count: int = 60) -> Table:
    rows, _ = traffic_model.traffic(7, count, first_mrn)
    answer = await (await stub(risk)).AssessConsignments(request(rows), timeout=20)
    return Table.decode(answer.assessments)


async def until(found: Callable[[], Awaitable[Any]], seconds: float = 60.0) -> Any:
    """What `found` gives as soon as it is something."""
    async with asyncio.timeout(seconds):
        while not (value := await found()):  # noqa: ASYNC110  # the service has no event for it
            await asyncio.sleep(0.1)
    return value


async def in_force(risk: Running, column: str, version: str, first_mrn: int = 100_000) -> Table:
    """The first answer, to consignments never assessed before, that names a version in a column."""
    numbers = iter(range(first_mrn, first_mrn + 1_000_000, 100))

    async def look() -> Table | None:
        answer = await assess(risk, next(numbers), 50)
        return answer if set(answer.strings(column).tolist()) == {version} else None

    found: Table = await until(look)
    return found
