"""Movements of goods to another office under customs control."""

from typing import Any

from libs.client.clearance.officers import repeated
from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import transit_pb2 as pb
from luxor.clearance.v1.clearance_pb2 import TransitDifference
from luxor.clearance.v1.transit_pb2_grpc import TransitServiceStub

Step = pb.StartTransitRequest | pb.RecordTransitArrivalsRequest | pb.EndTransitRequest
_METHODS: dict[type[Any], tuple[str, type[Any]]] = {
    pb.StartTransitRequest: ("StartTransit", pb.StartTransitResponse),
    pb.RecordTransitArrivalsRequest: ("RecordTransitArrivals", pb.RecordTransitArrivalsResponse),
    pb.EndTransitRequest: ("EndTransit", pb.EndTransitResponse),
}


def start_of(
    office: str, *, limit_days: int = 0, seal: str = "", document: str = "", guarantee: str = "", note: str = ""
) -> pb.StartTransitRequest:
    """Make the request to move goods to an office, within the usual time limit (0 days) or another one; `name_goods` adds the goods."""
    return pb.StartTransitRequest(
        destination_office=office,
        limit_days=limit_days,
        seal=seal,
        document_number=document,
        guarantee_reference=guarantee,
        note=note,
    )


def arrival_of(
    *, office: str = "", difference: str = "", document: str = "", note: str = ""
) -> pb.RecordTransitArrivalsRequest:
    """Make the report that goods arrived at an office, "" for their office of destination; `name_goods` adds the goods.

    Carriers, and whoever names a master document, give the office, which selects the goods, as does `document`, that of their movement.
    `difference` is seal, missing, seal_and_missing, other or "". Raise ElementError for an unknown word.
    """
    request = pb.RecordTransitArrivalsRequest(office=office, document_number=document, note=note)
    if difference:
        request.difference = enum_number(TransitDifference.DESCRIPTOR, difference.upper(), "difference")  # type: ignore[assignment]
    return request


def end_of(reason: str, *, lost: bool = False, note: str = "") -> pb.EndTransitRequest:
    """Make the request to end movements without an arrival; `name_goods` adds the goods."""
    return pb.EndTransitRequest(reason=reason, lost=lost, note=note)


async def take_transit_step(client: Client, request: Step) -> dict[str, Any]:
    """Begin or end movements, and return what was done. Roles: officer; carrier, of its own goods, except to end them without an arrival.

    A call that reaches its deadline is repeated with the same request_id, which continues it.
    """
    method, answer = _METHODS[type(request)]
    return plain(await repeated(lambda: client.ask("clearance", TransitServiceStub, method, request, answer)))


async def transit_list(
    client: Client, office: str = "", *, departing: bool = False, overdue: bool = False, items_max: int = 1_000
) -> list[dict[str, Any]]:
    """Return the first goods in transit: that move to an office, or that left it, or all. Roles: officer, analyst."""
    request = pb.ListTransitRequest(
        office=office, departing=departing, overdue=overdue, page_size=min(items_max, 1_000)
    )
    items: list[dict[str, Any]] = []
    async for page in pages(client, "clearance", TransitServiceStub, "ListTransit", request, pb.ListTransitResponse):
        items += [plain(each) for each in page.items]
        if len(items) >= items_max:
            break
    return items[:items_max]
