"""Consignments that are declared under the order number of a sale: bound once, compared with it, and shown to officers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from libs.customs.time import day_text
from libs.store.database import Database, Transaction
from libs.store.tables import schema
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import sales_pb2 as pb
from services.revenue.sales.comparison import Amounts
from services.revenue.store.sale_bindings import BOUND_MAX, Binding, Order, add_bindings, declared
from services.revenue.store.sales import REFERENCE_SPAN
from tests.revenue.sale_goods import SHOP, announce, assess, bound, consignment, mrn, pieces
from tests.revenue.sales import SECONDS, file, outcomes, sale, sales_stub
from tests.support.services import Running


async def test_consignments_are_bound_to_the_sale_of_their_order_once(house: Running) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1"), pieces("2")], "r1")
    rows = [
        consignment(pieces("1")),
        consignment(pieces("3")),
        consignment(pieces("2"), nature=filing.NATURE_RETURN),
        filing.Consignment(destination_country="DE", items=pieces("1").items),
    ]
    # The assessment itself is that of consignments without a sale.
    bare = [filing.Consignment() for _ in rows]
    for each, row in zip(bare, rows, strict=True):
        each.CopyFrom(row)
        each.order.platform = "elsewhere"
    first = await assess(house, rows)
    assert await assess(house, rows) == first
    assert (await assess(house, bare, first=100)).SerializeToString() == first.SerializeToString()
    assert await bound(house) == {"1": [(mrn(0), [], False)], "2": []}
    (mine, _) = (await shop.ListSales(pb.ListSalesRequest(), timeout=SECONDS)).sales
    assert not mine.consignments, "declarations of others are for officers"


@pytest.mark.parametrize(
    ("changes", "findings"),
    [
        ({}, []),
        ({"price": 4_999}, ["SALE_VALUE_DIFFERS 4999 EUR / 5000 EUR"]),
        ({"price": 5_001}, ["SALE_VALUE_DIFFERS 5001 EUR / 5000 EUR"]),
        ({"price": 2_500, "quantity": 1}, []),
        ({"price": 5_000, "quantity": 1}, []),
        ({"price": 5_001, "quantity": 1}, ["SALE_VALUE_DIFFERS 5001 EUR / 5000 EUR"]),
        ({"quantity": 3}, ["SALE_QUANTITY_EXCEEDED 3000 H87 / 2000 H87"]),
        ({"currency": "USD"}, ["SALE_CURRENCY_DIFFERS USD / EUR"]),
        ({"destination_country": "FR"}, ["SALE_DESTINATION_DIFFERS FR / DE"]),
        ({"number": "IM4420000019"}, ["SALE_SCHEME_NUMBER_DIFFERS IOSS IM4420000019 / IOSS IM2760000014"]),
        ({"number": ""}, ["SALE_SCHEME_NUMBER_DIFFERS  / IOSS IM2760000014"]),
        ({"prices_include_tax": True}, ["SALE_VALUE_NOT_COMPARED  / "]),
        # The scheme collected a tax that the sale does not state.
        ({"paid": 5_950}, ["SALE_PAYMENT_NOT_COMPARED  / "]),
        ({"prices_include_tax": True, "paid": 1}, ["SALE_VALUE_NOT_COMPARED  / ", "SALE_PAYMENT_NOT_COMPARED  / "]),
    ],
)
async def test_each_contradiction_is_a_finding_with_both_values(
    house: Running, changes: dict[str, object], findings: list[str]
) -> None:
    await file(await sales_stub(house), [pieces("1"), pieces("2")], "r1")
    await assess(house, [consignment(pieces("1"), **changes)])
    assert await bound(house, order_numbers=["1"]) == {"1": [(mrn(0), findings, False)]}
    contradicted = any("NOT_COMPARED" not in each for each in findings)
    assert list(await bound(house, contradicted=True)) == (["1"] if contradicted else [])


async def test_the_payment_that_a_part_adds_is_compared_with_what_was_to_be_paid_for_the_sale(
    house: Running, database_url: str
) -> None:
    made = [pieces(number) for number in ("1", "2", "3")]
    for each in made:
        each.prices_include_tax = True
        each.freight.minor, each.freight.currency = 400, "EUR"
    await file(await sales_stub(house), made[:2], "r1")
    # The payment provider's part makes the second version. Goods that were assessed before their sale are compared as well.
    rows = [consignment(each, prices_include_tax=True) for each in made]
    await assess(house, rows)
    for row, paid in zip(rows, (5_400, 5_399, 5_401), strict=True):
        row.payment.amount.minor, row.payment.amount.currency = paid, "EUR"
    await assess(house, rows, version=2)
    await announce(database_url, *((place, 2, clearance.STATE_AWAITING_ARRIVAL, False) for place in range(3)))
    await file(await sales_stub(house), made[2:], "r2")
    officer = await sales_stub(house, "officer", "ann")
    answer = await officer.ListSales(pb.ListSalesRequest(platform=SHOP), timeout=SECONDS)
    found = {
        each.sale.order_number: [f"{it.reason} {it.declared} / {it.sold}" for it in each.consignments[0].findings]
        for each in answer.sales
    }
    assert found == {
        "1": [],
        "2": ["SALE_PAYMENT_DIFFERS 5399 EUR / 5400 EUR"],
        "3": ["SALE_PAYMENT_DIFFERS 5401 EUR / 5400 EUR"],
    }


async def test_prices_with_and_without_tax_are_compared_where_the_tax_is_stated(house: Running) -> None:
    gross = pieces("1", 5_950)
    gross.prices_include_tax = True
    gross.items[0].tax_charged.minor, gross.items[0].tax_charged.currency = 950, "EUR"
    await file(await sales_stub(house), [gross], "r1")
    await assess(house, [consignment(pieces("1")), consignment(pieces("1"), price=5_001)])
    found = await bound(house)
    assert found["1"][0][1] == []
    assert found["1"][1][1][-1] == "SALE_VALUE_DIFFERS 10001 EUR / 5000 EUR"


async def test_consignments_without_quantities_are_the_whole_order_unless_they_state_a_part(house: Running) -> None:
    await file(await sales_stub(house), [sale("1"), sale("2"), sale("3")], "r1")
    part = consignment(sale("2"), price=2_000)
    part.order.part, part.order.parts = 1, 2
    rest = consignment(sale("2"), price=3_001)
    rest.order.part, rest.order.parts = 2, 2
    one = consignment(sale("3"))
    one.order.part, one.order.parts = 1, 1
    await assess(house, [consignment(sale("1"), price=4_000), part, rest, one])
    assert {number: [each[1] for each in found] for number, found in (await bound(house)).items()} == {
        "1": [["SALE_VALUE_DIFFERS 4000 EUR / 5000 EUR"]],
        "2": [[], ["SALE_VALUE_DIFFERS 5001 EUR / 5000 EUR"]],
        "3": [[]],
    }


async def test_values_beside_other_currencies_are_not_compared_and_this_is_a_finding(house: Running) -> None:
    mixed = pieces("2")
    mixed.items.append(mixed.items[0])
    mixed.items[1].price.currency = "USD"
    await file(await sales_stub(house), [pieces("1"), mixed], "r1")
    half = {"price": 2_500, "quantity": 1}
    rows = [
        consignment(pieces("1"), currency="USD", **half),
        consignment(pieces("1"), **half),
        consignment(pieces("2")),
    ]
    await assess(house, rows)
    assert {number: [each[1] for each in found] for number, found in (await bound(house)).items()} == {
        "1": [["SALE_CURRENCY_DIFFERS USD / EUR"], ["SALE_VALUE_NOT_COMPARED  / "]],
        "2": [["SALE_VALUE_NOT_COMPARED  / "]],
    }


async def test_a_sale_is_exhausted_by_the_consignments_of_several_carriers(house: Running) -> None:
    await file(await sales_stub(house), [pieces("1", 6_000, 3)], "r1")
    half = consignment(pieces("1"), price=2_000, quantity=1)
    # All at once: each is compared with those before it, whichever these are.
    await asyncio.gather(*(assess(house, [half], first=place) for place in range(4)))
    found = (await bound(house))["1"]
    assert sorted(len(findings) for _, findings, _ in found) == [0, 0, 0, 2]
    late = next(findings for _, findings, _ in found if findings)
    assert late == ["SALE_QUANTITY_EXCEEDED 4000 H87 / 3000 H87", "SALE_VALUE_DIFFERS 8000 EUR / 6000 EUR"]


async def test_of_each_consignment_the_active_version_counts_and_none_where_the_goods_never_came(
    house: Running, database_url: str
) -> None:
    await file(await sales_stub(house), [pieces("1"), pieces("2")], "r1")
    await assess(house, [consignment(pieces("1")), consignment(pieces("2"))])
    # The first is amended to another price, then to another order; the second is invalidated.
    await assess(house, [consignment(pieces("1"), price=4_000)], version=2)
    await announce(database_url, (0, 2, clearance.STATE_AWAITING_ARRIVAL, False))
    assert (await bound(house))["1"] == [(mrn(0), ["SALE_VALUE_DIFFERS 4000 EUR / 5000 EUR"], False)]
    await assess(house, [consignment(pieces("9"))], version=3)
    await announce(database_url, (0, 3, clearance.STATE_AWAITING_ARRIVAL, False))
    await file(await sales_stub(house), [pieces("2", 7_000, replaces=1)], "r2")
    assert (await bound(house))["1"][0][2] is True
    assert list(await bound(house, contradicted=True)) == []
    for state, released, withdrawn in (
        (clearance.STATE_EXPIRED, True, False),
        (clearance.STATE_RELEASED, True, False),
        (clearance.STATE_EXPIRED, False, True),
        (clearance.STATE_HELD, False, False),
        (clearance.STATE_INVALIDATED, False, True),
    ):
        await announce(database_url, (1, 1, state, released))
        assert (await bound(house))["2"] == [(mrn(1), [], withdrawn)]
    # Declared anew under both numbers, nothing of what was withdrawn counts.
    await assess(house, [consignment(pieces("1")), consignment(pieces("2"), price=7_000)], first=10)
    found = await bound(house)
    assert [found[number][-1] for number in "12"] == [(mrn(10), [], False), (mrn(11), [], False)]


async def test_an_amendment_that_clearance_refuses_does_not_take_the_place_of_what_was_declared(
    house: Running, database_url: str
) -> None:
    await file(await sales_stub(house), [pieces("1"), pieces("2")], "r1")
    await assess(house, [consignment(pieces("1"), price=4_000)])
    declared = (mrn(0), ["SALE_VALUE_DIFFERS 4000 EUR / 5000 EUR"], False)
    # It is assessed before clearance decides, and never announced: of released goods no state follows.
    await announce(database_url, (0, 1, clearance.STATE_RELEASED, True))
    await assess(house, [consignment(pieces("1"))], version=2)
    await assess(house, [consignment(pieces("2"))], version=3)
    assert (await bound(house))["1"] == [declared]
    assert list(await bound(house, contradicted=True)) == ["1"]
    # States that name no version of the filing change nothing; the last of a page counts.
    await announce(database_url, (0, 0, clearance.STATE_RELEASED, True))
    await announce(
        database_url, (0, 2, clearance.STATE_AWAITING_ARRIVAL, False), (0, 1, clearance.STATE_AWAITING_ARRIVAL, False)
    )
    assert (await bound(house))["1"] == [declared]
    await assess(house, [consignment(pieces("1"), quantity=1)], first=1)
    assert (await bound(house))["1"][1][1][0] == "SALE_QUANTITY_EXCEEDED 3000 H87 / 2000 H87"


async def test_versions_count_in_whatever_order_they_are_assessed(house: Running, database_url: str) -> None:
    await file(await sales_stub(house), [pieces("1"), pieces("2")], "r1")
    former, amended = consignment(pieces("1")), consignment(pieces("2"), price=2_500, quantity=1)
    # Both versions in one batch; then the amendment before what it amends, as of parts of a page that are assessed at the same time.
    await assess(house, [former, amended], mrns=[mrn(0), mrn(0)], versions=[1, 2])
    await assess(house, [amended], first=1, version=2)
    await assess(house, [former], first=1)
    await announce(database_url, *((place, 2, clearance.STATE_AWAITING_ARRIVAL, False) for place in range(2)))
    found = await bound(house)
    assert [withdrawn for _, _, withdrawn in found["1"]] == [True, True]
    assert [(number, withdrawn) for number, _, withdrawn in found["2"]] == [(mrn(0), False), (mrn(1), False)]
    # Nothing counts for the first order, and both for the second.
    await assess(house, [former, amended], first=2)
    found = await bound(house)
    assert found["1"][-1] == (mrn(2), [], False)
    assert found["2"][-1][1][0] == "SALE_QUANTITY_EXCEEDED 3000 H87 / 2000 H87"
    # An amendment is compared without the version before it, and with the others of its batch.
    await file(await sales_stub(house), [pieces("3")], "r2")
    half = {"price": 2_500, "quantity": 1}
    await assess(house, [consignment(pieces("3"))], first=5)
    await assess(house, [consignment(pieces("3"), **half)] * 2, mrns=[mrn(5), mrn(6)], versions=[2, 1])
    await announce(database_url, (5, 2, clearance.STATE_AWAITING_ARRIVAL, False))
    assert (await bound(house))["3"] == [(mrn(5), [], False), (mrn(6), [], False)]


async def test_an_order_of_very_many_consignments_is_summed_by_the_store_and_shown_in_part(
    house: Running, database_url: str
) -> None:
    await file(await sales_stub(house), [pieces("1"), pieces("2")], "r1")
    price = 10**15
    many = [
        Binding((SHOP, "1"), mrn(place), 1, 1, Amounts("EUR", price, None, "H87", 10**15), [])
        for place in range(10_000)
    ]
    async with Database(database_url, name="test") as database, database.transaction() as tx:
        await add_bindings(tx, many)
    await assess(house, [consignment(pieces("1"))] * 2, first=10_000)
    officer = await sales_stub(house, "officer", "ann")
    first, second = (await officer.ListSales(pb.ListSalesRequest(platform=SHOP), timeout=SECONDS)).sales
    assert [first.consignments_count, len(first.consignments), second.consignments_count] == [10_002, BOUND_MAX, 0]
    found = first.consignments[-1]
    assert (found.mrn, [each.declared for each in found.findings]) == (
        mrn(10_001),
        [f"{10_000 * 10**15 + 4_000} H87", f"{10_000 * price + 10_000} EUR"],
    )


async def test_order_numbers_units_and_scheme_numbers_are_compared_in_the_form_of_filings(house: Running) -> None:
    # Ingestion writes codes in capitals and takes blanks off.
    made = pieces(" 1 ")
    made.items[0].quantity_unit, made.fiscal_references[0].number = "h87", "im2760000014"
    (result,) = await file(await sales_stub(house), [made], "r1")
    assert result.receipt.order_number == "1"
    await assess(house, [consignment(pieces("1"), quantity=3)])
    assert await bound(house, order_numbers=[" 1"]) == {
        "1": [(mrn(0), ["SALE_QUANTITY_EXCEEDED 3000 H87 / 2000 H87"], False)]
    }


async def test_a_consignment_is_compared_with_the_current_version_of_its_sale(house: Running) -> None:
    shop, officer = await sales_stub(house), await sales_stub(house, "officer", "ann")
    assert outcomes(await file(shop, [pieces("1"), pieces("1", 6_000, replaces=1)], "r1")) == [1, 2]
    await assess(house, [consignment(pieces("1"))])
    (one,) = (await officer.ListSales(pb.ListSalesRequest(platform=SHOP), timeout=SECONDS)).sales
    (found,) = one.consignments
    assert (found.mrn, found.filing_version, found.sale_version) == (mrn(0), 1, 2)
    assert found.bound_at.seconds > 0
    assert [(each.reason, each.declared, each.sold) for each in found.findings] == [
        ("SALE_VALUE_DIFFERS", "5000 EUR", "6000 EUR")
    ]


async def states(house: Running, role: str = "filer", ident: str = "shop", **query: object) -> dict[str, int]:
    stub = await sales_stub(house, role, ident)
    answer = await stub.ListSales(pb.ListSalesRequest(platform=SHOP, **query), timeout=SECONDS)  # type: ignore[arg-type]
    return {each.sale.order_number: each.state for each in answer.sales}


async def age(url: str, days: int) -> str:
    """Have all sales be filed so many days earlier; return the finding of goods whose sale expired the day before today."""
    async with Database(url, name="test") as database, database.transaction() as tx:
        today = await schema.today(tx)
        for table, span in (("sale", REFERENCE_SPAN), ("sale_batch", 1)):
            await schema.ensure_day_partitions(tx, table, [today - days], span=span)
            await tx.raw.execute(f"update {table} set day = day - $1::integer", days)
    return f"SALE_EXPIRED {day_text(today)} / {day_text(today - 1)}"


@pytest.mark.parametrize(("days", "state"), [(200, pb.SALE_STATE_OPEN), (201, pb.SALE_STATE_EXPIRED)])
async def test_a_sale_that_nobody_declares_expires_after_its_term(
    house: Running, database_url: str, days: int, state: int
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1"), pieces("2"), pieces("3"), pieces("4")], "r1")
    await assess(house, [consignment(pieces("2")), consignment(pieces("3"))])
    # The goods of the third never came: no consignment counts for it any more.
    await announce(database_url, (1, 1, clearance.STATE_INVALIDATED, False))
    await age(database_url, days)
    await file(shop, [pieces("4", 4_000, replaces=1)], "r2")
    expected = {"1": state, "2": pb.SALE_STATE_DECLARED, "3": state, "4": pb.SALE_STATE_OPEN}
    assert await states(house) == await states(house, "officer", "ann") == expected
    assert await states(house, state=state) == {each: state for each, one in expected.items() if one == state}
    assert await states(house, state=pb.SALE_STATE_DECLARED) == {"2": pb.SALE_STATE_DECLARED}


async def test_goods_of_an_expired_sale_are_bound_to_it_and_the_finding_says_so(
    house: Running, database_url: str
) -> None:
    await file(await sales_stub(house), [pieces("1"), pieces("2"), pieces("3")], "r1")
    await assess(house, [consignment(pieces("2"))])
    late = await age(database_url, 201)
    # The second was declared in time, so neither its amendment nor its rest is late.
    await assess(house, [consignment(pieces("2"))], version=2)
    await assess(house, [consignment(pieces("2"), price=2_500, quantity=1)], first=1)
    await assess(house, [consignment(pieces("1"), price=2_500, quantity=1) for _ in range(2)], first=10)
    await assess(house, [consignment(pieces("1"), price=2_500, quantity=1)], first=12)
    shown = await bound(house)
    assert [[each for each in findings if "EXPIRED" in each] for _, findings, _ in shown["1"]] == [[late], [late], []]
    assert next(findings for _, findings, _ in shown["2"]) == []
    assert not any("EXPIRED" in each for _, findings, _ in shown["2"] for each in findings)
    assert await states(house) == {"1": pb.SALE_STATE_DECLARED, "2": pb.SALE_STATE_DECLARED, "3": pb.SALE_STATE_EXPIRED}


async def test_an_amendment_of_late_goods_is_late_as_well_unless_the_sale_is_open_again(
    house: Running, database_url: str
) -> None:
    shop = await sales_stub(house)
    await file(shop, [pieces("1")], "r1")
    late = await age(database_url, 201)
    half = consignment(pieces("1"), price=2_500, quantity=1)
    await assess(house, [half])
    await assess(house, [half], first=1)
    await assess(house, [half, half], version=2)
    await announce(database_url, (0, 2, clearance.STATE_RELEASED, False), (1, 2, clearance.STATE_RELEASED, False))
    assert await bound(house) == {"1": [(mrn(0), [late], False), (mrn(1), [], False)]}
    assert list(await bound(house, contradicted=True)) == ["1"]
    await file(shop, [pieces("1", replaces=1)], "r2")
    await assess(house, [half], version=3)
    await announce(database_url, (0, 3, clearance.STATE_RELEASED, False))
    assert (await bound(house))["1"] == [(mrn(1), [], False), (mrn(0), [], False)]


async def test_states_of_a_batch_are_looked_up_at_once(house: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def counted(reader: Transaction, orders: Collection[Order]) -> set[Order]:
        asked.append(len(orders))
        return await declared(reader, orders)

    monkeypatch.setattr("services.revenue.api.sales.declared", counted)
    await file(await sales_stub(house), [pieces(str(number)) for number in range(50)], "r1")
    assert await states(house, state=pb.SALE_STATE_EXPIRED) == {}
    assert asked == [50]
