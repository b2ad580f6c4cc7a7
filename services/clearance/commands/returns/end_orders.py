"""Looks at return orders at their time: a recorded departure fulfils them, and without one they expire."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from libs.telemetry import counter
from services.clearance.commands.bulk.goods import SelectedGoods
from services.clearance.commands.returns.bulk_return import BulkReturn
from services.clearance.commands.returns.notify_ended import notify_ended
from services.clearance.commands.visibility import bound_to
from services.clearance.consignment.returns import BulkOrder, earliest_departures
from services.clearance.consignment.transitions import FINAL, State
from services.clearance.store import Row, Store
from services.clearance.store.timers.return_orders import OrderStatus, ReturnOrder

RETRY_MICROS: Final = 3_600_000_000
"""After this time an order is looked at again whose goods left and could not be returned."""

_ended = counter(
    "luxor_clearance_return_orders_total",
    "Return orders that were fulfilled by a departure, that expired, or whose goods could not be returned at a look after their departure",
    ("outcome",),
)


class EndReturnOrders:
    """Fulfils and expires return orders; all times are the database's."""

    chunk_rows: Final = 500
    """Consignments of one transaction, which must not hold the feed's horizon for long."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return the MRNs of orders that are due before an instant, the longest due first."""
        return await self._store.return_orders.due(reading, until, limit)

    async def run(self, mrns: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Look at the orders of these consignments, each as it stands now; return how many are not due any more. `at` replaces the database's clock.

        One transaction: a second replica at the same orders waits for the locks of their consignments and finds nothing due.
        """
        outcomes: Counter[str] = Counter()
        async with self._store.database.transaction() as tx:
            locked = await self._store.lock(tx, sorted(mrns))
            orders = await self._store.return_orders.open_of(tx, mrns)
            # A clock that was set back since the look-up must not leave what is due undone.
            now = at if at is not None else max(until, await self._store.now(tx))
            orders = {mrn: each for mrn, each in orders.items() if each.next_at is None or each.next_at <= now}
            rows = [locked[mrn] for mrn in orders if mrn in locked]
            departed = await self._departed(tx, rows, orders)
            ends = {mrn: OrderStatus.EXPIRED for mrn in orders if mrn not in locked}
            waiting: list[ReturnOrder] = []
            groups: dict[tuple[str, BulkOrder], list[str]] = {}
            for row in rows:
                order = departed[row.mrn]
                if row.state in FINAL:
                    # A replica of a release before return orders ended the goods.
                    left = row.state == State.RE_EXPORTED
                    ends[row.mrn] = OrderStatus.FULFILLED if left else OrderStatus.CANCELLED
                elif order.departed_at is not None:
                    groups.setdefault((order.ordered_by, _bulk_order(order)), []).append(row.mrn)
                elif order.valid_until < now:
                    ends[row.mrn] = OrderStatus.EXPIRED
                else:
                    waiting.append(replace(order, next_at=order.valid_until + 1))
            # Goods that leave end their orders in the transaction, with the departure that is noted here.
            await self._store.return_orders.note(tx, [departed[mrn] for under in groups.values() for mrn in under])
            for (ordered_by, bulk), under in groups.items():
                role, _, ident = ordered_by.partition("/")
                caller = Identity(Role(role), ident)
                goods = SelectedGoods([(mrn, None) for mrn in under])
                acted = await BulkReturn(self._store, bulk).carry_out(tx, goods, caller, trace)
                for mrn in under:
                    refusal = acted[mrn].refusal if mrn in acted else "CONSIGNMENT_UNKNOWN"
                    outcomes["blocked" if refusal else "fulfilled"] += 1
                    if refusal:
                        waiting.append(replace(departed[mrn], obstacle=refusal, next_at=now + RETRY_MICROS))
            await self._store.return_orders.note(tx, waiting)
            await self._store.return_orders.end(tx, ends, now)
            expired = [row for row in rows if ends.get(row.mrn) is OrderStatus.EXPIRED and orders[row.mrn].is_filers]
            await notify_ended(self._store, tx, expired, now, trace)
            outcomes["expired"] += sum(each is OrderStatus.EXPIRED for each in ends.values())
            tx.after_commit(lambda: _count(outcomes))
        return len(orders)

    async def _departed(
        self, tx: Transaction, rows: Sequence[Row], orders: Mapping[str, ReturnOrder]
    ) -> dict[str, ReturnOrder]:
        """Return the orders of locked consignments, each with the first recorded departure of its document that concerns it.

        A departure that was recorded before the goods came is dropped when they came after it.
        """
        found = {row.mrn: orders[row.mrn] for row in rows}
        reports = await self._store.return_orders.departures(tx, {each.document_number for each in found.values()})
        asking = [
            row for row in rows if found[row.mrn].departed_at is not None or found[row.mrn].document_number in reports
        ]
        if not asking:
            return found
        states = await self._store.states(tx, asking)
        reporters = {each.reporter for each_document in reports.values() for each in each_document if not each.bound}
        known = {
            name: (await bound_to(self._store, tx, states, name.partition("/")[2])).tolist()
            for name in sorted(reporters)
        }
        earliest = earliest_departures(states, [found[row.mrn].ordered_at for row in asking])
        for place, (row, first) in enumerate(zip(asking, earliest, strict=True)):
            order = found[row.mrn]
            if order.departed_at is not None:
                if order.departed_at >= first:
                    continue
                order = found[row.mrn] = replace(order, departed_at=None, departure_document="", obstacle="")
            for each in reports.get(order.document_number, ()):
                if first <= each.departed_at <= order.valid_until and (each.bound or known[each.reporter][place]):
                    found[row.mrn] = replace(
                        order, departed_at=each.departed_at, departure_document=each.document_number
                    )
                    break
        return found


def _bulk_order(order: ReturnOrder) -> BulkOrder:
    """Return what an order whose goods left asks for: an officer's order decides on goods that are not released, too.

    It lifts no hold of an officer and ends no control: they may be later than the order, and whoever set them decides.
    """
    role, _, ident = order.ordered_by.partition("/")
    return BulkOrder(
        reason=order.reason,
        document=order.departure_document,
        officer=ident if role == Role.OFFICER else "",
        note=order.note if role == Role.OFFICER else "",
        named=False,
        departed=True,
    )


def _count(outcomes: Mapping[str, int]) -> None:
    for name, count in outcomes.items():
        _ended.labels(name).inc(count)
