"""Bind consignments to the sales under whose order numbers they are declared, and compare both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    Binding,
    Order,
    add_bindings,
    amounts_of,
    count_versions,
    declared,
    late_among,
    lock_orders,
    platforms_with_sales,
)
from services.revenue.store.sales import CurrentSale, SaleStore

_bound = counter(
    "luxor_revenue_consignments_bound_total",
    "Versions of consignments that were declared under the order number of a sale, by whether they contradict it",
    ("outcome",),
)


@dataclass(frozen=True, slots=True)
class SoldOrders:
    """The consignments of a batch whose order was filed as a sale."""

    table: Table
    """The batch, a table of ConsignmentColumns with MRN and version."""
    orders: Mapping[int, Order]
    """By row."""
    declared: Mapping[int, Trade]
    """What each of these rows states, read before the transaction that binds it."""
    sales: Mapping[Order, CurrentSale]


async def sold_orders(store: SaleStore, table: Table) -> SoldOrders | None:
    """Return the consignments of a batch whose order was filed as a sale; None if none was.

    A batch that names no platform costs nothing, one of platforms without sales a look-up of these.
    """
    orders, sales = await _orders_of(store, table)
    if not orders:
        return None
    declared = trades_of(table.take(np.array(list(orders), np.intp)))
    return SoldOrders(table, orders, dict(zip(orders, declared, strict=True)), sales)


async def _orders_of(store: SaleStore, table: Table) -> tuple[dict[int, Order], Mapping[Order, CurrentSale]]:
    platform = table.strings("order_platform")
    if not platform.present.any():
        return {}, {}
    async with store.database.connection() as reader:
        selling = await platforms_with_sales(reader, platform.dictionary)
        if not selling:
            return {}, {}
        number, nature = table.strings("order_number"), table.ints("nature").values
        # A sale is assessed as an import into its country of destination.
        rows = platform.isin(selling) & number.present & np.isin(nature, (NATURE_UNSPECIFIED, NATURE_SALE))
        rows &= ~exports(table)
        orders = {row: (platform[row], number[row]) for row in np.flatnonzero(rows).tolist()}
        sales = await store.current(reader, orders.values())
    return {row: order for row, order in orders.items() if order in sales}, sales


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
    # An amendment is compared without the version before it.
    amended = {mrns[row] for row in rows if versions[row] > 1}
    counted = await amounts_of(tx, distinct, amended)
    overdue = {order for order in distinct if orders.sales[order].today > orders.sales[order].last_day}
    expired = overdue - await declared(tx, overdue) if overdue else overdue
    # The amendment of a late consignment is late as well: the version before it will not count any more.
    late = await late_among(tx, overdue, amended) if overdue and amended else set()
    bindings: list[Binding] = []
    for row in rows:
        order, mrn, version, trade = orders.orders[row], mrns[row], int(versions[row]), orders.declared[row]
        sale, earlier = orders.sales[order], counted.get(order)
        findings = findings_of(sale.trade, trade, earlier)
        if order in expired or (order, mrn) in late:
            findings.insert(0, Finding(EXPIRED, day_text(sale.today), day_text(sale.last_day)))
        bindings.append(Binding(order, mrn, version, sale.version, trade.amounts, findings, is_withdrawn=version > 1))
        if version > 1 or mrn not in amended:
            counted[order] = trade.amounts if earlier is None else sum_amounts(earlier, trade.amounts)
    await add_bindings(tx, bindings)
    tx.after_commit(lambda: _count(bindings))


async def follow_states(tx: Transaction, states: Table) -> None:
    """Count of each consignment the version of the filing that clearance announces as active, and none of those that never came."""
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
        outcome = "contradicted" if contradicts(each.findings) else "not_compared" if each.findings else "consistent"
        _bound.labels(outcome).inc()
