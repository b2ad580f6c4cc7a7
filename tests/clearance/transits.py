"""Movements to other offices that tests send over gRPC, and the goods and notices of these."""

from __future__ import annotations

from typing import Any, Final

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import returns_pb2
from luxor.clearance.v1 import transit_pb2 as transit
from luxor.clearance.v1.transit_pb2_grpc import TransitServiceStub
from services.clearance.transit.limits import INCLUDED, read
from tests.clearance import debt_events
from tests.clearance.desk import MASTER
from tests.clearance.service_client import SECONDS, House, arrivals

OFFICE: Final = "DE004600"
"""Office of destination."""
RULES: Final = read(INCLUDED)
Answer = transit.StartTransitResponse | transit.RecordTransitArrivalsResponse | transit.EndTransitResponse
_STEPS: Final[dict[str, tuple[str, type[Any], dict[str, Any]]]] = {
    "start": ("StartTransit", transit.StartTransitRequest, {"destination_office": OFFICE}),
    "arrive": ("RecordTransitArrivals", transit.RecordTransitArrivalsRequest, {}),
    "end": ("EndTransit", transit.EndTransitRequest, {"reason": "GOODS_NOT_FOUND"}),
}


async def caller(house: House, role: str = "officer", ident: str = "otto") -> TransitServiceStub:
    """Connect as somebody."""
    return TransitServiceStub(await house.service.channel(role, ident))


async def take(
    house: House,
    step: str,
    *goods: str | returns_pb2.GoodsRef,
    role: str = "officer",
    ident: str = "otto",
    **fields: Any,
) -> Answer:
    """Take a step of goods that are named by MRN or otherwise, or of all under the master document that is given; each step has a request id."""
    method, request_class, usual = _STEPS[step]
    request = request_class(**{"request_id": step} | usual | fields)
    request.consignments.extend(returns_pb2.GoodsRef(mrn=each) if isinstance(each, str) else each for each in goods)
    return await getattr(await caller(house, role, ident), method)(request, timeout=SECONDS)  # type: ignore[no-any-return]


def outcomes(answer: Answer) -> list[tuple[str, str]]:
    """Give state and refusal of each result."""
    return [(pb.State.Name(each.state).removeprefix("STATE_"), each.error.reason) for each in answer.results]


async def listed(house: House, office: str = OFFICE, **fields: Any) -> list[str]:
    """Return the MRNs of goods in transit that an office sees, page by page."""
    role, ident = fields.pop("role", "officer"), fields.pop("ident", "olga")
    stub, request = await caller(house, role, ident), transit.ListTransitRequest(office=office, **fields)
    found: list[str] = []
    while True:
        page = await stub.ListTransit(request, timeout=SECONDS)
        found += [each.mrn for each in page.items]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def land(house: House, *masters: str, request_id: str = "a1") -> None:
    """Report the arrival of master documents."""
    request = arrivals(*masters or (MASTER,), request_id=request_id)
    await (await house.stub("carrier", "wings")).RecordArrivals(request, timeout=SECONDS)


async def landed(house: House, *references: str, filer: str = "shop", master: str = MASTER) -> list[str]:
    """File goods that arrive; return their MRNs."""
    numbers = await house.filed(list(references), filer=filer, master=master)
    await land(house, master, request_id=f"a-{references[0]}-{filer}")
    return numbers


async def pay(house: House, *numbers: str, number: int = 1) -> None:
    """Announce that their debts are paid."""
    await debt_events.hear(house.desk, debt_events.debt(numbers, number))


async def notices(house: House, role: str, ident: str) -> list[pb.Notice]:
    """Return all notices of a party, with texts."""
    await house.desk.told()
    stub = await house.stub(role, ident)
    pulled = await stub.PullNotices(pb.PullNoticesRequest(page_size=1_000, language="en"), timeout=SECONDS)
    return list(pulled.notices)
