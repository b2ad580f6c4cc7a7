"""The gRPC edge of the officers' work: lists by office, claims and hand-overs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import grpc.aio
import numpy as np
from google.protobuf.message import Message

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Role, is_id
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from libs.store.database import Transaction
from luxor.clearance.v1 import work_pb2 as pb
from luxor.clearance.v1.work_pb2_grpc import WorkServiceServicer
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.messages import statuses
from services.clearance.commands.contradictions.record import forget_unlisted
from services.clearance.commands.work.claim import Claims, HandOver
from services.clearance.commands.work.proposals import DecideProposals
from services.clearance.consignment.contradictions.contradiction import Contradictions, contradictions_of
from services.clearance.consignment.controls.pre_loading import waits_for_judgement
from services.clearance.consignment.decision import Lane
from services.clearance.consignment.presentation.times import presentation_due
from services.clearance.consignment.proposals.proposal import open_proposals
from services.clearance.consignment.state.hold_causes import hold_causes
from services.clearance.consignment.transitions import STAYING, State
from services.clearance.second_person.steps import ProposalDecision, Verdict
from services.clearance.store import Store, day_of
from services.clearance.store.timers.contradicted import in_list
from services.clearance.store.work import Claim
from services.clearance.temporary_storage.limits import in_storage

PAGE_DEFAULT: Final = 100
OFFICE_CHARACTERS_MAX: Final = 8
LOOKED_AT_MAX: Final = 5_000
"""Entries of the list that one call reads; a page of selected claims may therefore be short."""
_ENTRIES_A_LOOK: Final = 500
CONTRADICTIONS_A_PAGE: Final = 2_000
"""Contradictions from which on a page ends: each may have two values of 512 characters."""

R = TypeVar("R", bound=Message)
Place = tuple[int, int, str]

ROLES: Final = {
    "ListWork": {Role.OFFICER, Role.ANALYST},
    "ListStorage": {Role.OFFICER, Role.ANALYST},
    "ClaimConsignments": {Role.OFFICER},
    "HandOverConsignments": {Role.OFFICER},
    "ListProposals": {Role.OFFICER, Role.ANALYST},
    "ListUnjudged": {Role.OFFICER, Role.ANALYST},
    "ListContradicted": {Role.OFFICER, Role.ANALYST},
    "DecideProposals": {Role.OFFICER},
}
"""Who may call what."""


class WorkService(WorkServiceServicer):
    """Lists goods that wait for officers by office, and records who works on held ones and which decisions a second person confirms."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._accesses = AccessLog(store)
        self._claims = Claims(store)
        self._proposals = DecideProposals(store)
        self._pages = PageTokens(store.database)

    async def ListWork(
        self, request: pb.ListWorkRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListWorkResponse:
        """Return a page of an office's held goods."""
        _check_office(request.office)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        lane, day, mrn = await self._pages.place(request, (int(max(Lane)), 0, ""))
        after: Place = (int(lane), int(day), str(mrn))
        if request.claim == pb.CLAIM_FILTER_OWN:
            return await self._own(request, limit, after)
        if request.lane and not mrn:
            after = (request.lane, 0, "")
        chosen: dict[str, Claim | None] = {}
        following: Place | None = after
        read = 0
        while following is not None and len(chosen) < limit and read < LOOKED_AT_MAX:
            look = max(limit - len(chosen), _ENTRIES_A_LOOK if request.claim else 0)
            async with self._store.database.connection() as reading:
                entries = await self._store.work.of_office(reading, request.office, request.lane, following, look + 1)
                part = entries[:look]
                claims = await self._store.claims.find(reading, [each for _, _, each in part])
            read += len(part)
            following = part[-1] if len(entries) > look else None
            for place in part:
                claim = claims.get(place[2])
                if not _selected(request.claim, claim):
                    continue
                chosen[place[2]] = claim
                if len(chosen) == limit:
                    following = None if place == part[-1] and following is None else place
                    break
        response = pb.ListWorkResponse(items=await self._items(chosen))
        await self._accesses.record([each.mrn for each in response.items])
        if following is not None:
            response.next_page_token = await self._pages.token(request, *following)
        return response

    async def _own(self, request: pb.ListWorkRequest, limit: int, after: Place) -> pb.ListWorkResponse:
        """Return a page of the caller's claims: held, controlled and seized goods of all offices or of one."""
        async with self._store.database.connection() as reading:
            mrns = await self._store.claims.of_officer(reading, call.current().identity.id, after[1:], limit + 1)
            claims = await self._store.claims.find(reading, mrns[:limit])
        items = await self._items(dict(claims), STAYING)
        response = pb.ListWorkResponse(
            items=[each for each in items if request.office in ("", each.office) and request.lane in (0, each.lane)]
        )
        await self._accesses.record([each.mrn for each in response.items])
        if len(mrns) > limit:
            last = mrns[limit - 1]
            response.next_page_token = await self._pages.token(request, 0, day_of(last), last)
        return response

    async def _items(
        self, chosen: dict[str, Claim | None], shown: Sequence[State] = (State.HELD,)
    ) -> list[pb.WorkItem]:
        """Return the work of consignments that are still in a state to be shown, in their order."""
        async with self._store.database.connection() as reading:
            rows = await self._store.find(reading, list(chosen))
            states = await self._store.states(reading, [rows[mrn] for mrn in chosen if mrn in rows])
        return _items(states.take(np.flatnonzero(np.isin(states.ints("state").values, shown))), chosen)

    async def ListStorage(
        self, request: pb.ListStorageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListStorageResponse:
        """Return a page of an office's goods whose temporary storage has ended or ends soon."""
        _check_office(request.office)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        end, day, mrn = await self._pages.place(request, (0, 0, ""))
        async with self._store.database.connection() as reading:
            until = await self._store.now(reading) + request.within_days * MICROS_PER_DAY
            after = int(end), int(day), str(mrn)
            places = await self._store.storage.of_office(reading, request.office, until, after, limit + 1)
            states, claims = await self._at(reading, places[:limit])
        items = _items(
            states.take(np.flatnonzero(in_storage(states) | presentation_due(states).valid)),
            claims,
        )
        response = pb.ListStorageResponse(items=items)
        await self._accesses.record([each.mrn for each in items])
        response.next_page_token = await self._next(request, places, limit)
        return response

    async def ListProposals(
        self, request: pb.ListProposalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListProposalsResponse:
        """Return a page of decisions that wait for a second person: those that the caller may confirm, or the caller's own."""
        _check_office(request.office)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        day, mrn = await self._pages.place(request, (0, ""))
        caller, after = call.current().identity.id, (int(day), str(mrn))
        async with self._store.database.connection() as reading:
            places = await self._store.proposals.page(
                reading, request.office, caller, own=request.own, after=after, limit=limit + 1
            )
            states, claims = await self._at(reading, places[:limit])
        waiting = np.array([each is not None for each in open_proposals(states)], np.bool_)
        items = _items(states.take(np.flatnonzero(waiting)), claims)
        response = pb.ListProposalsResponse(items=items)
        await self._accesses.record([each.mrn for each in items])
        response.next_page_token = await self._next(request, places, limit)
        return response

    async def ListUnjudged(
        self, request: pb.ListUnjudgedRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListUnjudgedResponse:
        """Return a page of goods whose filing risk could not judge before loading."""
        _check_office(request.office)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        accepted, day, mrn = await self._pages.place(request, (0, 0, ""))
        after = int(accepted), int(day), str(mrn)
        async with self._store.database.connection() as reading:
            places = await self._store.unjudged.page(reading, request.office, after, limit + 1)
            states, claims = await self._at(reading, places[:limit])
        waiting = states.take(np.flatnonzero(waits_for_judgement(states)))
        response = pb.ListUnjudgedResponse(items=_items(waiting, claims))
        await self._accesses.record([each.mrn for each in response.items])
        response.next_page_token = await self._next(request, places, limit)
        return response

    async def ListContradicted(
        self, request: pb.ListContradictedRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListContradictedResponse:
        """Return a page of goods whose filing contradicts parts of other parties, with both values."""
        _check_office(request.office)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        accepted, day, mrn = await self._pages.place(request, (0, 0, ""))
        after = int(accepted), int(day), str(mrn)
        async with self._store.database.connection() as reading:
            places = await self._store.contradicted.page(reading, request.office, after, limit + 1)
            states, claims = await self._at(reading, places[:limit])
        shown, total = states.take(np.flatnonzero(in_list(states))), 0
        if shown.rows < states.rows:
            await forget_unlisted(self._store, states.take(np.flatnonzero(~in_list(states))).strings("mrn").tolist())
        response = pb.ListContradictedResponse()
        for item, found in zip(_items(shown, claims), contradictions_of(shown), strict=True):
            _set_contradictions(item, found)
            response.items.append(item)
            total += len(found.entries)
            if total >= CONTRADICTIONS_A_PAGE:
                limit = list(claims).index(item.mrn) + 1
                break
        await self._accesses.record([each.mrn for each in response.items])
        response.next_page_token = await self._next(request, places, limit)
        return response

    async def _at(
        self, reading: Transaction, places: Sequence[tuple[Any, ...]]
    ) -> tuple[Table, dict[str, Claim | None]]:
        """Return the states of the goods at places of a list, as far as there are any, and the claim of each; a place ends with the MRN."""
        listed = [place[-1] for place in places]
        rows = await self._store.find(reading, listed)
        states = await self._store.states(reading, [rows[each] for each in listed if each in rows])
        claims = await self._store.claims.find(reading, listed)
        return states, {each: claims.get(each) for each in listed}

    async def _next(self, request: Any, places: Sequence[tuple[Any, ...]], limit: int) -> str:
        """Return the token of the page after the first `limit` places; "" if there are no more."""
        return await self._pages.token(request, *places[limit - 1]) if len(places) > limit else ""

    async def DecideProposals(
        self, request: pb.DecideProposalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.DecideProposalsResponse:
        """Confirm, refuse or withdraw decisions that wait for a second person."""
        requests.check_size(len(request.consignments))
        check_request_id(request.request_id)
        requests.check_act(request.reason, request.note)
        if request.verdict not in [int(each) for each in Verdict]:
            raise Refusal("PROPOSAL_VERDICT_MISSING", path="verdict", value=request.verdict)
        call.current().reason = request.reason
        _, errors = requests.refs(request.consignments)
        answering = requests.Answering(request.consignments, errors, pb.DecideProposalsResponse, "consignments[{}].mrn")
        decision = ProposalDecision(Verdict(request.verdict), call.current().identity.id, request.reason, request.note)
        payload = await requests.unreused(
            request.request_id,
            self._proposals.run(
                answering.expected_versions,
                decision,
                request=requests.command_request(request, type(request).__name__),
                encode=answering.encode,
            ),
        )
        return await self._accesses.answered(pb.DecideProposalsResponse.FromString(payload))

    async def ClaimConsignments(
        self, request: pb.ClaimConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ClaimConsignmentsResponse:
        """Claim held goods for the caller."""
        by = call.current().identity.id
        order = HandOver(by=by, officer=by, note=request.note, takes_over=False)
        return await self._once(request, order, pb.ClaimConsignmentsResponse)

    async def HandOverConsignments(
        self, request: pb.HandOverConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.HandOverConsignmentsResponse:
        """Give claims to another officer, or back to the office."""
        if request.officer and not is_id(request.officer):
            raise Refusal("OFFICER_MALFORMED", path="officer", value=request.officer)
        by = call.current().identity.id
        order = HandOver(by=by, officer=request.officer, note=request.note, takes_over=True)
        return await self._once(request, order, pb.HandOverConsignmentsResponse)

    async def _once(self, request: Any, order: HandOver, answer: type[R]) -> R:
        """Carry out an order on the consignments without errors, once per request_id."""
        requests.check_size(len(request.consignments))
        check_request_id(request.request_id)
        if len(request.note) > requests.NOTE_CHARACTERS_MAX or not requests.is_plain(request.note):
            raise Refusal("NOTE_TOO_LONG", path="note")
        call.current().reason = request.note
        _, errors = requests.refs(request.consignments)
        answering = requests.Answering(request.consignments, errors, answer, "consignments[{}].mrn")
        payload = await requests.unreused(
            request.request_id,
            self._claims.run(
                answering.expected_versions,
                order,
                request=requests.command_request(request, type(request).__name__),
                encode=answering.encode,
            ),
        )
        return await self._accesses.answered(answer.FromString(payload))


def _selected(claim_filter: int, claim: Claim | None) -> bool:
    """Return whether a consignment is selected by its claim."""
    if claim_filter == pb.CLAIM_FILTER_UNCLAIMED:
        return claim is None
    return claim_filter != pb.CLAIM_FILTER_CLAIMED or claim is not None


def _items(held: Table, claims: Mapping[str, Claim | None]) -> list[pb.WorkItem]:
    """Return goods as work, with the claims of them by MRN."""
    causes, unjudged = hold_causes(held).tolist(), held.ints("pre_loading_unjudged").tolist()
    items = []
    for status, cause, rules in zip(statuses(held, Role.OFFICER), causes, unjudged, strict=True):
        item = pb.WorkItem(
            mrn=status.mrn,
            state=status.state,
            version=status.version,
            lane=status.decision.lane,
            cause=cause,
            reasons=status.decision.reasons,
            office=status.decision.office,
            house_document_number=status.filing.house_document.number,
            accepted_at=status.filing.accepted_at,
            unjudged_rules=rules,
        )
        if status.movement.HasField("arrived_at"):
            item.arrived_at.CopyFrom(status.movement.arrived_at)
        if status.movement.HasField("storage_ends_at"):
            item.storage_ends_at.CopyFrom(status.movement.storage_ends_at)
        if not status.movement.HasField("presented_at") and status.movement.HasField("presentation_due_at"):
            item.presentation_due_at.CopyFrom(status.movement.presentation_due_at)
        if status.decision.HasField("decided_at"):
            item.decided_at.CopyFrom(status.decision.decided_at)
        for proposal in status.proposals:
            if not proposal.outcome:
                item.proposal.CopyFrom(proposal)
        claim = claims[status.mrn]
        if claim is not None:
            item.claimed_by, item.handed_by, item.claim_note = claim.officer, claim.handed_by, claim.note
            item.claimed_at.FromMicroseconds(claim.claimed_at)
        items.append(item)
    return items


def _set_contradictions(item: pb.WorkItem, contradictions: Contradictions) -> None:
    """Set the contradictions of goods, with both values."""
    item.contradiction_count = contradictions.total
    for each in contradictions.entries:
        item.contradictions.add(**each._asdict())


def _check_office(office: str) -> None:
    """Raise Refusal where an office is malformed."""
    if len(office) > OFFICE_CHARACTERS_MAX or not requests.is_plain(office):
        raise Refusal("OFFICE_MALFORMED", path="office", value=office)
