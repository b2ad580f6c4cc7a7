"""Carriers that are named in filings, bound to documents and report arrivals, over gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luxor.clearance.v1 import carriers_pb2 as carriers
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.service_client import SECONDS, House, arrivals

RECORDED, REFUSED = pb.ARRIVAL_OUTCOME_RECORDED, pb.ARRIVAL_OUTCOME_REFUSED
AWAITING = pb.ARRIVAL_OUTCOME_AWAITING_FILINGS
DOCUMENT, IDENTIFIER, PREFIX = (
    carriers.BINDING_KIND_DOCUMENT,
    carriers.BINDING_KIND_IDENTIFIER,
    carriers.BINDING_KIND_PREFIX,
)


async def file(house: House, references: Sequence[str], carrier: str, *, version: int = 1) -> list[str]:
    def named(_: int, row: Consignment) -> None:
        row.carrier_identifier = carrier

    told = filings(references, master=MASTER, change=named, version=version)
    await house.desk.consume(told)
    return mrns(told)


async def arrive(house: House, carrier: str, request_id: str) -> pb.ArrivalResult:
    stub = await house.stub("carrier", carrier)
    (result,) = (await stub.RecordArrivals(arrivals(MASTER, request_id=request_id), timeout=SECONDS)).results
    return result


async def states(house: House, numbers: Sequence[str]) -> list[int]:
    return (await house.desk.states(numbers)).ints("state").values.tolist()


async def desk_of(house: House, role: str = "officer", ident: str = "olga") -> CarrierServiceStub:
    return CarrierServiceStub(await house.service.channel(role, ident))


async def bind(house: House, kind: Any, value: str, carrier: str, request_id: str, **days: int) -> None:
    request = carriers.PutBindingsRequest(request_id=request_id)
    request.bindings.add(kind=kind, value=value, carrier=carrier, **days)
    (result,) = (await (await desk_of(house)).PutBindings(request, timeout=SECONDS)).results
    assert not result.HasField("error")


async def refusals(house: House) -> list[tuple[str, str, bool, int]]:
    answer = await (await desk_of(house)).ListRefusedArrivals(carriers.ListRefusedArrivalsRequest(), timeout=SECONDS)
    return [(each.master_document_number, each.carrier, each.recorded, each.times) for each in answer.arrivals]
