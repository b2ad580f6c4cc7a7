"""Evidence that tests export, and copies of its seals."""

from __future__ import annotations

from collections.abc import Callable

from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1.audit_pb2_grpc import AuditServiceStub
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.jobs.audit import AuditJob
from tests.clearance.desk import MASTER
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking


async def idle(_: AuditJob) -> None:
    pass


def not_compared(*seals: int) -> str:
    numbers = ", ".join(map(str, seals))
    return (
        f"Not compared with a copy that is stored elsewhere, so nothing is proven that only it covers: seal {numbers}."
    )


def copies(evidence: pb.Evidence) -> dict[int, bytes]:
    """Its seals, as somebody else stored them."""
    return {part.seal.number: part.seal.hash for part in evidence.chain}


def as_altered(evidence: pb.Evidence, *alterations: Callable[[pb.Evidence], object]) -> pb.Evidence:
    copy = pb.Evidence()
    copy.CopyFrom(evidence)
    for alter in alterations:
        alter(copy)
    return copy


async def audit(house: House, role: str = "officer", ident: str = "otto") -> AuditServiceStub:
    return AuditServiceStub(await house.service.channel(role, ident))


async def exported(house: House, mrn: str, role: str = "officer", purpose: str = "appeal 17/2026") -> pb.Evidence:
    request = pb.ExportEvidenceRequest(mrn=mrn, purpose=purpose)
    return (await (await audit(house, role)).ExportEvidence(request, timeout=SECONDS)).evidence


async def cleared(house: House, count: int = 70) -> tuple[str, list[str]]:
    """File many, let them arrive, hold and release one of them, with a seal between; return it and the others."""
    own, *others = await house.filed(["GREEN-1", *(f"RED-{number}" for number in range(count))])
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await held(house, own)
    await ChainRecords(house.desk.store).finish()
    await ask(await house.stub("analyst", "anna"), asking(mrn=own))
    released = clearance.ReleaseConsignmentsRequest(
        request_id="r1", reason="DOCUMENTS_IN_ORDER", consignments=[clearance.ConsignmentRef(mrn=own)]
    )
    await (await house.stub("officer", "olga")).ReleaseConsignments(released, timeout=SECONDS)
    return own, others


async def held(house: House, own: str) -> None:
    request = clearance.HoldConsignmentsRequest(
        request_id="h1", reason="INTELLIGENCE_RECEIVED", consignments=[clearance.ConsignmentRef(mrn=own)]
    )
    await (await house.stub("officer", "olga")).HoldConsignments(request, timeout=SECONDS)
