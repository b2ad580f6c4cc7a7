"""Sales with house documents, and goods that name their platform, in any sequence and at once: what is bound is what docs/sales.md defines."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import asyncpg
import pytest

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.revenue.v1 import sales_pb2 as pb
from services.revenue.__main__ import assemble
from tests.revenue.sale_goods import (
    EXPRESS,
    POST,
    SHOP,
    also,
    announce,
    assess,
    bound,
    consignment,
    documents,
    expire,
    listed,
    mrn,
    pieces,
    travelling,
)
from tests.revenue.sales import file, outcomes, sales_stub
from tests.support.services import Running, running


@dataclass
class Goods:
    """A consignment of the model."""

    order: str
    """Its order number, "" for none."""
    document: tuple[str, str]
    has_arrived: bool = False
    sale: str = ""
    """The order of the sale that it is bound to by its house document, "" for none."""


class Model:
    """What docs/sales.md defines of the sales of one platform, and of the goods that name it."""

    def __init__(self) -> None:
        self.versions: dict[str, list[tuple[int, frozenset[tuple[str, str]]]]] = {}
        self.goods: list[Goods] = []
        self.overdue: set[str] = set()
        """The orders whose current version was filed before the term."""

    def state(self, order: str) -> int:
        """Return the state of a sale."""
        if any(order in (each.order, each.sale) for each in self.goods):
            return pb.SALE_STATE_DECLARED
        return pb.SALE_STATE_EXPIRED if order in self.overdue else pb.SALE_STATE_OPEN

    def owner(self, document: tuple[str, str]) -> str:
        """Return the order whose current version names a document and has not expired, "" for none."""
        owners = [
            order
            for order, each in self.versions.items()
            if document in each[-1][1] and self.state(order) != pb.SALE_STATE_EXPIRED
        ]
        assert len(owners) <= 1
        return "".join(owners)

    def sell(self, order: str, price: int, replaced: int, named: frozenset[tuple[str, str]]) -> str | int:
        """File a sale; return its version, or the reason of its refusal."""
        versions = self.versions.get(order, [])
        if replaced < len(versions):
            same = versions[replaced] == (price, named)
            return replaced + 1 if same else "VERSION_REPLACED" if replaced else "ORDER_REUSED"
        if replaced > len(versions):
            return "AMENDED_VERSION_UNKNOWN" if versions else "AMENDED_SALE_UNKNOWN"
        if any(self.owner(each) not in ("", order) for each in named):
            return "HOUSE_DOCUMENT_REUSED"
        self.versions.setdefault(order, []).append((price, named))
        self.overdue.discard(order)
        for each in self.goods:
            if not each.order:
                if each.sale == order and each.document not in named and not each.has_arrived:
                    each.sale = ""
                each.sale = each.sale or self.owner(each.document)
        return replaced + 1

    def declare(self, order: str, document: tuple[str, str]) -> None:
        """Assess a consignment."""
        self.goods.append(Goods(order, document, sale="" if order else self.owner(document)))

    def bound(self) -> dict[str, set[str]]:
        """Return the MRNs of each sale."""
        return {
            order: {mrn(place) for place, each in enumerate(self.goods) if order in (each.order, each.sale)}
            for order in self.versions
        }


@pytest.mark.parametrize("seed", range(8))
async def test_any_sequence_of_sales_and_goods_binds_them_as_the_model(
    house: Running, database_url: str, seed: int
) -> None:
    chance, model, shop = random.Random(seed), Model(), await sales_stub(house)
    known = [POST, EXPRESS, ("FASTAIR", POST[1]), ("AIRCO", "7")]
    model.sell("first", 5_000, 0, frozenset([("AIRCO", "FIRST")]))
    await file(shop, [pieces("first", documents=[("AIRCO", "FIRST")])], "first")
    for step in range(30):
        kind = chance.choice(("sell", "sell", "declare", "declare", "arrive", "expire"))
        if kind == "sell":
            made, expected = [], []
            for _ in range(chance.choice((1, 1, 3))):
                order, price = chance.choice("abc"), chance.choice((5_000, 6_000))
                replaced = max(0, len(model.versions.get(order, ())) + chance.choice((0, 0, 0, 0, -1, 1)))
                named = chance.sample(known, chance.choice((0, 1, 1, 2)))
                expected.append(model.sell(order, price, replaced, frozenset(named)))
                made.append(pieces(order, price, replaces=replaced, documents=named))
            results = [await file(shop, made, f"r{step}{repeat}") for repeat in chance.choice(("a", "aa", "ab"))]
            assert outcomes(results[0]) == expected, step
        elif kind == "declare":
            first, rows = len(model.goods), []
            # Late goods that declare an expired sale are a case by itself.
            numbers = [each for each in "abc" if model.state(each) != pb.SALE_STATE_EXPIRED]
            for _ in range(chance.choice((1, 2, 4))):
                order, document = chance.choice(("", "", *numbers)), chance.choice(known)
                model.declare(order, document)
                rows.append(also(consignment(pieces(order)), document) if order else travelling(document))
            for _ in range(chance.choice((1, 2))):
                await assess(house, rows, first=first)
        elif kind == "expire":
            model.overdue |= set(model.versions)
            await expire(database_url)
        elif model.goods:
            place = chance.randrange(len(model.goods))
            model.goods[place].has_arrived = True
            await announce(database_url, (place, 1, clearance.STATE_AWAITING_ARRIVAL, False), arrived=True)
        found = {order: {each[0] for each in goods} for order, goods in (await bound(house)).items()}
        assert found == model.bound(), step
        states = {order: each.state for order, each in (await listed(house)).items()}
        assert states == {order: model.state(order) for order in model.versions}, step
    named_now = {order: sorted(versions[-1][1]) for order, versions in model.versions.items()}
    assert {order: sorted(each) for order, each in (await documents(house)).items()} == named_now


async def test_goods_and_house_documents_at_once_at_two_replicas_find_each_other_once(database_url: str) -> None:
    async with (
        running("revenue", assemble, database_url) as first,
        running("revenue", assemble, database_url, data_dir=first.data_dir) as second,
    ):
        shops = [await sales_stub(each) for each in (first, second)]
        await file(shops[0], [pieces("0", documents=[POST])], "r0")
        numbers = [str(number) for number in range(1, 25)]
        # Each sale in a call of its own, and the goods in batches of two that overlap in another order.
        goods = [travelling(("AIRCO", number), 4_000, 2) for number in numbers]
        await asyncio.gather(
            *(
                call
                for place, number in enumerate(numbers)
                for call in (
                    assess((first, second)[place % 2], [goods[place], goods[place - 1]], first=2 * place),
                    file(shops[place // 2 % 2], [pieces(number, documents=[("AIRCO", number)])], f"r{number}"),
                )
            )
        )
        found = await bound(first)
        assert {number: sorted(each[0] for each in found[number]) for number in numbers} == {
            number: sorted([mrn(2 * place), mrn((2 * place + 3) % (2 * len(numbers)))])
            for place, number in enumerate(numbers)
        }
        # Of each order whichever was assessed first is of another value, and the second too much as well.
        value = "SALE_VALUE_DIFFERS 4000 EUR / 5000 EUR"
        too_much = ["SALE_QUANTITY_EXCEEDED 4000 H87 / 2000 H87", "SALE_VALUE_DIFFERS 8000 EUR / 5000 EUR"]
        assert all(sorted((each[1] for each in found[number]), key=len) == [[value], too_much] for number in numbers)


async def test_goods_and_the_sale_of_their_house_document_wait_for_each_other(
    house: Running, database_url: str
) -> None:
    """Whichever of both has the lock of the document first is committed before the other one reads."""
    shop = await sales_stub(house)
    await file(shop, [pieces("0", documents=[EXPRESS])], "r0")
    lock = await asyncpg.connect(database_url)
    text = f"luxor house document {SHOP} {' '.join(POST)}"
    key = await lock.fetchval("select 256 + (hashtextextended($1, 0) & 255)", text)
    await lock.execute("select pg_advisory_lock($1)", key)
    calls = [
        asyncio.create_task(assess(house, [travelling(POST, 4_000, 2)])),
        asyncio.create_task(file(shop, [pieces("1", documents=[POST])], "r1")),
    ]
    waiting = """
    select count(*) from pg_locks where locktype = 'advisory' and objid = $1 and not granted
        and database = (select oid from pg_database where datname = current_database())
    """
    while await lock.fetchval(waiting, key) < len(calls):
        assert not any(each.done() for each in calls)
    await lock.close()
    await asyncio.gather(*calls)
    assert (await bound(house))["1"] == [(mrn(0), ["SALE_VALUE_DIFFERS 4000 EUR / 5000 EUR"], False)]
