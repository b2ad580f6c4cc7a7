"""The gRPC edge of the audit trail: evidence of one consignment, and the proof of the whole."""

from typing import Any, Final

import grpc.aio

from libs.chain.audit import Record
from libs.chain.hashing import START
from libs.chain.seals import Seal
from libs.customs.identifiers import mrn as mrns
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import page_size_of
from luxor.clearance.v1 import audit_pb2 as pb
from luxor.clearance.v1.audit_pb2_grpc import AuditServiceServicer
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.api.audit.access import AccessLog, origin
from services.clearance.commands.audit.check import CheckBatches, CheckRecords, Place
from services.clearance.commands.audit.evidence import (
    RECORDS_MAX,
    CollectEvidence,
    EvidenceTooLarge,
    Part,
    Path,
    Version,
)
from services.clearance.store import Store

RECORDS_DEFAULT: Final = 200
RECORDS_A_PART: Final = 1_000
BATCHES_DEFAULT: Final = 5_000
BATCHES_A_PART: Final = 20_000

ROLES: Final = {
    "ExportEvidence": {Role.OFFICER, Role.ANALYST},
    "CheckRecords": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
    "CheckBatches": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
}
"""Who may call what."""


class AuditService(AuditServiceServicer):
    """Exports evidence and proves the trail."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._accesses = AccessLog(store)
        self._evidence = CollectEvidence(store)
        self._records = CheckRecords(store)
        self._batches = CheckBatches(store)
        self._pages = PageTokens(store.database)

    async def ExportEvidence(
        self, request: pb.ExportEvidenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExportEvidenceResponse:
        """Return the evidence of a consignment, and record that it was exported."""
        if not mrns.is_valid(request.mrn):
            raise Refusal("MRN_MALFORMED", path="mrn", value=request.mrn)
        if not request.purpose.strip():
            raise Refusal("PURPOSE_MALFORMED", path="purpose")
        if await self._evidence.find(request.mrn) is None:
            raise Refusal("CONSIGNMENT_UNKNOWN", path="mrn", value=request.mrn)
        current = call.current()
        current.reason = request.purpose
        await self._accesses.record([request.mrn])
        try:
            found = await self._evidence.run(request.mrn, origin())
        except EvidenceTooLarge:
            raise Refusal("EVIDENCE_TOO_LARGE", path="mrn", value=request.mrn, count_max=RECORDS_MAX) from None
        if found is None:  # dropped meanwhile
            raise Refusal("CONSIGNMENT_UNKNOWN", path="mrn", value=request.mrn)
        return pb.ExportEvidenceResponse(
            evidence=pb.Evidence(
                mrn=request.mrn,
                exported_by=str(current.identity),
                exported_at_micros=await self._store.database.now(),
                purpose=request.purpose,
                versions=map(_version, found.versions),
                versions_left_out=found.versions_left_out,
                accesses=[
                    pb.EvidenceAccess(record=each.record, path=_path(each.path), salt=each.salt)
                    for each in found.accesses
                ],
                accesses_left_out=found.accesses_left_out,
                chain=map(_part, found.parts),
            )
        )

    async def CheckRecords(
        self, request: pb.CheckRecordsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckRecordsResponse:
        """Check the next part of the chain."""
        if request.external_seal < 0 or len(request.external_seal_hash) != (32 if request.external_seal else 0):
            raise Refusal("SEAL_MALFORMED", path="external_seal_hash")
        count = page_size_of(request.page_size, RECORDS_DEFAULT, RECORDS_A_PART)
        first = Place()
        day, number, last, digest, dropped = await self._pages.place(
            request, (first.day, first.number, first.last, START.hex(), first.dropped)
        )
        # Compared once, with the first part.
        outside = Seal(request.external_seal, request.external_seal_hash) if request.external_seal else None
        found = await self._records.run(
            Place(day, number, last, bytes.fromhex(digest), dropped), count, None if request.page_token else outside
        )
        place, newest = found.place, await self._records.seals.newest()
        response = pb.CheckRecordsResponse(
            records=found.records, versions=found.versions, seals=found.seals, errors=found.errors
        )
        if not found.end:
            response.next_page_token = await self._pages.token(
                request, place.day, place.number, place.last, place.hash.hex(), place.dropped
            )
        if newest is not None:
            response.newest_seal.number, response.newest_seal.hash = newest.number, newest.hash
            response.newest_seal.sealed_at_micros = newest.sealed_at
        return response

    async def CheckBatches(
        self, request: pb.CheckBatchesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckBatchesResponse:
        """Compare the next batches with their records."""
        count = page_size_of(request.page_size, BATCHES_DEFAULT, BATCHES_A_PART)
        day, after = await self._pages.place(request, (request.from_day, -(2**63)))
        found = await self._batches.run(day, after, count)
        token = "" if found.end else await self._pages.token(request, found.day, found.last)
        return pb.CheckBatchesResponse(batches=found.batches, errors=found.errors, next_page_token=token)


def _path(path: Path) -> pb.RootPath:
    return pb.RootPath(place=path.place, group=path.group, groups=path.groups)


def _version(version: Version) -> pb.EvidenceVersion:
    return pb.EvidenceVersion(
        record=version.record,
        batch_day=version.ref.day,
        batch_id=version.ref.id,
        row=version.row,
        path=None if version.path is None else _path(version.path),
        state=version.state.encode(ClearanceColumns),
    )


def record_message(record: Record) -> pb.AuditRecord:
    """Return a record as a message."""
    return pb.AuditRecord(
        number=record.number,
        day=record.day,
        kind=record.kind,  # type: ignore[arg-type]  # a number of the enumeration
        at_micros=record.at,
        actor=record.actor,
        method=record.method,
        reason=record.reason,
        batch_day=record.batch_day,
        batch_id=record.batch_id,
        rows=record.rows,
        digest=record.digest,
        row_digest=record.row_digest,
        subjects=record.subjects,
        subject_digest=record.subject_digest,
        cause=record.cause,
    )


def _part(part: Part) -> pb.ChainPart:
    seal = part.seal
    return pb.ChainPart(
        first_number=part.records[0].number if part.records else 0,
        before=part.before,
        items=[
            pb.ChainItem(record=record_message(each))
            if each.number in part.disclosed
            else pb.ChainItem(content_digest=each.content_digest())
            for each in part.records
        ],
        seal=pb.AuditSeal(
            number=seal["number"],
            sealed_at_micros=seal["sealed_at"],
            before=seal["before"],
            last_number=seal["numbers"][0],
            last_hash=seal["hashes"],
            hash=seal["hash"],
        ),
    )
