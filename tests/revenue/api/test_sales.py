"""Sales over real gRPC, TLS and PostgreSQL: filed once whatever is repeated, changed by versions, assessed by the law of their day."""

from __future__ import annotations

import asyncio
import time

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from libs.bounds import bound_of
from luxor.common.v1 import common_pb2
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import QuoteConsignmentsRequest
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from luxor.revenue.v1.sales_pb2_grpc import SaleServiceStub
from services.revenue.__main__ import assemble
from services.revenue.api.sales import PLATFORM_CHARACTERS_MAX
from tests.revenue.sales import ACCEPTED, REFUSED, SECONDS, file, outcomes, sale, sales_stub
from tests.revenue.service_client import refused
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy
from tests.support.services import Running, running


async def listed(stub: SaleServiceStub, **query: object) -> list[pb.FiledSale]:
    """Return all pages of a list."""
    request = pb.ListSalesRequest(**query)  # type: ignore[arg-type]
    found: list[pb.FiledSale] = []
    while True:
        answer = await stub.ListSales(request, timeout=SECONDS)
        found += answer.sales
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


async def test_the_same_sale_has_the_same_answer_and_another_one_under_its_number_is_refused(house: Running) -> None:
    stub = await sales_stub(house)
    first = await file(stub, [sale("1"), sale("2", 4_000), sale("1"), sale("2", 4_001)], "r1")
    assert outcomes(first) == [1, 1, 1, "ORDER_REUSED"]
    assert first[0] == first[2]
    receipt = first[0].receipt
    cost = receipt.landed_cost
    assert (receipt.platform, receipt.order_number) == ("shop", "1")
    assert (cost.price_minor, cost.duty_minor, cost.tax_minor, cost.landed_cost_minor) == (5_000, 300, 1_007, 6_307)
    assert (cost.vendor_collected_minor, cost.payable_minor, cost.currency) == (1_007, 300, "EUR")
    assert cost.rulebook_version.startswith("EU/")
    assert [(each.collector, each.debtor) for each in cost.lines] == [
        (common_pb2.COLLECTOR_CUSTOMS, common_pb2.DEBTOR_DECLARANT),
        (common_pb2.COLLECTOR_VENDOR, common_pb2.DEBTOR_VENDOR),
    ]
    # The same request, and another one with blanks and small letters in its codes.
    assert await file(stub, [sale("1"), sale("2", 4_000), sale("1"), sale("2", 4_001)], "r1") == first
    small = sale("1", platform="shop")
    small.destination_country, small.items[0].commodity_code = "de", "6206 30"
    assert (await file(stub, [small], "r2"))[0] == first[0]
    other = (await file(stub, [sale("1", 5_001)], "r3"))[0]
    assert (other.status, other.error.reason, other.error.path) == (REFUSED, "ORDER_REUSED", "sales[0].order_number")
    assert "version 1 is current" in other.error.message
    # A refused sale leaves its number free.
    bare = sale("3")
    del bare.items[:]
    assert outcomes(await file(stub, [bare], "r4")) == ["ELEMENT_MISSING"]
    assert outcomes(await file(stub, [sale("3")], "r5")) == [1]


async def test_a_sale_is_changed_by_naming_the_version_that_is_replaced(house: Running) -> None:
    stub = await sales_stub(house)
    assert outcomes(await file(stub, [sale("1"), sale("1", 6_000, replaces=1)], "r1")) == [1, 2]
    again = await file(stub, [sale("1"), sale("1", 6_000, replaces=1)], "r2")
    assert outcomes(again) == [1, 2]
    assert [each.receipt.landed_cost.price_minor for each in again] == [5_000, 6_000]
    results = await file(
        stub,
        [
            sale("1", 6_001),
            sale("1", 7_000, replaces=1),
            sale("1", 7_000, replaces=3),
            sale("9", replaces=1),
            sale("1", 8_000, replaces=2),
        ],
        "r3",
    )
    reasons = ["ORDER_REUSED", "VERSION_REPLACED", "AMENDED_VERSION_UNKNOWN", "AMENDED_SALE_UNKNOWN"]
    assert outcomes(results) == [*reasons, 3]
    assert [each.error.path for each in results[1:4]] == [f"sales[{place}].amended_version" for place in (1, 2, 3)]
    assert all("version 2 is current" in each.error.message for each in results[:3])
    (current,) = await listed(stub)
    assert (current.receipt.version, current.receipt.landed_cost.price_minor) == (3, 8_000)
    assert current.sale == sale("1", 8_000, replaces=2, platform="shop")


