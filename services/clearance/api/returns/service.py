"""The gRPC edge of returns in bulk."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc.aio

from libs.customs.identifiers import mrn as mrns
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Identity, Role
from libs.server.requests import check_request_id, page_size_of
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import returns_pb2 as pb
from luxor.clearance.v1.returns_pb2_grpc import ReturnServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.queries import Inquiry, Query
from services.clearance.commands.act import Acted
from services.clearance.commands.returns.bulk_return import BulkReturn, ReturnProgress
from services.clearance.commands.visibility import Viewer
from services.clearance.consignment.returns import BulkOrder
from services.clearance.consignment.transitions import FINAL
from services.clearance.store import Store

PAGE_DEFAULT: Final = 100
DOCUMENT_CHARACTERS_MAX: Final = 70
REASONS: Final = frozenset(clearance_pb2.ReturnReason.values()) - {0, clearance_pb2.RETURN_REASON_DESTROYED}
"""Why goods leave; destroyed ones do not."""
_HOUSES_LOOKED_AT: Final = 10
"""Consignments of one house document that are read: all but one have ended if it was used again."""

ROLES: Final = {"BulkReturn": {Role.FILER, Role.CARRIER, Role.OFFICER}}
"""Who may call what."""


class ReturnService(ReturnServiceServicer):
    """Returns the goods of many consignments."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._accesses = AccessLog(store)
        self._bulk_return = BulkReturn(store)
        self._inquiry = Inquiry(store)

    async def BulkReturn(
        self, request: pb.BulkReturnRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.BulkReturnResponse:
        """Return the goods that the request names, once per request."""
        check_request_id(request.request_id)
        identity = call.current().identity
        order, master = _order(request, identity), request.master_document_number
        command = requests.command_request(request, "BulkReturn")
        if master:
            limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
            work = self._bulk_return.under(
                master, order, caller=identity, refusals_max=limit, request=command, encode=_under_master
            )
        else:
            goods = await self._named(request.consignments, identity)
            refs = [each for each in goods if isinstance(each, clearance_pb2.ConsignmentRef)]

            def encode(progress: ReturnProgress, results: Sequence[Acted]) -> bytes:
                outcomes = iter(results)
                answers = [_result(each, place, outcomes) for place, each in enumerate(goods)]
                unread = len(goods) - len(refs)
                return _response(progress, answers, unread).SerializeToString()

            work = self._bulk_return.named(
                requests.Answering(refs, {}, None, "").expected_versions,
                order,
                caller=identity,
                request=command,
                encode=encode,
            )
        response = pb.BulkReturnResponse.FromString(await requests.unreused(request.request_id, work))
        seen = [each.mrn for each in response.results if each.state]
        await self._accesses.record(seen, about=master if response.consignments else "")
        return response

    async def _named(
        self, goods: Sequence[pb.GoodsRef], identity: Identity
    ) -> list[clearance_pb2.ConsignmentRef | ItemError]:
        """Return each consignment by its MRN, or why it is not known by its reference."""
        houses = {each.house_document_number for each in goods if each.WhichOneof("reference") != "mrn"} - {""}
        readable = sorted(each for each in houses if len(each) <= DOCUMENT_CHARACTERS_MAX and requests.is_plain(each))
        queries = [Query("house_document_number", each, limit=_HOUSES_LOOKED_AT) for each in readable]
        matches = dict(zip(readable, await self._inquiry.find(queries, Viewer(self._store, identity)), strict=True))
        async with self._store.database.connection() as reading:
            rows = await self._inquiry.rows(reading, list(matches.values()))
        found: list[clearance_pb2.ConsignmentRef | ItemError] = []
        seen: set[str] = set()
        for place, each in enumerate(goods):
            path = f"consignments[{place}]"
            number = each.mrn
            if each.WhichOneof("reference") == "house_document_number":
                house, path = each.house_document_number, f"{path}.house_document_number"
                if house not in matches:
                    limit = DOCUMENT_CHARACTERS_MAX
                    found.append(item_error("REFERENCE_MALFORMED", path, house, characters_max=limit))
                    continue
                under = [mrn for mrn in matches[house].mrns if mrn in rows]
                # A house document whose declaration ended is often filed again.
                open_ones = [mrn for mrn in under if rows[mrn].state not in FINAL] or under[-1:]
                if not open_ones or len(open_ones) > 1 or matches[house].following:
                    reason = "REFERENCE_AMBIGUOUS" if open_ones else "CONSIGNMENT_UNKNOWN"
                    found.append(item_error(reason, path, house))
                    continue
                (number,) = open_ones
            elif each.WhichOneof("reference") is None:
                found.append(item_error("QUERY_MALFORMED", path))
                continue
            version = each.expected_version if each.HasField("expected_version") else None
            ref = clearance_pb2.ConsignmentRef(mrn=number, expected_version=version)
            _, errors = requests.refs([ref], f"{path}.mrn" if number == each.mrn else path)
            if number in seen and mrns.is_valid(number):
                errors[0] = item_error("CONSIGNMENT_REPEATED", path, number)
            seen.add(number)
            found.append(errors.get(0) or ref)
        return found


def _order(request: pb.BulkReturnRequest, identity: Identity) -> BulkOrder:
    """Read what is ordered. Raises Refusal."""
    master = request.master_document_number
    if bool(master) == bool(request.consignments):
        raise Refusal("GOODS_NOT_NAMED", path="master_document_number")
    if master and (len(master) > DOCUMENT_CHARACTERS_MAX or not requests.is_plain(master)):
        raise Refusal("MASTER_DOCUMENT_MALFORMED", path="master_document_number")
    if not master:
        requests.check_size(len(request.consignments))
    if request.reason not in REASONS:
        raise Refusal("RETURN_REASON_MISSING", path="reason", value=request.reason)
    document = request.transport_document_number
    if not 0 < len(document) <= DOCUMENT_CHARACTERS_MAX or not requests.is_plain(document):
        raise Refusal("RETURN_DOCUMENT_MALFORMED", path="transport_document_number", value=document)
    if len(request.note) > requests.NOTE_CHARACTERS_MAX or not requests.is_plain(request.note):
        raise Refusal("NOTE_TOO_LONG", path="note")
    return BulkOrder(
        reason=request.reason,
        document=document,
        officer=identity.id if identity.role is Role.OFFICER else "",
        note=request.note,
        named=not master,
        override_officers=request.override_officers,
    )


def _result(
    each: clearance_pb2.ConsignmentRef | ItemError, place: int, outcomes: Iterator[Acted]
) -> clearance_pb2.OfficerResult:
    """Return the result of a named consignment: its error, or the next of those that were carried out."""
    if isinstance(each, ItemError):
        return clearance_pb2.OfficerResult(error=each)
    return _answered(f"consignments[{place}]", next(outcomes))


def _answered(path: str, acted: Acted) -> clearance_pb2.OfficerResult:
    error = requests.act_error(path, acted) if acted.refusal else None
    return clearance_pb2.OfficerResult(mrn=acted.mrn, state=acted.state, version=acted.version, error=error)  # type: ignore[arg-type]


def _under_master(progress: ReturnProgress) -> bytes:
    answers = [_answered("master_document_number", Acted(*each)) for each in progress.refusals]
    return _response(progress, answers).SerializeToString()


def _response(
    progress: ReturnProgress, results: Sequence[clearance_pb2.OfficerResult], unread: int = 0
) -> pb.BulkReturnResponse:
    return pb.BulkReturnResponse(
        consignments=progress.consignments,
        returned=progress.returned,
        re_exported=progress.re_exported,
        invalidated=progress.invalidated,
        final_before=progress.final_before,
        refused=progress.refused + unread,
        results=results,
    )
