"""Returns of the goods of many consignments under one transport document, and returns that are ordered beforehand."""

import uuid
from collections.abc import Sequence
from typing import Any

from libs.client.clearance.officers import repeated
from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import returns_pb2 as pb
from luxor.clearance.v1.clearance_pb2 import ConsignmentRef, ReturnReason
from luxor.clearance.v1.returns_pb2_grpc import ReturnServiceStub


def bulk_return_of(
    *,
    document: str,
    reason: str,
    note: str = "",
    override_officers: bool = False,
    page_size: int = 0,
) -> pb.BulkReturnRequest:
    """Make the order to return goods under the transport document `document`; `name_goods` adds the goods.

    `reason` is undelivered, withdrawn, faulty or refused. Raise ElementError for an unknown word.
    """
    number: Any = enum_number(ReturnReason.DESCRIPTOR, reason.upper(), "reason")
    return pb.BulkReturnRequest(
        transport_document_number=document,
        reason=number,
        note=note,
        override_officers=override_officers,
        page_size=page_size,
    )


async def bulk_return(client: Client, request: pb.BulkReturnRequest) -> dict[str, Any]:
    """Return goods, and return what was done. Roles: officer; filer and carrier, of released goods.

    A call that reaches its deadline is repeated with the same request_id, which continues it.
    """
    return plain(
        await repeated(lambda: client.ask("clearance", ReturnServiceStub, "BulkReturn", request, pb.BulkReturnResponse))
    )


async def order_returns(
    client: Client,
    mrns: Sequence[str],
    *,
    reason: str,
    valid_until_micros: int,
    document: str = "",
    note: str = "",
    request_id: str | None = None,
) -> list[dict[str, Any]]:
    """Order that up to 1,000 consignments are returned once they leave, under `document` if it is known; return a plain result for each.

    Roles: filer, officer. Raise ElementError for an unknown reason.
    """
    number: Any = enum_number(ReturnReason.DESCRIPTOR, reason.upper(), "reason")
    request = pb.OrderReturnsRequest(request_id=request_id or str(uuid.uuid4()))
    for each in mrns:
        order = request.orders.add(
            consignment=ConsignmentRef(mrn=each), reason=number, transport_document_number=document, note=note
        )
        order.valid_until.FromMicroseconds(valid_until_micros)
    answer = await client.ask("clearance", ReturnServiceStub, "OrderReturns", request, pb.OrderReturnsResponse)
    return [plain(each) for each in answer.results]


async def cancel_return_orders(
    client: Client, order_ids: Sequence[str], *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Cancel up to 1,000 return orders; return a plain result for each. Roles: filer, officer."""
    request = pb.CancelReturnOrdersRequest(request_id=request_id or str(uuid.uuid4()), order_ids=order_ids)
    answer = await client.ask(
        "clearance", ReturnServiceStub, "CancelReturnOrders", request, pb.CancelReturnOrdersResponse
    )
    return [plain(each) for each in answer.results]


async def return_orders(
    client: Client, *, status: str = "", departed: bool = False, document: str = "", orders_max: int = 1_000
) -> list[dict[str, Any]]:
    """Return the first return orders that the caller sees: `status` is ordered, fulfilled, expired, cancelled or "".

    Roles: filer, officer, analyst; carrier, with a document. Raise ElementError for an unknown word.
    """
    request = pb.ListReturnOrdersRequest(
        departed=departed, transport_document_number=document, page_size=min(orders_max, 1_000)
    )
    if status:
        request.status = enum_number(pb.ReturnOrderStatus.DESCRIPTOR, status.upper(), "status")  # type: ignore[assignment]
    orders: list[dict[str, Any]] = []
    async for page in pages(
        client, "clearance", ReturnServiceStub, "ListReturnOrders", request, pb.ListReturnOrdersResponse
    ):
        orders += [plain(each) for each in page.orders]
        if len(orders) >= orders_max:
            break
    return orders[:orders_max]


async def record_departure(
    client: Client, document: str, *, departed_at_micros: int, mrns: Sequence[str] = (), request_id: str | None = None
) -> dict[str, Any]:
    """Report that a transport document left with returned goods; `mrns` are consignments whose order names no document. Roles: carrier, officer."""
    request = pb.RecordDeparturesRequest(request_id=request_id or str(uuid.uuid4()))
    request.departures.add(transport_document_number=document, mrns=mrns).departed_at.FromMicroseconds(
        departed_at_micros
    )
    answer = await client.ask("clearance", ReturnServiceStub, "RecordDepartures", request, pb.RecordDeparturesResponse)
    return plain(answer.results[0])
