"""Release lists as messages, and the checks of requests about them."""

from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.release_list import KEY_BYTES, Entry, Header, Page
from libs.customs.time import MICROS_PER_DAY
from libs.server.errors import Refusal
from libs.server.requests import day_of_text
from luxor.clearance.v1 import release_lists_pb2 as pb
from services.clearance.api.requests import is_plain
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.release_lists.import_marks import Reconciled
from services.clearance.release_lists.reconciliation import Decision, Mark

PAGE_LINES_MAX: Final = 500
MARKS_MAX: Final = 1_000
VALID_DAYS_MAX: Final = 7
VALID_MICROS: Final = MICROS_PER_DAY
_DIGEST_BYTES: Final = 32
_MILLI: Final = 1_000


def transport_of(request: pb.ExportReleaseListRequest) -> Transport:
    """Return the transport of a list. Raises Refusal."""
    masters, conveyance, day = request.master_document_numbers, request.conveyance_reference, 0
    if not is_plain(conveyance):
        raise Refusal("CONVEYANCE_MALFORMED", path="conveyance_reference")
    for place, each in enumerate(masters):
        if not each or not is_plain(each):
            raise Refusal("MASTER_DOCUMENT_MALFORMED", path=f"master_document_numbers[{place}]")
    if not masters:
        if not conveyance:
            raise Refusal("TRANSPORT_MISSING", path="conveyance_reference")
        day = day_of_text(request.arrived_on, "arrived_on")
    return Transport(tuple(sorted(set(masters))), conveyance, day * MICROS_PER_DAY, (day + 1) * MICROS_PER_DAY)


def times_of(request: pb.ExportReleaseListRequest, now: int) -> tuple[int, int, int]:
    """Return when a list is made, the expected arrival and the end of its validity, in whole milliseconds. Raises Refusal."""
    now = _whole(now)
    arrives_at = _whole(_micros(request.arrives_at)) if request.HasField("arrives_at") else now
    latest = now + VALID_DAYS_MAX * MICROS_PER_DAY
    until = (
        _whole(_micros(request.valid_until))
        if request.HasField("valid_until")
        else min(arrives_at + VALID_MICROS, latest)
    )
    if not now <= arrives_at <= latest:
        raise Refusal("RELEASE_LIST_TIME_OUT_OF_BOUNDS", path="arrives_at")
    if not arrives_at <= until <= latest or until == now:
        raise Refusal("RELEASE_LIST_TIME_OUT_OF_BOUNDS", path="valid_until")
    return now, arrives_at, until


def page_message(page: Page) -> pb.ReleaseListPage:
    """Return a page as a message."""
    header = page.header
    message = pb.ReleaseListHeader(
        serial=header.serial,
        conveyance_reference=header.conveyance,
        officer=header.officer,
        key_number=header.key_number,
        public_key=header.public_key,
    )
    for name in ("made_at", "arrives_at", "valid_until"):
        getattr(message, name).FromMicroseconds(getattr(header, name))
    return pb.ReleaseListPage(
        header=message,
        page=page.number,
        previous_digest=page.previous,
        entries=[entry_message(each) for each in page.entries],
        last=page.last,
        signature=page.signature,
    )


def entry_message(entry: Entry) -> pb.ReleaseListEntry:
    """Return a line as a message."""
    return pb.ReleaseListEntry(
        line=entry.line,
        house_document_number=entry.house_document,
        mrn=entry.mrn,
        version=entry.version,
        release=entry.release,
    )


def page_of(message: pb.ReleaseListPage) -> Page:
    """Return the page of a message, whose signature is not verified yet. Raises Refusal."""
    header = message.header
    times = (_micros(header.made_at), _micros(header.arrives_at), _micros(header.valid_until))
    if not header.serial or len(message.previous_digest) != _DIGEST_BYTES or len(header.public_key) != KEY_BYTES:
        raise Refusal("RELEASE_LIST_MALFORMED", path="page.header")
    entries = [
        Entry(each.line, each.house_document_number, each.mrn, each.version, each.release) for each in message.entries
    ]
    return Page(
        Header(
            header.serial, header.conveyance_reference, *times, header.officer, header.key_number, header.public_key
        ),
        message.page,
        message.previous_digest,
        entries,
        message.last,
        message.signature,
    )


def marks_of(request: pb.ImportReleaseListRequest, page: Page) -> list[Mark]:
    """Return the marks of a request on a page. Raises Refusal."""
    lines = {each.line for each in page.entries} | {0}
    marks = []
    for place, each in enumerate(request.marks):
        path = f"marks[{place}]"
        house = each.house_document_number
        if each.line not in lines or not (each.line or house or each.mrn):
            raise Refusal("RELEASE_LIST_MALFORMED", path=f"{path}.line")
        if not each.decision:
            raise Refusal("RELEASE_LIST_MALFORMED", path=f"{path}.decision")
        if not each.HasField("marked_at") or not each.marked_by:
            raise Refusal(
                "RELEASE_LIST_MALFORMED", path=f"{path}.{'marked_by' if each.marked_by == '' else 'marked_at'}"
            )
        mrn = "" if each.line else each.mrn
        marks.append(Mark(each.line, house, Decision(each.decision), _micros(each.marked_at), each.marked_by, mrn))
    return marks


def encoded(results: Any) -> bytes:
    """Return the serialised response with the results of an import."""
    response = pb.ImportReleaseListResponse()
    for each in results:
        response.results.append(_result_message(each))
    payload: bytes = response.SerializeToString()
    return payload


def _result_message(result: Reconciled) -> pb.ReleaseListResult:
    message = pb.ReleaseListResult(
        entry=entry_message(result.entry) if result.entry is not None else None,
        outcome=int(result.outcome),  # type: ignore[arg-type]
        state=result.state,  # type: ignore[arg-type]
        version=result.version,
        imported_before=result.imported_before,
    )
    mark = result.mark
    if mark is not None:
        message.mark.CopyFrom(
            pb.ReleaseListMark(
                line=mark.line,
                house_document_number=mark.house_document,
                decision=int(mark.decision),  # type: ignore[arg-type]
                marked_by=mark.by,
                mrn=mark.mrn,
            )
        )
        message.mark.marked_at.FromMicroseconds(mark.at)
    return message


def _micros(time: Timestamp) -> int:
    return time.seconds * 1_000_000 + time.nanos // 1_000


def _whole(micros: int) -> int:
    return micros // _MILLI * _MILLI
