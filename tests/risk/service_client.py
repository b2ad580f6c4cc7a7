"""Risk as it serves over gRPC, and the calls that tests send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from libs.columns import Table
from libs.server.errors import STATUS_KEY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1 import risk_pb2 as pb
from luxor.risk.v1.risk_pb2_grpc import RiskServiceStub
from services.risk.__main__ import assemble
from tests.support.services import Running, running

CLEARANCE = pb.PURPOSE_CLEARANCE
GIFT = {"nature": "NATURE_GIFT", "items": [{"merchant_product_id": ""}]}


@pytest_asyncio.fixture
async def risk(database_url: str) -> AsyncIterator[Running]:
    """Risk as it starts alone."""
    async with running("risk", assemble, database_url) as service:
        yield service


async def stub(risk: Running, role: str = "service", ident: str = "clearance") -> Any:
    return RiskServiceStub(await risk.channel(role, ident))


def request(rows: Table, purpose: int = CLEARANCE) -> pb.AssessConsignmentsRequest:
    return pb.AssessConsignmentsRequest(purpose=purpose, consignments=rows.encode(ConsignmentColumns))  # type: ignore[arg-type]


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """The code and reason that a call is refused with, and the path of what is at fault or what else is told of it."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailers = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailers[STATUS_KEY])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    faults = error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(faults)
    place = faults.field_violations[0].field if faults.field_violations else info.metadata.get("why", "")
    return caught.value.code(), info.reason, place
