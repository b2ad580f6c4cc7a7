"""Orders returns beforehand, cancels the orders, and records the departures that fulfil them."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.direction import exports
from libs.server.identity import Identity, Role
from libs.server.requests import once
from libs.store.database import Transaction
from luxor.clearance.v1 import returns_pb2 as pb
from services.clearance.commands.act import Commands, ExpectedVersions, Request
from services.clearance.commands.arrivals.departures import touch_orders
from services.clearance.commands.returns.confirm_exits import ConfirmExits, Exits
from services.clearance.commands.returns.notify_ended import notify_ended
from services.clearance.commands.visibility import bound_to
from services.clearance.consignment.returns import EXPORT_NOT_RETURNED, came_under, earliest_departures
from services.clearance.consignment.transitions import FINAL
from services.clearance.store import Row, Store
from services.clearance.store.timers.return_orders import Departure, OrderStatus, ReturnOrder

NUMBER_MAX: Final = 99
"""Orders of one consignment, with those that ended."""


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """The result of a request about one order; `refusal` is "" where it took effect."""

    mrn: str
    order_id: str = ""
    status: int = 0
    refusal: str = ""
    version: int = 0
    """Current version of the consignment, of an order that was refused."""


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """The terms of an order for one consignment."""

    reason: int
    document: str
    valid_until: int
    note: str


@dataclass(frozen=True, slots=True)
class Left:
    """A document that left, and the consignments that the report names."""

    document: str
    departed_at: int
    mrns: frozenset[str]


class OrderReturns:
    """Orders and cancels returns, and records departures.

    Locks are taken in the order that arrivals/carriage.py states, and those of orders after those of their consignments.
    """

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store
        self._commands = Commands(store)

    async def order(
        self,
        goods: ExpectedVersions,
        terms: Mapping[str, OrderTerms],
        caller: Identity,
        *,
        request: pb.OrderReturnsRequest,
        answer: Callable[[Mapping[str, OrderOutcome]], pb.OrderReturnsResponse],
    ) -> pb.OrderReturnsResponse:
        """Order returns once per request; return what `answer` made of the result of each consignment that the caller reaches. Raises Refusal."""

        async def work(tx: Transaction) -> pb.OrderReturnsResponse:
            return answer(await self._order(tx, goods, terms, caller))

        return await once(self._store.database, pb.OrderReturnsResponse, request, work)

    async def cancel(
        self,
        ids: Sequence[tuple[str, int]],
        caller: Identity,
        *,
        trace: str,
        request: pb.CancelReturnOrdersRequest,
        answer: Callable[[Mapping[tuple[str, int], OrderOutcome]], pb.CancelReturnOrdersResponse],
    ) -> pb.CancelReturnOrdersResponse:
        """Cancel orders by MRN and number, once per request; return what `answer` made of the result of each that the caller reaches.

        Raises Refusal.
        """

        async def work(tx: Transaction) -> pb.CancelReturnOrdersResponse:
            return answer(await self._cancel(tx, ids, caller, trace))

        return await once(self._store.database, pb.CancelReturnOrdersResponse, request, work)

    async def depart(
        self,
        departures: Sequence[Left],
        reporter: Identity,
        *,
        request: Request,
        answer: Callable[[Mapping[str, Exits]], bytes],
    ) -> bytes:
        """Record departures, make the orders that they may fulfil due, which end_orders.py looks at, and confirm the exits of exports.

        Return what `answer` made of the exits by document, also when the request is repeated. Raises RequestReused.
        """
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            now = await self._store.now(tx)
            await self._depart(tx, departures, reporter, now)
        await touch_orders(self._store, [each.document for each in departures], now)
        confirm = ConfirmExits(self._store)
        exits = {
            each.document: await confirm.run(each.document, each.mrns, each.departed_at, reporter, trace=request.trace)
            for each in departures
        }
        encoded = answer(exits)
        async with self._store.database.transaction() as tx:
            await self._store.requests.remember(tx, *request.key, encoded)
        return encoded

    async def _order(
        self, tx: Transaction, goods: ExpectedVersions, terms: Mapping[str, OrderTerms], caller: Identity
    ) -> dict[str, OrderOutcome]:
        documents = {each.document for each in terms.values()} - {""}
        # An order either sees the departure of its document, or the departure sees the order.
        await self._store.arrivals.block_recording(tx, documents)
        outside = caller if caller.role is Role.FILER else None
        inbound = await self._store.references.filed_under(tx, documents)
        found = await self._commands.fit(
            tx, goods, lambda states: _unfit(states, terms, inbound), outside, own_alone=True
        )
        mrns = [row.mrn for row in found.rows]
        before = await self._store.return_orders.of_consignments(tx, mrns)
        numbers: dict[str, int] = {}
        for each in before:
            numbers[each.mrn] = max(numbers.get(each.mrn, 0), each.number)
        open_ones = {each.mrn for each in before if each.status == OrderStatus.ORDERED}
        now = await self._store.now(tx)
        departed = await self._store.return_orders.departures(tx, documents)
        orders, results = [], {}
        for acted in found.results.values():
            results[acted.mrn] = OrderOutcome(acted.mrn, refusal=acted.refusal, version=acted.version)
        for mrn in mrns:
            refusal = "RETURN_ORDERED" if mrn in open_ones else ""
            if numbers.get(mrn, 0) >= NUMBER_MAX:
                refusal = "RETURN_ORDERS_TOO_MANY"
            if refusal:
                results[mrn] = OrderOutcome(mrn, refusal=refusal)
                continue
            asked = terms[mrn]
            new = ReturnOrder(
                mrn=mrn,
                number=numbers.get(mrn, 0) + 1,
                status=OrderStatus.ORDERED,
                reason=asked.reason,
                document_number=asked.document,
                ordered_by=str(caller),
                ordered_at=now,
                valid_until=asked.valid_until,
                note=asked.note,
                next_at=now if asked.document in departed else asked.valid_until + 1,
            )
            orders.append(new)
            results[mrn] = OrderOutcome(mrn, new.id, new.status)
        await self._store.return_orders.add(tx, orders)
        return results

    async def _cancel(
        self, tx: Transaction, ids: Sequence[tuple[str, int]], caller: Identity, trace: str
    ) -> dict[tuple[str, int], OrderOutcome]:
        mrns = sorted({mrn for mrn, _ in ids})
        locked = await self._store.lock(tx, mrns)
        await self._store.return_orders.open_of(tx, mrns)
        now = await self._store.now(tx)
        known = {(each.mrn, each.number): each for each in await self._store.return_orders.of_consignments(tx, mrns)}
        results: dict[tuple[str, int], OrderOutcome] = {}
        ends: dict[str, OrderStatus] = {}
        concerned: list[Row] = []
        for key in ids:
            found = known.get(key)
            if found is None or (caller.role is Role.FILER and found.ordered_by != str(caller)):
                continue
            # What is due is about to be looked at, since a departure was recorded or the validity is over.
            leaving = found.departed_at is not None or (found.next_at is not None and found.next_at <= now)
            if found.status != OrderStatus.ORDERED:
                refusal = "RETURN_ORDER_ENDED"
            elif leaving and caller.role is Role.FILER:
                refusal = "RETURN_DEPARTED"
            else:
                refusal, ends[found.mrn] = "", OrderStatus.CANCELLED
                if found.is_filers and caller.role is Role.OFFICER and found.mrn in locked:
                    concerned.append(locked[found.mrn])
            status = found.status if refusal else OrderStatus.CANCELLED
            results[key] = OrderOutcome(found.mrn, found.id, status, refusal)
        await self._store.return_orders.end(tx, ends, now, str(caller))
        await notify_ended(self._store, tx, concerned, now, trace)
        return results

    async def _depart(self, tx: Transaction, departures: Sequence[Left], reporter: Identity, now: int) -> None:
        documents = [each.document for each in departures]
        await self._store.arrivals.lock_documents(tx, documents)
        register = await self._store.carriers.register(tx, documents, ())
        day = now // MICROS_PER_DAY

        def bound(document: str) -> bool:
            return reporter.role is Role.OFFICER or reporter.id in register.carriers(document, "", day)

        recorded = [
            Departure(each.document, str(reporter), each.departed_at, bound(each.document)) for each in departures
        ]
        await self._store.return_orders.record_departures(tx, recorded, now)
        named = {mrn: each for each in departures for mrn in each.mrns}
        rows = list((await self._store.lock(tx, sorted(named))).values())
        if reporter.role is Role.CARRIER and rows:
            own = await bound_to(self._store, tx, await self._store.states(tx, rows), reporter.id)
            rows = [row for row, known in zip(rows, own.tolist(), strict=True) if known]
        orders = await self._store.return_orders.open_of(tx, [row.mrn for row in rows])
        rows = [row for row in rows if row.mrn in orders]
        if not rows:
            return
        states = await self._store.states(tx, rows)
        earliest = earliest_departures(states, [orders[row.mrn].ordered_at for row in rows])
        await self._store.return_orders.note(
            tx,
            [
                each
                for row, first in zip(rows, earliest, strict=True)
                for each in _departed(orders[row.mrn], named[row.mrn], first, now)
            ],
        )

    async def concern(self, reading: Transaction, orders: Sequence[ReturnOrder], carrier: str) -> list[ReturnOrder]:
        """Return those of open orders under one document that concern a carrier: document or goods are bound to it."""
        opened = [each for each in orders if each.status == OrderStatus.ORDERED]
        documents = {each.document_number for each in opened}
        register = await self._store.carriers.register(reading, documents, ())
        day = await self._store.now(reading) // MICROS_PER_DAY
        rows = await self._store.find(reading, [each.mrn for each in opened])
        states = await self._store.states(reading, list(rows.values()))
        bound = (await bound_to(self._store, reading, states, carrier)).tolist() if rows else []
        own = {mrn for mrn, known in zip(rows, bound, strict=True) if known}
        return [
            each for each in opened if each.mrn in own or carrier in register.carriers(each.document_number, "", day)
        ]


def _departed(order: ReturnOrder, left: Left, first: int, now: int) -> list[ReturnOrder]:
    """Return the order with a departure that names its consignment, if it concerns the order: its goods cannot have left before `first`."""
    if (
        (order.departed_at is not None and order.departed_at >= first)
        or not first <= left.departed_at <= order.valid_until
        or order.document_number not in ("", left.document)
    ):
        return []
    return [replace(order, departed_at=left.departed_at, departure_document=left.document, next_at=now)]


def _unfit(states: Table, terms: Mapping[str, OrderTerms], inbound: Container[str]) -> list[str]:
    """Return for each state why no return of its goods is ordered, "" where it may be; goods are filed under the documents that are `inbound`."""
    documents = {mrn: each.document for mrn, each in terms.items()}
    reasons = [
        "STATE_FINAL" if state in FINAL else "RETURN_DOCUMENT_OWN" if own or documents.get(mrn) in inbound else ""
        for state, mrn, own in zip(
            states.ints("state").values.tolist(),
            states.strings("mrn").tolist(),
            came_under(states, documents),
            strict=True,
        )
    ]
    exported = exports(states).tolist()
    return [EXPORT_NOT_RETURNED if leaves else reason for leaves, reason in zip(exported, reasons, strict=True)]
