"""The gRPC edge of clearance: translate, authorise, call, answer. No rule of the field."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeVar

import grpc.aio
from google.protobuf.message import Message

from libs.columns import Table
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.store.requests import RequestReused
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance import answers, corrections, requests
from services.clearance.acts import Acts, Request, Unfit, What
from services.clearance.adjusting import Adjusting
from services.clearance.hits import held_unseen
from services.clearance.inquiry import BadToken, Found, Inquiry
from services.clearance.inspections import missing_item
from services.clearance.lifecycle import Event, State
from services.clearance.mailbox import Mailbox
from services.clearance.office import Office, Under
from services.clearance.returns import returning
from services.clearance.returns import unfit as unfit_to_return
from services.clearance.states import Happening
from services.clearance.store import Row, Store, carrier_key, filer_key

NOTICES_DEFAULT: Final = 500
NOTICES_MAX: Final = 1_000
WAIT_MILLIS_MAX: Final = 20_000
_ROWS_A_BREATH: Final = 250
"""States that become messages before other calls get a turn."""

R = TypeVar("R", bound=Message)
_INSIGHT: Final = frozenset({Role.OFFICER, Role.ANALYST, Role.OPERATOR})

ROLES: Final = {
    "RecordArrivals": {Role.CARRIER},
    "GetStatus": {Role.FILER, Role.CARRIER, Role.OFFICER, Role.ANALYST},
    "ListConsignments": {Role.OFFICER, Role.ANALYST},
    "ReleaseConsignments": {Role.OFFICER},
    "HoldConsignments": {Role.OFFICER},
    "RecordInspections": {Role.OFFICER},
    "RecordReturns": {Role.FILER, Role.CARRIER, Role.OFFICER},
    "AdjustConsignments": {Role.OFFICER},
    "PullNotices": {Role.FILER, Role.CARRIER},
}
"""Who may call what."""

LONG_POLLS: Final = frozenset({"PullNotices"})


class ClearanceService(ClearanceServiceServicer):
    """Takes arrivals and officers' acts, tells status and notices."""

    def __init__(self, store: Store, adjusting: Adjusting) -> None:
        """Serve from a store; what officers correct is carried out by `adjusting`."""
        self._store = store
        self._adjusting = adjusting
        self._acts = Acts(store)
        self._office = Office(store)
        self._inquiry = Inquiry(store)
        self._mailbox = Mailbox(store)

    # ------------------------------------------------------------------------------------------ arrivals
    async def RecordArrivals(
        self, request: pb.RecordArrivalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordArrivalsResponse:
        """Record arrivals in one transaction, then carry them out in chunks; what is left undone by a crash is taken up again."""
        requests.check_size(len(request.arrivals))
        requests.check_request_id(request.request_id)
        current = call.current()
        key = (str(current.identity), request.request_id, _digest("RecordArrivals", request))
        async with self._store.database.transaction() as tx:
            before = await _recall(self._store, tx, key)
            if before is not None:
                return pb.RecordArrivalsResponse.FromString(before)
            at = await self._store.now(tx)
            arrivals, errors = requests.arrivals(request.arrivals, current.identity.id, at)
            there = [each for each in arrivals if each is not None]
            own = iter(
                await self._store.record_arrivals(tx, there, request_id=request.request_id, at=at) if there else []
            )
        known = [each is not None and next(own) for each in arrivals]
        found = await self._office.arrive(dict.fromkeys(each.document_number for each in there), trace=current.trace)
        response = pb.RecordArrivalsResponse()
        for arrival, counts, faults in zip(arrivals, known, errors, strict=True):
            if arrival is None:
                response.results.add(outcome=pb.ARRIVAL_OUTCOME_REFUSED, errors=faults)
                continue
            under = found.get(arrival.document_number, Under())
            response.results.add(
                outcome=pb.ARRIVAL_OUTCOME_RECORDED if counts else pb.ARRIVAL_OUTCOME_KNOWN,
                consignments=under.consignments,
                released=under.released,
                held=under.held,
                waiting=under.waiting,
            )
        async with self._store.database.transaction() as tx:
            await self._store.requests.remember(tx, *key, response.SerializeToString())
        return response

    # ------------------------------------------------------------------------------------------ looking
    async def GetStatus(
        self, request: pb.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetStatusResponse:
        """Answer each query; what the caller may not see is as unknown as what does not exist."""
        requests.check_size(len(request.queries))
        identity = call.current().identity
        queries, errors = requests.queries(request.queries, identity)
        asked = [place for place, query in enumerate(queries) if query is not None]
        async with self._store.database.connection() as reading:
            found = dict(
                zip(asked, await self._inquiry.find(reading, [q for q in queries if q is not None]), strict=True)
            )
            rows = await self._inquiry.rows(reading, list(found.values()))
            if identity.role is Role.FILER:
                rows = {mrn: row for mrn, row in rows.items() if row.filer == identity.id}
            messages = await self._statuses(reading, list(rows.values()), identity.role, history=request.with_history)
        response = pb.GetStatusResponse()
        for place, query in enumerate(request.queries):
            response.results.append(_result(found.get(place), messages, errors.get(place), place, query))
        return response

    async def ListConsignments(
        self, request: pb.ListConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListConsignmentsResponse:
        """Give a page of the officers' list of work."""
        limit = requests.page_size(request.page_size, "page_size")
        audit = request.audit if request.HasField("audit") else None
        async with self._store.database.connection() as reading:
            try:
                found = await self._inquiry.work(
                    reading,
                    request.state or (State.RELEASED if audit else State.HELD),
                    request.lane,
                    max(0, request.accepted_from_day),
                    limit if audit is None else requests.PAGE_MAX,
                    request.page_token,
                )
            except BadToken:
                raise Refusal("PAGE_TOKEN_MALFORMED", path="page_token") from None
            if audit is not None:
                found = await self._inquiry.audited(reading, found, audit=audit, limit=limit)
            rows = await self._inquiry.rows(reading, [found])
            messages = await self._statuses(reading, list(rows.values()), call.current().identity.role, history=False)
        listed = [messages[mrn] for mrn in found.mrns if mrn in messages]
        return pb.ListConsignmentsResponse(consignments=listed, next_page_token=found.token)

    async def _statuses(
        self, reading: Any, rows: Sequence[Row], role: Role, *, history: bool
    ) -> dict[str, pb.ConsignmentStatus]:
        insight = role in _INSIGHT
        out: dict[str, pb.ConsignmentStatus] = {}
        for begin in range(0, len(rows), _ROWS_A_BREATH):
            table = await self._store.states(reading, rows[begin : begin + _ROWS_A_BREATH])
            messages = answers.statuses(table, insight=insight)
            if history:
                histories = await self._inquiry.histories(reading, table)
                for message, versions in zip(messages, histories, strict=True):
                    for version in versions:
                        message.history.extend(answers.history(version, insight=insight))
            out.update((message.mrn, message) for message in messages)
            await asyncio.sleep(0)
        return out

    # ------------------------------------------------------------------------------------------ officers
    async def ReleaseConsignments(
        self, request: pb.ReleaseConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReleaseConsignmentsResponse:
        """Lift holds."""
        return await self._act(request, Event.OFFICER_RELEASED, pb.ReleaseConsignmentsResponse)

    async def HoldConsignments(
        self, request: pb.HoldConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.HoldConsignmentsResponse:
        """Hold goods."""
        return await self._act(request, Event.OFFICER_HELD, pb.HoldConsignmentsResponse)

    async def _act(
        self,
        request: pb.ReleaseConsignmentsRequest | pb.HoldConsignmentsRequest,
        event: Event,
        answer: type[R],
    ) -> R:
        requests.check_size(len(request.consignments))
        requests.check_request_id(request.request_id)
        requests.check_act(request.reason, request.note)
        by = call.current().identity.id
        _, faults = requests.refs(request.consignments)
        seen = {ref.mrn for ref in request.consignments if ref.HasField("expected_version")}

        def unseen(states: Table) -> list[str]:
            return ["HIT_UNSEEN" if each else "" for each in held_unseen(states, seen)]

        def what(states: Table, at: int) -> tuple[Table, Happening]:
            return states, Happening(event=event, at=at, by=by, reason=request.reason, note=request.note)

        unfit = unseen if event is Event.OFFICER_RELEASED else None
        return await self._once(request, event.name, request.consignments, faults, what, answer, unfit=unfit)

    async def RecordInspections(
        self, request: pb.RecordInspectionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordInspectionsResponse:
        """Record what inspections found."""
        requests.check_size(len(request.inspections))
        requests.check_request_id(request.request_id)
        by = call.current().identity.id
        found, faults = requests.inspections(request.inspections)
        refs = [each.consignment for each in request.inspections]

        def what(states: Table, at: int) -> tuple[Table, Happening]:
            return states, Happening(event=Event.INSPECTED, at=at, by=by, inspections=found)

        return await self._once(
            request,
            Event.INSPECTED.name,
            refs,
            faults,
            what,
            pb.RecordInspectionsResponse,
            where="inspections[{}].consignment.mrn",
            unfit=lambda states: ["INSPECTION_ITEM_UNKNOWN" if each else "" for each in missing_item(states, found)],
        )

    async def AdjustConsignments(
        self, request: pb.AdjustConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AdjustConsignmentsResponse:
        """Correct value or goods, and have them assessed again."""
        requests.check_size(len(request.adjustments))
        requests.check_request_id(request.request_id)
        found, faults = corrections.adjustments(request.adjustments)
        refs = [each.consignment for each in request.adjustments]
        answering = requests.Answering(refs, faults, pb.AdjustConsignmentsResponse, "adjustments[{}].consignment.mrn")
        payload = await _unreused(
            request.request_id,
            self._adjusting.adjust(
                answering.wanted,
                found,
                officer=call.current().identity.id,
                request=_request(request, "AdjustConsignments"),
                encode=answering.encode,
            ),
        )
        return pb.AdjustConsignmentsResponse.FromString(payload)

    # ------------------------------------------------------------------------------------------ returns
    async def RecordReturns(
        self, request: pb.RecordReturnsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordReturnsResponse:
        """Record what went back; filers and carriers reach what is theirs."""
        requests.check_size(len(request.returns))
        requests.check_request_id(request.request_id)
        identity = call.current().identity
        found, faults = corrections.returns(request.returns)

        def what(states: Table, at: int) -> tuple[Table, Happening]:
            return returning(states, at, found, identity.id)

        return await self._once(
            request,
            "RecordReturns",
            [each.consignment for each in request.returns],
            faults,
            what,
            pb.RecordReturnsResponse,
            where="returns[{}].consignment.mrn",
            unfit=lambda states: unfit_to_return(states, found),
            outside=None if identity.role in _INSIGHT else identity,
        )

    async def _once(
        self,
        request: Any,
        method: str,
        refs: Sequence[pb.ConsignmentRef],
        faults: Mapping[int, ItemError],
        what: What,
        answer: type[R],
        *,
        where: str = "consignments[{}].mrn",
        unfit: Unfit | None = None,
        outside: Identity | None = None,
    ) -> R:
        """Act on the consignments that have no fault, once a request_id; `where` is the path of an MRN by its place."""
        answering = requests.Answering(refs, faults, answer, where)
        payload = await _unreused(
            request.request_id,
            self._acts.act(
                answering.wanted,
                what,
                request=_request(request, method),
                encode=answering.encode,
                unfit=unfit,
                outside=outside,
            ),
        )
        return answer.FromString(payload)

    # ------------------------------------------------------------------------------------------ notices
    async def PullNotices(
        self, request: pb.PullNoticesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PullNoticesResponse:
        """Give the caller's notices after a cursor."""
        if request.max_notices > NOTICES_MAX:
            raise Refusal("PAGE_SIZE_TOO_LARGE", path="max_notices", value=request.max_notices, limit=NOTICES_MAX)
        if request.wait_millis > WAIT_MILLIS_MAX:
            raise Refusal("WAIT_TOO_LONG", path="wait_millis", value=request.wait_millis, limit=WAIT_MILLIS_MAX)
        identity = call.current().identity
        carrier = identity.role is Role.CARRIER
        key = carrier_key(identity.id) if carrier else filer_key(identity.id)
        post = await self._mailbox.pull(
            key, request.after, request.max_notices or NOTICES_DEFAULT, request.wait_millis / 1000
        )
        notices = [notice for table in post.tables for notice in answers.told(table, carrier=carrier)]
        return pb.PullNoticesResponse(notices=notices, next=post.next)


def _request(request: Any, method: str) -> Request:
    current = call.current()
    return Request(str(current.identity), request.request_id, _digest(method, request), current.trace)


async def _unreused(request_id: str, work: Awaitable[bytes]) -> bytes:
    try:
        return await work
    except RequestReused:
        raise Refusal("REQUEST_REUSED", path="request_id", value=request_id) from None


async def _recall(store: Store, tx: Any, key: tuple[str, str, bytes]) -> bytes | None:
    try:
        return await store.requests.recall(tx, *key)
    except RequestReused:
        raise Refusal("REQUEST_REUSED", path="request_id", value=key[1]) from None


def _digest(method: str, request: Any) -> bytes:
    """Stand for a request's content: the request_id is the key, so it is left out; the method is a part of it."""
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    return sha256(method.encode() + b"\0" + content.SerializeToString(deterministic=True)).digest()


def _result(
    found: Found | None,
    messages: dict[str, pb.ConsignmentStatus],
    error: ItemError | None,
    place: int,
    query: pb.StatusQuery,
) -> pb.StatusResult:
    if error is not None or found is None:
        return pb.StatusResult(error=error)
    told = [messages[mrn] for mrn in found.mrns if mrn in messages]
    if not told and not found.token:
        return pb.StatusResult(error=requests.unknown(place, query))
    return pb.StatusResult(consignments=told, next_page_token=found.token)
