"""The gRPC edge of cases: opened and changed by officers, read by officers and analysts."""

from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import grpc.aio
from google.protobuf.message import Message

from libs.customs.identifiers import mrn as mrns
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from libs.store.database import Transaction
from luxor.clearance.v1 import cases_pb2 as pb
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceServicer
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog, joined
from services.clearance.api.cases import requests as cases
from services.clearance.cases.case import CASE_UNKNOWN, Case
from services.clearance.cases.content import CONTENT_BYTES_MAX, parts_of
from services.clearance.commands.act import Acted
from services.clearance.commands.cases.attach import Attachments, ContentRefused
from services.clearance.commands.cases.change import CaseChanged, CaseRefused, ChangeCases, copy_of
from services.clearance.commands.cases.verify import is_consistent
from services.clearance.store import Store
from services.clearance.store.cases.files import CaseFilter

PAGE_DEFAULT: Final = 100
EVENTS_A_PAGE_MAX: Final = 100
"""An event has up to 4,000 characters of text or 1,000 consignments."""

R = TypeVar("R", bound=Message)

_READERS: Final = {Role.OFFICER, Role.ANALYST}
ROLES: Final = {
    "OpenCase": {Role.OFFICER},
    "AddCaseConsignments": {Role.OFFICER},
    "RemoveCaseConsignments": {Role.OFFICER},
    "NoteCases": {Role.OFFICER},
    "AssignCases": {Role.OFFICER},
    "CloseCases": {Role.OFFICER},
    "ReopenCases": {Role.OFFICER},
    "UploadContent": {Role.OFFICER},
    "AttachToCases": {Role.OFFICER},
    "ReadAttachment": _READERS,
    "GetCase": _READERS,
    "ListCases": _READERS,
    "ListCaseConsignments": _READERS,
    "ListCaseEvents": _READERS,
}
"""Who may call what."""


