"""Bulk releases that tests send over gRPC, and what is counted of their answers."""

from __future__ import annotations

from typing import Any

from luxor.clearance.v1 import bulk_release_pb2 as bulk
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceStub
from tests.clearance.desk import MASTER
from tests.clearance.service_client import SECONDS, House


async def release_all(
    house: House, master: str = MASTER, *, by: str = "otto", request_id: str = "b1", **fields: Any
) -> bulk.BulkReleaseResponse:
    """Release what is held under a master document, or on the `conveyance` that is given, as an officer."""
    transport = {} if "conveyance" in fields else {"master_document_number": master}
    request = bulk.BulkReleaseRequest(request_id=request_id, **{"reason": "IN_ORDER"} | transport | fields)
    stub = BulkReleaseServiceStub(await house.service.channel("officer", by))
    return await stub.BulkRelease(request, timeout=SECONDS)


def counted(answer: bulk.BulkReleaseResponse) -> dict[str, int]:
    """Return the numbers of an answer that are not zero, with those of holds by their cause."""
    numbers = {
        name: getattr(answer, name)
        for name in (
            "consignments",
            "released",
            "awaiting_arrival",
            "released_before",
            "waiting_before",
            "final_before",
        )
    }
    return {name: number for name, number in numbers.items() if number} | holds(answer.hold_counts)


def holds(counts: Any) -> dict[str, int]:
    """Return the numbers of held consignments by cause."""
    return {pb.HoldCause.Name(each.cause).removeprefix("HOLD_CAUSE_"): each.consignments for each in counts}