async def test_the_law_of_the_day_of_the_payment_is_applied(house: Running) -> None:
    stub = await sales_stub(house)
    before, after = sale("1", paid="2026-06-30T23:59:59Z"), sale("2", paid="2026-07-01T00:00:00Z")
    costs = [each.receipt.landed_cost for each in await file(stub, [before, after], "r1")]
    # 19 % of 50.00, and of 50.00 with the flat duty of 3.00.
    assert [(cost.duty_minor, cost.tax_minor) for cost in costs] == [(0, 950), (300, 1_007)]


def chinese(number: str) -> pb.Sale:
    """Return a sale of 4,900.00 CNY to a buyer in China, who may import 26,000.00 CNY in a year without duty."""
    made = sale(number, 490_000)
    made.destination_country, made.items[0].commodity_code, made.items[0].price.currency = "CN", "950300", "CNY"
    made.fiscal_references[0].scheme, made.fiscal_references[0].number = filing.SCHEME_CBEC, "1100060ABC"
    made.buyer.name, made.buyer.identifier = "Li Na", "110101199003070007"
    made.buyer.identifier_type = filing.IDENTIFIER_TYPE_NATIONAL_PERSON
    return made


async def test_each_sale_is_assessed_as_if_it_came_alone(house: Running) -> None:
    stub = await sales_stub(house)
    sales = [chinese(str(number)) for number in range(6)]
    results = await file(stub, [*sales, chinese("6")], "r1")
    assert outcomes(results) == [1] * 7
    (alone,) = await file(stub, [chinese("7")], "r2")
    assert all(each.receipt.landed_cost == alone.receipt.landed_cost for each in results)
    # Quoted together the sixth is above the limit of the year.
    quotes = RevenueServiceStub(await house.channel("filer", "shop"))
    consignments = [
        filing.Consignment(
            destination_country="CN",
            nature=filing.NATURE_SALE,
            buyer=each.buyer,
            items=each.items,
            fiscal_references=each.fiscal_references,
            order=filing.Order(platform="shop", number=each.order_number, time=each.paid_at),
        )
        for each in sales
    ]
    request = QuoteConsignmentsRequest(consignments=consignments, as_of=sales[0].paid_at)
    answer = await quotes.QuoteConsignments(request, timeout=SECONDS)
    cost = alone.receipt.landed_cost.landed_cost_minor
    assert [each.landed_cost_minor == cost for each in answer.quotes] == [True] * 5 + [False]


async def test_what_is_filed_wrongly_is_refused_with_a_reason_and_a_path_each_by_itself(house: Running) -> None:
    stub = await sales_stub(house)
    names = ("good", "currency", "code", "text", "law", "value", "time", "country", "long", "scheme")
    made = {name: sale(name) for name in names}
    made["currency"].items[0].price.currency = "XXQ"
    made["code"].items[0].commodity_code = "62"
    made["law"].destination_country = "AQ"
    made["value"].items[0].ClearField("price")
    made["time"].ClearField("paid_at")
    made["country"].ClearField("destination_country")
    made["long"].order_number = "x" * 51
    made["text"].items[0].description = "x" * 513
    made["good"].fiscal_references.add(scheme=filing.SCHEME_SPECIAL_ARRANGEMENTS)
    made["scheme"].fiscal_references.add(scheme=filing.SCHEME_IOSS, number="IM4420000019")
    sales = [*made.values(), sale(" "), sale("own", platform="bazaar")]
    results = await file(stub, sales, "r1")
    found = {
        name: (each.error.reason, each.error.path) for name, each in zip([*made, "blank", "own"], results, strict=True)
    }
    assert found == {
        "good": ("", ""),
        "currency": ("CURRENCY_UNKNOWN", "sales[1].items[0].price.currency"),
        "code": ("COMMODITY_CODE_MALFORMED", "sales[2].items[0].commodity_code"),
        "text": ("TEXT_TOO_LONG", "sales[3].items[0].description"),
        "law": ("NO_RULEBOOK", "sales[4]"),
        "value": ("UNVALUED", "sales[5]"),
        "time": ("ELEMENT_MISSING", "sales[6].paid_at"),
        "country": ("ELEMENT_MISSING", "sales[7].destination_country"),
        "long": ("TEXT_TOO_LONG", "sales[8].order_number"),
        "scheme": ("SCHEME_REPEATED", "sales[9].fiscal_references"),
        "blank": ("ELEMENT_MISSING", "sales[10].order_number"),
        "own": ("PLATFORM_NOT_OWN", "sales[11].platform"),
    }
    assert all(each.error.hint for each in results[1:])


