"""Bind consignments to the sales under whose order numbers they are declared, and compare both."""

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
from services.revenue.sales.comparison import EXPIRED, Finding, Trade, contradicts, findings_of, sum_amounts, trades_of
from services.revenue.store.sale_bindings import (
    NO_VERSION,
    NOT_FILED,
    Binding,
    Order,
    add_bindings,
    amounts_of,
    count_versions,
    declared,
    earlier_bindings,
    has_sales,
    late_among,
    lock_orders,
    platforms_with_sales,
    write_comparisons,
)
from services.revenue.store.sales import CurrentSale, SaleStore

EARLIER_MAX: Final = 1_000
"""Versions of consignments that are compared in one transaction with a sale that was filed after them."""

_bound = counter(
    "luxor_revenue_consignments_bound_total",
    "Versions of consignments that were declared under the order number of a sale, by whether they contradict it",
    ("outcome",),
)


@dataclass(frozen=True, slots=True)
class SoldOrders:
    """The consignments of a batch whose order is one of a platform with sales."""

    store: SaleStore
    table: Table
    """The batch, a table of ConsignmentColumns with MRN and version."""
    orders: Mapping[int, Order]
    """By row."""
    declared: Mapping[int, Trade]
    """What each of these rows states, read before the transaction that binds it."""
    sales: Mapping[Order, CurrentSale]
    """The sales of the orders, of those that were filed before the look-up."""


async def sold_orders(store: SaleStore, table: Table) -> SoldOrders | None:
    """Return the consignments of a batch whose order is one of a platform with sales; None if none is.

    A batch that names no platform costs nothing, one of platforms without sales a look-up of these.
    """
    orders, sales = await _orders_of(store, table)
    if not orders:
        return None
    declared = trades_of(table.take(np.array(list(orders), np.intp)))
    return SoldOrders(store, table, orders, dict(zip(orders, declared, strict=True)), sales)


async def _orders_of(store: SaleStore, table: Table) -> tuple[dict[int, Order], Mapping[Order, CurrentSale]]:
    platform = table.strings("order_platform")
    if not platform.present.any():
        return {}, {}
    async with store.database.connection() as reader:
        selling = await platforms_with_sales(reader, platform.dictionary)
        if not selling:
            return {}, {}
        orders = orders_in(table, selling)
        return orders, await store.current(reader, orders.values()) if orders else {}


def orders_in(table: Table, platforms: Collection[str]) -> dict[int, Order]:
    """Return by row the orders at some platforms of the consignments that can be bound to a sale."""
    platform, number, nature = table.strings("order_platform"), table.strings("order_number"), table.ints("nature")
    # A sale is assessed as an import into its country of destination.
    rows = platform.isin(platforms) & number.present & np.isin(nature.values, (NATURE_UNSPECIFIED, NATURE_SALE))
    rows &= ~exports(table)
    return {row: (platform[row], number[row]) for row in np.flatnonzero(rows).tolist()}


async def bind(tx: Transaction, orders: SoldOrders, fresh: npt.NDArray[np.intp]) -> None:
    """Bind the `fresh` rows of a batch, which are assessed for the first time, in the transaction that stores their answers.

    Clearance assesses an amendment before it decides whether it comes too late: until a state announces it, the version before counts.
    """
    mrns, versions = orders.table.strings("mrn"), orders.table.ints("version").values
    rows = [row for row in fresh.tolist() if row in orders.orders]
    if not rows:
        return
    # Transactions that compare the same order with its consignments wait for each other.
    distinct = sorted({orders.orders[row] for row in rows})
    await lock_orders(tx, distinct)
    # A sale that was filed since the look-up has found nothing to be bound, and one that is filed from now on finds what is stored here.
    not_filed = [order for order in distinct if order not in orders.sales]
    sales = {**orders.sales, **await orders.store.current(tx, not_filed)} if not_filed else orders.sales
    distinct = [order for order in distinct if order in sales]
    # An amendment is compared without the version before it.
    amended = {mrns[row] for row in rows if versions[row] > 1}
    counted = await amounts_of(tx, distinct, amended) if distinct else {}
    overdue = {order for order in distinct if sales[order].today > sales[order].last_day}
    expired = overdue - await declared(tx, overdue) if overdue else overdue
    # The amendment of a late consignment is late as well: the version before it will not count any more.
    late = await late_among(tx, overdue, amended) if overdue and amended else set()
    bindings: list[Binding] = []
    for row in rows:
        order, mrn, version, trade = orders.orders[row], mrns[row], int(versions[row]), orders.declared[row]
        if order not in sales:
            bindings.append(binding_before_sale(order, mrn, version, trade))
            continue
        sale, earlier = sales[order], counted.get(order)
        findings = findings_of(sale.trade, trade, earlier)
        if order in expired or (order, mrn) in late:
            findings.insert(0, Finding(EXPIRED, day_text(sale.today), day_text(sale.last_day)))
        bindings.append(Binding(order, mrn, version, sale.version, trade.amounts, findings, is_withdrawn=version > 1))
        if version > 1 or mrn not in amended:
            counted[order] = trade.amounts if earlier is None else sum_amounts(earlier, trade.amounts)
    await add_bindings(tx, bindings)
    tx.after_commit(lambda: _count(bindings))


def binding_before_sale(order: Order, mrn: str, version: int, trade: Trade) -> Binding:
    """Return the binding of a version of a consignment to an order without a sale; the first version counts until another is announced."""
    return Binding(order, mrn, version, NOT_FILED, trade.amounts, [], is_withdrawn=version > 1, trade=trade)


async def bind_earlier(tx: Transaction, store: SaleStore, orders: Iterable[Order]) -> bool:
    """Compare the sales of orders with the consignments that were assessed before them, EARLIER_MAX versions at most; return whether more are left.

    Each is compared together with those that were assessed before it, as if the sale had been filed first. The caller has stored the sales.
    """
    distinct = sorted(set(orders))
    if not distinct:
        return False
    await lock_orders(tx, distinct)
    found = await earlier_bindings(tx, distinct, EARLIER_MAX + 1)
    if not found:
        return False
    earlier = found[:EARLIER_MAX]
    distinct = sorted({each.order for each in earlier})
    sales = await store.current(tx, distinct)
    counted = await amounts_of(tx, distinct, {each.mrn for each in earlier}, compared=True)
    compared: list[Binding] = []
    for (order, _), versions in _by_consignment(earlier):
        before = counted.get(order)
        for each in versions:
            assert each.trade is not None
            findings = findings_of(sales[order].trade, each.trade, before)
            compared.append(replace(each, sale_version=sales[order].version, findings=findings))
            if not each.is_withdrawn:
                counted[order] = each.amounts if before is None else sum_amounts(before, each.amounts)
    await write_comparisons(tx, compared)
    tx.after_commit(lambda: _count(compared))
    return len(found) > EARLIER_MAX


def _by_consignment(earlier: Sequence[Binding]) -> Iterable[tuple[tuple[Order, str], list[Binding]]]:
    """Yield the versions of each consignment under an order, in the order in which the first ones were assessed."""
    groups: dict[tuple[Order, str], list[Binding]] = {}
    for each in earlier:
        groups.setdefault((each.order, each.mrn), []).append(each)
    return groups.items()


async def follow_states(tx: Transaction, states: Table) -> None:
    """Count of each consignment the version of the filing that clearance announces as active, and none of those that never came.

    Where no platform ever filed a sale, nothing is looked up.
    """
    if not await has_sales(tx):
        return
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
