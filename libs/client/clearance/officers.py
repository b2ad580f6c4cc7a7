"""Holds, releases, inspections and disposals by officers."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.plain import enum_names, enum_number, plain
from libs.client.row_errors import ElementError
from luxor.clearance.v1.bulk_release_pb2 import BulkReleaseRequest, BulkReleaseResponse, Conveyance
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceStub
from luxor.clearance.v1.clearance_pb2 import (
    ConsignmentRef,
    Disposal,
    DisposalKind,
    DisposeConsignmentsRequest,
    DisposeConsignmentsResponse,
    Inspection,
    InspectionMethod,
    InspectionResult,
    StatusQuery,
    Violation,
)
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.common.v1.common_pb2 import Lane

A = TypeVar("A")


async def act(
    client: Client, verb: str, mrns: Sequence[str], *, reason: str, note: str = "", expected_version: int | None = None
) -> list[dict[str, Any]]:
    """Hold or release consignments by MRN (`verb` "hold" or "release"); return a plain result for each.

    `expected_version` is the version that the officer looked at.
    """
    results: list[dict[str, Any]] = []
    method = client.hold if verb == "hold" else client.release
    for start in range(0, len(mrns), 1000):
        refs = [ConsignmentRef(mrn=each, expected_version=expected_version) for each in mrns[start : start + 1000]]
        answer = await method(refs, reason=reason, note=note)
        results += [plain(each) for each in answer.results]
    return results


def bulk_release_of(
    *,
    master: str = "",
    flight: str = "",
    arrived: str = "",
    lanes: Sequence[str] = (),
    only_reasons: Sequence[str] = (),
    override_officers: bool = False,
    end_delays: bool = False,
    reason: str,
    note: str = "",
    page_size: int = 0,
) -> BulkReleaseRequest:
    """Make the order to release what is held under a `master` document, or on a `flight` that `arrived` on a day (ISO 8601).

    `lanes` are green, blue, yellow or red. Raise ElementError for an unknown word.
    """
    request = BulkReleaseRequest(
        only_reasons=only_reasons,
        override_officers=override_officers,
        end_delays=end_delays,
        reason=reason,
        note=note,
        page_size=page_size,
    )
    request.lanes.extend(_number(Lane, each, "lanes") for each in lanes)
    if master:
        request.master_document_number = master
    else:
        request.conveyance.CopyFrom(Conveyance(conveyance_reference=flight, arrived_on=arrived))
    return request


async def bulk_release(client: Client, request: BulkReleaseRequest) -> dict[str, Any]:
    """Release the goods of one transport, and return what was done. Role: officer.

    A call that reaches its deadline is repeated with the same request_id, which continues it, at most BULK_CALLS_MAX times.
    """
    request.request_id = request.request_id or str(uuid.uuid4())
    return plain(
        await repeated(
            lambda: client.ask("clearance", BulkReleaseServiceStub, "BulkRelease", request, BulkReleaseResponse)
        )
    )


async def repeated(call: Callable[[], Awaitable[A]]) -> A:
    """Return the answer to a call that works in chunks: one that reaches its deadline is sent again, at most BULK_CALLS_MAX times in all."""
    for attempt in range(BULK_CALLS_MAX):
        try:
            return await call()
        except LuxorError as error:
            if error.code != "DEADLINE_EXCEEDED" or attempt == BULK_CALLS_MAX - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


async def transport_summary(client: Client, master: str) -> dict[str, Any]:
    """Return what became of the goods under a master document, and what holds the others. Role: officer or analyst."""
    query = StatusQuery(master_document_number=master, with_summary=True, page_size=1)
    (result,) = (await client.status([query])).results
    return plain(result.summary)


BULK_CALLS_MAX = 20
"""Calls of one bulk release: each works for as long as the client waits for an answer."""
VIOLATIONS = [name.lower() for name in enum_names(Violation.DESCRIPTOR) if not name.startswith("VIOLATION_")]
"""Kinds of violation, as people write them."""


def inspection_of(
    mrn: str, *, method: str, result: str = "", violation: str = "", items: Sequence[str] = (), note: str = ""
) -> Inspection:
    """Make what an inspection found from words: each of `items` is NUMBER=conform or NUMBER=VIOLATION, such as "2=counterfeit".

    Raise ElementError for an unknown word.
    """
    inspection = Inspection(consignment=ConsignmentRef(mrn=mrn), note=note)
    inspection.method = _number(InspectionMethod, method, "method")
    if result:
        inspection.result = _number(InspectionResult, result, "result")
    if violation:
        inspection.violation = _number(Violation, violation, "violation")
    for place, text in enumerate(items):
        number, _, violation_text = text.partition("=")
        if not (number.isascii() and number.isdigit() and len(number) <= 9):
            raise ElementError("NUMBER_MALFORMED", f"items[{place}]", text)
        item = inspection.items.add(number=int(number))
        if violation_text.lower() == "conform":
            item.result = InspectionResult.Value("INSPECTION_RESULT_CONFORM")
        else:
            item.result = InspectionResult.Value("INSPECTION_RESULT_VIOLATION")
            item.violation = _number(Violation, violation_text, f"items[{place}]")
    return inspection


async def inspect(client: Client, inspections: Sequence[Inspection]) -> list[dict[str, Any]]:
    """Record inspections, and return a plain result for each."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(inspections), 1000):
        answer = await client.record_inspections(inspections[start : start + 1000])
        results += [plain(each) for each in answer.results]
    return results


def disposal_of(
    mrn: str, *, kind: str, reason: str, document: str = "", note: str = "", expected_version: int | None = None
) -> Disposal:
    """Make a decision on goods from words: `kind` is seized, seizure_lifted, confiscated, destroyed, re_exported, abandoned or invalidated.

    Raise ElementError for an unknown word.
    """
    ref = ConsignmentRef(mrn=mrn, expected_version=expected_version)
    number = _number(DisposalKind, kind.replace("-", "_"), "kind")
    return Disposal(consignment=ref, kind=number, reason=reason, transport_document_number=document, note=note)


async def dispose(
    client: Client, disposals: Sequence[Disposal], *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Record decisions on goods that are not released, and return a plain result for each. Role: officer."""
    results: list[dict[str, Any]] = []
    key = request_id or str(uuid.uuid4())
    for start in range(0, len(disposals), 1000):
        request = DisposeConsignmentsRequest(
            request_id=f"{key}.{start}" if start else key, disposals=disposals[start : start + 1000]
        )
        answer = await client.ask(
            "clearance", ClearanceServiceStub, "DisposeConsignments", request, DisposeConsignmentsResponse
        )
        results += [plain(each) for each in answer.results]
    return results


def _number(enum: Any, word: str, path: str) -> Any:
    return enum_number(enum.DESCRIPTOR, word.upper(), path)
