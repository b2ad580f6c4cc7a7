"""`luxor sale file, show, list`: what is asked of revenue and what is shown; nobody answers but the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message

from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.revenue import sales as client_sales
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import LandedCost
from tests.revenue.sales import sale

COST = LandedCost(
    currency="EUR", price_minor=5_000, landed_cost_minor=6_307, vendor_collected_minor=1_007, payable_minor=300
)


class Revenue:
    """Answers calls, in order, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.callers: list[tuple[str, str]] = []
        self.answers: list[Message] = []

    async def ask(self, service: str, _: object, method: str, request: Message, kind: type[Message]) -> Message:
        assert (service, f"{method}Request") == ("revenue", request.DESCRIPTOR.name)
        self.requests.append(request)
        answer = self.answers.pop(0)
        assert isinstance(answer, kind)
        return answer


@pytest.fixture
def revenue(monkeypatch: pytest.MonkeyPatch) -> Revenue:
    found = Revenue()

    @asynccontextmanager
    async def client(_: Context, role: str, ident: str) -> AsyncIterator[Revenue]:
        found.callers.append((role, ident))
        yield found

    monkeypatch.setattr(Context, "client", client)
    return found


def luxor_sale(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(luxor, ["sale", *words], standalone_mode=False)


def accepted(number: str, version: int = 1) -> pb.SaleResult:
    receipt = pb.SaleReceipt(platform="shop", order_number=number, version=version, landed_cost=COST)
    receipt.filed_at.FromSeconds(1_785_758_400)
    return pb.SaleResult(status=pb.SALE_STATUS_ACCEPTED, receipt=receipt)


def filed(number: str) -> pb.FiledSale:
    return pb.FiledSale(sale=sale(number), receipt=accepted(number).receipt, state=pb.SALE_STATE_OPEN)


def test_a_file_is_filed_and_every_refusal_is_shown_with_its_line_and_what_to_do(
    revenue: Revenue, tmp_path: Path
) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_text(
        '{"order_number": "1", "paid_at": "2026-08-03T12:00:00Z", "destination_country": "DE",'
        ' "house_documents": [{"carrier_identifier": "ZPOST", "number": "RR123456785TR"}]}\n'
        "\n"
        '{"order_number": "2", "price": 1}\n'
        '{"order_number": "3", "items": [{"price": {"minor": 5000, "currency": "EUR"}}]}\n'
    )
    error = ItemError(
        reason="ORDER_REUSED", path="sales[1].order_number", message="It was filed before.", hint="Give another."
    )
    refused = pb.SaleResult(status=pb.SALE_STATUS_REFUSED, error=error)
    revenue.answers += [pb.FileSalesResponse(results=[accepted("1"), refused])] * 2
    result = luxor_sale("file", str(path), "--as", "shop")
    assert revenue.callers == [("filer", "shop")]
    (request,) = revenue.requests
    assert request.request_id
    assert [(each.order_number, len(each.items)) for each in request.sales] == [("1", 0), ("3", 1)]
    assert [each.number for each in request.sales[0].house_documents] == ["RR123456785TR"]
    assert request.sales[0].paid_at.ToJsonString() == "2026-08-03T12:00:00Z"
    for text in ("63.07 EUR", "1 accepted, 2 refused", "FIELD_UNKNOWN  line 3, 2", "ORDER_REUSED  line 4, 3", "→ "):
        assert text in result.output
    rows = json.loads(luxor_sale("file", str(path), "--json").output)["sales"]
    assert [(each["line"], each["order_number"], each.get("error", {}).get("reason")) for each in rows] == [
        (1, "1", None),
        (3, "2", "FIELD_UNKNOWN"),
        (4, "3", "ORDER_REUSED"),
    ]


def test_an_empty_file_is_refused(revenue: Revenue, tmp_path: Path) -> None:
    path = tmp_path / "sales.jsonl"
    path.write_text("\n")
    assert "FILE_EMPTY" in luxor_sale("file", str(path)).stderr
    assert not revenue.requests


def test_a_request_has_no_more_sales_and_items_than_are_accepted(
    revenue: Revenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_sales, "BATCH", 2)
    monkeypatch.setattr(client_sales, "ITEMS_MAX", 3)
    path = tmp_path / "sales.jsonl"
    items = [1, 1, 1, 2, 1, 3]
    path.write_text(
        "".join(json.dumps({"order_number": str(at), "items": [{}] * count}) + "\n" for at, count in enumerate(items))
    )
    # A house document counts as some items.
    monkeypatch.setattr(client_sales, "DOCUMENT_ITEMS", 2)
    with path.open("a") as more:
        for number in ("6", "7"):
            more.write(json.dumps({"order_number": number, "items": [{}], "house_documents": [{"number": "1"}]}) + "\n")
    expected = [["0", "1"], ["2", "3"], ["4"], ["5"], ["6"], ["7"]]
    revenue.answers += [pb.FileSalesResponse(results=map(accepted, batch)) for batch in expected]
    assert "8 accepted, 0 refused" in luxor_sale("file", str(path)).output
    assert [[each.order_number for each in request.sales] for request in revenue.requests] == expected


def test_sales_are_shown_by_order_number_and_those_that_are_missing_are_named(revenue: Revenue) -> None:
    stored = filed("1")
    findings = stored.consignments.add(mrn="26DE07329000001XR8", filing_version=2, sale_version=1).findings
    findings.add(reason="SALE_SCHEME_NUMBER_DIFFERS", sold="IOSS IM2760000014")
    findings.add(reason="SALE_QUANTITY_EXCEEDED", declared="3500 H87", sold="2000 H87")
    findings.add(reason="SALE_VALUE_DIFFERS", declared="499950 EUR", sold="5000 JPY")
    findings.add(reason="SALE_VALUE_NOT_COMPARED")
    findings.add(reason="SALE_PAYMENT_DIFFERS", declared="501050 EUR", sold="500050 EUR")
    findings.add(reason="SALE_PAYMENT_NOT_COMPARED")
    findings.add(reason="SALE_ORDER_DIFFERS", declared="1", sold="B-7")
    findings.add(reason="SALE_EXPIRED", declared="2026-12-01", sold="2026-11-30")
    by_document = stored.consignments.add(mrn="26DE07329000002XR7", filing_version=1, sale_version=1, withdrawn=True)
    by_document.house_document.carrier_identifier, by_document.house_document.number = "FASTAIR", "HAWB-1"
    stored.sale.house_documents.add(carrier_identifier="FASTAIR", number="HAWB-1")
    stored.sale.house_documents.add(carrier_identifier="ZPOST", number="RR123456785TR")
    stored.consignments_count = 1_002
    revenue.answers.append(pb.ListSalesResponse(sales=[stored]))
    result = luxor_sale("show", "1", "2", "--platform", "shop", "--as", "officer/ann")
    assert revenue.callers == [("officer", "ann")]
    assert (revenue.requests[0].platform, list(revenue.requests[0].order_numbers)) == ("shop", ["1", "2"])
    for text in (
        "shop 1", "version 1", "12:00:00Z, open", "landed cost", "63.07 EUR", "There is no sale 2 for the caller.",
        "The last 2 of 1,002 consignments:",
        "consignment 26DE07329000001XR8, version 2, compared with version 1 of the sale",
        "SALE_SCHEME_NUMBER_DIFFERS  declared nothing, sold IOSS IM2760000014",
        "SALE_QUANTITY_EXCEEDED  declared 3.5 H87, sold 2 H87", "SALE_VALUE_DIFFERS  declared 4,999.50 EUR, sold 5,000 JPY",
        "SALE_VALUE_NOT_COMPARED  the values of both could not be compared",
        "SALE_PAYMENT_DIFFERS  declared 5,010.50 EUR, sold 5,000.50 EUR",
        "SALE_PAYMENT_NOT_COMPARED  the payment and the sale could not be compared",
        "SALE_EXPIRED  declared on 2026-12-01, the sale expired after 2026-11-30",
        "SALE_ORDER_DIFFERS  declared under the order 1, its house document is of the order B-7",
        "house documents: HAWB-1 of FASTAIR, RR123456785TR of ZPOST",
        "consignment 26DE07329000002XR7, version 1, withdrawn or amended, of house document HAWB-1 of FASTAIR, compared",
    ):  # fmt: skip
        assert text in result.output


def test_all_pages_are_listed(revenue: Revenue) -> None:
    revenue.answers += [
        pb.ListSalesResponse(sales=[filed("1")], next_page_token="t"),
        pb.ListSalesResponse(sales=[filed("2")]),
        pb.ListSalesResponse(),
    ]
    rows = json.loads(luxor_sale("list", "--json").output)["sales"]
    assert [each["receipt"]["order_number"] for each in rows] == ["1", "2"]
    assert [each.page_token for each in revenue.requests] == ["", "t"]
    assert "has no such sales" in luxor_sale("list", "--contradicted").output
    assert [each.contradicted for each in revenue.requests] == [False, False, True]
    revenue.answers += [pb.ListSalesResponse(), pb.ListSalesResponse(sales=[filed("1")])]
    assert "luxor sale file PATH" in luxor_sale("list").output
    assert " open" in luxor_sale("list", "--state", "expired").output
    assert [each.state for each in revenue.requests[3:]] == [pb.SALE_STATE_UNSPECIFIED, pb.SALE_STATE_EXPIRED]
