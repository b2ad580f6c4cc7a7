"""The gRPC edge of clearance: translate, authorise, call, answer. No rule of the field."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import grpc.aio
import numpy as np
from google.protobuf.message import Message

from libs.columns import Table
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Identity, Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, day_of_text, page_size_of
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import corrections, requests
from services.clearance.api import messages as answers
from services.clearance.api.arrivals import ArrivalsRequest
from services.clearance.api.audit.access import AccessLog, joined
from services.clearance.api.controls.notices import agency_notices
from services.clearance.api.licences.requests import named_in_records
from services.clearance.api.notice_checks import CheckCodes
from services.clearance.api.notices import NoticeReader, NoticeWriter, check_language
from services.clearance.api.queries import FORMS, PAGE_DEFAULT, Inquiry, Matches, Query
from services.clearance.api.summaries import summaries
from services.clearance.commands.act import Commands, Prepare, Propose, Unfit
from services.clearance.commands.adjust import Adjusting
from services.clearance.commands.arrivals.record_arrivals import RecordArrivals
from services.clearance.commands.visibility import Viewer, entrusted_to, notified_to
from services.clearance.consignment.disposal import disposing
from services.clearance.consignment.disposal import unfit as unfit_to_dispose
from services.clearance.consignment.inspection import missing_item
from services.clearance.consignment.proposals.proposal import Proposal
from services.clearance.consignment.returns import returning
from services.clearance.consignment.returns import unfit as unfit_to_return
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.expiry import ARRIVAL_DAYS
from services.clearance.consignment.transitions import Event, State
from services.clearance.licences.last_day import is_about_last_days
from services.clearance.licences.need import has_needs
from services.clearance.notices.parties import is_foreign, party_notices
from services.clearance.notices.texts import AGENCY, CARRIER, FILER, Texts
from services.clearance.presentation.law import PresentationLaw
from services.clearance.second_person.steps import proposed_disposals, proposed_release, unfit_to_release
from services.clearance.store import Row, Store, agency_key, carrier_key, days_of, filer_key
from services.clearance.store.licences.register import Use

NOTICES_DEFAULT: Final = 500
NOTICES_MAX: Final = 1_000
WAIT_MILLIS_MAX: Final = 20_000
_ROWS_A_BREATH: Final = 250
"""States that become messages before other calls get a turn."""

R = TypeVar("R", bound=Message)
_INSIGHT: Final = frozenset({Role.OFFICER, Role.ANALYST, Role.OPERATOR})

ROLES: Final = {
    "RecordArrivals": {Role.CARRIER},
    "GetStatus": {Role.FILER, Role.CARRIER, Role.AGENCY, Role.OFFICER, Role.ANALYST},
    "ListConsignments": {Role.OFFICER, Role.ANALYST},
    "ReleaseConsignments": {Role.OFFICER},
    "HoldConsignments": {Role.OFFICER},
    "RecordInspections": {Role.OFFICER},
    "DisposeConsignments": {Role.OFFICER},
    "RecordReturns": {Role.FILER, Role.CARRIER, Role.OFFICER},
    "AdjustConsignments": {Role.OFFICER},
    "PullNotices": {Role.FILER, Role.CARRIER, Role.AGENCY},
}
"""Who may call what."""

LONG_POLLS: Final = frozenset({"PullNotices"})
NOTICE_PAGES_MAX: Final = 20
"""Pages of notices that one call looks through; the next one goes on behind them."""
_NOTICE_KEYS: Final = {Role.FILER: filer_key, Role.CARRIER: carrier_key, Role.AGENCY: agency_key}
_READERS: Final = {Role.FILER: FILER, Role.CARRIER: CARRIER, Role.AGENCY: AGENCY}


class ClearanceService(ClearanceServiceServicer):
    """Carries out arrivals and commands of officers, answers status and notices."""

    def __init__(
        self,
        store: Store,
        adjusting: Adjusting,
        texts: Texts,
        presentation: PresentationLaw | None = None,
        *,
        arrival_days: int = ARRIVAL_DAYS,
    ) -> None:
        """Serve from a store; what officers correct is carried out by `adjusting`, and notices have `texts`; `presentation` as of `Arrive`.

        `arrival_days`: within which goods have to arrive, as of `Expiry`.
        """
        self._store = store
        self._adjusting = adjusting
        self._commands = Commands(store)
        self._record_arrivals = RecordArrivals(store, presentation)
        self._inquiry = Inquiry(store)
        self._pages = PageTokens(store.database)
        self._codes = CheckCodes(self._pages)
        self._accesses = AccessLog(store)
        self._notices = NoticeReader(store, self._pages)
        self._writer = NoticeWriter(texts, self._codes)
        self._arrival_days = arrival_days

    # ------------------------------------------------------------------------------------------ arrivals
    async def RecordArrivals(
        self, request: pb.RecordArrivalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordArrivalsResponse:
        """Record arrivals by carriers that are bound to the master documents, and carry them out."""
        requests.check_size(len(request.arrivals))
        check_request_id(request.request_id)
        arrivals = ArrivalsRequest(request.arrivals, call.current().identity.id)
        payload = await requests.unreused(
            request.request_id,
            self._record_arrivals.run(
                arrivals.read,
                request=requests.command_request(request, "RecordArrivals"),
                carrier=call.current().identity.id,
                encode=arrivals.encode,
            ),
        )
        return pb.RecordArrivalsResponse.FromString(payload)

    # ------------------------------------------------------------------------------------------ looking
    async def GetStatus(
        self, request: pb.GetStatusRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetStatusResponse:
        """Answer each query; what the caller may not see is as unknown as what does not exist."""
        requests.check_size(len(request.queries))
        identity = call.current().identity
        queries, errors = requests.queries(request.queries, identity)
        await self._place(request.queries, queries, errors)
        places = [place for place, query in enumerate(queries) if query is not None]
        viewer = Viewer(self._store, identity)
        listed = await self._inquiry.find([q for q in queries if q is not None], viewer)
        found = dict(zip(places, listed, strict=True))
        async with self._store.database.connection() as reading:
            rows = await self._inquiry.rows(reading, listed)
        messages = await self._statuses(list(rows.values()), identity, history=request.with_history)
        summarized = await summaries(self._store, request.queries, queries, identity.role)
        response = pb.GetStatusResponse()
        for place, query in enumerate(request.queries):
            result = _result(found.get(place), messages, errors.get(place), place, query)
            if place in found and found[place].following:
                result.next_page_token = await self._pages.token(query, *found[place].following)
            if place in summarized:
                result.summary.CopyFrom(summarized[place])
            response.results.append(result)
        await self._accesses.record(list(messages))
        return response

    async def _place(
        self, status_queries: Sequence[pb.StatusQuery], read: list[Query | None], errors: dict[int, ItemError]
    ) -> None:
        """Read the page tokens of queries; a query with the token of another one gets an error."""
        for place, (query, found) in enumerate(zip(status_queries, read, strict=True)):
            if found is None or not query.page_token:
                continue
            try:
                read[place] = replace(found, after=await self._pages.place(query, FORMS[found.kind]))
            except Refusal as refusal:
                read[place] = None
                errors[place] = item_error(refusal.reason, f"queries[{place}].page_token")

    async def ListConsignments(
        self, request: pb.ListConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListConsignmentsResponse:
        """Return a page of the officers' work list."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        audit = request.audit if request.HasField("audit") else None
        day = request.accepted_from_day
        first = max(0, day_of_text(day, "accepted_from_day")) if day else 0
        after = await self._pages.place(request, (first, ""))
        async with self._store.database.connection() as reading:
            found = await self._inquiry.work(
                reading,
                request.state or (State.RELEASED if audit else State.HELD),
                request.lane,
                after,
                limit if audit is None else requests.PAGE_MAX,
            )
            if audit is not None:
                found = await self._inquiry.audited(reading, found, audit=audit, limit=limit)
            rows = await self._inquiry.rows(reading, [found])
        messages = await self._statuses(list(rows.values()), call.current().identity, history=False)
        listed = [messages[mrn] for mrn in found.mrns if mrn in messages]
        token = await self._pages.token(request, *found.following) if found.following else ""
        await self._accesses.record([each.mrn for each in listed])
        return pb.ListConsignmentsResponse(consignments=listed, next_page_token=token)

    async def _statuses(
        self, rows: Sequence[Row], reader: Identity, *, history: bool
    ) -> dict[str, pb.ConsignmentStatus]:
        out: dict[str, pb.ConsignmentStatus] = {}
        for begin in range(0, len(rows), _ROWS_A_BREATH):
            async with self._store.database.connection() as reading:
                table = await self._store.states(reading, rows[begin : begin + _ROWS_A_BREATH])
                histories = await self._inquiry.histories(reading, table) if history else []
                # None of them is claimed by a colleague of a filer, a carrier or an agency.
                insight = table.strings("mrn").tolist() if reader.role in _INSIGHT else []
                claims = await self._store.claims.find(reading, insight)
                cases = await self._store.cases.of_consignments(reading, insight) if insight else {}
            messages = answers.statuses(table, reader.role, agency=reader.agency)
            if reader.role not in (Role.CARRIER, Role.AGENCY):
                codes = await self._codes.codes([message.mrn for message in messages])
                for message, code in zip(messages, codes, strict=True):
                    message.check_code = code
            for message in messages:
                if message.mrn in claims:
                    answers.set_claim(message.claim, claims[message.mrn])
                message.cases.extend(cases.get(message.mrn, ()))
            if history:
                for message, versions in zip(messages, histories, strict=True):
                    for version in versions:
                        message.history.extend(answers.history(version, reader.role, agency=reader.agency))
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
        check_request_id(request.request_id)
        requests.check_act(request.reason, request.note)
        call.current().reason = request.reason
        by = call.current().identity.id
        _, errors = requests.refs(request.consignments)
        viewed = _viewed(request.consignments)

        def unreleasable(states: Table) -> list[str]:
            return unfit_to_release(states, by, request.note, viewed)

        def proposed(states: Table) -> list[Proposal | None]:
            return proposed_release(states, by, request.reason, request.note)

        def prepare(states: Table, at: int) -> tuple[Table, EventDetails]:
            return states, EventDetails(event=event, at=at, by=by, reason=request.reason, note=request.note)

        releases = event is Event.OFFICER_RELEASED
        return await self._once(
            request,
            event.name,
            request.consignments,
            errors,
            prepare,
            answer,
            unfit=unreleasable if releases else None,
            claimant=by if releases else "",
            propose=proposed if releases else None,
        )

    async def RecordInspections(
        self, request: pb.RecordInspectionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordInspectionsResponse:
        """Record what inspections found."""
        requests.check_size(len(request.inspections))
        check_request_id(request.request_id)
        by = call.current().identity.id
        found, errors = requests.inspections(request.inspections)
        refs = [each.consignment for each in request.inspections]

        def prepare(states: Table, at: int) -> tuple[Table, EventDetails]:
            return states, EventDetails(event=Event.INSPECTED, at=at, by=by, inspections=found)

        return await self._once(
            request,
            Event.INSPECTED.name,
            refs,
            errors,
            prepare,
            pb.RecordInspectionsResponse,
            where="inspections[{}].consignment.mrn",
            unfit=lambda states: ["INSPECTION_ITEM_UNKNOWN" if each else "" for each in missing_item(states, found)],
        )

    async def AdjustConsignments(
        self, request: pb.AdjustConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AdjustConsignmentsResponse:
        """Correct value or goods, and have them assessed again."""
        requests.check_size(len(request.adjustments))
        check_request_id(request.request_id)
        found, errors = corrections.adjustments(request.adjustments)
        refs = [each.consignment for each in request.adjustments]
        answering = requests.Answering(refs, errors, pb.AdjustConsignmentsResponse, "adjustments[{}].consignment.mrn")
        payload = await requests.unreused(
            request.request_id,
            self._adjusting.adjust(
                answering.expected_versions,
                found,
                officer=call.current().identity.id,
                request=requests.command_request(request, "AdjustConsignments"),
                encode=answering.encode,
            ),
        )
        return await self._accesses.answered(pb.AdjustConsignmentsResponse.FromString(payload))

    async def DisposeConsignments(
        self, request: pb.DisposeConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DisposeConsignmentsResponse:
        """Record what customs decides on goods that are not released."""
        requests.check_size(len(request.disposals))
        check_request_id(request.request_id)
        by = call.current().identity.id
        found, errors = corrections.disposals(request.disposals)
        refs = [each.consignment for each in request.disposals]
        viewed = _viewed(refs)
        return await self._once(
            request,
            "DisposeConsignments",
            refs,
            errors,
            lambda states, at: disposing(states, at, found, by),
            pb.DisposeConsignmentsResponse,
            where="disposals[{}].consignment.mrn",
            unfit=lambda states: unfit_to_dispose(states, found, by, viewed),
            claimant=by,
            propose=lambda states: proposed_disposals(states, found, by),
        )

    # ------------------------------------------------------------------------------------------ returns
    async def RecordReturns(
        self, request: pb.RecordReturnsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordReturnsResponse:
        """Record what went back; filers and carriers reach what is theirs."""
        requests.check_size(len(request.returns))
        check_request_id(request.request_id)
        identity = call.current().identity
        found, errors = corrections.returns(request.returns)

        def prepare(states: Table, at: int) -> tuple[Table, EventDetails]:
            return returning(states, at, found, identity.id)

        return await self._once(
            request,
            "RecordReturns",
            [each.consignment for each in request.returns],
            errors,
            prepare,
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
        errors: Mapping[int, ItemError],
        prepare: Prepare,
        answer: type[R],
        *,
        where: str = "consignments[{}].mrn",
        unfit: Unfit | None = None,
        outside: Identity | None = None,
        claimant: str = "",
        propose: Propose | None = None,
    ) -> R:
        """Carry out a command on the consignments without errors, once per request_id; `where` is the path of an MRN by its place."""
        answering = requests.Answering(refs, errors, answer, where)
        payload = await requests.unreused(
            request.request_id,
            self._commands.act(
                answering.expected_versions,
                prepare,
                request=requests.command_request(request, method),
                encode=answering.encode,
                unfit=unfit,
                outside=outside,
                claimant=claimant,
                propose=propose,
            ),
        )
        return await self._accesses.answered(answer.FromString(payload))

    # ------------------------------------------------------------------------------------------ notices
    async def PullNotices(
        self, request: pb.PullNoticesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PullNoticesResponse:
        """Return the caller's notices after a cursor."""
        size = page_size_of(request.page_size, NOTICES_DEFAULT, NOTICES_MAX)
        if request.wait_millis > WAIT_MILLIS_MAX:
            raise Refusal("WAIT_TOO_LONG", path="wait_millis", value=request.wait_millis, limit=WAIT_MILLIS_MAX)
        if request.language:
            check_language(request.language)
        identity = call.current().identity
        filer = request.filer if request.filer != identity.id else ""
        if filer and identity.role is not Role.FILER:
            raise Refusal("FILER_FOREIGN", path="filer")
        key = _NOTICE_KEYS[identity.role](identity.id) if not filer else await self._entrusted_key(identity.id, filer)
        post = await self._notices.pull(key, request.cursor, size, request.wait_millis / 1000)
        notices, pages = await self._notices_of(post.tables, identity, filer), 1
        while not notices and post.tables and pages < NOTICE_PAGES_MAX:
            # Notices of which the caller may read none are not the end of its notices.
            post = await self._notices.pull(key, post.next, size, 0)
            notices, pages = await self._notices_of(post.tables, identity, filer), pages + 1
        if request.language:
            await self._writer.write(notices, request.language, reader=_READERS[identity.role])
        return pb.PullNoticesResponse(
            notices=notices, next_cursor=post.next, incomplete=not notices and bool(post.tables)
        )

    async def _entrusted_key(self, caller: str, filer: str) -> str:
        """Return the key of another filer's notices; one without notices where it entrusted nothing to the caller."""
        async with self._store.database.connection() as reading:
            entrusted = await entrusted_to(self._store, reading, caller)
        return filer_key(filer) if filer in entrusted.mandates else ""

    async def _notices_of(self, tables: Sequence[Table], identity: Identity, filer: str = "") -> list[pb.Notice]:
        """Return what a caller may read of the notices of versions; `filer` is the one that entrusted them to it."""
        if filer and tables:
            async with self._store.database.connection() as reading:
                entrusted = await entrusted_to(self._store, reading, identity.id)
            # What a party is notified of declarations of others is not entrusted with its own ones.
            tables = [
                table.take(np.flatnonzero(entrusted.covers(table) & ~is_foreign(table, filer))) for table in tables
            ]
        if identity.agency:
            return await self._agency_notices(tables, identity.agency)
        carrier = identity.role is Role.CARRIER
        if carrier and tables:
            async with self._store.database.connection() as reading:
                own = [await notified_to(self._store, reading, table, identity.id) for table in tables]
            tables = [table.take(np.flatnonzero(rows)) for table, rows in zip(tables, own, strict=True)]
        if carrier or filer:
            return [notice for table in tables for notice in answers.notices_of(table, carrier=carrier)]
        return [notice for table in tables for notice in self._filer_notices(table, identity.id)]

    def _filer_notices(self, table: Table, filer: str) -> list[pb.Notice]:
        """Return a filer's notices of versions, in their order: of its own declarations, and of those of others that await a part of it."""
        foreign = is_foreign(table, filer)
        if not foreign.any():
            return answers.notices_of(table, carrier=False)
        own = (
            iter(answers.notices_of(table.take(np.flatnonzero(~foreign)), carrier=False))
            if not foreign.all()
            else iter(())
        )
        last_days = [day + self._arrival_days for day in days_of(table.strings("mrn").tolist())]
        awaited = party_notices(table, filer, last_days)
        found: list[pb.Notice] = []
        for row, is_awaiting in enumerate(foreign.tolist()):
            found += awaited[row] if is_awaiting else [next(own)]
        return found

    async def _agency_notices(self, tables: Sequence[Table], agency: str) -> list[pb.Notice]:
        """Return an agency's notices of versions, and record that it reads them."""
        versions = [table for table in tables if has_needs(table) and not is_about_last_days(table)]
        needing = [mrn for table in versions for mrn in table.strings("mrn").tolist()]
        uses: Mapping[str, Sequence[Use]] = {}
        if needing:
            async with self._store.database.connection() as reading:
                uses = await self._store.licences.used_by(reading, list(dict.fromkeys(needing)))
        notices = [notice for table in tables for notice in agency_notices(table, agency, uses)]
        ending = [each for notice in notices if notice.HasField("licence_ends_at") for each in notice.licences]
        await self._accesses.record(
            list(dict.fromkeys(notice.mrn for notice in notices if notice.mrn)),
            about=joined(named_in_records((each.authority, each.type, each.number)) for each in ending),
        )
        return notices


def _viewed(refs: Sequence[pb.ConsignmentRef]) -> set[str]:
    """Return the MRNs of consignments whose version the officer names, and so has seen."""
    return {ref.mrn for ref in refs if ref.HasField("expected_version")}


def _result(
    matches: Matches | None,
    messages: dict[str, pb.ConsignmentStatus],
    error: ItemError | None,
    place: int,
    query: pb.StatusQuery,
) -> pb.StatusResult:
    if error is not None or matches is None:
        return pb.StatusResult(error=error)
    statuses = [messages[mrn] for mrn in matches.mrns if mrn in messages]
    if not statuses and not matches.following:
        return pb.StatusResult(error=requests.unknown(place, query))
    return pb.StatusResult(consignments=statuses)