async def test_a_sale_that_cannot_be_assessed_leaves_its_number_free_for_others_of_its_request(house: Running) -> None:
    stub = await sales_stub(house)
    bad, bad_change = sale("1"), sale("2", replaces=1)
    bad.destination_country = bad_change.destination_country = "AQ"
    results = await file(
        stub,
        [bad, sale("1"), bad, sale("1"), sale("1", 6_000), sale("2"), bad_change, sale("2", 6_000, replaces=1)],
        "r1",
    )
    assert outcomes(results) == ["NO_RULEBOOK", 1, "NO_RULEBOOK", 1, "ORDER_REUSED", 1, "NO_RULEBOOK", 2]
    found = {each.sale.order_number: each.receipt.landed_cost.price_minor for each in await listed(stub)}
    assert found == {"1": 5_000, "2": 6_000}


@pytest.mark.parametrize(("seconds", "reason"), [(86_400 - 300, ""), (86_400 + 300, "TIME_IN_FUTURE")])
async def test_a_payment_lies_at_most_a_day_ahead(house: Running, seconds: int, reason: str) -> None:
    ahead = sale("1")
    ahead.paid_at.CopyFrom(Timestamp(seconds=int(time.time()) + seconds))
    (result,) = await file(await sales_stub(house), [ahead], "r1")
    assert result.error.reason == reason


@pytest.mark.parametrize(("characters", "reason"), [(35, ""), (36, "TEXT_TOO_LONG")])
async def test_a_platform_has_an_id_that_consignments_can_name(house: Running, characters: int, reason: str) -> None:
    assert bound_of(filing.Order.DESCRIPTOR.fields_by_name["platform"]).characters_max == PLATFORM_CHARACTERS_MAX
    (result,) = await file(await sales_stub(house, ident="s" * characters), [sale("1")], "r1")
    assert (result.error.reason, result.error.path) == (reason, "sales[0].platform" if reason else "")


async def test_requests_are_refused_as_a_whole_with_a_reason(house: Running) -> None:
    stub, officer = await sales_stub(house), await sales_stub(house, "officer", "ann")
    full = sale("1")
    full.items.extend([full.items[0]] * 998)
    documents = [("ZPOST", f"N{number}") for number in range(20)]
    await file(stub, [sale("1")], "used")
    for call, reason in (
        (file(stub, [], "r1"), "BATCH_EMPTY"),
        (file(stub, [sale("1")] * 1_001, "r1"), "BATCH_TOO_LARGE"),
        (file(stub, [full] * 10 + [sale("2")] * 11, "r1"), "BATCH_ITEMS_TOO_MANY"),
        (
            file(
                stub,
                [*(sale(str(number), documents=documents) for number in range(100)), sale("x", documents=[("Z", "1")])],
                "r1",
            ),
            "BATCH_DOCUMENTS_TOO_MANY",
        ),
        (file(stub, [sale("1")], ""), "REQUEST_ID_MISSING"),
        (file(stub, [sale("2")], "used"), "REQUEST_REUSED"),
        (file(officer, [sale("1")], "r1"), "ROLE_NOT_ALLOWED"),
        (officer.ListSales(pb.ListSalesRequest(), timeout=SECONDS), "ELEMENT_MISSING"),
        (stub.ListSales(pb.ListSalesRequest(page_size=-1), timeout=SECONDS), "NUMBER_NEGATIVE"),
    ):
        assert (await refused(call))[0] == reason


