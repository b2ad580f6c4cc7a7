"""The content of sales as columns of consignments, so that one law assesses both and both can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import NATURE_SALE, Consignment
from luxor.revenue.v1.sales_pb2 import Sale

SHARED: Final = frozenset(Sale.DESCRIPTOR.fields_by_name) & frozenset(Consignment.DESCRIPTOR.fields_by_name)
"""Elements that a sale and a consignment have under one name."""


def order_number_of(sale: Sale) -> str:
    """Return the order number in the form of filings: without blanks around it."""
    return sale.order_number.strip()


def sale_table(sales: Iterable[Sale], platform: str) -> Table:
    """Return sales of a platform as a table of ConsignmentColumns, a row each; a sale is dated by its payment."""
    consignments = []
    for sale in sales:
        consignment = Consignment(nature=NATURE_SALE)
        _copy(sale, consignment)
        consignment.order.platform, consignment.order.number = platform, order_number_of(sale)
        consignment.order.time.CopyFrom(sale.paid_at)
        consignments.append(consignment)
    return Table.from_messages(consignments, ConsignmentColumns, Consignment)


def sale_messages(table: Table) -> list[Sale]:
    """Return the rows of such a table as sales."""
    sales = []
    for consignment in table.to_messages(Consignment):
        sale = Sale(platform=consignment.order.platform, order_number=consignment.order.number)
        _copy(consignment, sale)
        sale.paid_at.CopyFrom(consignment.order.time)
        sales.append(sale)
    return sales


def _copy(source: Any, target: Any) -> None:
    for field, value in source.ListFields():
        if field.name not in SHARED:
            continue
        if field.is_repeated:
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
