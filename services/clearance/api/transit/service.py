"""The gRPC edge of movements to another office."""

from typing import Any, Final, TypeVar

import grpc.aio
import numpy as np

from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import page_size_of
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import transit_pb2 as pb
from luxor.clearance.v1.transit_pb2_grpc import TransitServiceServicer
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.goods.answers import GoodsAnswers
from services.clearance.api.messages import statuses
from services.clearance.commands.transit.move import Move
from services.clearance.consignment.columns import in_transit
from services.clearance.store import Store
from services.clearance.transit.limits import LIMIT_DAYS_MAX, TransitRule
from services.clearance.transit.movement import TransitArrival, TransitEnd, TransitStart, TransitStep

PAGE_DEFAULT: Final = 100
OFFICE_CHARACTERS_MAX: Final = 8
_CHARACTERS_MAX: Final = {"seal": 20, "document_number": 70, "guarantee_reference": 24}

ROLES: Final = {
    "StartTransit": {Role.CARRIER, Role.OFFICER},
    "RecordTransitArrivals": {Role.CARRIER, Role.OFFICER},
    "EndTransit": {Role.OFFICER},
    "ListTransit": {Role.OFFICER, Role.ANALYST},
}
"""Who may call what."""

Step = pb.StartTransitRequest | pb.RecordTransitArrivalsRequest | pb.EndTransitRequest
R = TypeVar("R", pb.StartTransitResponse, pb.RecordTransitArrivalsResponse, pb.EndTransitResponse)


class TransitService(TransitServiceServicer):
    """Moves goods to other offices."""

    def __init__(self, store: Store, rules: tuple[TransitRule, ...], *, carriers_start: bool = False) -> None:
        """Serve from a store by rules of movements; carriers begin movements only if `carriers_start`."""
        self._store, self._rules, self._carriers_start = store, rules, carriers_start
        self._accesses = AccessLog(store)
        self._answers = GoodsAnswers(store)
        self._pages = PageTokens(store.database)

    async def StartTransit(
        self, request: pb.StartTransitRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartTransitResponse:
        """Begin movements, once per request."""
        identity = call.current().identity
        _check_office(request.destination_office, "destination_office")
        if not 0 <= request.limit_days <= LIMIT_DAYS_MAX:
            raise Refusal(
                "TRANSIT_DAYS_OUT_OF_BOUNDS", path="limit_days", value=request.limit_days, days_max=LIMIT_DAYS_MAX
            )
        for name in _CHARACTERS_MAX:
            _check_text(name, getattr(request, name))
        step = TransitStart(
            officer=_officer(identity, request.note),
            destination=request.destination_office,
            limit_days=request.limit_days,
            seal=request.seal,
            document=request.document_number,
            guarantee=request.guarantee_reference,
            note=request.note,
            carriers_start=self._carriers_start,
            rules=self._rules,
        )
        return await self._take(request, step, pb.StartTransitResponse)

    async def RecordTransitArrivals(
        self, request: pb.RecordTransitArrivalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordTransitArrivalsResponse:
        """Discharge movements, once per request."""
        officer = _officer(call.current().identity, request.note)
        # Goods under one document may move to several offices.
        diverts = bool(officer) and not request.master_document_number
        if request.office or not diverts:
            _check_office(request.office, "office")
        _check_text("document_number", request.document_number)
        if request.difference not in clearance_pb2.TransitDifference.values():
            raise Refusal("TRANSIT_DIFFERENCE_UNKNOWN", path="difference", value=request.difference)
        step = TransitArrival(
            officer=officer,
            office=request.office,
            diverts=diverts,
            document=request.document_number,
            difference=request.difference,
            note=request.note,
            rules=self._rules,
        )
        return await self._take(request, step, pb.RecordTransitArrivalsResponse)

    async def EndTransit(
        self, request: pb.EndTransitRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.EndTransitResponse:
        """End movements without an arrival, once per request."""
        requests.check_act(request.reason, request.note)
        call.current().reason = request.reason
        step = TransitEnd(
            officer=call.current().identity.id, reason=request.reason, lost=request.lost, note=request.note
        )
        return await self._take(request, step, pb.EndTransitResponse)

    async def _take(self, request: Step, step: TransitStep, response: type[R]) -> R:
        """Take a step of the goods that a request names, once per request."""
        return await self._answers.answer(request, Move(self._store, step), response, method=type(request).__name__)

    async def ListTransit(
        self, request: pb.ListTransitRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListTransitResponse:
        """Return a page of the goods that move to an office or left it."""
        if len(request.office) > OFFICE_CHARACTERS_MAX or not requests.is_plain(request.office):
            raise Refusal("OFFICE_MALFORMED", path="office", value=request.office)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        due, day, mrn = await self._pages.place(request, (0, 0, ""))
        after = int(due), int(day), str(mrn)
        async with self._store.database.connection() as reading:
            places = await self._store.transits.of_office(
                reading, request.office, after, limit + 1, departing=request.departing, overdue=request.overdue
            )
            listed = [each for _, _, each in places[:limit]]
            rows = await self._store.find(reading, listed)
            states = await self._store.states(reading, [rows[each] for each in listed if each in rows])
        states = states.take(np.flatnonzero(in_transit(states)))
        response = pb.ListTransitResponse(
            items=[
                pb.TransitItem(
                    mrn=status.mrn,
                    state=status.state,
                    version=status.version,
                    house_document_number=status.filing.house_document.number,
                    master_document_number=status.filing.master_document.number,
                    transit=status.transit,
                )
                for status in statuses(states, Role.OFFICER)
            ]
        )
        await self._accesses.record([each.mrn for each in response.items])
        if len(places) > limit:
            response.next_page_token = await self._pages.token(request, *places[limit - 1])
        return response


def _officer(identity: Identity, note: str) -> str:
    """Return the id of the calling officer, "" for a carrier, who writes no note. Raises Refusal."""
    if len(note) > requests.NOTE_CHARACTERS_MAX or not requests.is_plain(note):
        raise Refusal("NOTE_TOO_LONG", path="note")
    if identity.role is Role.OFFICER:
        return identity.id
    if note:
        raise Refusal("TRANSIT_FIELD_UNUSED", path="note")
    return ""


def _check_office(office: str, path: str) -> None:
    """Raise Refusal where an office is missing or malformed."""
    if not 0 < len(office) <= OFFICE_CHARACTERS_MAX or not requests.is_plain(office) or office.isspace():
        raise Refusal("TRANSIT_OFFICE_MALFORMED", path=path, value=office)


def _check_text(name: str, text: str) -> None:
    """Raise Refusal where a text of a movement is malformed."""
    limit = _CHARACTERS_MAX[name]
    if len(text) > limit or not requests.is_plain(text) or text.isspace():
        raise Refusal("TRANSIT_TEXT_MALFORMED", path=name, value=text, characters_max=limit)
