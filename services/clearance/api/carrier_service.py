"""The gRPC edge of carriers: bindings, refused arrivals, what an arrival released, its reversal, and presentations."""

from collections.abc import Sequence
from typing import Any, Final

import grpc.aio

from libs.customs.time import day_text, parse_day
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Role, is_id
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of, recalled
from libs.store.database import Transaction
from libs.telemetry import get_logger
from luxor.clearance.v1 import carriers_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog, joined
from services.clearance.api.goods.answers import GoodsAnswers
from services.clearance.api.queries import FORMS, Inquiry, Query
from services.clearance.api.requests import is_plain
from services.clearance.carriage.binding import (
    FOREVER,
    PREFIX_CHARACTERS_MAX,
    PREFIX_CHARACTERS_MIN,
    Binding,
    BindingKind,
)
from services.clearance.commands.arrivals.put_bindings import put_bindings
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.commands.presentation.present import Present
from services.clearance.consignment.state.arrivals import arrived_by
from services.clearance.consignment.state.times import was_released
from services.clearance.pre_loading.parameters import Parameters
from services.clearance.presentation.law import PresentationLaw
from services.clearance.store import Store

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
BINDINGS_MAX: Final = 1_000
REVERSALS_MAX: Final = 100
_KINDS: Final = frozenset(int(kind) for kind in BindingKind)
_VALUE_CHARACTERS: Final = {
    BindingKind.DOCUMENT: (1, requests.DOCUMENT_CHARACTERS_MAX),
    BindingKind.IDENTIFIER: (1, 17),
    BindingKind.PREFIX: (PREFIX_CHARACTERS_MIN, PREFIX_CHARACTERS_MAX),
}

ROLES: Final = {
    "PutBindings": {Role.OFFICER, Role.OPERATOR},
    "ListBindings": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
    "ListRefusedArrivals": {Role.OFFICER, Role.ANALYST, Role.OPERATOR},
    "ListArrivals": {Role.OFFICER, Role.ANALYST},
    "ListReleasedConsignments": {Role.OFFICER, Role.ANALYST},
    "ReverseArrivals": {Role.CARRIER, Role.OFFICER},
    "PresentConsignments": {Role.CARRIER, Role.OFFICER},
}
"""Who may call what."""

_log = get_logger()


