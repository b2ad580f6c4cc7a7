"""The gRPC edge of bulk releases."""

from typing import Any, Final

import grpc.aio

from libs.customs.time import MICROS_PER_DAY
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Role
from libs.server.requests import check_request_id, day_of_text, page_size_of
from luxor.clearance.v1 import bulk_release_pb2 as pb
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceServicer
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.summaries import hold_counts
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.bulk.release import BulkRelease, Order, Progress
from services.clearance.consignment.state.hold_causes import Selection
from services.clearance.store import Store

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000

ROLES: Final = {"BulkRelease": {Role.OFFICER}}
"""Who may call what."""


class BulkReleaseService(BulkReleaseServiceServicer):
    """Releases the goods of whole flights."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._bulk_release = BulkRelease(store)
        self._accesses = AccessLog(store)

    async def BulkRelease(
        self, request: pb.BulkReleaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.BulkReleaseResponse:
        """Release what the request selects of one transport, once per request."""
        check_request_id(request.request_id)
        requests.check_act(request.reason, request.note)
        call.current().reason = request.reason
        order = _order(request, call.current().identity.id)
        work = self._bulk_release.run(order, request=requests.command_request(request, "BulkRelease"), encode=_encoded)
        response = pb.BulkReleaseResponse.FromString(await requests.unreused(request.request_id, work))
        held = [each.mrn for each in response.held_consignments]
        await self._accesses.record(held, about="".join(order.transport.masters) or order.transport.conveyance)
        return response


def _order(request: pb.BulkReleaseRequest, officer: str) -> Order:
    """Read what an officer orders. Raises Refusal."""
    for place, reason in enumerate(request.only_reasons):
        if not requests.is_reason(reason):
            raise Refusal("REASON_MALFORMED", path=f"only_reasons[{place}]", value=reason)
    master, conveyance, day = request.master_document_number, request.conveyance.conveyance_reference, 0
    if request.WhichOneof("transport") == "conveyance":
        if not conveyance:
            raise Refusal("TRANSPORT_MISSING", path="conveyance.conveyance_reference")
        if not requests.is_plain(conveyance):
            raise Refusal("CONVEYANCE_MALFORMED", path="conveyance.conveyance_reference")
        day = day_of_text(request.conveyance.arrived_on, "conveyance.arrived_on")
    elif not master:
        raise Refusal("TRANSPORT_MISSING", path="master_document_number")
    else:
        requests.check_master_document(master)
    return Order(
        transport=Transport((master,) if master else (), conveyance, day * MICROS_PER_DAY, (day + 1) * MICROS_PER_DAY),
        selection=Selection(
            lanes=frozenset(map(int, request.lanes)),
            only_reasons=frozenset(request.only_reasons),
            override_officers=request.override_officers,
            end_delays=request.end_delays,
        ),
        officer=officer,
        reason=request.reason,
        note=request.note,
        page_size=page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX),
    )


def _encoded(progress: Progress) -> bytes:
    response = pb.BulkReleaseResponse(
        consignments=progress.consignments,
        released=progress.released,
        awaiting_arrival=progress.awaiting_arrival,
        released_before=progress.released_before,
        waiting_before=progress.waiting_before,
        final_before=progress.final_before,
        hold_counts=hold_counts(progress.hold_counts),
        held_consignments=[pb.HeldConsignment(mrn=mrn, cause=cause) for mrn, cause in progress.held],  # type: ignore[arg-type]
    )
    return response.SerializeToString()
