"""House documents of sales: each belongs to one sale of its platform, and goods that state no order number are bound to the sale by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from libs.columns.digest import row_digests
from libs.store.database import Database, Transaction
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import sales_pb2 as pb
from services.revenue.__main__ import assemble
from services.revenue.api.quote_codes import normalised
from services.revenue.api.sales import DOCUMENTS_MAX
from services.revenue.sales.content import sale_table
from services.revenue.sales.documents import PlatformDocument
from services.revenue.store.sale_searches import REPEAT_SECONDS
from services.revenue.store.sales import CurrentSale, SaleStore
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
    listed,
    mrn,
    pieces,
    search,
    travelling,
)
from tests.revenue.sales import file, outcomes, sale, sales_stub
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy
from tests.support.services import Running, running

pytestmark = pytest.mark.usefixtures("searches_of_the_test_alone")


async def test_goods_without_an_order_number_are_bound_by_the_house_documents_of_several_carriers(
    house: Running,
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST, EXPRESS]), pieces("2")], "r1")
    rows = [
        travelling(POST),
        travelling((EXPRESS[0], POST[1])),
        travelling(EXPRESS),
        consignment(pieces("1"), price=2_500, quantity=1),
        travelling((POST[0], "RR473124829GB")),
    ]
    returned, elsewhere, bare = travelling(POST), travelling(POST), travelling(POST)
    returned.nature, elsewhere.order.platform = filing.NATURE_RETURN, "bazaar"
    bare.ClearField("carrier_identifier")
    first = await assess(house, [*rows, returned, elsewhere, bare])
    assert await assess(house, [*rows, returned, elsewhere, bare]) == first
    # The third exceeds what was sold together with the two before it, whatever each was bound by.
    exceeded = ["SALE_QUANTITY_EXCEEDED 3000 H87 / 2000 H87", "SALE_VALUE_DIFFERS 7500 EUR / 5000 EUR"]
    expected = [(mrn(0), [], False), (mrn(2), [], False), (mrn(3), exceeded, False)]
    assert await bound(house) == {"1": expected, "2": []}
    shown = (await listed(house, "officer", "ann"))["1"]
    assert [(each.house_document.carrier_identifier, each.house_document.number) for each in shown.consignments] == [
        POST,
        EXPRESS,
        ("", ""),
    ]
    assert [each.HasField("house_document") for each in shown.consignments] == [True, True, False]
    assert {number: each.state for number, each in (await listed(house)).items()} == {
        "1": pb.SALE_STATE_DECLARED,
        "2": pb.SALE_STATE_OPEN,
    }
    assert not any(each.consignments for each in (await listed(house)).values()), (
        "declarations of others are for officers"
    )


async def test_all_shares_of_a_split_shipment_are_bound_by_their_house_document(house: Running) -> None:
    await file(await sales_stub(house), [sale("1", documents=[EXPRESS])], "r1")
    shares = []
    for price in (2_000, 3_001):
        share = consignment(sale("1"), price=price, document=EXPRESS)
        share.split = True
        shares.append(share)
    await assess(house, shares)
    # Without quantities only a consignment that is no share is the whole order: the first share is no contradiction.
    assert await bound(house) == {
        "1": [(mrn(0), [], False), (mrn(1), ["SALE_VALUE_DIFFERS 5001 EUR / 5000 EUR"], False)]
    }


async def test_goods_are_bound_to_a_sale_that_names_their_house_document_after_them(house: Running) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("first", documents=[EXPRESS]), pieces("amended")], "r1")
    later = (("ZPOST", "RR473124829GB"), ("AIRCO", "H 7"))
    # In the form of filings: ingestion takes blanks off.
    stored = (later[0], ("AIRCO", "H7"))
    await assess(house, [travelling(stored[0], 2_600), travelling(stored[1]), travelling(EXPRESS)])
    # An amendment of goods that wait, which clearance has not accepted yet.
    await assess(house, [travelling(stored[0], 2_700)], version=2)
    assert {number: len(each) for number, each in (await bound(house)).items()} == {"first": 1, "amended": 0}
    results = await file(shop, [pieces("after", documents=[("zpost", "rr 473124829 gb")])], "r2")
    assert outcomes(results) == [1]
    assert (await bound(house))["after"] == [(mrn(0), [], False)]
    await assess(house, [travelling(stored[0])], first=10)
    # The version before names no document; the goods are compared with the version that does.
    await file(shop, [pieces("amended", 2_499, 1, replaces=1, documents=[later[1]])], "r3")
    found = await bound(house)
    assert found["amended"] == [(mrn(1), ["SALE_VALUE_DIFFERS 2500 EUR / 2499 EUR"], False)]
    assert found["after"][1][1] == ["SALE_VALUE_DIFFERS 5100 EUR / 5000 EUR"]
    shown = (await listed(house, "officer", "ann"))["amended"].consignments[0]
    assert (shown.sale_version, shown.house_document.number) == (2, "H7")
    assert await file(shop, [pieces("after", documents=[later[0]])], "r4") == results
    assert await bound(house) == found


AWAITING, RELEASED = clearance.STATE_AWAITING_ARRIVAL, clearance.STATE_RELEASED


async def test_goods_that_have_not_arrived_leave_a_sale_that_names_their_house_document_no_more(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1", documents=[POST, EXPRESS]), pieces("2")], "r1")
    # Goods that are expected, arrived, released and amended after their arrival, some under an order number, and all contradictory.
    rows = [travelling(POST, 2_600), travelling(POST), travelling(POST), travelling(POST), travelling(EXPRESS)]
    await assess(house, [*rows, consignment(pieces("1"))])
    await announce(database_url, *((place, 1, AWAITING, False) for place in (0, 4, 5)))
    await announce(database_url, (1, 1, clearance.STATE_HELD, False), (3, 1, AWAITING, False), arrived=True)
    await announce(database_url, (2, 1, RELEASED, True))
    await assess(house, [travelling(POST)], first=3, version=2)
    before = (await bound(house))["1"]
    assert [each[0] for each in before] == [mrn(place) for place in (0, 1, 2, 3, 4, 5)]
    # The goods stay while the document does, and findings too.
    await file(shop, [pieces("1", 9_999, replaces=1, documents=[POST, EXPRESS])], "r2")
    assert (await bound(house))["1"] == before
    await file(shop, [pieces("1", 9_999, replaces=2, documents=[EXPRESS])], "r3")
    assert await bound(house) == {"1": before[1:], "2": []}
    # The other sale gets what waits, compared with it alone, and the amendment of what stayed at the first one stays there.
    await file(shop, [pieces("2", replaces=1, documents=[POST])], "r4")
    assert await bound(house) == {"1": before[1:], "2": [(mrn(0), [], False)]}
    await announce(database_url, (3, 2, clearance.STATE_HELD, False), arrived=True)
    assert (await bound(house))["1"][-1][::2] == (mrn(3), False)
    # Both amendments in one request.
    moved = [pieces("2", replaces=2), pieces("1", 2_000, 1, replaces=3, documents=[EXPRESS, POST])]
    assert outcomes(await file(shop, moved, "r5")) == [3, 4]
    found = await bound(house)
    assert found["2"] == []
    assert {each[0] for each in found["1"]} == {each[0] for each in before}
    assert (await listed(house))["2"].state == pb.SALE_STATE_OPEN


async def test_goods_of_a_search_stay_with_their_sale_because_they_may_have_arrived(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await assess(house, [travelling(POST)])
    await file(shop, [pieces("1", documents=[POST])], "r1")
    assert await search(database_url)
    await file(shop, [pieces("1", replaces=1), pieces("2", documents=[POST])], "r2")
    assert await bound(house) == {"1": [(mrn(0), [], False)], "2": []}


@pytest.mark.parametrize("before", [[], [pieces("0")]], ids=["the first sale", "the first house document"])
async def test_goods_before_the_first_house_document_of_a_platform_are_searched_for_and_bound_once(
    house: Running, database_url: str, before: Sequence[pb.Sale]
) -> None:
    shop = await sales_stub(house)
    if before:
        await file(shop, before, "r0")
        assert await search(database_url)
        assert await search(database_url, later=REPEAT_SECONDS)
        assert not await search(database_url, later=REPEAT_SECONDS)
    await assess(house, [travelling(POST, 2_600), travelling(EXPRESS), travelling(POST), travelling(("ZPOST", "1"))])
    await file(shop, [pieces("1", documents=[POST])], "r1")
    assert (await bound(house))["1"] == []
    assert await search(database_url)
    expected = [
        (mrn(0), [], False),
        (mrn(2), ["SALE_VALUE_DIFFERS 5100 EUR / 5000 EUR"], False),
    ]
    assert (await bound(house))["1"] == expected
    assert await search(database_url, later=REPEAT_SECONDS)
    assert not await search(database_url, later=REPEAT_SECONDS)
    assert (await bound(house))["1"] == expected
    # What waits beside the others is bound when its sale comes.
    await file(shop, [pieces("2", documents=[EXPRESS])], "r2")
    assert (await bound(house))["2"] == [(mrn(1), [], False)]


@pytest.mark.parametrize("is_first", [True, False], ids=["sale first", "goods first"])
async def test_an_order_number_decides_and_a_house_document_of_another_order_is_a_finding(
    house: Running, is_first: bool
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("other", documents=[EXPRESS]), pieces("0", documents=[("ZPOST", "1")])], "r1")
    sold = pieces("1", documents=[POST])
    if is_first:
        await file(shop, [sold], "r2")
    rows = [
        also(consignment(pieces("1"), price=2_500, quantity=1), EXPRESS),
        also(consignment(pieces("1"), price=2_500, quantity=1), POST),
        also(consignment(pieces("other")), ("ZPOST", "77")),
        # The same number of another carrier, and the same document at another platform.
        also(consignment(pieces("0")), (POST[0], EXPRESS[1])),
    ]
    await assess(house, rows)
    if not is_first:
        await file(shop, [sold], "r2")
    assert await bound(house) == {
        "other": [(mrn(2), [], False)],
        "0": [(mrn(3), [], False)],
        "1": [(mrn(0), ["SALE_ORDER_DIFFERS 1 / other"], False), (mrn(1), [], False)],
    }
    assert list(await bound(house, contradicted=True)) == ["1"]
    shown = (await listed(house, "officer", "ann"))["1"].consignments
    assert not any(each.HasField("house_document") for each in shown), "they were bound by the order number"


async def test_a_house_document_belongs_to_one_sale_of_its_platform(house: Running) -> None:
    shop, bazaar = await sales_stub(house), await sales_stub(house, ident="bazaar")
    first = await file(shop, [sale("1", documents=[POST, EXPRESS])], "r1")
    second = sale("2", documents=[("OTHER", "9"), ("zpost", " rr123456785tr")])
    (refusal,) = await file(shop, [second], "r2")
    assert (refusal.error.reason, refusal.error.path) == (
        "HOUSE_DOCUMENT_REUSED",
        "sales[0].house_documents[1].number",
    )
    assert refusal.error.message == (
        "The house document RR123456785TR of ZPOST at sales[0].house_documents[1].number belongs to the sale of the order 1."
    )
    # Its own content again, and its own amendment, are no reuse; neither is the sale of another platform.
    assert await file(shop, [sale("1", documents=[EXPRESS, POST, POST])], "r3") == first
    assert outcomes(await file(shop, [sale("1", 6_000, replaces=1, documents=[POST])], "r4")) == [2]
    assert outcomes(await file(bazaar, [sale("1", documents=[POST])], "r5")) == [1]
    # The amendment freed the other document, and the refused sale its order number.
    assert outcomes(await file(shop, [sale("2", documents=[EXPRESS])], "r6")) == [1]
    results = await file(shop, [sale("1", 6_000, replaces=2, documents=[EXPRESS]), sale("3", documents=[POST])], "r7")
    assert outcomes(results) == ["HOUSE_DOCUMENT_REUSED"] * 2
    # A document moves by amendments of one request, in their order.
    moved = [sale("1", 6_000, replaces=2), sale("3", documents=[POST]), sale("1", replaces=3, documents=[POST])]
    assert outcomes(await file(shop, moved, "r8")) == [3, 1, "HOUSE_DOCUMENT_REUSED"]
    expected = {"2": [EXPRESS], "1": [], "3": [POST]}
    assert await documents(house) == await documents(house, "officer", "ann") == expected
    assert await documents(house, ident="bazaar") == {}


async def test_other_house_documents_are_other_content(house: Running, database_url: str) -> None:
    shop = await sales_stub(house)
    assert outcomes(await file(shop, [sale("1"), sale("2", documents=[POST])], "r1")) == [1, 1]
    changed = [sale("1", documents=[EXPRESS]), sale("2"), sale("2", documents=[EXPRESS])]
    assert outcomes(await file(shop, changed, "r2")) == ["ORDER_REUSED"] * 3
    (digest,) = row_digests(normalised(sale_table([sale("1")], SHOP)))
    async with Database(database_url, name="test") as database, database.connection() as reader:
        stored = await SaleStore(database).find(reader, SHOP, ["1", "2"])
    # A sale without documents is compared as before there were any.
    assert [each.digest == digest for number in "12" for each in stored[number]] == [True, False]


async def test_the_sale_of_a_request_that_cannot_be_assessed_has_no_house_document(house: Running) -> None:
    shop = await sales_stub(house)
    bad = sale("1", documents=[POST])
    bad.destination_country = "AQ"
    sales = [
        bad, sale("2", documents=[POST]), sale("2", 6_000, replaces=1, documents=[POST]), sale("3", documents=[POST]),
        sale("1", documents=[EXPRESS]), sale("4", documents=[EXPRESS]),
    ]  # fmt: skip
    expected = ["NO_RULEBOOK", 1, 2, "HOUSE_DOCUMENT_REUSED", 1, "HOUSE_DOCUMENT_REUSED"]
    assert outcomes(await file(shop, sales, "r1")) == expected
    assert await documents(house) == {"2": [POST], "1": [EXPRESS]}


@pytest.mark.parametrize(
    ("given", "reason", "path"),
    [
        ([("ZPOST", f"N{number}") for number in range(20)], "", ""),
        ([("ZPOST", f"N{number}") for number in range(21)], "LIST_TOO_LONG", "house_documents"),
        ([("C" * 17, "N" * 70)], "", ""),
        ([("C" * 18, "1")], "TEXT_TOO_LONG", "house_documents[0].carrier_identifier"),
        ([("ZPOST", "N" * 71)], "TEXT_TOO_LONG", "house_documents[0].number"),
        ([POST, (" ", "1")], "ELEMENT_MISSING", "house_documents[1].carrier_identifier"),
        ([POST, ("ZPOST", "")], "ELEMENT_MISSING", "house_documents[1].number"),
        ([("ZPOST", "RR123456784TR")], "S10_MALFORMED", "house_documents[0].number"),
        ([("ZPOST", "RR 123456785 TR")], "", ""),
    ],
)
async def test_house_documents_have_bounds_and_the_form_of_filings(
    house: Running, given: list[tuple[str, str]], reason: str, path: str
) -> None:
    results = await file(await sales_stub(house), [sale("1", documents=given), sale("2")], "r1")
    error = results[0].error
    assert (error.reason, error.path) == (reason, f"sales[0].{path}" if path else "")
    assert outcomes(results)[1] == 1


async def test_a_batch_reads_the_sales_of_orders_and_documents_at_once_and_those_that_can_be_bound_alone(
    house: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count the look-ups of sales before the transaction of a batch, and in it."""
    looked_up: list[tuple[int, int]] = []
    read = SaleStore.current

    async def counted(
        self: SaleStore,
        reader: Transaction,
        orders: Collection[tuple[str, str]],
        documents: Collection[PlatformDocument] = (),
    ) -> Mapping[tuple[str, str], CurrentSale]:
        looked_up.append((len(orders), len(documents)))
        return await read(self, reader, orders, documents)

    monkeypatch.setattr(SaleStore, "current", counted)
    shop = await sales_stub(house)
    numbers = [str(number) for number in range(20)]
    await file(shop, [pieces(number) for number in numbers], "r1")
    await file(await sales_stub(house, ident="bazaar"), [pieces("1", documents=[POST])], "r2")
    looked_up.clear()
    numbered = [also(consignment(pieces(number)), ("ZPOST", number)) for number in numbers]
    # No platform is named, then one whose sales name no document: goods without an order number cost no look-up.
    await assess(house, [filing.Consignment(destination_country="DE", items=pieces("1").items)])
    await assess(house, [travelling(("ZPOST", number)) for number in numbers], first=100)
    assert looked_up == []
    await assess(house, numbered, first=200)
    assert looked_up == [(20, 0)]
    await file(shop, [pieces("20", documents=[EXPRESS])], "r3")
    looked_up.clear()
    await assess(house, numbered, first=300)
    assert looked_up == [(20, 20)]
    looked_up.clear()
    # Those by which goods are bound are read again under their lock.
    await assess(house, [*numbered, *(travelling(EXPRESS) for _ in range(20))], first=400)
    assert looked_up == [(20, 40), (0, 1)]


