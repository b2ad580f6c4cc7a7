"""Decisions of customs on goods that tests record over gRPC."""

from __future__ import annotations

from typing import Any, Final

from luxor.clearance.v1 import clearance_pb2 as pb
from tests.clearance.service_client import SECONDS, House

SEIZED: Final = pb.DISPOSAL_KIND_SEIZED
LIFTED: Final = pb.DISPOSAL_KIND_SEIZURE_LIFTED
CONFISCATED: Final = pb.DISPOSAL_KIND_CONFISCATED
DESTROYED: Final = pb.DISPOSAL_KIND_DESTROYED
RE_EXPORTED: Final = pb.DISPOSAL_KIND_RE_EXPORTED
ABANDONED: Final = pb.DISPOSAL_KIND_ABANDONED
INVALIDATED: Final = pb.DISPOSAL_KIND_INVALIDATED


def disposal(mrn: str, kind: int, **fields: Any) -> pb.Disposal:
    """Decide so on a consignment; a re-export has a document."""
    version = fields.pop("expected_version", None)
    ref = pb.ConsignmentRef(mrn=mrn) if version is None else pb.ConsignmentRef(mrn=mrn, expected_version=version)
    document = {"transport_document_number": "AWB-9"} if kind == RE_EXPORTED else {}
    return pb.Disposal(consignment=ref, kind=kind, **{"reason": "PROHIBITED_GOODS"} | document | fields)  # type: ignore[arg-type]


async def dispose(
    house: House, *disposals: pb.Disposal, by: str = "otto", request_id: str = "d1"
) -> list[pb.OfficerResult]:
    """Record decisions as an officer."""
    stub = await house.stub("officer", by)
    request = pb.DisposeConsignmentsRequest(request_id=request_id, disposals=disposals)
    return list((await stub.DisposeConsignments(request, timeout=SECONDS)).results)


def outcomes(results: list[pb.OfficerResult]) -> list[tuple[str, str]]:
    """Give state and refusal of each."""
    return [(pb.State.Name(each.state).removeprefix("STATE_"), each.error.reason) for each in results]
