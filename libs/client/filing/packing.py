"""Packs consignments as columns, so that the filer and not ingestion pays for it: for filers of large volumes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from libs.client.errors import LuxorError
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2, ingestion_pb2_grpc

if TYPE_CHECKING:
    from libs.client.client import Client


def pack(consignments: Iterable[Consignment]) -> ConsignmentColumns:
    """Return consignments as columns.

    Raise LuxorError FIELD_NOT_PACKED for a consignment with a field that this release does not know: it has no column.
    """
    # Commands that file nothing start sooner without numpy.
    from libs.columns import Table
    from libs.server.interceptor.findings import unknown_fields

    rows = list(consignments)
    # Copies lose their unknown fields; only where they are smaller then is it worth the time to look for these.
    request = ingestion_pb2.SubmitConsignmentsRequest(consignments=rows)
    size = request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() < size:
        path, number = unknown_fields(ingestion_pb2.SubmitConsignmentsRequest(consignments=rows))[0]
        raise LuxorError.from_reason("FIELD_NOT_PACKED", path=path, field_number=number)
    return Table.from_messages(rows, ConsignmentColumns, Consignment).encode(ConsignmentColumns)


class PackedClient:
    """Files batches as columns: it takes the place of a client whose `submit` files messages."""

    def __init__(self, client: Client) -> None:
        """Call by a client."""
        self._caller = client

    async def submit(
        self,
        consignments: Iterable[Consignment],
        *,
        request_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> ingestion_pb2.SubmitConsignmentColumnsResponse:
        """Pack and file 1 to 1,000 consignments; one result each, in order. Role: filer. Raise LuxorError."""
        columns = pack(consignments)
        request = ingestion_pb2.SubmitConsignmentColumnsRequest(request_id=request_id or "", consignments=columns)
        return await self._caller.ask(
            "ingestion",
            ingestion_pb2_grpc.IngestionServiceStub,
            "SubmitConsignmentColumns",
            request,
            ingestion_pb2.SubmitConsignmentColumnsResponse,
            timeout_seconds,
        )
