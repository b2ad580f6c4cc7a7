"""Valuation: what goods, freight and insurance are worth in the jurisdiction's currency, item by item.

Intrinsic value: the price of the goods without transport, insurance and the tax charged at sale (Commission Delegated
Regulation (EU) 2015/2446, article 1(48), for the EU; UK and AU alike). Customs value: what the rulebook names.
"""

from collections.abc import Callable

import numpy as np

from libs.columns import Ints, Strings
from libs.customs.money import MAX_MINOR
from libs.customs.time import MICROS_PER_DAY
from services.revenue.law.assess.valuation.defaults import NOT_DECLARED, default_amounts, default_entries
from services.revenue.law.assess.valuation.money import Money
from services.revenue.law.assess.valuation.values import Defaults, Values, total_of
from services.revenue.law.batch.arithmetic import (
    LARGEST,
    Flags,
    Int64,
    Rounding,
    apportion,
    mul_div_round,
    row_totals,
    some,
)
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.groups import Groups, from_least
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.conditions import Conditions
from services.revenue.law.program.plans import plan_of
from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import COMPONENTS, PPM

_NONE = int(Reason.NONE)
ITEMS_MAX = 999
"""Lines of goods of one consignment; the contract's bound. Keeps the sum of a row's items inside int64."""


def days_of_law(filings: Filings, date_kinds: Int64, accepted: Int64, notes: Int64) -> Int64:
    """Return for each row the day that decides the law; the day of acceptance if it is not declared.

    `date_kinds` says for each word of the destinations' dictionary which day its law names, by its place in `program.DATES`.
    """
    if not some(date_kinds != 0):
        return accepted
    wanted = date_kinds[filings.destination.indices]
    days = accepted.copy()
    for place, column in enumerate((filings.sale, filings.export, filings.direct_shipment), start=1):
        rows = wanted == place
        days = np.where(rows & column.valid, column.values // MICROS_PER_DAY, days)
        notes[rows & ~column.valid] |= Note.DATE_NOT_DECLARED
    return days


def value(program: Program, filings: Filings, conditions_of: Callable[[Values], Conditions] | None = None) -> Values:
    """Value a batch: find its law, convert its money, take tax out of prices, apportion freight and insurance.

    Adds what the law adds for costs that are not declared. `conditions_of` tests the program's conditions over the batch; it
    is asked for only where a rate of tax or such a default depends on them.
    """
    values = _under_law(program, filings)
    counts = filings.offsets[1:] - filings.offsets[:-1]
    values.fail(counts == 0, Reason.UNVALUED)
    too_many = counts > ITEMS_MAX
    values.fail(too_many, Reason.AMOUNT_OUT_OF_BOUNDS)
    money = Money(program, filings, values)
    goods = _goods(program, filings, values, money, conditions_of)
    totals = row_totals(goods, filings.item_row, filings.rows)
    too_large = (totals > LARGEST) | too_many
    if some(too_large):
        values.fail(too_large, Reason.AMOUNT_OUT_OF_BOUNDS)
        goods[too_large[filings.item_row]] = 0
        totals[too_large] = 0
    components = values.components
    components[0] = goods
    base = program.regimes.customs_base[values.regime]
    customs, price, added = totals * (base & 1), totals.copy(), np.zeros(filings.rows, dtype=np.int64)
    for place, column, currency in consignment_amounts(filings):
        if some(column.values != 0):
            amounts = _row_money(values, money, column, currency)
            components[place] = _shared(program, filings, values, place, amounts, goods)
            if values.untaxed is not None:
                amounts = row_totals(components[place], filings.item_row, filings.rows)
            price += amounts
            customs += amounts * (base >> place & 1)
        if place in NOT_DECLARED:
            values.notes |= ~column.valid * int(NOT_DECLARED[place])
            entry = default_entries(program, filings, values, place, ~column.valid, conditions_of)
            if entry is not None:
                amounts = _add_defaults(program, filings, values, components, place, entry)
                values.defaults[place] = Defaults(entry, amounts)
                added += amounts
                customs += amounts * (base >> place & 1)
    values.intrinsic, values.customs_value, values.price = totals, customs, price
    values.item_customs_value = total_of(components, base[filings.item_row], slice(None))
    values.fail(price + added > LARGEST, Reason.AMOUNT_OUT_OF_BOUNDS)
    return values


def _add_defaults(
    program: Program, filings: Filings, values: Values, components: dict[int, Int64], place: int, entry: Int64
) -> Int64:
    """Add what the law adds in rows without a declared cost to its component; return it by row."""
    amounts = default_amounts(program, filings, values.regime, entry, components)
    shares = apportion(amounts, components[0], filings.offsets, filings.item_row)
    components[place] = components[place] + shares if place in components else shares
    return amounts


def _under_law(program: Program, filings: Filings) -> Values:
    """Find the law of each consignment, once for all of the same destination and day."""
    destination, notes = filings.destination, np.zeros(filings.rows, dtype=np.int64)
    area = np.array([program.areas.get(code, -1) for code in destination.dictionary], dtype=np.int64)
    book = np.where(area >= 0, program.book_of_area[area], 0)
    accepted = filings.acceptance.values // MICROS_PER_DAY
    law_day = days_of_law(filings, program.law_date[book], accepted, notes)
    exchange_day = days_of_law(filings, program.exchange_date[book], accepted, notes)
    words = (destination.indices, len(destination.dictionary))
    days = (law_day,) if exchange_day is law_day else (law_day, exchange_day)
    facts = [from_least(day) for day in days]
    groups = Groups.by(words, *facts)
    bound_for = area.take(destination.indices.take(groups.first))
    if filings.rows and facts[0][1] == 1:
        found = program.on_day(int(law_day[0])).take(bound_for)
    else:
        found = program.find(bound_for, law_day[groups.first])
    regime, nothing = np.maximum(found, 0), np.zeros(0, dtype=np.int64)
    values = Values(
        regime=regime[groups.ids],
        law_day=law_day,
        exchange_day=exchange_day,
        one_exchange_day=int(exchange_day[0]) if filings.rows and facts[-1][1] == 1 else None,
        reason=np.full(filings.rows, _NONE),
        notes=notes,
        components={},
        intrinsic=nothing,
        customs_value=nothing,
        item_customs_value=nothing,
        price=nothing,
        net=nothing,
        untaxed=None,
        plan=plan_of(program, regime),
        groups=groups,
    )
    values.fail(filings.exports, Reason.EXPORT)
    lawless = found < 0
    if some(lawless):
        values.fail(lawless[groups.ids], Reason.NO_RULEBOOK)
    values.fail(~filings.acceptance.valid, Reason.NO_RULEBOOK)
    return values


def _fail_items(filings: Filings, values: Values, items: Flags, reason: Reason) -> None:
    if some(items):
        rows = np.zeros(filings.rows, dtype=np.bool_)
        rows[filings.item_row[items]] = True
        values.fail(rows, reason)


def _goods(
    program: Program, filings: Filings, values: Values, money: Money,
    conditions_of: Callable[[Values], Conditions] | None,
) -> Int64:  # fmt: skip
    """Price of each item without tax, in the jurisdiction's currency."""
    price, currency = filings.price, filings.price_currency
    minor = price.values
    unpriced = ~(price.valid & currency.present)
    wrong = unpriced | (minor < 0) | (minor > MAX_MINOR)
    if some(wrong):
        _fail_items(filings, values, unpriced, Reason.UNVALUED)
        _fail_items(filings, values, wrong & ~unpriced, Reason.AMOUNT_OUT_OF_BOUNDS)
        minor = np.where(wrong, 0, minor)
    inside = filings.includes_tax.values
    if some(inside):
        minor = _without_tax(program, filings, values, minor, inside[filings.item_row], conditions_of)
    values.net = minor
    refused = np.zeros(len(minor), dtype=np.bool_)
    goods, missing = money.convert(minor, currency, refused, filings.item_row)
    if missing is not None:
        _fail_items(filings, values, missing & price.valid & currency.present, Reason.NO_EXCHANGE_RATE)
    _fail_items(filings, values, refused, Reason.AMOUNT_OUT_OF_BOUNDS)
    return goods


def components_by(program: Program, filings: Filings, values: Values, tables: Int64) -> dict[int, Int64]:
    """Value a batch once more with another table of exchange rates a row (-1 = the rulebook's), for one test alone.

    What the other table does not hold on the day is converted by the rulebook's. Gives the components by item.
    """
    money = Money(program, filings, values, tables)
    refused = np.zeros(filings.items, dtype=np.bool_)
    goods, _ = money.convert(values.net, filings.price_currency, refused, filings.item_row)
    _fail_items(filings, values, refused, Reason.AMOUNT_OUT_OF_BOUNDS)
    # A row whose sum is too large has small parts here; its reason is set.
    too_large = row_totals(goods, filings.item_row, filings.rows) > LARGEST
    values.fail(too_large, Reason.AMOUNT_OUT_OF_BOUNDS)
    goods[(too_large | (values.reason != _NONE))[filings.item_row]] = 0
    components = {0: goods}
    for place, column, currency in consignment_amounts(filings):
        if place in values.components:
            amounts = _row_money(values, money, column, currency)
            components[place] = _shared(program, filings, values, place, amounts, goods)
        if place in values.defaults:
            _add_defaults(program, filings, values, components, place, values.defaults[place].entry)
    return components


def consignment_amounts(filings: Filings) -> tuple[tuple[int, Ints, Strings], ...]:
    """Return the amounts that are declared once for a consignment: place in COMPONENTS, amount and currency."""
    return (
        (1, filings.freight, filings.freight_currency),
        (2, filings.insurance, filings.insurance_currency),
        (3, filings.clearance_fee, filings.clearance_fee_currency),
    )


def _shared(
    program: Program, filings: Filings, values: Values, place: int, amounts: Int64, goods: Int64
) -> Int64:  # fmt: skip
    """Share each row's amount for a component among its items by value, without the tax where the law says it holds it."""
    shares = apportion(amounts, goods, filings.offsets, filings.item_row)
    if values.untaxed is None:
        return shares
    taxed = ((program.regimes.taxed_parts[values.regime] >> place & 1) == 1)[filings.item_row]
    if not some(taxed):
        return shares
    numerator, denominator = (np.where(taxed, part, 1) for part in values.untaxed)
    refused = np.zeros(len(shares), dtype=np.bool_)
    # A share without its tax is never more than the share: nothing is refused.
    return mul_div_round(shares, numerator, denominator, int(Rounding.HALF_UP), 1, refused)


def _without_tax(
    program: Program, filings: Filings, values: Values, minor: Int64, inside: Flags,
    conditions_of: Callable[[Values], Conditions] | None,
) -> Int64:  # fmt: skip
    """Subtract the tax from prices that include it: the tax charged, else by the rate charged or the law's for the item."""
    values.notes[filings.includes_tax.values] |= Note.TAX_TAKEN_OUT
    charged = filings.tax_charged
    same = filings.tax_charged_currency.values() == filings.price_currency.values()
    by_amount = inside & charged.valid & same.astype(np.bool_)
    wrong = by_amount & ((charged.values < 0) | (charged.values > minor))
    _fail_items(filings, values, wrong, Reason.AMOUNT_OUT_OF_BOUNDS)
    stated = filings.tax_rate.valid & (filings.tax_rate.values >= 0) & (filings.tax_rate.values <= 100 * PPM)
    ppm = np.where(stated, filings.tax_rate.values, 0)
    if some(asked := inside & ~by_amount & ~stated):
        items = np.flatnonzero(asked)
        ppm[items] = _rates_of_law(program, filings, values, items, conditions_of)
    one = np.ones(len(minor), dtype=np.int64)
    refused = np.zeros(len(minor), dtype=np.bool_)
    net = mul_div_round(minor, one * PPM, ppm + PPM, one * Rounding.HALF_UP, one, refused)
    net = np.where(by_amount, minor - np.where(wrong, 0, charged.values), net)
    by_rate, priced = inside & ~by_amount, by_amount & (minor > 0)
    values.untaxed = (
        np.where(by_rate, PPM, np.where(priced, net, 1)),
        np.where(by_rate, ppm + PPM, np.where(priced, minor, 1)),
    )
    return np.where(inside, net, minor)


def _rates_of_law(
    program: Program, filings: Filings, values: Values, items: Int64,
    conditions_of: Callable[[Values], Conditions] | None,
) -> Int64:  # fmt: skip
    """Rate of tax of each of these items, parts per million: the first whose conditions fit, else the general one."""
    slots, rates, regime = program.slots, program.rates, values.regime[filings.item_row[items]]
    at = program.regimes.tax_at[regime]
    slot = regime * program.slots_per_regime + np.maximum(at, 0)
    first, count = slots.variants[slot], np.where(at < 0, 0, slots.variant_count[slot])
    ppm = np.where(at < 0, 0, rates.ppm[slot])
    if conditions_of is None or not some(count > 0):
        return ppm
    conditions, open_ = conditions_of(values), np.ones(len(items), dtype=np.bool_)
    for place in range(int(count.max())):
        rate = np.where(place < count, first + place, slot)
        fits = (
            open_ & (place < count) & conditions.fits_items(np.where(place < count, rates.condition[rate], -1), items)
        )
        ppm = np.where(fits, rates.ppm[rate], ppm)
        open_ &= ~fits
    return ppm


def _row_money(values: Values, money: Money, column: Ints, currency: Strings) -> Int64:
    """Convert a row's amount; nothing where it is not declared."""
    minor = column.values
    outside = (minor < 0) | (minor > MAX_MINOR)
    if some(outside):
        values.fail(outside, Reason.AMOUNT_OUT_OF_BOUNDS)
        minor = np.where(outside, 0, minor)
    refused = np.zeros(len(minor), dtype=np.bool_)
    amounts, missing = money.convert(minor, currency, refused)
    if missing is not None:
        values.fail(missing & (minor > 0), Reason.NO_EXCHANGE_RATE)
    values.fail(refused, Reason.AMOUNT_OUT_OF_BOUNDS)
    return amounts


assert COMPONENTS[:4] == ("goods", "freight", "insurance", "clearance_fee")
