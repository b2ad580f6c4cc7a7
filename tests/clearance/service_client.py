"""A clearance that serves over gRPC, with a desk over its database, and the requests that tests send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from libs.server import errors
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from services.clearance.__main__ import assemble
from tests.clearance.desk import ACCEPTED_AT, MASTER, Desk, filings, mrns, neighbours_at_work
from tests.support.services import Running, running

SECONDS = 30.0
NOBODY = "dns:///127.0.0.1:1"


class House:
    """A clearance that serves, and a desk over its database."""

    def __init__(self, service: Running, desk: Desk) -> None:
        self.service = service
        self.desk = desk

    async def stub(self, role: str = "filer", ident: str = "shop") -> ClearanceServiceStub:
        return ClearanceServiceStub(await self.service.channel(role, ident))

    async def filed(self, references: Sequence[str], filer: str = "shop", master: str = MASTER) -> list[str]:
        told = filings(references, filer=filer, master=master)
        await self.desk.consume(told)
        return mrns(told)


@pytest_asyncio.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    environ = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE")}
    environ["LUXOR_CLEARANCE_CARRIERS_START_TRANSIT"] = "true"
    async with (
        running("clearance", assemble, database_url, environ=environ) as service,
        neighbours_at_work() as (neighbours, channel),
    ):
        desk = Desk(service.service.database, neighbours, channel)
        yield House(service, desk)
        if desk.consistent:
            assert await desk.inconsistencies() == []


def arrivals(*masters: str, request_id: str = "a1") -> pb.RecordArrivalsRequest:
    request = pb.RecordArrivalsRequest(request_id=request_id)
    for master in masters:
        arrival = request.arrivals.add(master_document_number=master, conveyance_reference="LX0188", place="DEFRA")
        arrival.arrived_at.FromMicroseconds(ACCEPTED_AT - 10**9)
    return request


def asking(**reference: str) -> pb.GetStatusRequest:
    return pb.GetStatusRequest(queries=[pb.StatusQuery(**reference)])  # type: ignore[arg-type]


async def ask(stub: ClearanceServiceStub, request: pb.GetStatusRequest) -> list[pb.StatusResult]:
    return list((await stub.GetStatus(request, timeout=SECONDS)).results)


async def refused_with(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), errors.reason_of(caught.value)
