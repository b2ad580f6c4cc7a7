"""Sales from a file, their results and the stored ones, as plain values."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from libs.client.client import Client
from libs.client.filing.files import batches_of, read_messages
from libs.client.pages import pages
from libs.client.plain import plain
from libs.client.row_errors import RowError
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.sales_pb2_grpc import SaleServiceStub

BATCH: Final = 500
ITEMS_MAX: Final = 10_000
"""Items of one request."""
DOCUMENT_ITEMS: Final = 5
"""Items that a house document counts as: a request has at most 2,000 documents."""
PAGE: Final = 1_000
NOT_COMPARED: Final = ("SALE_VALUE_NOT_COMPARED", "SALE_PAYMENT_NOT_COMPARED")
"""The findings that values, or a payment, could not be compared, which contradict nothing."""

EXPIRED: Final = "SALE_EXPIRED"
"""The finding that goods were declared when their sale had expired, with the two days."""
OTHER_ORDER: Final = "SALE_ORDER_DIFFERS"
"""The finding that the house document of goods belongs to the sale of another order, with both order numbers."""


def read_sales(path: Path) -> tuple[list[tuple[pb.Sale, int]], list[RowError]]:
    """Read a file of JSON Lines, a sale in each line; return the sales with their lines, and the errors of the other lines."""
    return read_messages(path, pb.Sale, "order_number")


async def file_sales(client: Client, sales: Sequence[pb.Sale]) -> list[dict[str, Any]]:
    """File sales, 500 in a request, and return the result of each. Role: filer."""
    results = []
    for batch in batches_of(sales, _items, BATCH, ITEMS_MAX):
        # A request of its own for each run: an order number that was refused before may be free now.
        request = pb.FileSalesRequest(request_id=str(uuid.uuid4()), sales=batch)
        answer = await client.ask("revenue", SaleServiceStub, "FileSales", request, pb.FileSalesResponse)
        results += [plain(each) for each in answer.results]
    return results


async def sales_of(
    client: Client,
    platform: str = "",
    order_numbers: Sequence[str] = (),
    *,
    contradicted: bool = False,
    state: str = "",
) -> list[dict[str, Any]]:
    """Return the sales of a platform in the order of filing: all, or those with some order numbers, those that consignments contradict,
    and of these the ones in a state ("open", "declared" or "expired").

    Roles: filer, officer.
    """
    request = pb.ListSalesRequest(
        platform=platform,
        order_numbers=order_numbers,
        contradicted=contradicted,
        page_size=PAGE,
        state=pb.SaleState.Value(f"SALE_STATE_{state.upper() or 'UNSPECIFIED'}"),
    )
    answers = pages(client, "revenue", SaleServiceStub, "ListSales", request, pb.ListSalesResponse)
    return [plain(each) async for page in answers for each in page.sales]


def _items(sale: pb.Sale) -> int:
    """Return what a sale counts as in a request, so that neither its items nor its house documents are too many."""
    return max(len(sale.items), DOCUMENT_ITEMS * len(sale.house_documents))
