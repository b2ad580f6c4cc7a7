"""The gRPC edge of returns in bulk and of return orders."""

from collections.abc import Mapping
from typing import Any, Final

import grpc.aio

from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Identity, Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import returns_pb2 as pb
from luxor.clearance.v1.returns_pb2_grpc import ReturnServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog
from services.clearance.api.goods.answers import GoodsAnswers
from services.clearance.api.messages import OFFICER
from services.clearance.api.requests import DOCUMENT_CHARACTERS_MAX
from services.clearance.api.returns.requests import REASONS, departures, key_of, orders
from services.clearance.commands.act import UNKNOWN
from services.clearance.commands.returns.bulk_return import BulkReturn
from services.clearance.commands.returns.confirm_exits import Exits
from services.clearance.commands.returns.order_returns import Left, OrderOutcome, OrderReturns
from services.clearance.consignment.returns import BulkOrder
from services.clearance.store import Store, day_of
from services.clearance.store.timers.return_orders import ReturnOrder

PAGE_DEFAULT: Final = 100
DEPARTURES_MAX: Final = 100

ROLES: Final = {
    "BulkReturn": {Role.FILER, Role.CARRIER, Role.OFFICER},
    "OrderReturns": {Role.FILER, Role.OFFICER},
    "CancelReturnOrders": {Role.FILER, Role.OFFICER},
    "ListReturnOrders": {Role.FILER, Role.CARRIER, Role.OFFICER, Role.ANALYST},
    "RecordDepartures": {Role.CARRIER, Role.OFFICER},
}
"""Who may call what."""


