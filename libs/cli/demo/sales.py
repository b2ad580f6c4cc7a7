"""The sales of the demo: platforms file some of the orders as they were sold, and the declarations are compared with them."""

import asyncio
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from libs.cli.local.supervisor import LocalSystem
from libs.client.client import Client
from libs.client.revenue.sales import NOT_COMPARED, file_sales, sales_of
from luxor.consignment.v1.consignment_pb2 import NATURE_SALE
from luxor.revenue.v1.sales_pb2 import Sale

if TYPE_CHECKING:
    from libs.simulator import SimulatedConsignment

SOLD_EVERY: Final = 20
"""One of so many orders is filed by its platform."""
SALES_MAX: Final = 2_000
PAUSE_EVERY: Final = 500
"""Consignments that are simulated before anything else gets its turn."""
_OF_ORDER: Final = ("seller", "buyer", "consignee", "freight", "insurance", "transport")


@dataclass
class Sales:
    """What became of the sales."""

    filed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    declared: int = 0
    """Sales that a consignment was declared for."""
    contradicted: Counter[str] = field(default_factory=Counter)
    """Sales by the reason for which their consignments contradict them."""


async def sold(manifest: "Iterable[SimulatedConsignment]") -> dict[str, list[Sale]]:
    """Return some of the orders of a manifest as they were sold, by platform: with the true prices, whatever is declared."""
    sales: dict[tuple[str, str], Sale] = {}
    for number, each in enumerate(manifest):
        if number % PAUSE_EVERY == 0:
            # A large manifest takes a minute, in which an interrupt has to end the demo.
            await asyncio.sleep(0)
        order = each.message.order
        key = order.platform, order.number
        if each.message.nature != NATURE_SALE or zlib.crc32(" ".join(key).encode()) % SOLD_EVERY:
            continue
        if key not in sales:
            if len(sales) == SALES_MAX:
                break
            sales[key] = _sale(each)
        sales[key].gross_mass_mg += each.message.gross_mass_mg
        sales[key].items.extend(each.message.items)
        _set_true_prices(sales[key], each)
    by_platform: dict[str, list[Sale]] = {}
    for (platform, _), sale in sales.items():
        by_platform.setdefault(platform, []).append(sale)
    return by_platform


def _sale(each: "SimulatedConsignment") -> Sale:
    message = each.message
    sale = Sale(
        order_number=message.order.number,
        paid_at=message.order.time,
        destination_country=message.destination_country or message.consignee.address.country,
        dispatch_country=message.dispatch_country,
        fiscal_references=message.fiscal_references,
        declarant_role=message.declarant_role,
    )
    for name in _OF_ORDER:
        if message.HasField(name):
            getattr(sale, name).CopyFrom(getattr(message, name))
    if message.HasField("prices_include_tax"):
        sale.prices_include_tax = message.prices_include_tax
    return sale


def _set_true_prices(sale: Sale, each: "SimulatedConsignment") -> None:
    items = sale.items[len(sale.items) - len(each.message.items) :]
    for item in items:
        item.ClearField("number")
    if each.truth is not None:
        for true in each.truth.items:
            items[true.number - 1].price.minor = true.price_minor
            items[true.number - 1].price.currency = each.truth.currency


async def file(system: LocalSystem, by_platform: dict[str, list[Sale]]) -> Sales:
    """File the sales of each platform under its certificate."""
    outcome = Sales()
    async with AsyncExitStack() as stack:
        for platform, sales in by_platform.items():
            client = await stack.enter_async_context(system.client("filer", platform))
            for result in await file_sales(client, sales):
                if "receipt" in result:
                    outcome.filed += 1
                else:
                    outcome.refused[result["error"]["reason"]] += 1
    return outcome


async def look(officer: Client, platforms: Sequence[str], outcome: Sales) -> None:
    """Count which sales were declared, and which contradict what was declared."""
    for platform in platforms:
        for sale in await sales_of(officer, platform):
            newest: dict[str, dict[str, Any]] = {}
            for each in sale.get("consignments", ()):
                if not each.get("withdrawn"):
                    newest[each["mrn"]] = max(
                        newest.get(each["mrn"], each), each, key=lambda one: one["filing_version"]
                    )
            outcome.declared += bool(newest)
            reasons = {finding["reason"] for each in newest.values() for finding in each.get("findings", ())}
            outcome.contradicted.update(reasons.difference(NOT_COMPARED))
