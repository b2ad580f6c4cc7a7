"""Bind consignments to the sales under whose order numbers, or house documents, they are declared, and compare both."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.customs.time import day_text
from libs.filing_stages.direction import exports
from libs.store.database import Transaction
from libs.telemetry import counter
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.consignment.v1.consignment_pb2 import NATURE_SALE, NATURE_UNSPECIFIED
from services.revenue.ledger.charge import never_released, newest
from services.revenue.sales.comparison import (
    EXPIRED,
    OTHER_ORDER,
    Finding,
    Trade,
    contradicts,
    findings_of,
    sum_amounts,
    trades_of,
)
from services.revenue.sales.documents import Document, PlatformDocument
from services.revenue.store.sale_bindings import (
    NO_ORDER,
    NO_VERSION,
    NOT_FILED,
    Binding,
    EarlierGoods,
    Order,
    add_bindings,
    amounts_of,
    count_versions,
    declared,
    earlier_bindings,
    has_sales,
    late_among,
    lock_documents,
    lock_orders,
    note_arrivals,
    platforms_with_sales,
    unbind,
    write_comparisons,
)
from services.revenue.store.sales import CurrentSale, SaleStore

EARLIER_MAX: Final = 1_000
"""Versions of consignments that are compared in one transaction with a sale that was filed after them."""

_bound = counter(
    "luxor_revenue_consignments_bound_total",
    "Versions of consignments that were declared under the order number or a house document of a sale, by whether they contradict it",
    ("outcome",),
)


@dataclass(frozen=True, slots=True)
class StatedOrders:
    """What consignments of a batch can be bound to sales by: an order number, or else a house document."""

    orders: Mapping[int, Order]
    """By row, of those that state an order number."""
    documents: Mapping[int, PlatformDocument]
    """By row, of those that state a carrier and its house document. Those in `orders` are bound by the order number nevertheless."""

    def rows(self) -> list[int]:
        """Return the rows that can be bound."""
        return sorted({*self.orders, *self.documents})

    def document(self, row: int) -> Document | None:
        """Return the house document of a row, None where it states none."""
        found = self.documents.get(row)
        return found and found.document


@dataclass(frozen=True, slots=True)
class SoldOrders:
    """The consignments of a batch that name a platform with sales, and by which they can be bound to one."""

    store: SaleStore
    table: Table
    """The batch, a table of ConsignmentColumns with MRN and version."""
    stated: StatedOrders
    declared: Mapping[int, Trade]
    """What each of these rows states, read before the transaction that binds it."""
    sales: Mapping[Order, CurrentSale]
    """The sales of the orders and documents, of those that were filed before the look-up."""


async def sold_orders(store: SaleStore, table: Table) -> SoldOrders | None:
    """Return the consignments of a batch that can be bound to a sale of a platform with sales; None if none can.

    A batch that names no platform costs nothing, one of platforms without sales a look-up of these.
    """
    stated, sales = await _orders_of(store, table)
    rows = stated.rows()
    if not rows:
        return None
    declared = trades_of(table.take(np.array(rows, np.intp)))
    return SoldOrders(store, table, stated, dict(zip(rows, declared, strict=True)), sales)


async def _orders_of(store: SaleStore, table: Table) -> tuple[StatedOrders, Mapping[Order, CurrentSale]]:
    platform = table.strings("order_platform")
    if not platform.present.any():
        return StatedOrders({}, {}), {}
    async with store.database.connection() as reader:
        selling = await platforms_with_sales(reader, platform.dictionary)
        if not selling:
            return StatedOrders({}, {}), {}
        stated = orders_in(table, selling)
        # A document is looked up only of platforms whose sales name any.
        named = [each for each in stated.documents.values() if selling[each.platform]]
        wanted = stated.orders.values()
        return stated, await store.current(reader, wanted, named) if wanted or named else {}


def orders_in(table: Table, platforms: Mapping[str, bool]) -> StatedOrders:
    """Return by what the consignments of some platforms can be bound to a sale.

    Where no sale of the platform ever named a house document, which `platforms` says, an order number is needed.
    """
    platform, number, nature = table.strings("order_platform"), table.strings("order_number"), table.ints("nature")
    carrier, document = table.strings("carrier_identifier"), table.strings("house_document_number")
    # A sale is assessed as an import into its country of destination.
    rows = platform.isin(platforms) & np.isin(nature.values, (NATURE_UNSPECIFIED, NATURE_SALE)) & ~exports(table)
    naming = [each for each, names_documents in platforms.items() if names_documents]
    travelling = rows & carrier.present & document.present
    travelling &= number.present | platform.isin(naming)
    orders = {row: (platform[row], number[row]) for row in np.flatnonzero(rows & number.present).tolist()}
    return StatedOrders(
        orders,
        {
            row: PlatformDocument(platform[row], carrier[row], document[row])
            for row in np.flatnonzero(travelling).tolist()
        },
    )


async def bind(tx: Transaction, orders: SoldOrders, fresh: npt.NDArray[np.intp]) -> None:
    """Bind the `fresh` rows of a batch, which are assessed for the first time, in the transaction that stores their answers.

    Clearance assesses an amendment before it decides whether it comes too late: until a state announces it, the version before counts.
    """
    mrns, versions = orders.table.strings("mrn"), orders.table.ints("version").values
    rows = [row for row in fresh.tolist() if row in orders.declared]
    if not rows:
        return
    stated = orders.stated
    order_of, sales = await _lock_orders(tx, orders, rows)
    # An amendment is compared without the version before it.
    amended = {mrns[row] for row in rows if versions[row] > 1}
    sold = sorted({order for order in order_of.values() if order in sales})
    counted = await amounts_of(tx, sold, amended) if sold else {}
    overdue = {order for order in sold if sales[order].today > sales[order].last_day}
    expired = overdue - await declared(tx, overdue) if overdue else overdue
    # The amendment of a late consignment is late as well: the version before it will not count any more.
    late = await late_among(tx, overdue, amended) if overdue and amended else set()
    owners = _owners(orders.sales)
    bindings: list[Binding] = []
    for row in rows:
        order, mrn, version, trade = order_of[row], mrns[row], int(versions[row]), orders.declared[row]
        if order not in sales:
            bindings.append(binding_before_sale(order, mrn, version, trade, stated.document(row)))
            continue
        sale, earlier = sales[order], counted.get(order)
        is_numbered = row in stated.orders
        findings = [
            *_expired(sale, is_late=order in expired or (order, mrn) in late),
            *(_other_order(order, owners.get(stated.documents.get(row))) if is_numbered else ()),
            *findings_of(sale.trade, trade, earlier),
        ]
        document = None if is_numbered else stated.document(row)
        bindings.append(
            Binding(
                order,
                mrn,
                version,
                sale.version,
                trade.amounts,
                findings,
                is_withdrawn=version > 1,
                trade=document and trade,
                document=document,
            )
        )
        if version > 1 or mrn not in amended:
            counted[order] = trade.amounts if earlier is None else sum_amounts(earlier, trade.amounts)
    await add_bindings(tx, bindings)
    tx.after_commit(lambda: _count(bindings))


async def _lock_orders(
    tx: Transaction, orders: SoldOrders, rows: Sequence[int]
) -> tuple[dict[int, Order], Mapping[Order, CurrentSale]]:
    """Return the order of each row, with NO_ORDER where none is stated and no sale names its house document, and the sales of these orders.

    Transactions that compare the same order with its consignments wait for each other. A sale that was filed since the look-up has found nothing
    to be bound, and one that is filed from now on finds what is stored here.
    """
    stated, sales = orders.stated, dict(orders.sales)
    documents = sorted({stated.documents[row] for row in rows if row not in stated.orders})
    owners: dict[PlatformDocument | None, Order] = {}
    if documents:
        await lock_documents(tx, documents)
        named = await orders.store.current(tx, (), documents)
        owners = _owners(named)
        sales |= named
    order_of = {
        row: stated.orders.get(row) or owners.get(stated.documents[row], (stated.documents[row].platform, NO_ORDER))
        for row in rows
    }
    distinct = sorted({order for order in order_of.values() if order[1] != NO_ORDER})
    if distinct:
        await lock_orders(tx, distinct)
    not_filed = [order for order in distinct if order not in sales]
    return order_of, sales | dict(await orders.store.current(tx, not_filed)) if not_filed else sales


def _owners(sales: Mapping[Order, CurrentSale]) -> dict[PlatformDocument | None, Order]:
    """Return the orders of the sales that house documents belong to, of those by which the sales were looked up."""
    return {PlatformDocument(order[0], *each): order for order, sale in sales.items() for each in sale.documents}


def _expired(sale: CurrentSale, *, is_late: bool) -> list[Finding]:
    return [Finding(EXPIRED, day_text(sale.today), day_text(sale.last_day))] if is_late else []


def _other_order(order: Order, owner: Order | None) -> list[Finding]:
    """Return the finding that the house document of a consignment belongs to the sale of another order than the one that it states."""
    return [] if owner in (None, order) else [Finding(OTHER_ORDER, order[1], owner[1])]


def binding_before_sale(
    order: Order, mrn: str, version: int, trade: Trade, document: Document | None, *, may_have_arrived: bool = False
) -> Binding:
    """Return the binding of a version of a consignment to an order without a sale; the first version counts until another is announced."""
    return Binding(
        order,
        mrn,
        version,
        NOT_FILED,
        trade.amounts,
        [],
        is_withdrawn=version > 1,
        trade=trade,
        document=document,
        may_have_arrived=may_have_arrived,
    )


async def bind_earlier(
    tx: Transaction,
    store: SaleStore,
    orders: Iterable[Order],
    documents: Iterable[PlatformDocument] = (),
    freed: Collection[tuple[PlatformDocument, Order]] = (),
) -> bool:
    """Compare the sales of orders and house documents with the consignments that were assessed before them; return whether more are left.

    These are EARLIER_MAX versions at most. Each is compared together with those that were assessed before it, as if the sale had been filed
    first. Before that, as many at most are unbound from the sales that named the `freed` documents in a version before. The caller has stored
    the sales.
    """
    own, named = sorted(set(orders)), sorted({*documents, *(document for document, _ in freed)})
    owners: dict[PlatformDocument | None, Order] = {}
    if named:
        await lock_documents(tx, named)
        owners = _owners(await store.current(tx, (), named))
    distinct = sorted({*own, *owners.values(), *(order for _, order in freed)})
    if not distinct:
        return False
    await lock_orders(tx, distinct)
    are_left = bool(freed) and await unbind(tx, freed, EARLIER_MAX)
    found = await earlier_bindings(tx, own, {each: owners[each] for each in named if each in owners}, EARLIER_MAX + 1)
    if not found:
        return are_left
    earlier = found[:EARLIER_MAX]
    distinct = sorted({each.order for each in earlier})
    beside = {PlatformDocument(each.order[0], *each.binding.document) for each in earlier if each.binding.document}
    sales = await store.current(tx, distinct, beside)
    owners = _owners(sales)
    counted = await amounts_of(tx, distinct, {each.binding.mrn for each in earlier}, compared=True)
    compared: list[tuple[Order, Binding]] = []
    for (order, _), versions in _by_consignment(earlier):
        before, sale = counted.get(order), sales[order]
        for each in versions:
            assert each.trade is not None
            findings = findings_of(sale.trade, each.trade, before)
            if each.order == order and each.document is not None:
                findings = [*_other_order(order, owners.get(PlatformDocument(order[0], *each.document))), *findings]
            compared.append((each.order, replace(each, order=order, sale_version=sale.version, findings=findings)))
            if not each.is_withdrawn:
                counted[order] = each.amounts if before is None else sum_amounts(before, each.amounts)
    await write_comparisons(tx, compared)
    tx.after_commit(lambda: _count([each for _, each in compared]))
    return are_left or len(found) > EARLIER_MAX


def _by_consignment(earlier: Sequence[EarlierGoods]) -> Iterable[tuple[tuple[Order, str], list[Binding]]]:
    """Yield the versions of each consignment of a sale, in the order in which the first ones were assessed."""
    groups: dict[tuple[Order, str], list[Binding]] = {}
    for each in earlier:
        groups.setdefault((each.order, each.binding.mrn), []).append(each.binding)
    return groups.items()


async def follow_states(tx: Transaction, states: Table) -> None:
    """Count of each consignment the version of the filing that clearance announces as active, and none of those that never came.

    Where no platform ever filed a sale, nothing is looked up. Goods that are bound by a house document stay with their sale once they have arrived.
    """
    any_sale, any_document = await has_sales(tx)
    if not any_sale:
        return
    if any_document:
        arrived = np.flatnonzero(states.ints("arrived_at").valid | ~never_released(states))
        if len(arrived):
            await note_arrivals(tx, states.strings("mrn").take(arrived).tolist())
    states = newest(states)
    ended = np.isin(states.ints("state").values, (clearance.STATE_INVALIDATED, clearance.STATE_EXPIRED))
    ended &= never_released(states)
    active = states.ints("filing_version")
    announced = np.flatnonzero(active.valid | ended)
    versions = dict(
        zip(
            states.strings("mrn").take(announced).tolist(),
            np.where(ended, NO_VERSION, active.values)[announced].tolist(),
            strict=True,
        )
    )
    await count_versions(tx, versions)


def _count(bindings: Sequence[Binding]) -> None:
    for each in bindings:
        if each.sale_version == NOT_FILED:
            continue
        outcome = "contradicted" if contradicts(each.findings) else "not_compared" if each.findings else "consistent"
        _bound.labels(outcome).inc()
