"""Licences that tests register and revoke over gRPC."""

from __future__ import annotations

from luxor.clearance.v1 import licences_pb2 as pb
from luxor.clearance.v1.licences_pb2_grpc import LicenceServiceStub
from tests.clearance.service_client import SECONDS, House


async def stub(house: House, role: str = "agency", ident: str = "toys") -> LicenceServiceStub:
    return LicenceServiceStub(await house.service.channel(role, ident))


async def put(
    house: House, *licences: pb.Licence, role: str = "agency", by: str = "toys", request_id: str = "p1"
) -> list[tuple[int, str]]:
    """Register licences; return version and refusal of each."""
    request = pb.PutLicencesRequest(request_id=request_id, licences=licences)
    answer = await (await stub(house, role, by)).PutLicences(request, timeout=SECONDS)
    return [(each.version, each.error.reason) for each in answer.results]


async def revoke(
    house: House, number: str, version: int, role: str = "agency", by: str = "toys", **ref: str
) -> tuple[int, str]:
    """Revoke a licence; return its version and the refusal."""
    entry = pb.LicenceRevocation(
        licence=pb.LicenceRef(type="C400", number=number, **ref), version=version, reason="FRAUD"
    )
    request = pb.RevokeLicencesRequest(request_id=f"v-{by}-{number}-{version}", revocations=[entry])
    (result,) = (await (await stub(house, role, by)).RevokeLicences(request, timeout=SECONDS)).results
    return result.version, result.error.reason
