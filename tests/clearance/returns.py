"""Returns in bulk that tests send over gRPC, and what is counted of their answers."""

from __future__ import annotations

from typing import Any

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import returns_pb2 as returns
from luxor.clearance.v1.returns_pb2_grpc import ReturnServiceStub
from tests.clearance.service_client import SECONDS, House

NEW_DOCUMENT = "020-RETURN"


async def caller(house: House, role: str = "officer", ident: str = "otto") -> ReturnServiceStub:
    """Connect as somebody."""
    return ReturnServiceStub(await house.service.channel(role, ident))


async def bulk_return(
    house: House, *goods: str | returns.GoodsRef, role: str = "officer", ident: str = "otto", **fields: Any
) -> returns.BulkReturnResponse:
    """Return goods that are named by MRN or otherwise, or all under the master document that is given."""
    told: dict[str, Any] = {
        "request_id": "r1",
        "transport_document_number": NEW_DOCUMENT,
        "reason": pb.RETURN_REASON_UNDELIVERED,
    }
    request = returns.BulkReturnRequest(**told | fields)
    request.consignments.extend(returns.GoodsRef(mrn=each) if isinstance(each, str) else each for each in goods)
    return await (await caller(house, role, ident)).BulkReturn(request, timeout=SECONDS)


def counted(answer: returns.BulkReturnResponse) -> dict[str, int]:
    """Return the numbers of an answer that are not zero."""
    names = ("consignments", "returned", "re_exported", "invalidated", "final_before", "refused")
    return {name: getattr(answer, name) for name in names if getattr(answer, name)}


def refusals(answer: returns.BulkReturnResponse) -> list[str]:
    """Return the refusal of each result, "" for none."""
    return [each.error.reason for each in answer.results]
