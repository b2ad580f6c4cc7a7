"""Scans that tests record over gRPC."""

from __future__ import annotations

from typing import Any, Final

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, controls_pb2
from tests.clearance.controls import controls
from tests.clearance.desk import ACCEPTED_AT
from tests.clearance.service_client import SECONDS, House

CLEAN: Final = control_pb2.SCAN_RESULT_CONFORM
SUSPICIOUS: Final = control_pb2.SCAN_RESULT_SUSPICIOUS
UNREADABLE: Final = control_pb2.SCAN_RESULT_UNREADABLE
SHA256: Final = "5a" * 32


def scan(
    mrn: str, number: int = 1, *, taken_at: int = ACCEPTED_AT, version: int | None = None, **fields: Any
) -> controls_pb2.ScanRecord:
    """Record a scan with an image in the scanner's system."""
    ref = pb.ConsignmentRef(mrn=mrn) if version is None else pb.ConsignmentRef(mrn=mrn, expected_version=version)
    usual = {"result": CLEAN, "image": "xray:17", "sha256": SHA256, "media_type": "image/jpeg", "device": "FRA-3"}
    made = controls_pb2.ScanRecord(consignment=ref, number=number, **usual | fields)  # type: ignore[arg-type]
    made.taken_at.FromMicroseconds(taken_at)
    return made


async def recorded(
    house: House, *scans: controls_pb2.ScanRecord, role: str = "officer", by: str = "olga", request_id: str = "s1"
) -> list[str]:
    """Record scans; return the refusal of each, "" where there is none."""
    request = controls_pb2.RecordScansRequest(request_id=request_id, scans=scans)
    results = (await (await controls(house, role, by)).RecordScans(request, timeout=SECONDS)).results
    return [each.error.reason for each in results]