async def test_a_filer_sees_its_own_sales_alone_and_officers_those_of_a_platform(house: Running) -> None:
    shop, other = await sales_stub(house), await sales_stub(house, ident="bazaar")
    officer = await sales_stub(house, "officer", "ann")
    await file(shop, [sale("1"), sale("2")], "r1")
    # Other platforms have the same numbers for their own orders.
    assert outcomes(await file(other, [sale("2", 7_000), sale("7", replaces=1)], "r1")) == [1, "AMENDED_SALE_UNKNOWN"]
    await file(shop, [sale("3"), sale("1", 5_500, replaces=1)], "r2")

    async def numbers(stub: SaleServiceStub, **query: object) -> list[str]:
        return [each.sale.order_number for each in await listed(stub, **query)]

    assert await numbers(shop) == ["2", "3", "1"]
    assert await numbers(shop, page_size=1) == ["2", "3", "1"]
    assert await numbers(shop, page_size=2, platform="shop") == ["2", "3", "1"]
    assert await numbers(shop, order_numbers=["1", "2", "9"], page_size=1) == ["2", "1"]
    assert await numbers(other) == ["2"]
    assert await numbers(other, platform="shop") == []
    assert await numbers(other, platform="shop", order_numbers=["1"]) == []
    assert await numbers(other, order_numbers=["1"]) == []
    assert await numbers(officer, platform="shop") == ["2", "3", "1"]
    assert await numbers(officer, platform="nobody") == []
    prices = [each.sale.items[0].price.minor for each in await listed(officer, platform="bazaar")]
    assert prices == [7_000]


async def test_a_page_ends_after_some_batches_whose_sales_were_all_replaced(
    house: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.revenue.api.sales.BATCHES_MAX", 2)
    monkeypatch.setattr("services.revenue.store.sales.PAGE_BATCHES_MAX", 1)
    monkeypatch.setattr("services.revenue.store.sales.PLACES_MAX", 3)
    stub = await sales_stub(house)
    for version in range(5):
        await file(stub, [sale("1", 5_000 + version, replaces=version)], f"r{version}")
    await file(stub, [sale("2")], "last")
    first = await stub.ListSales(pb.ListSalesRequest(), timeout=SECONDS)
    assert (list(first.sales), bool(first.next_page_token)) == ([], True)
    assert [(each.sale.order_number, each.receipt.version) for each in await listed(stub)] == [("1", 5), ("2", 1)]


async def test_calls_of_several_replicas_at_once_store_each_order_number_once(database_url: str) -> None:
    async with (
        running("revenue", assemble, database_url) as first,
        running("revenue", assemble, database_url, data_dir=first.data_dir) as second,
    ):
        stubs = [await sales_stub(each) for each in (first, second)]
        # Each call has all numbers with a price of its own, in another order.
        calls = [
            [sale(str((number * step) % 23), 1_000 + call) for number in range(23)]
            for call, step in enumerate((1, 2, 3, 5, 7, 1))
        ]
        answers = await asyncio.gather(
            *(file(stubs[call % 2], sales, f"r{call}") for call, sales in enumerate(calls)),
            file(stubs[1], calls[0], "r0"),
        )
        assert answers[0] == answers[-1]
        winners: dict[str, int] = {}
        for sales, results in zip(calls, answers, strict=False):
            for each, result in zip(sales, results, strict=True):
                if result.status == ACCEPTED:
                    assert winners.setdefault(each.order_number, each.items[0].price.minor) == each.items[0].price.minor
                else:
                    assert result.error.reason == "ORDER_REUSED"
        stored = {each.sale.order_number: each.sale.items[0].price.minor for each in await listed(stubs[0])}
        assert stored == winners
        assert len(stored) == 23


@pytest.mark.parametrize("cut", [Cut(sent=4), Cut(), Cut(answered=len(ANSWER) - 1)], ids=["cut", "unheard", "lost"])
async def test_a_lost_answer_of_the_store_files_nothing_twice(database_url: str, cut: Cut) -> None:
    assert cut.sent <= len(COMMIT)
    async with (
        CuttingProxy(database_url, statement=b"insert into sale_batch") as proxy,
        running("revenue", assemble, proxy.url) as house,
    ):
        stub = await sales_stub(house)
        await file(stub, [sale("0")], "r0")
        proxy.plan([cut])
        # gRPC sends the request again, with the same request_id.
        assert outcomes(await file(stub, [sale("1"), sale("2")], "r1")) == [1, 1]
        assert proxy.done == 1
        assert outcomes(await file(stub, [sale("1"), sale("2", 9_000)], "r2")) == [1, "ORDER_REUSED"]
        assert [each.sale.order_number for each in await listed(stub)] == ["0", "1", "2"]
