"""Consignments of sales, as clearance has them assessed, and what officers see of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from libs.columns import Ints, Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import MICROS_PER_DAY, day_text
from libs.store.database import Database
from libs.store.tables import schema
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.revenue.commands.sales.bind import follow_states
from services.revenue.commands.sales.search import GoodsSearch
from services.revenue.store.sales import REFERENCE_SPAN, SaleStore
from tests.revenue.sales import SECONDS, sale, sales_stub
from tests.revenue.service_client import DAY
from tests.support.services import Running

SHOP = "shop"
POST, EXPRESS = ("ZPOST", "RR123456785TR"), ("FASTAIR", "HAWB-1")
"""A postal item and a house air waybill: carrier and number."""


def pieces(
    number: str,
    price: int = 5_000,
    quantity: int = 2,
    *,
    replaces: int = 0,
    documents: Sequence[tuple[str, str]] = (),
) -> pb.Sale:
    """Return a sale of some pieces of goods."""
    made = sale(number, price, replaces=replaces, documents=documents)
    made.items[0].quantity_milli, made.items[0].quantity_unit = quantity * 1_000, "H87"
    return made


def consignment(made: pb.Sale, **changes: object) -> filing.Consignment:
    """Return the consignment that a sale announces, with changes to its only item's price and quantity or to its own elements."""
    message = filing.Consignment(
        destination_country=made.destination_country,
        dispatch_country=made.dispatch_country,
        items=made.items,
        fiscal_references=made.fiscal_references,
        order=filing.Order(platform=SHOP, number=made.order_number, time=made.paid_at),
        nature=filing.NATURE_SALE,
    )
    item = message.items[0]
    for name, value in changes.items():
        if name == "price":
            item.price.minor = value  # type: ignore[assignment]
        elif name == "quantity":
            item.quantity_milli = value * 1_000  # type: ignore[operator]
        elif name == "currency":
            item.price.currency = value  # type: ignore[assignment]
        elif name == "paid":
            message.payment.amount.minor, message.payment.amount.currency = value, "EUR"  # type: ignore[assignment]
        elif name == "number":
            del message.fiscal_references[:]
            if value:
                message.fiscal_references.add(scheme=filing.SCHEME_IOSS, number=value)
        elif name == "document":
            # Goods that state no order number.
            message.order.ClearField("number")
            message.carrier_identifier, message.house_document.number = value  # type: ignore[misc]
        else:
            setattr(message, name, value)
    return message


def travelling(document: tuple[str, str], price: int = 2_500, quantity: int = 1) -> filing.Consignment:
    """Return a consignment of a platform that states its house document and no order number."""
    return consignment(pieces("-"), price=price, quantity=quantity, document=document)


def also(row: filing.Consignment, document: tuple[str, str]) -> filing.Consignment:
    """Return a consignment that states an order number with a house document beside it."""
    row.carrier_identifier, row.house_document.number = document
    return row


def mrn(serial: int) -> str:
    return make_mrns(["DE"], [3], DAY, serial)[0]


async def assess(
    house: Running,
    rows: Sequence[filing.Consignment],
    *,
    first: int = 0,
    version: int = 1,
    mrns: Sequence[str] = (),
    versions: Sequence[int] = (),
) -> revenue_pb2.AssessmentColumns:
    """Assess consignments as clearance does; their MRNs count from `first`, and all have one version, unless both are named."""
    count = len(rows)
    table = Table.from_messages(rows, ConsignmentColumns, filing.Consignment).with_columns(
        {
            "mrn": Strings.of(list(mrns) or [mrn(first + place) for place in range(count)]),
            "version": Ints.of(np.array(list(versions) or [version] * count)),
            "filer": Strings.constant("carrier", count),
            "accepted_at": Ints.constant(DAY * MICROS_PER_DAY, count),
        }
    )
    request = revenue_pb2.AssessConsignmentsRequest(
        purpose=revenue_pb2.PURPOSE_CLEARANCE, consignments=table.encode(ConsignmentColumns)
    )
    stub = RevenueServiceStub(await house.channel("service", "clearance"))
    return (await stub.AssessConsignments(request, timeout=SECONDS)).assessments


async def bound(house: Running, **query: object) -> dict[str, list[tuple[str, list[str], bool]]]:
    """Return by order number what officers see: MRN and findings of each consignment, and whether it was withdrawn."""
    officer = await sales_stub(house, "officer", "ann")
    answer = await officer.ListSales(pb.ListSalesRequest(platform=SHOP, **query), timeout=SECONDS)  # type: ignore[arg-type]
    return {
        each.sale.order_number: [
            (one.mrn, [f"{it.reason} {it.declared} / {it.sold}" for it in one.findings], one.withdrawn)
            for one in each.consignments
        ]
        for each in answer.sales
    }


async def announce(url: str, *states: tuple[int, int, int, bool], arrived: bool = False) -> None:
    """Announce states as clearance's feed does, in their order: serial, active version of the filing, state, and whether the goods were released.

    With `arrived` the goods of all of them have arrived.
    """
    serials, versions, values, released = (np.array(each) for each in zip(*states, strict=True))
    table = Table.of(
        ClearanceColumns,
        len(states),
        {
            "mrn": Strings.of([mrn(serial) for serial in serials.tolist()]),
            "version": Ints.of(np.arange(1, len(states) + 1)),
            "filing_version": Ints(versions, versions > 0),
            "state": Ints.of(values),
            "released_at": Ints(released.astype(np.int64), released),
            "arrived_at": Ints(np.full(len(states), int(arrived)), np.full(len(states), arrived)),
        },
    )
    async with Database(url, name="test") as database, database.transaction() as tx:
        await follow_states(tx, table)


async def listed(house: Running, role: str = "filer", ident: str = SHOP) -> dict[str, pb.FiledSale]:
    stub = await sales_stub(house, role, ident)
    answer = await stub.ListSales(pb.ListSalesRequest(platform=SHOP, page_size=1_000), timeout=SECONDS)
    return {each.sale.order_number: each for each in answer.sales}


async def documents(house: Running, role: str = "filer", ident: str = SHOP) -> dict[str, list[tuple[str, str]]]:
    """Return the house documents of the sales of the platform by order number."""
    found = await listed(house, role, ident)
    return {
        number: [(one.carrier_identifier, one.number) for one in each.sale.house_documents]
        for number, each in found.items()
    }


async def search(url: str, *, later: int = 0) -> bool:
    """Search as the service does, so many seconds later than it is."""
    async with Database(url, name="test") as database:
        if later:
            async with database.transaction() as tx:
                await tx.raw.execute("update sale_platform set since = since - $1::bigint * 1000000", later)
        return await GoodsSearch(database, SaleStore(database), "test").run()


async def expire(url: str) -> str:
    """Have the term of all sales of today end yesterday; return the finding of goods that are declared today."""
    async with Database(url, name="test") as database, database.transaction() as tx:
        today = await schema.today(tx)
        for table, span in (("sale", REFERENCE_SPAN), ("sale_document", REFERENCE_SPAN), ("sale_batch", 1)):
            await schema.ensure_day_partitions(tx, table, [today - 201], span=span)
            await tx.raw.execute(f"update {table} set day = day - 201 where day = $1", today)
    return f"SALE_EXPIRED {day_text(today)} / {day_text(today - 1)}"
