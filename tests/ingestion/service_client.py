"""Calls that tests send to ingestion."""

from __future__ import annotations

from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.ingestion_pb2_grpc import IngestionServiceStub
from tests.support.services import Running

SECONDS = 30.0


async def stub_of(service: Running, role: str = "filer", ident: str = "shop") -> IngestionServiceStub:
    return IngestionServiceStub(await service.channel(role, ident))


async def submit(stub: IngestionServiceStub, rows: list[Consignment], request_id: str) -> pb.SubmitConsignmentsResponse:
    request = pb.SubmitConsignmentsRequest(request_id=request_id, consignments=rows)
    return await stub.SubmitConsignments(request, timeout=SECONDS)
