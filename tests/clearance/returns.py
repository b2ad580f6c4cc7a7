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
    usual: dict[str, Any] = {
        "request_id": "r1",
        "transport_document_number": NEW_DOCUMENT,
        "reason": pb.RETURN_REASON_UNDELIVERED,
    }
    request = returns.BulkReturnRequest(**usual | fields)
    request.consignments.extend(returns.GoodsRef(mrn=each) if isinstance(each, str) else each for each in goods)
    return await (await caller(house, role, ident)).BulkReturn(request, timeout=SECONDS)


def counted(answer: returns.BulkReturnResponse) -> dict[str, int]:
    """Return the numbers of an answer that are not zero."""
    names = ("consignments", "returned", "re_exported", "invalidated", "final_before", "refused")
    return {name: getattr(answer, name) for name in names if getattr(answer, name)}


def refusals(answer: returns.BulkReturnResponse) -> list[str]:
    """Return the refusal of each result, "" for none."""
    return [each.error.reason for each in answer.results]


async def order(
    house: House,
    *mrns: str,
    role: str = "filer",
    ident: str = "shop",
    days: float = 30,
    request_id: str = "o1",
    **fields: Any,
) -> list[returns.ReturnOrderResult]:
    """Order the return of consignments, valid for some days."""
    usual: dict[str, Any] = {"reason": pb.RETURN_REASON_UNDELIVERED, "transport_document_number": NEW_DOCUMENT}
    request = returns.OrderReturnsRequest(request_id=request_id)
    until = await house.desk.store.database.now() + int(days * 86_400_000_000)
    for mrn in mrns:
        new = request.orders.add(consignment=pb.ConsignmentRef(mrn=mrn), **usual | fields)
        if "valid_until" not in fields:
            new.valid_until.FromMicroseconds(until)
    return list((await (await caller(house, role, ident)).OrderReturns(request, timeout=SECONDS)).results)


async def cancel(
    house: House, *ids: str, role: str = "filer", ident: str = "shop", request_id: str = "c1"
) -> list[returns.ReturnOrderResult]:
    """Cancel orders."""
    request = returns.CancelReturnOrdersRequest(request_id=request_id, order_ids=ids)
    return list((await (await caller(house, role, ident)).CancelReturnOrders(request, timeout=SECONDS)).results)


async def depart(
    house: House,
    document: str = NEW_DOCUMENT,
    *mrns: str,
    role: str = "carrier",
    ident: str = "wings",
    at: int = 0,
    request_id: str = "d1",
) -> str:
    """Report that a document left, now or at an instant, with consignments that are named; return the reason of the refusal."""
    request = returns.RecordDeparturesRequest(request_id=request_id)
    left = request.departures.add(transport_document_number=document, mrns=mrns)
    left.departed_at.FromMicroseconds(at or await house.desk.store.database.now())
    (result,) = (await (await caller(house, role, ident)).RecordDepartures(request, timeout=SECONDS)).results
    return result.error.reason


async def listed(house: House, role: str = "officer", ident: str = "otto", **fields: Any) -> list[returns.ReturnOrder]:
    """Return all orders that somebody sees, page by page."""
    stub, request = await caller(house, role, ident), returns.ListReturnOrdersRequest(**fields)
    found: list[returns.ReturnOrder] = []
    while True:
        page = await stub.ListReturnOrders(request, timeout=SECONDS)
        found += page.orders
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