class ReturnService(ReturnServiceServicer):
    """Returns the goods of many consignments."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._accesses = AccessLog(store)
        self._order_returns = OrderReturns(store)
        self._pages = PageTokens(store.database)
        self._answers = GoodsAnswers(store)

    async def BulkReturn(
        self, request: pb.BulkReturnRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.BulkReturnResponse:
        """Return the goods that the request names, once per request."""
        order = _order(request, call.current().identity)
        call.current().reason = clearance_pb2.ReturnReason.Name(request.reason).removeprefix("RETURN_REASON_")
        return await self._answers.answer(
            request,
            BulkReturn(self._store, order),
            pb.BulkReturnResponse,
            method="BulkReturn",
            page_size=request.page_size,
        )

    # ------------------------------------------------------------------------------------------ orders
    async def OrderReturns(
        self, request: pb.OrderReturnsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.OrderReturnsResponse:
        """Order returns, once per request; each has its own result."""
        requests.check_size(len(request.orders))
        identity, now = call.current().identity, await self._store.database.now()
        terms, errors = orders(request.orders, now)
        refs = [each.consignment for each in request.orders]
        goods = requests.Answering(refs, errors, None, "").expected_versions

        def answer(ordered: Mapping[str, OrderOutcome]) -> pb.OrderReturnsResponse:
            unknown, where = OrderOutcome("", refusal=UNKNOWN), "orders[{}].consignment.mrn"
            results = [
                pb.ReturnOrderResult(mrn=ref.mrn, error=errors[place])
                if place in errors
                else _order_result(ordered.get(ref.mrn, unknown), where.format(place), ref.mrn)
                for place, ref in enumerate(refs)
            ]
            return pb.OrderReturnsResponse(results=results)

        response = await self._order_returns.order(goods, terms, identity, request=request, answer=answer)
        await self._accesses.record([each.mrn for each in response.results if each.order_id])
        return response

    async def CancelReturnOrders(
        self, request: pb.CancelReturnOrdersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelReturnOrdersResponse:
        """Cancel orders, once per request; each has its own result."""
        requests.check_size(len(request.order_ids))
        identity = call.current().identity
        keys = [key_of(each) for each in request.order_ids]

        def answer(cancelled: Mapping[tuple[str, int], OrderOutcome]) -> pb.CancelReturnOrdersResponse:
            unknown = OrderOutcome("", refusal="RETURN_ORDER_UNKNOWN")
            results = [
                _order_result(
                    cancelled.get(key, unknown) if key else unknown, f"order_ids[{place}]", request.order_ids[place]
                )
                for place, key in enumerate(keys)
            ]
            return pb.CancelReturnOrdersResponse(results=results)

        chosen = list(dict.fromkeys(key for key in keys if key is not None))
        response = await self._order_returns.cancel(
            chosen, identity, trace=call.current().trace, request=request, answer=answer
        )
        await self._accesses.record([each.mrn for each in response.results if each.order_id])
        return response

    async def ListReturnOrders(
        self, request: pb.ListReturnOrdersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListReturnOrdersResponse:
        """Return a page of the orders that the caller may see."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        identity, document = call.current().identity, request.transport_document_number
        carrier = identity.role is Role.CARRIER
        if (carrier and not document) or len(document) > DOCUMENT_CHARACTERS_MAX or not requests.is_plain(document):
            raise Refusal("RETURN_DOCUMENT_MALFORMED", path="transport_document_number", value=document)
        day, mrn, number = await self._pages.place(request, (0, "", 0))
        async with self._store.database.connection() as reading:
            found = await self._store.return_orders.page(
                reading,
                (int(day), str(mrn), int(number)),
                limit + 1,
                status=request.status,
                departed=request.departed,
                document=document,
                ordered_by=str(identity) if identity.role is Role.FILER else "",
            )
            page = found[:limit]
            shown = await self._order_returns.concern(reading, page, identity.id) if carrier else page
        response = pb.ListReturnOrdersResponse(orders=[_message(each, identity.role) for each in shown])
        if len(found) > limit:
            last = page[-1]
            response.next_page_token = await self._pages.token(request, day_of(last.mrn), last.mrn, last.number)
        await self._accesses.record([each.mrn for each in shown])
        return response

    async def RecordDepartures(
        self, request: pb.RecordDeparturesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecordDeparturesResponse:
        """Record departures, once per request; each has its own result."""
        check_request_id(request.request_id)
        if not 0 < len(request.departures) <= DEPARTURES_MAX:
            reason = "BATCH_TOO_LARGE" if request.departures else "BATCH_EMPTY"
            raise Refusal(reason, count=len(request.departures), count_max=DEPARTURES_MAX)
        identity, now = call.current().identity, await self._store.database.now()
        read = departures(request.departures, now)
        left = [each for each in read if isinstance(each, Left)]
        named = sum(len(each.mrns) for each in left)
        if named > requests.BATCH_MAX:
            raise Refusal("BATCH_TOO_LARGE", count=named, count_max=requests.BATCH_MAX)

        def answer(exits: Mapping[str, Exits]) -> bytes:
            results = [
                pb.DepartureResult(error=each)
                if isinstance(each, ItemError)
                else pb.DepartureResult(exited=exits[each.document].exited, not_exited=exits[each.document].not_exited)
                for each in read
            ]
            return pb.RecordDeparturesResponse(results=results).SerializeToString()

        work = self._order_returns.depart(
            left,
            identity,
            request=requests.command_request(request, "RecordDepartures"),
            answer=answer,
        )
        return pb.RecordDeparturesResponse.FromString(await requests.unreused(request.request_id, work))


def _order(request: pb.BulkReturnRequest, identity: Identity) -> BulkOrder:
    """Read what is ordered. Raises Refusal."""
    master = request.master_document_number
    if request.reason not in REASONS:
        raise Refusal("RETURN_REASON_MISSING", path="reason", value=request.reason)
    document = request.transport_document_number
    if not requests.is_document(document):
        raise Refusal("RETURN_DOCUMENT_MALFORMED", path="transport_document_number", value=document)
    unused = {
        "note": request.note and identity.role is not Role.OFFICER,
        "override_officers": request.override_officers and not master,
    }
    for name, is_unused in unused.items():
        if is_unused:
            raise Refusal("RETURN_FIELD_UNUSED", path=name)
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


def _order_result(ordered: OrderOutcome, path: str, value: str) -> pb.ReturnOrderResult:
    error = item_error(ordered.refusal, path, value, version=ordered.version) if ordered.refusal else None
    return pb.ReturnOrderResult(
        order_id=ordered.order_id,
        mrn=ordered.mrn or (value if path.startswith("orders") else ""),
        order_status=ordered.status,  # type: ignore[arg-type]  # a number of the enumeration
        error=error,
    )


def _message(order: ReturnOrder, reader: Role) -> pb.ReturnOrder:
    """Return an order as its readers see it."""
    message = pb.ReturnOrder(
        order_id=order.id,
        mrn=order.mrn,
        status=order.status,  # type: ignore[arg-type]  # a number of the enumeration
        reason=order.reason,  # type: ignore[arg-type]
        transport_document_number=order.document_number,
    )
    message.valid_until.FromMicroseconds(order.valid_until)
    if reader is Role.CARRIER:
        return message
    message.ordered_by, message.note, message.obstacle = order.ordered_by, order.note, order.obstacle
    message.departure_document_number = order.departure_document
    by_officer = reader is Role.FILER and order.ended_by != order.ordered_by and bool(order.ended_by)
    message.ended_by = OFFICER if by_officer else order.ended_by
    message.ordered_at.FromMicroseconds(order.ordered_at)
    for at, field in ((order.departed_at, message.departed_at), (order.ended_at, message.ended_at)):
        if at is not None:
            field.FromMicroseconds(at)
    return message
