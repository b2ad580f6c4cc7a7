"""The comparison of sales with consignments: what is unknown stays unknown, and parts are compared together as one by one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment, Money
from services.revenue.sales.comparison import (
    Amounts,
    Trade,
    findings_of,
    packed_trade,
    sum_amounts,
    trades_of,
    unpacked_trade,
)
from services.revenue.sales.content import sale_table
from tests.revenue.sales import sale

MANY = 10**15
"""Minor units, more than which no consignment states."""
UNKNOWN_OR = st.none() | st.integers(0, MANY)
AMOUNTS = st.builds(
    Amounts, st.sampled_from(("", "EUR", "USD")), UNKNOWN_OR, UNKNOWN_OR, st.sampled_from(("", "H87")), UNKNOWN_OR
)


def trade(price: int | None, *, currency: str = "EUR", quantity: int | None = 2_000) -> Trade:
    """Return what a consignment states that is the whole order."""
    return Trade("DE", (), (currency,) if currency else (), Amounts(currency, price, None, "H87", quantity), True)


def reasons(sold: Trade, declared: Trade, earlier: Amounts | None = None) -> list[str]:
    return [each.reason for each in findings_of(sold, declared, earlier)]


@given(st.lists(AMOUNTS, min_size=1, max_size=5))
def test_amounts_of_several_parts_are_their_sum_where_all_of_them_are_comparable(parts: list[Amounts]) -> None:
    first, *others = parts
    total = first
    for each in others:
        total = sum_amounts(total, each)

    def summed(name: str, unit: str) -> int | None:
        units, values = {getattr(each, unit) for each in parts}, [getattr(each, name) for each in parts]
        return None if len(units) > 1 or units == {""} or None in values else sum(values)

    if others:
        assert [total.net, total.gross] == [summed("net", "currency"), summed("gross", "currency")]
        assert total.quantity == summed("quantity", "unit")
    assert total.currency in ("", first.currency)


@pytest.mark.parametrize(
    ("changes", "is_whole"),
    [
        ({}, True),
        ({"split": False}, True),
        ({"split": True}, False),
        ({"previous_part_mrn": "26DE07329000001XR8"}, False),
    ],
)
def test_a_share_of_a_split_shipment_is_not_the_whole_order(changes: dict[str, object], is_whole: bool) -> None:
    table = Table.from_messages([Consignment(**changes)], ConsignmentColumns, Consignment)  # type: ignore[arg-type]
    assert [each.is_whole for each in trades_of(table)] == [is_whole]


@pytest.mark.parametrize(
    ("price", "quantity", "found"),
    [
        (4_999, 2_000, ["SALE_VALUE_DIFFERS"]),
        (5_000, 2_000, []),
        (5_001, 2_000, ["SALE_VALUE_DIFFERS"]),
        (4_999, 1_999, []),
        (5_001, 1_999, ["SALE_VALUE_DIFFERS"]),
        (5_000, 2_001, ["SALE_QUANTITY_EXCEEDED"]),
        (0, 2_000, ["SALE_VALUE_DIFFERS"]),
        (None, 2_000, ["SALE_VALUE_NOT_COMPARED"]),
    ],
)
def test_values_and_quantities_are_compared_to_the_unit(price: int | None, quantity: int, found: list[str]) -> None:
    assert reasons(trade(5_000), trade(price, quantity=quantity)) == found


def test_a_price_that_is_not_declared_is_in_no_other_currency() -> None:
    # Filings before loading have no prices.
    unpriced = trade(None, currency="", quantity=None)
    assert reasons(trade(5_000), unpriced) == ["SALE_VALUE_NOT_COMPARED"]
    assert reasons(trade(5_000), trade(1_000, quantity=500), unpriced.amounts) == ["SALE_VALUE_NOT_COMPARED"]


EUR_50 = (5_000, "EUR")


@pytest.mark.parametrize(
    ("total", "paid", "quantity", "earlier", "found"),
    [
        (EUR_50, None, 2_000, None, []),
        (None, None, 2_000, None, []),
        (EUR_50, (5_000, "EUR"), 2_000, None, []),
        (EUR_50, (4_999, "EUR"), 2_000, None, ["SALE_PAYMENT_DIFFERS"]),
        (EUR_50, (5_001, "EUR"), 2_000, None, ["SALE_PAYMENT_DIFFERS"]),
        (EUR_50, (0, "EUR"), 2_000, None, ["SALE_PAYMENT_DIFFERS"]),
        # A payment with a part of the order is that of the part, or of the whole order.
        (EUR_50, (4_999, "EUR"), 1_999, None, []),
        (EUR_50, (5_000, "EUR"), 1_999, None, []),
        (EUR_50, (5_001, "EUR"), 1_999, None, ["SALE_PAYMENT_DIFFERS"]),
        (EUR_50, (4_999, "EUR"), 1_000, 1_000, []),
        (EUR_50, (5_001, "EUR"), 1_000, 1_000, ["SALE_PAYMENT_DIFFERS"]),
        (EUR_50, (5_000, "USD"), 2_000, None, ["SALE_PAYMENT_NOT_COMPARED"]),
        (None, (5_000, "EUR"), 2_000, None, ["SALE_PAYMENT_NOT_COMPARED"]),
    ],
)
def test_a_payment_is_compared_to_the_unit_with_what_was_to_be_paid(
    total: tuple[int, str] | None,
    paid: tuple[int, str] | None,
    quantity: int,
    earlier: int | None,
    found: list[str],
) -> None:
    price = 5_000 * quantity // 2_000
    before = None if earlier is None else trade(5_000 * earlier // 2_000, quantity=earlier).amounts
    declared = replace(trade(price, quantity=quantity), paid=paid)
    assert reasons(replace(trade(5_000), total=total), declared, before) == found


def test_a_payment_is_compared_also_where_the_values_are_not_and_both_values_are_shown() -> None:
    sold = replace(trade(5_000), total=EUR_50)
    dollars = replace(trade(5_500, currency="USD"), paid=(5_500, "EUR"))
    assert [(each.reason, each.declared, each.sold) for each in findings_of(sold, dollars, None)] == [
        ("SALE_CURRENCY_DIFFERS", "USD", "EUR"),
        ("SALE_PAYMENT_DIFFERS", "5500 EUR", "5000 EUR"),
    ]
    unpriced = replace(trade(None, currency="", quantity=None), paid=(4_000, "EUR"))
    assert reasons(sold, unpriced) == ["SALE_VALUE_NOT_COMPARED", "SALE_PAYMENT_DIFFERS"]
    assert reasons(sold, replace(unpriced, is_whole=False)) == ["SALE_VALUE_NOT_COMPARED"]


def money(minor: int, currency: str = "EUR") -> Money:
    return Money(minor=minor, currency=currency)


@pytest.mark.parametrize(
    ("taxes", "scheme", "includes", "costs", "total"),
    [
        # Prices are 50.00 and 30.00; without a scheme and without tax, none was charged.
        ((None, None), False, None, (), 8_000),
        ((None, None), False, False, (), 8_000),
        ((None, None), True, None, (), None),
        ((950, None), True, None, (), None),
        ((None, 570), False, None, (), None),
        ((950, 570), True, None, (), 9_520),
        ((950, 570), False, False, (), 9_520),
        ((950, 0), True, None, (), 8_950),
        ((None, None), True, True, (), 8_000),
        ((950, 570), True, True, (), 8_000),
        ((None, None), False, None, (("freight", money(400)),), 8_400),
        ((None, None), False, None, (("freight", money(400)), ("insurance", money(30))), 8_430),
        ((None, None), False, None, (("insurance", money(0)),), 8_000),
        ((None, None), False, None, (("freight", money(400, "USD")),), None),
        ((None, None), False, None, (("insurance", money(400, "USD")),), None),
    ],
)
def test_what_was_to_be_paid_is_the_price_with_freight_insurance_and_tax_where_all_of_it_is_stated(
    taxes: tuple[int | None, ...],
    scheme: bool,
    includes: bool | None,
    costs: tuple[tuple[str, Money], ...],
    total: int | None,
) -> None:
    made = sale("1")
    made.items.append(made.items[0])
    made.items[1].price.minor = 3_000
    if not scheme:
        del made.fiscal_references[:]
    for item, tax in zip(made.items, taxes, strict=True):
        if tax is not None:
            item.tax_charged.CopyFrom(money(tax))
    if includes is not None:
        made.prices_include_tax = includes
    for name, cost in costs:
        getattr(made, name).CopyFrom(cost)
    (stated,) = trades_of(sale_table([made], "shop"))
    assert (stated.total, stated.paid) == (None if total is None else (total, "EUR"), None)
    made.items[1].price.currency = "USD"
    (mixed,) = trades_of(sale_table([made], "shop"))
    assert mixed.total is None


def test_what_the_release_before_stored_of_a_sale_has_no_total() -> None:
    stored = json.loads(packed_trade(replace(trade(5_000), total=EUR_50, paid=EUR_50)))
    del stored["total"], stored["paid"]
    assert unpacked_trade(json.dumps(stored)) == trade(5_000)


def test_several_currencies_are_all_named() -> None:
    mixed = sale("1")
    mixed.items.append(mixed.items[0])
    mixed.items[1].price.currency = "USD"
    (declared,) = trades_of(sale_table([mixed], "shop"))
    (sold,) = trades_of(sale_table([sale("1")], "shop"))
    (found,) = findings_of(sold, declared, None)
    assert (found.reason, found.declared, found.sold) == ("SALE_CURRENCY_DIFFERS", "EUR, USD", "EUR")


@pytest.mark.parametrize(("currency", "gross"), [("EUR", 5_950), ("USD", None), ("", None)])
def test_tax_in_another_currency_than_its_price_makes_no_sum_with_it(currency: str, gross: int | None) -> None:
    made = sale("1")
    made.items[0].tax_charged.minor, made.items[0].tax_charged.currency = 950, currency
    (stated,) = trades_of(sale_table([made], "shop"))
    assert (stated.amounts.net, stated.amounts.gross) == (5_000, gross)
    made.prices_include_tax = True
    (stated,) = trades_of(sale_table([made], "shop"))
    assert (stated.amounts.net, stated.amounts.gross) == (None if gross is None else 4_050, 5_000)


def test_what_is_stored_of_a_sale_is_read_as_it_was() -> None:
    made = sale("1")
    paid = replace(trade(5_000), total=EUR_50, paid=(4_999, "USD"))
    for (stated,) in (trades_of(sale_table([made], "shop")), [trade(None, currency="", quantity=None)], [paid]):
        assert unpacked_trade(packed_trade(stated)) == stated
