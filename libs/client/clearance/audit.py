"""The audit trail of clearance: evidence of one consignment, and the proof of the whole."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from libs.client.client import Client
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1.audit_pb2_grpc import AuditServiceStub

CHECK_SECONDS: Final = 60.0


async def export_evidence(client: Client, mrn: str, purpose: str) -> pb.Evidence:
    """Return the evidence of a consignment; the export is recorded. Roles: officer, analyst."""
    request = pb.ExportEvidenceRequest(mrn=mrn, purpose=purpose)
    answer = await client.ask("clearance", AuditServiceStub, "ExportEvidence", request, pb.ExportEvidenceResponse)
    return answer.evidence


async def check_trail(
    client: Client, progress: Callable[[int], None], external_seal: tuple[int, bytes] | None = None
) -> dict[str, Any]:
    """Check all records and all batches; `progress` gets the number of those that were checked since its last call.

    `external_seal` are number and hash of a seal that was stored elsewhere. Returns counts, the newest seal, and the errors.
    """
    result: dict[str, Any] = {"records": 0, "versions": 0, "seals": 0, "batches": 0, "newest_seal": None}
    # A seal that is damaged shows in each part that it covers; it is reported once.
    errors: dict[str, None] = {}
    token, is_first = "", True
    while token or is_first:
        request = pb.CheckRecordsRequest(page_token=token)
        if external_seal is not None:
            request.external_seal, request.external_seal_hash = external_seal
        answer = await client.ask(
            "clearance", AuditServiceStub, "CheckRecords", request, pb.CheckRecordsResponse, CHECK_SECONDS
        )
        for name in ("records", "versions", "seals"):
            result[name] += getattr(answer, name)
        if answer.HasField("newest_seal"):
            result["newest_seal"] = _seal(answer.newest_seal)
        errors |= dict.fromkeys(answer.errors)
        progress(answer.records)
        token, is_first = answer.next_page_token, False
    is_first = True
    while token or is_first:
        batches = await client.ask(
            "clearance",
            AuditServiceStub,
            "CheckBatches",
            pb.CheckBatchesRequest(page_token=token),
            pb.CheckBatchesResponse,
            CHECK_SECONDS,
        )
        result["batches"] += batches.batches
        errors |= dict.fromkeys(batches.errors)
        progress(batches.batches)
        token, is_first = batches.next_page_token, False
    return result | {"errors": list(errors)}


def _seal(seal: pb.AuditSeal) -> dict[str, Any]:
    moment = datetime.fromtimestamp(seal.sealed_at_micros // 1_000_000, UTC).isoformat(timespec="seconds")
    return {"number": seal.number, "sealed_at": moment, "hash": seal.hash.hex()}
