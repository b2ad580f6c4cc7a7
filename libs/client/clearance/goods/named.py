"""The goods of a request: named by MRN or house document, or all under a master document."""

import uuid
from collections.abc import Sequence
from typing import TypeVar

from luxor.clearance.v1 import carriers_pb2, returns_pb2, transit_pb2

R = TypeVar(
    "R",
    carriers_pb2.PresentConsignmentsRequest,
    returns_pb2.BulkReturnRequest,
    transit_pb2.StartTransitRequest,
    transit_pb2.RecordTransitArrivalsRequest,
    transit_pb2.EndTransitRequest,
)


def name_goods(
    request: R,
    mrns: Sequence[str] = (),
    *,
    house_documents: Sequence[str] = (),
    master: str = "",
    expected_version: int | None = None,
    request_id: str = "",
) -> R:
    """Return a request with the goods that it is about, each of the version that the caller saw if one is stated, and its id (default: a new one)."""
    request.request_id, request.master_document_number = request_id or str(uuid.uuid4()), master
    for each in mrns:
        request.consignments.add(mrn=each, expected_version=expected_version)
    for each in house_documents:
        request.consignments.add(house_document_number=each, expected_version=expected_version)
    return request
