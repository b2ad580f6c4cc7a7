"""Controls: document requests, scans, examinations and referrals before loading, their answers and conclusions."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import json_format

from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import clearance_pb2, control_pb2
from luxor.clearance.v1 import controls_pb2 as pb
from luxor.clearance.v1.controls_pb2_grpc import ControlServiceStub
from luxor.consignment.v1 import consignment_pb2

PAGE: Final = 1_000
_CALLS: Final[dict[str, tuple[str, Any, Any]]] = {
    "orders": ("OrderControls", pb.OrderControlsRequest, pb.OrderControlsResponse),
    "answers": ("AnswerControls", pb.AnswerControlsRequest, pb.AnswerControlsResponse),
    "scans": ("RecordScans", pb.RecordScansRequest, pb.RecordScansResponse),
    "conclusions": ("ConcludeControls", pb.ConcludeControlsRequest, pb.ConcludeControlsResponse),
}
"""Call, request and answer by the field of the request."""


def order_of(
    mrn: str,
    *,
    form: str,
    reason: str,
    text: str = "",
    pointer: str = "",
    addressee: str = "",
    authority: str = "",
    due_micros: int | None = None,
    remind_micros: int | None = None,
    when_overdue: str = "",
    confidential: bool = False,
) -> pb.ControlOrder:
    """Make an order from words: `form` is documents, scan, examination, information, screening or do_not_load; `addressee` filer, carrier or "".

    Times are microseconds since 1970-01-01 UTC. Raise ElementError for an unknown word.
    """
    order = pb.ControlOrder(
        consignment=clearance_pb2.ConsignmentRef(mrn=mrn),
        form=_number(control_pb2.ControlForm, form, "form"),
        authority=authority,
        reason=reason,
        text=text,
        pointer=pointer,
        confidential=confidential,
    )
    if addressee:
        order.addressee = _number(control_pb2.ControlAddressee, addressee, "addressee")
    if when_overdue:
        order.when_overdue = _number(control_pb2.ControlOverdue, when_overdue, "when_overdue")
    if due_micros is not None:
        order.due_at.FromMicroseconds(due_micros)
    if remind_micros is not None:
        order.remind_at.FromMicroseconds(remind_micros)
    return order


def answer_of(
    mrn: str, number: int, *, text: str = "", documents: Sequence[tuple[str, str, str]] = (), screening: str = ""
) -> pb.ControlAnswer:
    """Make an answer; each document is its type, its number and the SHA-256 of its content or "". `screening` is clear, inconclusive, alarm or "".

    Raise ElementError for an unknown word.
    """
    ref = clearance_pb2.ConsignmentRef(mrn=mrn)
    named = [pb.ControlDocument(type=kind, number=each, sha256=sha256) for kind, each, sha256 in documents]
    answer = pb.ControlAnswer(consignment=ref, number=number, text=text, documents=named)
    if screening:
        answer.screening_result = _number(consignment_pb2.ScreeningResult, screening, "screening_result")
    return answer


def conclusion_of(mrn: str, number: int, *, result: str, reason: str, note: str = "") -> pb.ControlConclusion:
    """Make a conclusion from words: `result` is conform, not_conform or withdrawn. Raise ElementError for an unknown word."""
    ref = clearance_pb2.ConsignmentRef(mrn=mrn)
    code = _number(control_pb2.ControlResult, result, "result")
    return pb.ControlConclusion(consignment=ref, number=number, result=code, reason=reason, note=note)


def scan_of(
    mrn: str,
    number: int,
    *,
    result: str,
    taken_at_micros: int,
    device: str,
    place: str = "",
    image: str = "",
    case_number: int = 0,
    sha256: str = "",
    media_type: str = "",
    image_analyst: str = "",
) -> pb.ScanRecord:
    """Make a scan from words: `result` is conform, suspicious or unreadable. Raise ElementError for an unknown word."""
    made = pb.ScanRecord(
        consignment=clearance_pb2.ConsignmentRef(mrn=mrn),
        number=number,
        result=_number(control_pb2.ScanResult, result, "result"),
        place=place,
        image=image,
        case_number=case_number,
        sha256=sha256,
        media_type=media_type,
        device=device,
        image_analyst=image_analyst,
    )
    made.taken_at.FromMicroseconds(taken_at_micros)
    return made


def scans_of(text: str) -> list[pb.ScanRecord]:
    """Read scans, each a line of JSON with the fields of luxor.clearance.v1.ScanRecord. Raise ValueError with the number of the line."""
    scans = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                scans.append(json_format.Parse(line, pb.ScanRecord()))
            except json_format.ParseError as error:
                raise ValueError(f"line {number}: {error}") from None
    return scans


async def carry_out(
    client: Client, field: str, entries: Sequence[Any], *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Order, answer or conclude controls, or record scans (`field` orders, answers, conclusions or scans), and return a plain result for each.

    Roles: orders, conclusions and scans officer and agency, answers filer and carrier.
    """
    method, request_class, answer_class = _CALLS[field]
    key = request_id or str(uuid.uuid4())
    results: list[dict[str, Any]] = []
    for start in range(0, len(entries), PAGE):
        part = entries[start : start + PAGE]
        request = request_class(request_id=f"{key}.{start}" if start else key, **{field: part})
        answer = await client.ask("clearance", ControlServiceStub, method, request, answer_class)
        results += [plain(each) for each in answer.results]
    return results


async def open_controls(
    client: Client,
    *,
    authority: str = "",
    form: str = "",
    overdue: bool = False,
    answered: bool = False,
    office: str = "",
) -> list[dict[str, Any]]:
    """Return the open controls. Roles: officer, analyst, agency (its own). Raise ElementError for an unknown form."""
    request = pb.ListControlsRequest(
        authority=authority, overdue=overdue, answered=answered, office=office, page_size=PAGE
    )
    if form:
        request.form = _number(control_pb2.ControlForm, form, "form")

    answers = pages(client, "clearance", ControlServiceStub, "ListControls", request, pb.ListControlsResponse)
    return [plain(each) async for page in answers for each in page.controls]


def _number(enum: Any, word: str, path: str) -> Any:
    return enum_number(enum.DESCRIPTOR, word.upper().replace("-", "_"), path)
