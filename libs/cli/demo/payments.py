"""The payments of the demo: a payment provider files those of some sales as parts of the consignments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.filing import filers
from libs.client.filing.parts import file_parts
from luxor.consignment.v1.consignment_pb2 import Payment
from luxor.ingestion.v1 import parts_pb2 as pb
from luxor.ingestion.v1.filers_pb2 import Filer

if TYPE_CHECKING:
    from libs.simulator import SimulatedConsignment
    from luxor.revenue.v1.sales_pb2 import Sale

PROVIDER: Final = "pay.example"
PAID_EVERY: Final = 5
"""The payment of one of so many sales is filed."""
DIFFERING_EVERY: Final = 10
"""One of so many payments is a tenth more than was to be paid."""
Order = tuple[str, str]
"""Platform and number."""


@dataclass
class Payments:
    """What became of the payments."""

    filed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    joined: int = 0
    """Consignments that a payment was added to, and that were decided with it."""
    contradicting: int = 0
    """Those of them that state another amount than their payment."""


async def register(officer: Client) -> None:
    """Register the payment provider, which consignments name; raise LuxorError if it is refused."""

    def edit(entry: Filer) -> None:
        entry.name = "Pay Example"
        del entry.party_roles[:]
        entry.party_roles.append(pb.PARTY_ROLE_PAYMENT_PROVIDER)

    result = await filers.change(officer, PROVIDER, edit, is_new_allowed=True)
    if "error" in result:
        raise LuxorError(result["error"]["reason"], result["error"]["message"], result["error"]["hint"])


def payments_of(sold: Mapping[str, Sequence[Sale]]) -> dict[Order, Payment]:
    """Return the payments of some sales by their order; of a few another amount than was to be paid."""
    payments: dict[Order, Payment] = {}
    for place, (order, amount, currency) in enumerate(_to_pay(sold)):
        if place % PAID_EVERY:
            continue
        payment = payments[order] = Payment(reference=f"PAY-{len(payments) + 1}")
        differs = len(payments) % DIFFERING_EVERY == 1
        payment.amount.minor, payment.amount.currency = amount + differs * max(1, amount // 10), currency
    return payments


def _to_pay(sold: Mapping[str, Sequence[Sale]]) -> Iterator[tuple[Order, int, str]]:
    """Yield the sales that state their tax, with what was to be paid: the price of the goods, tax and freight, in one currency."""
    for platform, sales in sold.items():
        for sale in sales:
            taxes = [each.tax_charged for each in sale.items if each.HasField("tax_charged")]
            amounts = [*(each.price for each in sale.items), *taxes]
            amounts += [sale.freight] if sale.HasField("freight") else []
            currencies = {each.currency for each in amounts}
            if len(currencies) == 1 and len(taxes) == (len(sale.items) if sale.fiscal_references else 0):
                yield (platform, sale.order_number), sum(each.minor for each in amounts), currencies.pop()


def order_of(consignment: SimulatedConsignment) -> Order:
    """Return the order of a consignment."""
    return consignment.message.order.platform, consignment.message.order.number


async def file(
    provider: Client, payments: Mapping[Order, Payment], consignments: Sequence[SimulatedConsignment]
) -> Payments:
    """File the payments of consignments that are filed, a part for each order and filer."""
    links = dict.fromkeys((order_of(each), each.filer) for each in consignments)
    parts = []
    for (order, filer), number in zip(links, range(1, len(links) + 1), strict=True):
        part = pb.FilingPart(reference=f"PART-{number}", role=pb.PARTY_ROLE_PAYMENT_PROVIDER, consignment_filer=filer)
        part.order.platform, part.order.number = order
        part.consignment.payment.CopyFrom(payments[order])
        parts.append(part)
    outcome = Payments()
    for result in await file_parts(provider, parts):
        if "receipt" in result:
            outcome.filed += 1
        else:
            outcome.refused[result["error"]["reason"]] += 1
    return outcome
