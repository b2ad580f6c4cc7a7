"""What contradicts a sale in the consignments that are declared under its order number or a house document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from libs.columns import Ints, Table
from libs.filing_stages.shares import split_shares
from luxor.consignment.v1.consignment_pb2 import Scheme
from services.revenue.law.batch.filings import first_present
from services.revenue.law.program.scheme_numbers import registered_number

NOT_COMPARED: Final = ("SALE_VALUE_NOT_COMPARED", "SALE_PAYMENT_NOT_COMPARED")
"""The findings that values, or a payment, could not be compared, which contradict nothing."""
EXPIRED: Final = "SALE_EXPIRED"
"""The finding that goods were declared when their sale had expired."""
OTHER_ORDER: Final = "SALE_ORDER_DIFFERS"
"""The finding that the house document of goods belongs to the sale of another order."""
_SCHEMES: Final = {number: name.removeprefix("SCHEME_") for name, number in Scheme.items()}


@dataclass(frozen=True, slots=True)
class Amounts:
    """What goods cost and how many they are; None is unknown."""

    currency: str
    """Of all prices; "" where there are several, or a price without one."""
    net: int | None
    """Prices without the tax charged at sale, minor units."""
    gross: int | None
    """Prices with it."""
    unit: str
    """Of all quantities; "" where there are several, or a quantity without one."""
    quantity: int | None
    """Thousandths of the unit."""


@dataclass(frozen=True, slots=True)
class Trade:
    """What a sale and a declaration have in common."""

    destination: str
    schemes: tuple[str, ...]
    """Numbers of tax schemes, each behind the name of its scheme."""
    currencies: tuple[str, ...]
    """Those that prices are stated in."""
    amounts: Amounts
    is_whole: bool
    """Whether it states to be the whole order."""
    total: tuple[int, str] | None = None
    """What is to be paid: prices, freight, insurance and tax charged at sale, minor units with their currency; None is unknown."""
    paid: tuple[int, str] | None = None
    """What a payment states to have been paid; None where it states nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction, with both values."""

    reason: str
    declared: str
    sold: str


def trades_of(table: Table) -> list[Trade]:
    """Return what the rows of a table of ConsignmentColumns state."""
    destinations = first_present(table.strings("destination_country"), table.strings("consignee_address_country"))
    includes_tax, parts = table.bools("prices_include_tax"), table.ints("order_parts")
    is_share = split_shares(table)
    freight, insurance, paid = (_money(table, name) for name in ("freight", "insurance", "payment_amount"))
    items, references = table.ragged("items"), table.ragged("fiscal_references")
    goods, numbers = table.child("items"), table.child("fiscal_references")
    prices, taxes, quantities = goods.ints("price_minor"), goods.ints("tax_charged_minor"), goods.ints("quantity_milli")
    currencies, units = goods.strings("price_currency").tolist(), goods.strings("quantity_unit").tolist()
    # Tax in another currency than its price makes no sum with it: the sum is unknown.
    same = np.array(goods.strings("tax_charged_currency").tolist(), object) == np.array(currencies, object)
    taxes = Ints(taxes.values, taxes.valid & same)
    schemes = [
        f"{_SCHEMES.get(scheme, scheme)} {registered_number(number)}"
        for scheme, number in zip(
            numbers.ints("scheme").values.tolist(), numbers.strings("number").tolist(), strict=True
        )
    ]
    trades = []
    for row in range(table.rows):
        own = slice(int(items.offsets[row]), int(items.offsets[row + 1]))
        price, tax = _total(prices, own), _total(taxes, own)
        other = None if price is None or tax is None else price + (-tax if includes_tax[row] else tax)
        net, gross = (other, price) if includes_tax[row] else (price, other)
        quantity, unit, currency = _total(quantities, own), _single(units[own]), _single(currencies[own])
        own_schemes = slice(int(references.offsets[row]), int(references.offsets[row + 1]))
        # Without a tax scheme no tax was charged; under one, tax that is not stated is unknown.
        is_untaxed = not schemes[own_schemes] and not goods.ints("tax_charged_minor").valid[own].any()
        goods_total = price if is_untaxed else gross
        trades.append(
            Trade(
                destinations[row],
                tuple(sorted(set(schemes[own_schemes]))),
                tuple(sorted(set(currencies[own]) - {""})),
                Amounts(currency, net, gross, unit, quantity if unit else None),
                not is_share[row] and (not parts.valid[row] or int(parts.values[row]) == 1),
                _to_pay(goods_total, currency, freight[row], insurance[row]),
                paid[row],
            )
        )
    return trades


def sum_amounts(one: Amounts, other: Amounts) -> Amounts:
    """Return the amounts of two parts of an order; what is unknown of one part, or in several currencies or units, is unknown of both."""
    currency = one.currency if one.currency == other.currency else ""
    unit = one.unit if one.unit == other.unit else ""
    return Amounts(
        currency,
        _sum(one.net, other.net) if currency else None,
        _sum(one.gross, other.gross) if currency else None,
        unit,
        _sum(one.quantity, other.quantity) if unit else None,
    )


def findings_of(sold: Trade, declared: Trade, earlier: Amounts | None) -> list[Finding]:
    """Return what contradicts a sale in a declaration, together with the `earlier` ones under the same order number, None for none."""
    findings = []
    if declared.destination != sold.destination:
        findings.append(Finding("SALE_DESTINATION_DIFFERS", declared.destination, sold.destination))
    if declared.schemes != sold.schemes:
        findings.append(Finding("SALE_SCHEME_NUMBER_DIFFERS", ", ".join(declared.schemes), ", ".join(sold.schemes)))
    amounts = declared.amounts if earlier is None else sum_amounts(declared.amounts, earlier)
    quantity = amounts.quantity if amounts.unit == sold.amounts.unit else None
    if quantity is not None and sold.amounts.quantity is not None and quantity > sold.amounts.quantity:
        findings.append(
            Finding(
                "SALE_QUANTITY_EXCEEDED",
                f"{quantity} {sold.amounts.unit}",
                f"{sold.amounts.quantity} {sold.amounts.unit}",
            )
        )
    if quantity is not None and sold.amounts.quantity is not None:
        is_complete = quantity == sold.amounts.quantity
    else:
        is_complete = declared.is_whole and earlier is None
    found = (
        _value_finding(sold, declared, amounts, is_complete),
        _payment_finding(sold, declared, is_complete and earlier is None),
    )
    return [*findings, *(each for each in found if each is not None)]


def _value_finding(sold: Trade, declared: Trade, amounts: Amounts, is_complete: bool) -> Finding | None:
    currency = sold.amounts.currency
    if currency and set(declared.currencies) - {currency}:
        return Finding("SALE_CURRENCY_DIFFERS", ", ".join(declared.currencies), currency)
    if currency and amounts.currency == currency:
        for total, price in ((amounts.net, sold.amounts.net), (amounts.gross, sold.amounts.gross)):
            if total is not None and price is not None:
                differs = total > price or (is_complete and total != price)
                return Finding("SALE_VALUE_DIFFERS", f"{total} {currency}", f"{price} {currency}") if differs else None
    return Finding("SALE_VALUE_NOT_COMPARED", "", "")


def _payment_finding(sold: Trade, declared: Trade, is_all: bool) -> Finding | None:
    """Return what a payment contradicts; only where the declaration `is_all` of the order has all of it to be paid with it."""
    if declared.paid is None:
        return None
    if sold.total is None or sold.total[1] != declared.paid[1]:
        return Finding("SALE_PAYMENT_NOT_COMPARED", "", "")
    (paid, currency), (total, _) = declared.paid, sold.total
    differs = paid > total or (is_all and paid != total)
    return Finding("SALE_PAYMENT_DIFFERS", f"{paid} {currency}", f"{total} {currency}") if differs else None


def contradicts(findings: Sequence[Finding]) -> bool:
    """Return whether any finding is a contradiction."""
    return any(each.reason not in NOT_COMPARED for each in findings)


def packed_trade(trade: Trade) -> str:
    """Return what a sale states as text, in the form in which it is stored."""
    return msgspec.json.encode(trade).decode()


def unpacked_trade(text: str) -> Trade:
    """Return what a stored text states."""
    return msgspec.json.decode(text, type=Trade)


def _total(column: Ints, own: slice) -> int | None:
    return int(column.values[own].sum()) if np.all(column.valid[own]) else None


def _money(table: Table, name: str) -> list[tuple[int, str] | None]:
    """Return an amount of each row with its currency; None where it is not stated."""
    amounts, currencies = table.ints(f"{name}_minor"), table.strings(f"{name}_currency").tolist()
    pairs = zip(amounts.values.tolist(), currencies, amounts.valid.tolist(), strict=True)
    return [(amount, currency) if is_stated else None for amount, currency, is_stated in pairs]


def _to_pay(goods: int | None, currency: str, *costs: tuple[int, str] | None) -> tuple[int, str] | None:
    """Return the price of goods with further costs; None where the price is unknown or the currencies are several."""
    stated = [each for each in costs if each is not None]
    if goods is None or not currency or any(each[1] != currency for each in stated):
        return None
    return goods + sum(each[0] for each in stated), currency


def _single(values: Sequence[str]) -> str:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else ""


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
