"""House documents that a sale does not own any more: those of a sale that has expired, and those that its current version does not name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from libs.store.database import Database, Transaction
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.revenue.v1 import sales_pb2 as pb
from services.revenue.sales.comparison import Amounts, Trade
from services.revenue.sales.documents import Document, PlatformDocument
from services.revenue.store.sale_bindings import (
    NO_ORDER,
    Binding,
    Order,
    add_bindings,
    earlier_bindings,
    note_arrivals,
    unbind,
    write_comparisons,
)
from services.revenue.store.sale_searches import REPEAT_SECONDS
from services.revenue.store.sales import SaleStore
from tests.revenue.sale_goods import (
    EXPRESS,
    POST,
    SHOP,
    also,
    announce,
    assess,
    bound,
    consignment,
    expire,
    listed,
    mrn,
    pieces,
    search,
    travelling,
)
from tests.revenue.sales import file, outcomes, sales_stub
from tests.support.services import Running

OPEN, DECLARED, OVER = pb.SALE_STATE_OPEN, pb.SALE_STATE_DECLARED, pb.SALE_STATE_EXPIRED
AWAITING, INVALIDATED = clearance.STATE_AWAITING_ARRIVAL, clearance.STATE_INVALIDATED


pytestmark = pytest.mark.usefixtures("searches_of_the_test_alone")


async def states(house: Running) -> dict[str, int]:
    return {number: each.state for number, each in (await listed(house)).items()}


async def test_an_expired_sale_frees_its_house_documents_and_a_declared_one_does_not(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST]), pieces("2", documents=[EXPRESS])], "r1")
    await assess(house, [travelling(EXPRESS)])
    await expire(database_url)
    await assess(house, [travelling(EXPRESS)], first=1)
    # The second sale is declared, so it has not expired.
    results = await file(shop, [pieces("3", documents=[EXPRESS]), pieces("4", documents=[POST])], "r2")
    assert outcomes(results) == ["HOUSE_DOCUMENT_REUSED", 1]
    await assess(house, [travelling(POST)], first=2)
    assert await bound(house) == {
        "1": [],
        "2": [(mrn(0), [], False), (mrn(1), [], False)],
        "4": [(mrn(2), [], False)],
    }
    # The expired sale is open again with other content, and not with the document that another one has by now.
    again = [pieces("1", replaces=1, documents=[POST]), pieces("1", 4_000, replaces=1)]
    assert outcomes(await file(shop, again, "r3")) == ["HOUSE_DOCUMENT_REUSED", 2]


async def test_goods_of_a_house_document_of_an_expired_sale_wait_until_it_is_amended(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST, EXPRESS])], "r1")
    late = await expire(database_url)
    await assess(house, [travelling(POST), travelling(EXPRESS)])
    assert await bound(house) == {"1": []}
    assert await states(house) == {"1": OVER}
    # A search finds them waiting, and binds them to the expired sale no more than their assessment did.
    assert await search(database_url)
    assert await bound(house) == {"1": []}
    # By its order number goods are bound to an expired sale, with a finding.
    await assess(house, [consignment(pieces("1"), price=2_500, quantity=1)], first=2)
    assert await bound(house) == {"1": [(mrn(2), [late], False)]}
    await announce(database_url, (2, 1, INVALIDATED, False))
    assert await states(house) == {"1": OVER}
    await file(shop, [pieces("1", replaces=1, documents=[POST])], "r2")
    assert await bound(house) == {"1": [(mrn(0), [], False), (mrn(2), [late], True)]}
    assert await states(house) == {"1": DECLARED}


async def test_a_house_document_belongs_to_its_sale_to_the_last_day_of_the_term_that_is_set(
    house: Running, database_url: str
) -> None:
    await file(await sales_stub(house), [pieces("1", documents=[POST])], "r1")
    await expire(database_url)
    document = PlatformDocument(SHOP, *POST)
    async with Database(database_url, name="test") as database, database.connection() as reader:
        found = {days: await SaleStore(database, days).current(reader, (), [document]) for days in (200, 201)}
        # The sale itself is read by its order number, without the document.
        found[0] = await SaleStore(database, 200).current(reader, [(SHOP, "1")], [document])
    assert {days: {order: each.documents for order, each in sales.items()} for days, sales in found.items()} == {
        200: {},
        201: {(SHOP, "1"): (Document(*POST),)},
        0: {(SHOP, "1"): ()},
    }


@pytest.mark.parametrize("is_first", [True, False], ids=["sale first", "goods first"])
async def test_a_house_document_of_an_expired_sale_contradicts_no_order_number(
    house: Running, database_url: str, is_first: bool
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("old", documents=[POST])], "r1")
    await expire(database_url)
    if is_first:
        await file(shop, [pieces("new")], "r2")
    await assess(house, [also(consignment(pieces("new")), POST)])
    if not is_first:
        await file(shop, [pieces("new")], "r2")
    assert await bound(house) == {"old": [], "new": [(mrn(0), [], False)]}
    assert await bound(house, contradicted=True) == {}


async def test_goods_that_leave_a_sale_do_not_fall_to_an_expired_one(house: Running, database_url: str) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("old", 9_999, documents=[POST])], "r1")
    await expire(database_url)
    assert outcomes(await file(shop, [pieces("b", documents=[POST])], "r2")) == [1]
    await assess(house, [travelling(POST, 5_000, 2)])
    assert (await bound(house))["b"] == [(mrn(0), [], False)]
    await file(shop, [pieces("b", replaces=1)], "r3")
    assert await bound(house) == {"old": [], "b": []}
    assert await states(house) == {"old": OVER, "b": OPEN}
    # So the right sale gets them.
    assert outcomes(await file(shop, [pieces("c", documents=[POST])], "r4")) == [1]
    assert await bound(house) == {"old": [], "b": [], "c": [(mrn(0), [], False)]}


async def test_goods_before_the_sale_that_follows_an_expired_one_are_bound_to_it(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("old", 9_999, documents=[POST])], "r1")
    await expire(database_url)
    await assess(house, [travelling(POST, 5_000, 2)])
    assert outcomes(await file(shop, [pieces("new", documents=[POST])], "r2")) == [1]
    assert await bound(house) == {"old": [], "new": [(mrn(0), [], False)]}
    assert await states(house) == {"old": OVER, "new": DECLARED}


async def test_a_sale_that_late_goods_declare_has_its_house_document_again_unless_another_one_named_it_since(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST]), pieces("2", documents=[EXPRESS])], "r1")
    late = await expire(database_url)
    await file(shop, [pieces("3", documents=[EXPRESS])], "r2")
    half = {"price": 2_500, "quantity": 1}
    await assess(house, [consignment(pieces("1"), **half), consignment(pieces("2"), **half)])
    await assess(house, [travelling(POST), travelling(EXPRESS)], first=2)
    assert await bound(house) == {
        "1": [(mrn(0), [late], False), (mrn(2), [], False)],
        "2": [(mrn(1), [late], False)],
        "3": [(mrn(3), [], False)],
    }
    assert outcomes(await file(shop, [pieces("4", documents=[POST])], "r3")) == ["HOUSE_DOCUMENT_REUSED"]


@pytest.mark.parametrize("at_once", [True, False], ids=["one request", "two requests"])
async def test_very_many_goods_leave_a_sale_in_parts_and_a_search_frees_the_rest(
    house: Running, database_url: str, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr("services.revenue.commands.sales.bind.EARLIER_MAX", 2)
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST, EXPRESS])], "r1")
    assert await search(database_url)
    assert await search(database_url, later=REPEAT_SECONDS)
    await assess(house, [travelling(POST) for _ in range(5)])
    await assess(house, [travelling(EXPRESS)], first=5)
    # One has arrived, and stays.
    await announce(database_url, (4, 1, AWAITING, False), arrived=True)
    stays = (await bound(house))["1"][4:]
    requests = [[pieces("1", replaces=1, documents=[EXPRESS])], [pieces("2", documents=[POST])]]
    for place, made in enumerate([[*requests[0], *requests[1]]] if at_once else requests):
        await file(shop, made, f"s{place}")
        if place == 0:
            found = await bound(house)
            assert [each[0] for each in found["1"]] == [mrn(2), mrn(3), mrn(4), mrn(5)]
    assert [each[0] for each in (await bound(house))["2"]] == [mrn(0), mrn(1)]
    assert await search(database_url)
    found = await bound(house)
    assert found["1"] == stays
    assert [each[0] for each in found["2"]] == [mrn(0), mrn(1), mrn(2), mrn(3)]
    assert found["2"][-1][1][0] == "SALE_QUANTITY_EXCEEDED 4000 H87 / 2000 H87"
    assert await search(database_url, later=REPEAT_SECONDS)
    assert not await search(database_url, later=REPEAT_SECONDS)
    assert await bound(house) == found


@pytest.mark.parametrize("analysed", [False, True], ids=["never analysed", "analysed"])
async def test_goods_are_freed_and_compared_row_by_row_whatever_the_statistics_say(
    database_url: str, analysed: bool
) -> None:
    """Count the rows that the store reads: a plan by order number reads all goods of the order for each of them."""
    count, part = 3_000, 1_000
    amounts = Amounts("EUR", 2_500, None, "H87", 1_000)
    trade = Trade("DE", (), ("EUR",), amounts, is_whole=True)
    many = [
        Binding((SHOP, "1"), mrn(place), 1, 1, amounts, [], trade=trade, document=Document(*POST))
        for place in range(count)
    ]
    rows_read = "select coalesce(sum(idx_tup_fetch + seq_tup_read), 0) from pg_stat_xact_user_tables where relname like 'sale_binding%'"
    document = PlatformDocument(SHOP, *POST)
    async with Database(database_url, name="test") as database:
        async with database.transaction() as tx:
            await add_bindings(tx, many)
        if analysed:
            async with database.connection() as reader:
                await reader.raw.execute("analyze sale_binding")
        async with database.transaction() as tx:
            before = await tx.raw.fetchval(rows_read)
            assert await unbind(tx, [(document, (SHOP, "1"))], part)
            # Each once, for what arrived of it, and for the change.
            assert await tx.raw.fetchval(rows_read) - before <= 3 * count
            waiting = await earlier_bindings(tx, [], {document: (SHOP, "2")}, count)
            assert {each.binding.order for each in waiting} == {(SHOP, NO_ORDER)}
            assert len(waiting) == part
            before = await tx.raw.fetchval(rows_read)
            found = [(each.binding.order, Binding(each.order, each.binding.mrn, 1, 1, amounts, [])) for each in waiting]
            await write_comparisons(tx, found)
            assert await tx.raw.fetchval(rows_read) - before <= 3 * count
            assert await earlier_bindings(tx, [], {document: (SHOP, "2")}, count) == []
            while await unbind(tx, [(document, (SHOP, "1"))], part):
                pass
            assert len(await earlier_bindings(tx, [], {document: (SHOP, "2")}, count)) == count - part


async def test_goods_that_a_replica_of_the_release_before_compared_by_their_order_number_stay_with_it(
    house: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a replica takes what goods state off when it compares them, and leaves the house document, which it does not have."""

    async def write_without_document(tx: Transaction, compared: Sequence[tuple[Order, Binding]]) -> None:
        """Note that no goods are contradicted."""
        assert not any(each.findings for _, each in compared)
        await tx.raw.execute(
            "update sale_binding set sale_version = 1, findings = '{}', trade = null where mrn = any($1::text[]) and sale_version = 0",
            [each.mrn for _, each in compared],
        )

    shop = await sales_stub(house)
    await file(shop, [pieces("0", documents=[EXPRESS])], "r0")
    await assess(house, [also(consignment(pieces("1")), POST)])
    with monkeypatch.context() as replaced:
        replaced.setattr("services.revenue.commands.sales.bind.write_comparisons", write_without_document)
        await file(shop, [pieces("1")], "r1")
    await file(shop, [pieces("1", replaces=1, documents=[POST])], "r2")
    assert outcomes(await file(shop, [pieces("1", replaces=2)], "r3")) == [3]
    assert outcomes(await file(shop, [pieces("2", documents=[POST])], "r4")) == [1]
    assert await bound(house) == {"0": [], "1": [(mrn(0), [], False)], "2": []}


async def test_goods_that_arrive_while_their_house_document_is_freed_stay_with_their_sale(
    house: Running, database_url: str
) -> None:
    """The change of the sale waits for the state of the goods, and frees those alone that have not arrived by then."""
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST])], "r1")
    await assess(house, [travelling(POST), travelling(POST)])
    before = (await bound(house))["1"]
    waiting = """
    select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() and query like '%sale_binding%'
    """
    watch = await asyncpg.connect(database_url)
    async with Database(database_url, name="test") as database:
        async with database.transaction(timeout_millis=30_000) as tx:
            await note_arrivals(tx, [mrn(1)])
            call = asyncio.create_task(file(shop, [pieces("1", replaces=1), pieces("2", documents=[POST])], "r2"))
            while not await watch.fetchval(waiting):
                assert not call.done()
        assert outcomes(await call) == [2, 1]
    await watch.close()
    assert await bound(house) == {"1": before[1:], "2": [(mrn(0), [], False)]}
