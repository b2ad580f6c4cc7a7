"""The gRPC edge of controls: orders, answers, conclusions and the list of open controls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import grpc.aio
import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from libs.columns import Table
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role, is_id
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from luxor.clearance.v1 import clearance_pb2, control_pb2
from luxor.clearance.v1 import controls_pb2 as pb
from luxor.clearance.v1.controls_pb2_grpc import ControlServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.controls import requests as checks
from services.clearance.api.controls import scans as scan_checks
from services.clearance.api.messages import statuses
from services.clearance.commands.act import Commands, Guarded, Propose, Unfit
from services.clearance.consignment.controls import steps
from services.clearance.consignment.controls.scans import scanned, unfit_to_scan
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import Event
from services.clearance.pre_loading.parameters import Parameters
from services.clearance.second_person.steps import proposed_conclusions
from services.clearance.store import Store, day_of
from services.clearance.store.work import EVERYBODY, ControlFilter

PAGE_DEFAULT: Final = 100
OFFICE_CHARACTERS_MAX: Final = 8

R = TypeVar("R", bound=Message)
Step = Callable[[Table, int], tuple[Table, NDArray[np.int64]]]
"""Return the changed states and the events, given states and an instant."""

ROLES: Final = {
    "OrderControls": {Role.OFFICER, Role.AGENCY},
    "AnswerControls": {Role.FILER, Role.CARRIER},
    "ConcludeControls": {Role.OFFICER, Role.AGENCY},
    "RecordScans": {Role.OFFICER, Role.AGENCY},
    "ListControls": {Role.OFFICER, Role.ANALYST, Role.AGENCY},
}
"""Who may call what."""


class ControlService(ControlServiceServicer):
    """Orders controls, takes their answers and concludes them."""

    def __init__(self, store: Store, parameters: Parameters) -> None:
        """Serve from a store; `parameters` has the terms of requests before loading."""
        self._store = store
        self._parameters = parameters
        self._commands = Commands(store)
        self._accesses = AccessLog(store)
        self._pages = PageTokens(store.database)

    async def OrderControls(
        self, request: pb.OrderControlsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.OrderControlsResponse:
        """Order controls of goods that are not released."""
        identity = call.current().identity
        agency = identity.agency
        found, errors = checks.orders(request.orders, agency, await self._store.database.now())
        return await self._once(
            request,
            request.orders,
            errors,
            lambda states, at: steps.ordering(states, at, found, identity.id, self._parameters.with_terms, agency),
            pb.OrderControlsResponse,
            "orders",
            unfit=lambda states: steps.unfit_to_order(states, found, agency),
            outside=identity if agency else None,
        )

    async def AnswerControls(
        self, request: pb.AnswerControlsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.AnswerControlsResponse:
        """Record answers of filers and carriers."""
        identity = call.current().identity
        carrier = identity.role is Role.CARRIER
        addressee = control_pb2.CONTROL_ADDRESSEE_CARRIER if carrier else control_pb2.CONTROL_ADDRESSEE_FILER
        found, errors = checks.answers(request.answers)
        found = {mrn: replace(each, by=identity.id) for mrn, each in found.items()}
        return await self._once(
            request,
            request.answers,
            errors,
            lambda states, at: steps.answering(states, at, found),
            pb.AnswerControlsResponse,
            "answers",
            unfit=lambda states: steps.unfit_to_answer(states, found, addressee),
            outside=identity,
        )

    async def ConcludeControls(
        self, request: pb.ConcludeControlsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ConcludeControlsResponse:
        """Record results of controls."""
        identity = call.current().identity
        found, errors = checks.conclusions(request.conclusions)
        return await self._once(
            request,
            request.conclusions,
            errors,
            lambda states, at: steps.concluding(states, at, found, identity.id),
            pb.ConcludeControlsResponse,
            "conclusions",
            unfit=lambda states: steps.unfit_to_conclude(states, found, identity.agency),
            outside=identity if identity.agency else None,
            claimant="" if identity.agency else identity.id,
            guarded=lambda states: steps.may_free(states, found),
            # What a partner agency concludes of its own controls is the agency's decision.
            propose=None if identity.agency else lambda states: proposed_conclusions(states, found, identity.id),
        )

    async def RecordScans(
        self, request: pb.RecordScansRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordScansResponse:
        """Record scans for controls."""
        identity = call.current().identity
        requests.check_size(len(request.scans))
        found, errors = scan_checks.scans(request.scans, identity.agency, await self._store.database.now())
        await scan_checks.without_unattached(self._store, request.scans, found, errors)

        def step(states: Table, at: int) -> tuple[Table, NDArray[np.int64]]:
            events = np.full(states.rows, np.int64(Event.SCAN_RECORDED))
            return scanned(states, at, found, identity.id), events

        return await self._once(
            request,
            request.scans,
            errors,
            step,
            pb.RecordScansResponse,
            "scans",
            unfit=lambda states: unfit_to_scan(states, found, identity.agency),
            outside=identity if identity.agency else None,
            # The id is often the scanner's own number: what a refusal asks to correct has it again.
            forget_refused=True,
        )

    async def _once(
        self,
        request: Any,
        entries: Sequence[Any],
        errors: Mapping[int, ItemError],
        step: Step,
        answer: type[R],
        field: str,
        *,
        unfit: Unfit,
        outside: Identity | None = None,
        claimant: str = "",
        guarded: Guarded | None = None,
        propose: Propose | None = None,
        forget_refused: bool = False,
    ) -> R:
        """Carry out a step on the consignments without errors, once per request_id."""
        requests.check_size(len(entries))
        check_request_id(request.request_id)
        by = call.current().identity.id

        def prepare(states: Table, at: int) -> tuple[Table, EventDetails]:
            table, events = step(states, at)
            return table, EventDetails(event=events, at=at, by=by)

        answering = requests.Answering(
            [each.consignment for each in entries], errors, answer, f"{field}[{{}}].consignment.mrn"
        )
        payload = await requests.unreused(
            request.request_id,
            self._commands.act(
                answering.expected_versions,
                prepare,
                request=requests.command_request(request, type(request).__name__),
                encode=answering.encode,
                unfit=unfit,
                outside=outside,
                before_arrival=True,
                claimant=claimant,
                guarded=guarded,
                propose=propose,
                forget_refused=forget_refused,
            ),
        )
        return await self._accesses.answered(answer.FromString(payload))

    async def ListControls(
        self, request: pb.ListControlsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListControlsResponse:
        """Return a page of open controls."""
        identity = call.current().identity
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        chosen = _filter(request, identity)
        day, mrn, number = await self._pages.place(request, (0, "", 0))
        async with self._store.database.connection() as reading:
            found = await self._store.controls.page(reading, chosen, (int(day), str(mrn), int(number)), limit + 1)
            shown = found[:limit]
            rows = await self._store.find(reading, list(dict.fromkeys(each for each, _ in shown)))
            states = await self._store.states(reading, list(rows.values()))
            claims = {} if identity.agency else await self._store.claims.find(reading, list(rows))
        by_mrn = {each.mrn: each for each in statuses(states, identity.role, agency=identity.agency)}
        response = pb.ListControlsResponse()
        for each, place in shown:
            status = by_mrn.get(each)
            control = None if status is None else next((c for c in status.controls if c.number == place), None)
            if status is not None and control is not None and not control.HasField("concluded_at"):
                response.controls.append(_open_control(status, control))
                if each in claims:
                    response.controls[-1].claimed_by = claims[each].officer
        if len(found) > limit:
            last, place = shown[-1]
            response.next_page_token = await self._pages.token(request, day_of(last), last, place)
        await self._accesses.record([each.mrn for each in response.controls])
        return response


def _filter(request: pb.ListControlsRequest, identity: Identity) -> ControlFilter:
    """Return which controls the caller may list and wants. Raise Refusal."""
    agency = identity.agency
    if request.authority and (not is_id(request.authority) or agency not in ("", request.authority)):
        raise Refusal("CONTROL_AUTHORITY_MALFORMED", path="authority", value=request.authority)
    # An agency does not read the office.
    if (
        len(request.office) > OFFICE_CHARACTERS_MAX
        or not requests.is_plain(request.office)
        or (agency and request.office)
    ):
        raise Refusal("CONTROL_AUTHORITY_MALFORMED", path="office", value=request.office)
    named = "" if request.authority == checks.CUSTOMS else request.authority or EVERYBODY
    return ControlFilter(agency or named, request.form, request.overdue, request.answered, request.office)


def _open_control(status: clearance_pb2.ConsignmentStatus, control: control_pb2.Control) -> pb.OpenControl:
    arrived = status.movement.HasField("arrived_at")
    return pb.OpenControl(
        mrn=status.mrn,
        version=status.version,
        state=status.state,
        house_document_number=status.filing.house_document.number,
        arrived_at=status.movement.arrived_at if arrived else None,
        office=status.decision.office,
        control=control,
    )