async def test_a_request_has_as_many_house_documents_as_are_accepted(house: Running) -> None:
    """All of them are new, then replaced by others of the same number, which other sales of the request have had before."""
    shop = await sales_stub(house)
    names = [[("ZPOST", f"N{order}-{number}") for number in range(20)] for order in range(DOCUMENTS_MAX // 20)]
    made = [sale(str(order), documents=named) for order, named in enumerate(names)]
    assert outcomes(await file(shop, made, "r1")) == [1] * len(made)
    others = [sale(f"x{order}", documents=named) for order, named in enumerate(names)]
    assert outcomes(await file(shop, others, "r2")) == ["HOUSE_DOCUMENT_REUSED"] * len(made)
    bare = [sale(str(order), replaces=1) for order in range(len(made))]
    assert outcomes(await file(shop, [*bare, *others], "r3")) == [2] * len(made) + [1] * len(made)
    assert (await documents(house))["x7"] == sorted(names[7])


@pytest.mark.parametrize(
    "cut", [Cut(sent=len(COMMIT) - 1), Cut(), Cut(answered=len(ANSWER) - 1)], ids=["cut", "unheard", "lost"]
)
async def test_a_lost_answer_of_the_store_names_and_binds_nothing_twice(database_url: str, cut: Cut) -> None:
    async with (
        CuttingProxy(database_url, statement=b"insert into sale_document") as proxy,
        running("revenue", assemble, proxy.url) as house,
    ):
        stub = await sales_stub(house)
        await file(stub, [pieces("0", documents=[EXPRESS])], "r0")
        await assess(house, [travelling(POST, 2_600), travelling(POST)])
        proxy.plan([cut])
        assert outcomes(await file(stub, [pieces("1", documents=[POST])], "r1")) == [1]
        assert proxy.done == 1
        assert (await bound(house))["1"] == [
            (mrn(0), [], False),
            (mrn(1), ["SALE_VALUE_DIFFERS 5100 EUR / 5000 EUR"], False),
        ]
        assert await documents(house) == {"0": [EXPRESS], "1": [POST]}


async def test_very_many_goods_of_a_house_document_before_its_sale_are_compared_in_parts(
    house: Running, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.revenue.commands.sales.bind.EARLIER_MAX", 2)
    shop = await sales_stub(house)
    await file(shop, [pieces("0", documents=[EXPRESS])], "r1")
    assert await search(database_url)
    assert await search(database_url, later=REPEAT_SECONDS)
    for place in range(4):
        await assess(house, [travelling(POST)], first=place)
    # One of them names the order.
    await assess(house, [consignment(pieces("1"), price=2_500, quantity=1)], first=4)
    await file(shop, [pieces("1", documents=[POST])], "r2")
    exceeded = [
        [f"SALE_QUANTITY_EXCEEDED {number}000 H87 / 2000 H87", f"SALE_VALUE_DIFFERS {number * 2_500} EUR / 5000 EUR"]
        for number in (3, 4, 5)
    ]
    # The one with the order number is shown while it waits.
    assert [each[:2] for each in (await bound(house))["1"]] == [(mrn(0), []), (mrn(1), []), (mrn(4), [])]
    assert await search(database_url)
    assert [findings for _, findings, _ in (await bound(house))["1"]] == [[], [], *exceeded]