class CaseService(CaseServiceServicer):
    """Opens, changes and lists cases."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._accesses = AccessLog(store)
        self._changes = ChangeCases(store)
        self._attachments = Attachments(store)
        self._pages = PageTokens(store.database)

    # ------------------------------------------------------------------------------------------ changes
    async def OpenCase(
        self, request: pb.OpenCaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.OpenCaseResponse:
        """Open a case."""
        check_request_id(request.request_id)
        event = cases.opening(request)
        answering = _answering(request, pb.OpenCaseResponse)
        work = self._changes.open(
            event,
            answering.expected_versions,
            request=requests.command_request(request, "OpenCase"),
            encode=lambda changed, acted: _encoded(answering, changed, acted),
        )
        response = pb.OpenCaseResponse.FromString(await requests.unreused(request.request_id, work))
        return await self._answered(response)

    async def AddCaseConsignments(
        self, request: pb.AddCaseConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AddCaseConsignmentsResponse:
        """Add consignments to a case."""
        return await self._put(request, pb.CASE_CHANGE_CONSIGNMENTS_ADDED, pb.AddCaseConsignmentsResponse)

    async def RemoveCaseConsignments(
        self, request: pb.RemoveCaseConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RemoveCaseConsignmentsResponse:
        """Remove consignments from a case."""
        return await self._put(request, pb.CASE_CHANGE_CONSIGNMENTS_REMOVED, pb.RemoveCaseConsignmentsResponse)

    async def NoteCases(
        self, request: pb.NoteCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.NoteCasesResponse:
        """Add a note to cases."""
        return await self._change(request, pb.CASE_CHANGE_NOTED, pb.NoteCasesResponse)

    async def AssignCases(
        self, request: pb.AssignCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AssignCasesResponse:
        """Assign cases."""
        return await self._change(
            request, pb.CASE_CHANGE_ASSIGNED, pb.AssignCasesResponse, has_office=request.HasField("office")
        )

    async def CloseCases(
        self, request: pb.CloseCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CloseCasesResponse:
        """Close cases."""
        return await self._change(request, pb.CASE_CHANGE_CLOSED, pb.CloseCasesResponse)

    async def ReopenCases(
        self, request: pb.ReopenCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReopenCasesResponse:
        """Open cases again."""
        return await self._change(request, pb.CASE_CHANGE_REOPENED, pb.ReopenCasesResponse)

    async def _change(
        self, request: Any, change: pb.CaseChange.ValueType, answer: type[R], *, has_office: bool = False
    ) -> R:
        """Apply a change to the cases of a request, once per request_id."""
        check_request_id(request.request_id)
        answering = cases.case_answering(request.cases, change, answer)
        event = cases.event_of(change, request)

        async def make(_: Transaction, case: Case) -> pb.CaseEvent:
            own = copy_of(event)
            if change == pb.CASE_CHANGE_ASSIGNED and not has_office:
                own.office = case.office
            return own

        work = self._changes.change(
            answering.targets,
            change,
            make,
            request=requests.command_request(request, type(request).__name__),
            encode=answering.encode,
        )
        return await self._answered_each(request, work, answer)

    async def _answered_each(self, request: Any, work: Awaitable[bytes], answer: type[R]) -> R:
        response = answer.FromString(await requests.unreused(request.request_id, work))
        await self._record([each.number for each in response.results if each.state])  # type: ignore[attr-defined]
        return response

    async def _put(self, request: Any, change: pb.CaseChange.ValueType, answer: type[R]) -> R:
        """Add consignments to a case or remove them, once per request_id."""
        requests.check_size(len(request.consignments))
        check_request_id(request.request_id)
        event, answering = cases.event_of(change, request), _answering(request, answer)
        work = self._changes.put(
            cases.target_of(request.case),
            event,
            answering.expected_versions,
            request=requests.command_request(request, type(request).__name__),
            encode=lambda changed, acted: _encoded(answering, changed, acted),
        )
        try:
            payload = await requests.unreused(request.request_id, work)
        except CaseRefused as error:
            case = error.result.case
            raise Refusal(error.result.refusal, path="case.number", value=case.number, version=case.version) from None
        return await self._answered(answer.FromString(payload))

    async def _answered(self, response: R) -> R:
        """Record that the caller reads a case and the states of its consignments, and return the answer."""
        found: Any = response
        await self._record([found.case.number], [each.mrn for each in found.results if each.state])
        return response

    # ------------------------------------------------------------------------------------------ attachments
    async def UploadContent(
        self, request: pb.UploadContentRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.UploadContentResponse:
        """Store a part of a content."""
        digest = cases.hash_of(request.sha256)
        if not request.bytes:
            raise Refusal("CONTENT_SIZE_OUT_OF_BOUNDS", path="bytes", bytes_max=CONTENT_BYTES_MAX)
        uploader = str(call.current().identity)
        with _refusals():
            stored = await self._attachments.upload(uploader, digest, request.bytes, request.part, request.data)
        return pb.UploadContentResponse(stored=stored)

    async def AttachToCases(
        self, request: pb.AttachToCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AttachToCasesResponse:
        """Attach a content to cases."""
        check_request_id(request.request_id)
        answering = cases.case_answering(request.cases, pb.CASE_CHANGE_ATTACHED, pb.AttachToCasesResponse)
        work = self._attachments.attach(
            answering.targets,
            cases.attached(request),
            uploader=str(call.current().identity),
            request=requests.command_request(request, "AttachToCases"),
            encode=answering.encode,
        )
        with _refusals():
            return await self._answered_each(request, work, pb.AttachToCasesResponse)

    async def ReadAttachment(
        self, request: pb.ReadAttachmentRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReadAttachmentResponse:
        """Return a part of an attachment."""
        digest = cases.hash_of(request.sha256)
        await self._case(request.number)
        with _refusals():
            attachment, data = await self._attachments.read(request.number, digest, request.part)
        await self._accesses.record([], about=f"case {request.number} attachment {request.sha256}")
        return pb.ReadAttachmentResponse(
            attachment=cases.attachment_message(attachment), data=data, parts=parts_of(attachment.bytes)
        )

    # ------------------------------------------------------------------------------------------ queries
    async def GetCase(
        self, request: pb.GetCaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetCaseResponse:
        """Return a case."""
        case = await self._case(request.number)
        if request.verified and not await is_consistent(self._store, request.number):
            raise Refusal("CASE_INCONSISTENT", path="number", value=request.number)
        async with self._store.database.connection() as reading:
            attachments = await self._store.contents.attachments(reading, case.number)
        await self._record([case.number])
        return pb.GetCaseResponse(
            case=cases.case_message(case), attachments=[cases.attachment_message(each) for each in attachments]
        )

    async def ListCases(
        self, request: pb.ListCasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListCasesResponse:
        """Return a page of cases."""
        cases.check_assignment(request.officer, request.office)
        if request.mrn and not mrns.is_valid(request.mrn):
            raise Refusal("MRN_MALFORMED", path="mrn", value=request.mrn)
        if request.relation_key and not request.relation:
            raise Refusal("CASE_RELATION_UNCLEAR", path="relation")
        limit = page_size_of(request.page_size, cases.CASES_MAX, cases.CASES_MAX)
        state, number = await self._pages.place(request, (0, 0))
        chosen = CaseFilter(
            state=request.state,
            office=request.office if request.HasField("office") else None,
            officer=request.officer if request.HasField("officer") else None,
            relation=request.relation,
            relation_key=request.relation_key,
            mrn=request.mrn,
            sha256=cases.hash_of(request.sha256) if request.sha256 else b"",
        )
        async with self._store.database.connection(snapshot=True) as reading:
            found = await self._store.cases.page(reading, chosen, (int(state), int(number)), limit + 1)
        response = pb.ListCasesResponse(cases=[cases.case_message(each) for each in found[:limit]])
        if len(found) > limit:
            last = found[limit - 1]
            response.next_page_token = await self._pages.token(request, last.state, last.number)
        await self._record([each.number for each in response.cases], [request.mrn] if found and request.mrn else [])
        return response

    async def ListCaseConsignments(
        self, request: pb.ListCaseConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListCaseConsignmentsResponse:
        """Return a page of the consignments of a case."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        (after,) = await self._pages.place(request, ("",))
        await self._case(request.number)
        async with self._store.database.connection() as reading:
            found = await self._store.cases.consignments(reading, request.number, str(after), limit + 1)
            rows = await self._store.find(reading, [mrn for mrn, _, _ in found[:limit]])
        response = pb.ListCaseConsignmentsResponse()
        for mrn, added_at, added_by in found[:limit]:
            row = rows.get(mrn)
            each = response.consignments.add(mrn=mrn, added_by=added_by)
            each.added_at.FromMicroseconds(added_at)
            if row is not None:
                each.state, each.version, each.lane = row.state, row.version, row.lane  # type: ignore[assignment]
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, found[limit - 1][0])
        await self._record([request.number], [each.mrn for each in response.consignments])
        return response

    async def ListCaseEvents(
        self, request: pb.ListCaseEventsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListCaseEventsResponse:
        """Return a page of the history of a case."""
        limit = page_size_of(request.page_size, EVENTS_A_PAGE_MAX, EVENTS_A_PAGE_MAX)
        (after,) = await self._pages.place(request, (0,))
        await self._case(request.number)
        async with self._store.database.connection() as reading:
            found = await self._store.cases.events(reading, request.number, int(after), limit + 1)
        response, named = pb.ListCaseEventsResponse(), 0
        for payload in found[:limit]:
            event = pb.CaseEvent.FromString(payload)
            named += len(event.mrns)
            if named > requests.PAGE_MAX and response.events:
                break
            response.events.append(event)
        if len(found) > len(response.events):
            response.next_page_token = await self._pages.token(request, response.events[-1].version)
        concerned = dict.fromkeys(mrn for each in response.events for mrn in each.mrns)
        await self._record([request.number], list(concerned))
        return response

    async def _case(self, number: int) -> Case:
        """Return a case. Raises Refusal CASE_UNKNOWN."""
        async with self._store.database.connection() as reading:
            case = (await self._store.cases.find(reading, [number])).get(number)
        if case is None:
            raise Refusal(CASE_UNKNOWN, path="number", value=number)
        return case

    async def _record(self, numbers: Sequence[int], concerned: Sequence[str] = ()) -> None:
        """Record that the caller reads cases, and data about consignments."""
        about = joined(f"case {number}" for number in numbers)
        await self._accesses.record(concerned, about=about)


@contextmanager
def _refusals() -> Iterator[None]:
    """Refuse the call where a content is refused."""
    try:
        yield
    except ContentRefused as error:
        raise Refusal(error.reason, path="content") from None


def _answering(request: Any, answer: Any) -> requests.Answering:
    _, errors = requests.refs(request.consignments)
    return requests.Answering(request.consignments, errors, answer, "consignments[{}].mrn")


def _encoded(answering: requests.Answering, changed: CaseChanged, acted: Sequence[Acted]) -> bytes:
    response = answering.answer.FromString(answering.encode(acted))
    response.case.CopyFrom(cases.result_of(changed))
    payload: bytes = response.SerializeToString()
    return payload
