"""Returns of the goods of many consignments under one transport document."""

import uuid
from collections.abc import Sequence
from typing import Any

from libs.client.clearance.officers import repeated
from libs.client.client import Client
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import returns_pb2 as pb
from luxor.clearance.v1.clearance_pb2 import ReturnReason
from luxor.clearance.v1.returns_pb2_grpc import ReturnServiceStub


def bulk_return_of(
    *,
    document: str,
    reason: str,
    mrns: Sequence[str] = (),
    house_documents: Sequence[str] = (),
    master: str = "",
    expected_version: int | None = None,
    note: str = "",
    override_officers: bool = False,
    page_size: int = 0,
) -> pb.BulkReturnRequest:
    """Make the order to return consignments, or all goods under a `master` document, under the transport document `document`.

    `reason` is undelivered, withdrawn, faulty or refused. Raise ElementError for an unknown word.
    """
    number: Any = enum_number(ReturnReason.DESCRIPTOR, reason.upper(), "reason")
    request = pb.BulkReturnRequest(
        master_document_number=master,
        transport_document_number=document,
        reason=number,
        note=note,
        override_officers=override_officers,
        page_size=page_size,
    )
    for each in mrns:
        request.consignments.add(mrn=each, expected_version=expected_version)
    for each in house_documents:
        request.consignments.add(house_document_number=each, expected_version=expected_version)
    return request


async def bulk_return(client: Client, request: pb.BulkReturnRequest) -> dict[str, Any]:
    """Return goods, and return what was done. Roles: officer; filer and carrier, of released goods.

    A call that reaches its deadline is repeated with the same request_id, which continues it.
    """
    request.request_id = request.request_id or str(uuid.uuid4())
    return plain(
        await repeated(lambda: client.ask("clearance", ReturnServiceStub, "BulkReturn", request, pb.BulkReturnResponse))
    )
