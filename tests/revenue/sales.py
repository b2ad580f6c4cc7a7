"""Sales that tests file with revenue."""

from __future__ import annotations

from collections.abc import Sequence

from libs.customs.time import parse_instant
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.sales_pb2_grpc import SaleServiceStub
from tests.support.services import Running

SECONDS = 30.0
PAID = "2026-08-03T12:00:00Z"
ACCEPTED, REFUSED = pb.SALE_STATUS_ACCEPTED, pb.SALE_STATUS_REFUSED


def sale(
    number: str,
    price: int = 5_000,
    *,
    paid: str = PAID,
    replaces: int = 0,
    platform: str = "",
    documents: Sequence[tuple[str, str]] = (),
) -> pb.Sale:
    """Return a sale of one blouse to Germany under an IOSS number; it costs 63.07 EUR landed at a price of 50.00 EUR.

    `documents` are the carriers and numbers of its house documents.
    """
    made = pb.Sale(
        platform=platform,
        order_number=number,
        destination_country="DE",
        dispatch_country="CN",
        items=[
            filing.Item(
                description="Ladies' woven cotton blouse",
                commodity_code="620630",
                price=filing.Money(minor=price, currency="EUR"),
            )
        ],
        fiscal_references=[filing.FiscalReference(scheme=filing.SCHEME_IOSS, number="IM2760000014")],
        declarant_role=filing.DECLARANT_ROLE_DEEMED_IMPORTER,
    )
    for carrier, document in documents:
        made.house_documents.add(carrier_identifier=carrier, number=document)
    made.paid_at.FromMicroseconds(parse_instant(paid))
    if replaces:
        made.amended_version = replaces
    return made


async def sales_stub(service: Running, role: str = "filer", ident: str = "shop") -> SaleServiceStub:
    return SaleServiceStub(await service.channel(role, ident))


async def file(stub: SaleServiceStub, sales: Sequence[pb.Sale], request_id: str) -> list[pb.SaleResult]:
    """File sales in one request and return the result of each."""
    request = pb.FileSalesRequest(request_id=request_id, sales=sales)
    return list((await stub.FileSales(request, timeout=SECONDS)).results)


def outcomes(results: Sequence[pb.SaleResult]) -> list[str | int]:
    """Return of each result the version, or the reason of a refusal."""
    return [each.receipt.version if each.status == ACCEPTED else each.error.reason for each in results]
