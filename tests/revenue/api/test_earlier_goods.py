"""Consignments that are assessed before their sale is filed: bound to it when it comes, as if it had been filed first."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from libs.store.database import Database
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import sales_pb2 as pb
from services.revenue.__main__ import assemble
from services.revenue.commands.sales.bind import follow_states
from services.revenue.feeds.clearance_states import StateHandler
from services.revenue.store.sale_searches import REPEAT_SECONDS
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import State
from tests.revenue.sale_goods import announce, assess, bound, consignment, mrn, pieces, search
from tests.revenue.sales import file, outcomes, sales_stub
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy
from tests.support.services import Running, running

pytestmark = pytest.mark.usefixtures("searches_of_the_test_alone")


def half(number: str, price: int = 2_500) -> filing.Consignment:
    return consignment(pieces(number), price=price, quantity=1)


async def test_goods_are_found_contradictory_whether_their_sale_was_filed_before_or_after_them(house: Running) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("0"), pieces("first")], "r1")
    # Halves with an amendment between them, one too many, and one of another price, under both numbers alike.
    for number, first in (("first", 0), ("after", 100)):
        await assess(house, [half(number), half(number, 2_000)], first=first)
        await assess(house, [half(number, 2_600)], first=first, version=2)
        await assess(house, [half(number), half(number)], first=first + 10)
        await assess(house, [consignment(pieces(number), destination_country="FR", number="")], first=first + 20)
    assert "after" not in await bound(house)
    results = await file(shop, [pieces("after")], "r2")
    assert outcomes(results) == [1]
    found = await bound(house)
    assert [each[1:] for each in found["after"]] == [each[1:] for each in found["first"]]
    assert [len(findings) for _, findings, _ in found["after"]] == [0, 1, 2, 2, 4]
    assert await file(shop, [pieces("after")], "r2") == await file(shop, [pieces("after")], "r3") == results
    assert await bound(house) == found
    assert sorted(await bound(house, contradicted=True)) == ["after", "first"]


async def test_an_order_is_declared_by_goods_before_its_sale_unless_these_never_came(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("0")], "r1")
    await assess(house, [half("1"), half("1"), half("2"), half("3")])
    await assess(house, [half("3", 2_600)], first=3, version=2)
    await announce(
        database_url,
        (1, 1, clearance.STATE_INVALIDATED, False),
        (2, 1, clearance.STATE_EXPIRED, False),
        (3, 2, clearance.STATE_AWAITING_ARRIVAL, False),
    )
    # The last version of a request is the one that is compared.
    await file(shop, [pieces("1"), pieces("2"), pieces("3", 1), pieces("3", 5_000, replaces=1)], "r2")
    await assess(house, [half("1"), half("3", 2_400)], first=10)
    assert await bound(house) == {
        "0": [],
        "1": [(mrn(0), [], False), (mrn(1), [], True), (mrn(10), [], False)],
        "2": [(mrn(2), [], True)],
        "3": [(mrn(3), [], False), (mrn(10 + 1), [], False)],
    }
    answer = await shop.ListSales(pb.ListSalesRequest(), timeout=30)
    assert [each.state for each in answer.sales] == [1, 2, 1, 2]
    officer = await sales_stub(house, "officer", "ann")
    (third,) = (await officer.ListSales(pb.ListSalesRequest(platform="shop", order_numbers=["3"]), timeout=30)).sales
    assert [(each.filing_version, each.sale_version) for each in third.consignments] == [(2, 2), (1, 2)]


async def test_returns_and_goods_of_other_platforms_are_not_bound_later(house: Running, database_url: str) -> None:
    other = consignment(pieces("1"))
    other.order.platform = "bazaar"
    await file(await sales_stub(house), [pieces("0")], "r1")
    await assess(house, [consignment(pieces("1"), nature=filing.NATURE_RETURN), other])
    await file(await sales_stub(house), [pieces("1")], "r2")
    assert await search(database_url)
    assert (await bound(house))["1"] == []


async def test_goods_before_the_first_sale_of_a_platform_are_searched_for_twice_and_bound_once(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await assess(house, [half("1"), half("1", 2_600), half("2"), filing.Consignment(destination_country="DE")])
    await assess(house, [half("1", 2_500)], first=1, version=2)
    await file(shop, [pieces("1")], "r1")
    assert (await bound(house))["1"] == []
    assert await search(database_url)
    expected = [
        (mrn(0), [], False),
        (mrn(1), ["SALE_VALUE_DIFFERS 5100 EUR / 5000 EUR"], False),
    ]
    assert (await bound(house))["1"] == expected
    # The other order is bound when its sale comes.
    await file(shop, [pieces("2")], "r2")
    assert (await bound(house))["2"] == [(mrn(2), [], False)]
    found = await bound(house)
    assert not await search(database_url, later=REPEAT_SECONDS - 60)
    assert await search(database_url, later=60)
    assert not await search(database_url, later=REPEAT_SECONDS)
    assert await bound(house) == found


async def test_of_goods_before_the_first_sale_of_a_platform_the_version_counts_that_the_ledger_knows(
    house: Running, database_url: str
) -> None:
    await assess(house, [half("1") for _ in range(4)])
    await assess(house, [half("1", 2_600)], first=1, version=2)
    async with Database(database_url, name="test") as database:
        await Books(database).take(
            State(mrn(0), state=clearance.STATE_INVALIDATED, released_day=None),
            State(mrn(1), filing=2),
            State(mrn(2), state=clearance.STATE_RELEASED),
        )
    await file(await sales_stub(house), [pieces("1")], "r1")
    assert await search(database_url)
    contradiction = ["SALE_QUANTITY_EXCEEDED 3000 H87 / 2000 H87", "SALE_VALUE_DIFFERS 7600 EUR / 5000 EUR"]
    assert (await bound(house))["1"] == [
        (mrn(0), [], True),
        (mrn(2), [], False),
        (mrn(3), [], False),
        (mrn(1), contradiction, False),
    ]


async def test_a_version_that_is_announced_during_a_search_counts_after_it(house: Running, database_url: str) -> None:
    await assess(house, [half("1"), half("1", 5_100)], mrns=[mrn(0)] * 2, versions=[1, 2])
    await file(await sales_stub(house), [pieces("1")], "r1")
    lock = await asyncpg.connect(database_url)
    async with Database(database_url, name="test") as database:
        books = Books(database)
        books.intake = StateHandler(books.posting, follow_states)
        await books.take(State(mrn(0), filing=1))
        assert await search(database_url)
        assert (await bound(house))["1"] == [(mrn(0), [], False)]
        # The second search waits for the order, and meanwhile clearance announces the amendment.
        key = await lock.fetchval("select hashtextextended('luxor order shop 1', 0) & 255")
        await lock.execute("select pg_advisory_lock($1)", key)
        searching = asyncio.create_task(search(database_url, later=REPEAT_SECONDS))
        waits = "select exists (select from pg_locks where locktype = 'advisory' and objid = $1 and not granted and database = $2)"
        own = await lock.fetchval("select oid from pg_database where datname = current_database()")
        while not await lock.fetchval(waits, key, own):
            assert not searching.done()
        await books.take(State(mrn(0), version=2, filing=2))
        await lock.close()
        assert await searching
    assert (await bound(house))["1"] == [(mrn(0), ["SALE_VALUE_DIFFERS 5100 EUR / 5000 EUR"], False)]


async def test_very_many_goods_before_a_sale_are_compared_in_parts(
    house: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.revenue.commands.sales.bind.EARLIER_MAX", 2)
    shop = await sales_stub(house)
    await file(shop, [pieces("0")], "r1")
    assert await search(database_url)
    assert await search(database_url, later=REPEAT_SECONDS)
    for place in range(5):
        await assess(house, [half("1")], first=place)
    await file(shop, [pieces("1")], "r2")
    exceeded = [
        [f"SALE_QUANTITY_EXCEEDED {number}000 H87 / 2000 H87", f"SALE_VALUE_DIFFERS {number * 2_500} EUR / 5000 EUR"]
        for number in (3, 4, 5)
    ]
    assert [findings for _, findings, _ in (await bound(house))["1"]] == [[], [], [], [], []]
    assert await search(database_url)
    assert [findings for _, findings, _ in (await bound(house))["1"]] == [[], [], *exceeded]


async def test_goods_and_sales_at_once_at_two_replicas_find_each_other_once(database_url: str) -> None:
    async with (
        running("revenue", assemble, database_url) as first,
        running("revenue", assemble, database_url, data_dir=first.data_dir) as second,
    ):
        shops = [await sales_stub(each) for each in (first, second)]
        await file(shops[0], [pieces("0")], "r0")
        numbers = [str(number) for number in range(1, 25)]
        await asyncio.gather(
            *(
                call
                for place, number in enumerate(numbers)
                for call in (
                    assess((first, second)[place % 2], [consignment(pieces(number), price=4_000)], first=place),
                    file(shops[place // 2 % 2], [pieces(number)], f"r{number}"),
                )
            )
        )
        found = await bound(first)
        assert {number: found[number] for number in numbers} == {
            number: [(mrn(place), ["SALE_VALUE_DIFFERS 4000 EUR / 5000 EUR"], False)]
            for place, number in enumerate(numbers)
        }


@pytest.mark.parametrize(
    "cut", [Cut(sent=len(COMMIT) - 1), Cut(), Cut(answered=len(ANSWER) - 1)], ids=["cut", "unheard", "lost"]
)
async def test_a_lost_answer_of_the_store_binds_no_earlier_goods_twice(database_url: str, cut: Cut) -> None:
    async with (
        CuttingProxy(database_url, statement=b"insert into sale_batch") as proxy,
        running("revenue", assemble, proxy.url) as house,
    ):
        stub = await sales_stub(house)
        await file(stub, [pieces("0")], "r0")
        await assess(house, [half("1", 2_600), half("1")])
        proxy.plan([cut])
        assert outcomes(await file(stub, [pieces("1")], "r1")) == [1]
        assert proxy.done == 1
        assert (await bound(house))["1"] == [
            (mrn(0), [], False),
            (mrn(1), ["SALE_VALUE_DIFFERS 5100 EUR / 5000 EUR"], False),
        ]