class CarrierService(CarrierServiceServicer):
    """Binds master documents to carriers, and looks after arrivals."""

    def __init__(
        self, store: Store, parameters: Parameters | None = None, presentation: PresentationLaw | None = None
    ) -> None:
        """Serve from a store; reversals have `parameters` and `presentation` as of `Reversal`."""
        self._store = store
        self._reversal = Reversal(store, parameters, presentation)
        self._answers = GoodsAnswers(store)
        self._inquiry = Inquiry(store)
        self._pages = PageTokens(store.database)
        self._accesses = AccessLog(store)

    # ------------------------------------------------------------------------------------------ bindings
    async def PutBindings(
        self, request: pb.PutBindingsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PutBindingsResponse:
        """Add bindings or change their days, once per request; each has its own result."""
        _check_size(len(request.bindings), BINDINGS_MAX)
        read = [read_binding(each, f"bindings[{place}]") for place, each in enumerate(request.bindings)]
        # The last of several for the same carrier and value counts, as if they had been sent one after the other.
        good = {(each.kind, each.value, each.carrier): each for each in read if isinstance(each, Binding)}
        who = str(call.current().identity)

        def answer() -> pb.PutBindingsResponse:
            return pb.PutBindingsResponse(
                results=[pb.BindingResult(error=each if isinstance(each, ItemError) else None) for each in read]
            )

        return await put_bindings(self._store, request, list(good.values()), who, answer)

    async def ListBindings(
        self, request: pb.ListBindingsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListBindingsResponse:
        """Return a page of the bindings."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        after = await self._pages.place(request, (0, "", ""))
        async with self._store.database.connection() as reading:
            found = await self._store.carriers.bindings(reading, after, request.carrier, limit + 1)
        last = found[limit - 1][0] if len(found) > limit else None
        token = await self._pages.token(request, int(last.kind), last.value, last.carrier) if last else ""
        await self._accesses.record([], about=joined(binding.carrier for binding, _ in found[:limit]))
        return pb.ListBindingsResponse(
            bindings=[_message(binding, who) for binding, who in found[:limit]], next_page_token=token
        )

    # ------------------------------------------------------------------------------------------ arrivals
    async def ListRefusedArrivals(
        self, request: pb.ListRefusedArrivalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListRefusedArrivalsResponse:
        """Return a page of the refused arrivals."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        before = await self._pages.place(request, (FOREVER, "", ""))
        async with self._store.database.connection() as reading:
            found = await self._store.carriers.refused(reading, before, request.carrier, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        token = await self._pages.token(request, last["day"], last["carrier"], last["document_number"]) if last else ""
        response = pb.ListRefusedArrivalsResponse(next_page_token=token)
        for each in found[:limit]:
            response.arrivals.add(
                master_document_number=each["document_number"],
                carrier=each["carrier"],
                recorded=each["recorded"],
                times=each["times"],
            ).refused_at.FromMicroseconds(each["refused_at"])
        await self._accesses.record([], about=joined(each["carrier"] for each in found[:limit]))
        return response

    async def ListArrivals(
        self, request: pb.ListArrivalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListArrivalsResponse:
        """Return the arrivals of a document, each with the number of its consignments by state."""
        requests.check_master_document(request.master_document_number)
        async with self._store.database.connection() as reading:
            rows = await self._store.arrivals.of_document(reading, request.master_document_number)
        response = pb.ListArrivalsResponse()
        for row in rows:
            under = await self._reversal.count(request.master_document_number, row["carrier"])
            told = response.arrivals.add(
                carrier=row["carrier"],
                conveyance_reference=row["conveyance_reference"],
                place=row["place"],
                consignments=under.consignments,
                released=under.released,
                held=under.held,
                reversed_by=row["reversed_by"],
            )
            told.arrived_at.FromMicroseconds(row["arrived_at"])
            told.recorded_at.FromMicroseconds(row["recorded_at"])
            if row["reversed_at"] is not None:
                told.reversed_at.FromMicroseconds(row["reversed_at"])
        await self._accesses.record([], about=request.master_document_number if rows else "")
        return response

    async def ListReleasedConsignments(
        self, request: pb.ListReleasedConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListReleasedConsignmentsResponse:
        """Return a page of the consignments that an arrival released."""
        requests.check_master_document(request.master_document_number)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        kind = "master_document_number"
        after = await self._pages.place(request, FORMS[kind]) if request.page_token else ()
        query = Query(kind, request.master_document_number, limit=limit, after=after)
        released = _Released(self._store, request.master_document_number, request.carrier)
        (found,) = await self._inquiry.find([query], released)
        async with self._store.database.connection() as reading:
            rows = await self._store.find(reading, found.mrns)
            table = await self._store.states(reading, [rows[mrn] for mrn in found.mrns])
        response = pb.ListReleasedConsignmentsResponse()
        first, last = table.ints("former_released_at"), table.ints("released_at")
        texts = [table.strings(name).tolist() for name in ("mrn", "house_document_number")]
        moments = [former or now for former, now in zip(first.tolist(), last.tolist(), strict=True)]
        for mrn, house, state, at in zip(*texts, table.ints("state").values.tolist(), moments, strict=True):
            told = response.consignments.add(mrn=mrn, house_document_number=house, state=state)
            told.released_at.FromMicroseconds(at)
        if found.following:
            response.next_page_token = await self._pages.token(request, *found.following)
        await self._accesses.record([each.mrn for each in response.consignments], about=request.master_document_number)
        return response

    async def ReverseArrivals(
        self, request: pb.ReverseArrivalsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ReverseArrivalsResponse:
        """Reverse arrivals that released nothing, once per request; each has its own result."""
        check_request_id(request.request_id)
        response = await recalled(self._store.database, pb.ReverseArrivalsResponse, request)
        if response is None:
            _check_size(len(request.arrivals), REVERSALS_MAX)
            results = [await self._reverse(each, f"arrivals[{place}]") for place, each in enumerate(request.arrivals)]
            response = await self._reversal.answer(request, pb.ReverseArrivalsResponse(results=results))
        await self._accesses.record([], about=joined(each.master_document_number for each in request.arrivals))
        return response

    async def _reverse(self, ref: pb.ArrivalRef, path: str) -> pb.ReversalResult:
        current = call.current()
        document, carrier = ref.master_document_number, ref.carrier
        if current.identity.role is Role.CARRIER:
            # Another carrier's arrival is as unknown as one that does not exist.
            carrier = current.identity.id if carrier in ("", current.identity.id) else ""
        where = f"{path}.master_document_number"
        async with self._store.database.connection() as reading:
            rows = await self._store.arrivals.of_document(reading, document) if is_plain(document) else []
        row = next((each for each in rows if each["carrier"] == carrier), None)
        ended = row is not None and row["reversed_at"] is not None and not row["pending"]
        if row is None or (ended and current.identity.role is Role.CARRIER):
            return pb.ReversalResult(error=item_error("ARRIVAL_UNKNOWN", where, document))
        by = row["reversed_by"] if row["pending"] and row["reversed_by"] else str(current.identity)
        if row["reversed_at"] is None or ended:
            under = await self._reversal.count(document, carrier)
            if ended and not under.presented:
                return pb.ReversalResult(error=item_error("ARRIVAL_UNKNOWN", where, document))
            if under.released:
                error = item_error("ARRIVAL_HAS_RELEASED", where, document, released=under.released)
                return pb.ReversalResult(error=error)
            if under.presented and current.identity.role is Role.CARRIER:
                error = item_error("ARRIVAL_PRESENTED", where, document, presented=under.presented)
                return pb.ReversalResult(error=error)
            await self._reversal.begin(document, carrier, by, repeated=ended)
        done = await self._reversal.reverse(document, carrier, trace=current.trace, by=by)
        _log.info("ARRIVAL_REVERSED", consignments=done.consignments)
        return pb.ReversalResult(consignments=done.consignments, released=done.not_reversed)

    # ------------------------------------------------------------------------------------------ presentations
    async def PresentConsignments(
        self, request: pb.PresentConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PresentConsignmentsResponse:
        """Present the goods that the request names, once per request."""
        return await self._answers.answer(
            request,
            Present(self._store),
            pb.PresentConsignmentsResponse,
            method="PresentConsignments",
            page_size=request.page_size,
        )


class _Released:
    """Sees the consignments that one arrival released."""

    sees_all = False

    def __init__(self, store: Store, document: str, carrier: str) -> None:
        self._store = store
        self._document = document
        self._carrier = carrier

    async def visible(self, tx: Transaction, mrns: Sequence[str]) -> set[str]:
        """Return those of some consignments that the arrival released."""
        rows = await self._store.find(tx, mrns)
        states = await self._store.states(tx, list(rows.values()))
        chosen = arrived_by(states, self._document, self._carrier) & was_released(states)
        return {mrn for mrn, released in zip(states.strings("mrn").tolist(), chosen.tolist(), strict=True) if released}

    async def owners(self, tx: Transaction) -> list[str]:
        """Include all filings, whoever filed them."""
        return []

    async def names(self, tx: Transaction, document: str) -> list[str] | None:
        """Include all filings, whatever carrier they name."""
        return None


def _check_size(count: int, count_max: int) -> None:
    if count == 0:
        raise Refusal("BATCH_EMPTY", count_max=count_max)
    if count > count_max:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=count_max)


def read_binding(message: pb.Binding, path: str) -> Binding | ItemError:
    """Return a binding as it was asked for, or the error of it."""
    if int(message.kind) not in _KINDS:
        return item_error("BINDING_KIND_MISSING", f"{path}.kind", message.kind)
    kind = BindingKind(message.kind)
    least, most = _VALUE_CHARACTERS[kind]
    # As ingestion writes document numbers and identifiers.
    value = message.value.strip().upper()
    if not least <= len(value) <= most or not is_plain(message.value):
        return item_error("BINDING_VALUE_MALFORMED", f"{path}.value", message.value, least=least, most=most)
    if not is_id(message.carrier):
        return item_error("BINDING_CARRIER_MALFORMED", f"{path}.carrier", message.carrier)
    days = {"from_day": 0, "to_day": FOREVER}
    for name in days:
        text = getattr(message, name)
        try:
            days[name] = parse_day(text) if text else days[name]
        except ValueError:
            return item_error("BINDING_DAYS_MALFORMED", f"{path}.{name}", text)
        if days[name] < 0:
            return item_error("BINDING_DAYS_MALFORMED", f"{path}.{name}", text)
    if days["to_day"] < days["from_day"]:
        return item_error("BINDING_DAYS_MALFORMED", f"{path}.to_day", message.to_day)
    return Binding(kind, value, message.carrier, days["from_day"], days["to_day"])


def _message(binding: Binding, changed_by: str) -> pb.Binding:
    return pb.Binding(
        kind=binding.kind,  # type: ignore[arg-type]  # a number of the enumeration
        value=binding.value,
        carrier=binding.carrier,
        from_day=day_text(binding.from_day) if binding.from_day else "",
        to_day="" if binding.to_day == FOREVER else day_text(binding.to_day),
        changed_by=changed_by,
    )
