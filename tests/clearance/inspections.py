"""Inspections that tests record over gRPC, and the status that follows."""

from __future__ import annotations

from typing import Any

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1 import consignment_pb2
from tests.clearance.desk import filings, mrns
from tests.clearance.service_client import SECONDS, House, ask

CONFORM, VIOLATION = pb.INSPECTION_RESULT_CONFORM, pb.INSPECTION_RESULT_VIOLATION
PHYSICAL = pb.INSPECTION_METHOD_PHYSICAL


def inspection(mrn: str, **fields: Any) -> pb.Inspection:
    version = fields.pop("expected_version", None)
    ref = pb.ConsignmentRef(mrn=mrn) if version is None else pb.ConsignmentRef(mrn=mrn, expected_version=version)
    return pb.Inspection(consignment=ref, **{"method": PHYSICAL, "result": CONFORM} | fields)


async def several_items(house: House, reference: str) -> str:
    def more(_: int, row: consignment_pb2.Consignment) -> None:
        row.items.add().CopyFrom(row.items[0])
        row.items[0].number, row.items[1].number = 1, 2

    told = filings([reference], change=more)
    await house.desk.consume(told)
    return mrns(told)[0]


async def record(house: House, *inspections: pb.Inspection, request_id: str = "i1") -> list[pb.OfficerResult]:
    stub = await house.stub("officer", "olga")
    request = pb.RecordInspectionsRequest(request_id=request_id, inspections=inspections)
    return list((await stub.RecordInspections(request, timeout=SECONDS)).results)


async def status(house: House, mrn: str, role: str = "officer", ident: str = "olga") -> pb.ConsignmentStatus:
    stub = await house.stub(role, ident)
    query = pb.StatusQuery(mrn=mrn)
    (result,) = await ask(stub, pb.GetStatusRequest(queries=[query], with_history=True))
    return result.consignments[0]
