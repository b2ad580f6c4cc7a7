"""Limits: which entry applies to each consignment, what it measures, and which consignments are within it.

There are two steps, because some limits also count other consignments: `test_limits` measures each consignment alone,
`within_limits` compares its measure, with the aggregates of others, to the amounts.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from services.revenue.law.assess.valuation.valuation import components_by, consignment_amounts
from services.revenue.law.assess.valuation.values import Values, total_of
from services.revenue.law.batch.arithmetic import Flags, Int64, row_totals, some
from services.revenue.law.batch.caches import Memo
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.conditions import Conditions
from services.revenue.law.program.plans import AllEntries, LimitCases
from services.revenue.law.program.program import FOREIGN, ITEMS, KNOWN, SUMMED, TABLE, Program
from services.revenue.law.source.rulebook import COMPONENTS, GROUP_TESTS, Test

_GOODS = 1 << COMPONENTS.index("goods")
_SUM_OF_TEST = np.array(
    [GROUP_TESTS.index(test) if test in GROUP_TESTS else -1 for test in get_args(Test)], dtype=np.int64
)


LARGEST_SUM = 2**61
"""Largest counted aggregate of other consignments: it is over any limit, and a sum with it fits int64."""


@dataclass(frozen=True, slots=True)
class LimitAggregates:
    """The aggregates of other consignments for each row's limits; limits by their place in the rulebook."""

    amount: Int64
    """[row, limit], minor units of the jurisdiction's currency, never negative; at most LARGEST_SUM counts."""
    unnamed: Flags | None = None
    """[row, limit]: the filing does not name the person, order or craft that the limit counts by."""


@dataclass(slots=True)
class LimitTest:
    """One limit of the rulebooks, tested on a batch."""

    entries: LimitCases
    case: Int64
    """[row]: the case of the entries."""
    whole: Int64
    """[row]: the measure of the consignment."""
    most: Int64
    """[row]: the largest measure within the limit; -1 if none is."""
    each: Int64 | None = None
    """[item]: the measure of the item; None if no item is tested."""
    excluded: Flags | None = None
    """[item]: goods that are never within the limit; None if there are none."""
    shares: Flags | None = None
    """[row]: shares of a split shipment; None if there are none."""

    @property
    def has_amount(self) -> Flags:
        """[row]: whether the law has an amount."""
        known: Flags = self.entries.has_amount[self.case]
        return known

    @property
    def entry(self) -> Int64:
        """[row]: place in Program.limits of the applicable entry; -1 if there is none."""
        return self.entries.entry[self.case]

    @property
    def uses(self) -> Int64:
        """[row]: bits of Limits.uses; 0 if no entry applies."""
        return self.entries.uses[self.case]

    @property
    def summed(self) -> Flags:
        """[row]: whether other consignments count: those of an aggregate, or the other shares of one that was split."""
        uses = self.uses
        summed: Flags = (uses & SUMMED) != 0
        if self.shares is not None:
            summed |= self.shares & ((uses & (KNOWN | ITEMS | SUMMED)) == KNOWN)
        return summed


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of a batch for limits on aggregates; one element a row and limit, by limit and row."""

    row: Int64
    limit: Int64
    """Place of the limit in the rulebook's `limits`."""
    test: Int64
    """Place in rulebook.GROUP_TESTS of the aggregate: order, person and year, and so on."""
    jurisdiction: Int64
    """Place in Program.books."""
    amount: Int64
    """The measure of the consignment, minor units of the jurisdiction's currency."""
    most: Int64
    """The largest aggregate that is within the limit."""
    day: Int64
    """The day of the law, days since 1970-01-01."""

    def limit_name(self, program: Program, at: int) -> str:
        """Return the name of the limit of one element, as in its rulebook."""
        return list(program.books[int(self.jurisdiction[at])].rulebook.limits)[int(self.limit[at])]


def test_limits(program: Program, filings: Filings, values: Values, conditions: Conditions) -> list[LimitTest]:
    """Select each row's entry of each limit and measure the row; a row whose amount has no rate gets a reason."""
    plan, limits = values.plan, program.limits

    def decide(rows: Int64) -> list[Int64]:
        return [
            _entries(program, values.regime[rows], rows, conditions, at) for at in range(len(program.limit_entries))
        ]

    def facts_of(columns: list[Int64]) -> AllEntries:
        return AllEntries.gather(limits, columns)

    if plan.keyed:
        keys = plan.features.limit_keys(values.regime, conditions)
        found, case = Memo.find(plan.limits, keys, decide, facts_of)
        # Not read from the plan again, because another thread may have stored its own cases there.
        plan.limits, facts = found, found.facts
    else:
        case = np.arange(filings.rows)
        facts = facts_of(decide(case))
    values.notes |= facts.notes[case]
    nothing = np.full(filings.rows, -1)
    return [
        _test(program, filings, values, entries, case)
        if entries.needs
        else LimitTest(entries, case, values.intrinsic, nothing)
        for entries in facts.by_place
    ]


def _entries(program: Program, regime: Int64, rows: Int64, conditions: Conditions, place: int) -> Int64:
    """Return for each row the first entry of one limit with a matching condition, -1 if none matches."""
    limits, most = program.limits, program.limit_entries
    first = (regime * len(most) + place) * max(most)
    chosen = np.full(len(first), -1, dtype=np.int64)
    open_: Flags = np.ones(len(first), dtype=np.bool_)
    for at in range(most[place]):
        entry = first + at
        fits = open_ & limits.exists[entry]
        if not some(fits):
            # Entries have no gaps: if this one is absent, so are all later ones.
            break
        fits &= conditions.fits_rows(limits.condition[entry], rows)
        chosen = np.where(fits, entry, chosen)
        open_ &= ~fits
    return chosen


def _test(program: Program, filings: Filings, values: Values, entries: LimitCases, case: Int64) -> LimitTest:
    needs = entries.needs
    test = LimitTest(entries, case, values.intrinsic, entries.most[case], shares=filings.shares)
    if needs & FOREIGN:
        test.most = _converted(program, values, test.entry, test.uses, test.most)
    if needs & TABLE or needs & ITEMS or not entries.of_goods:
        components = values.components
        if needs & TABLE:
            tables = np.where((test.uses & TABLE) != 0, program.limits.table[test.entry], -1)
            components = components_by(program, filings, values, tables)
        each = total_of(components, entries.measure[case[filings.item_row]], slice(None))
        test.whole = row_totals(each, filings.item_row, filings.rows)
        test.each = each if needs & ITEMS else None
    if needs & FOREIGN:
        _compare_in_own_currency(program, filings, values, test, entries.measure[case])
    for number in entries.sets:
        excluded = program.prefixes[number].match_column(filings.code)
        if some(excluded):
            excluded &= (entries.excluded == number)[case[filings.item_row]]
            test.excluded = excluded if test.excluded is None else test.excluded | excluded
            values.notes[filings.item_row[excluded]] |= int(Note.EXCLUDED_GOODS)
    return test


def _converted(program: Program, values: Values, entry: Int64, uses: Int64, most: Int64) -> Int64:
    limits = program.limits
    foreign = (uses & FOREIGN) != 0
    below, above = foreign_bounds(
        program, values, foreign, most, limits.currency[entry], np.where(foreign, limits.table[entry], -1)
    )
    # All measures below an amount that is not a whole number of minor units are within it, for both values of at_the_limit.
    return np.where(foreign & limits.strict[entry], above - 1, below)


def _compare_in_own_currency(
    program: Program, filings: Filings, values: Values, test: LimitTest, measure: Int64
) -> None:
    """Compare amounts in the limit's own currency without conversion: 50.00 USD are 50 USD, whatever conversion rounds.

    A measure that is within the limit there is lowered to the largest one within it in the jurisdiction's currency, any other is
    raised above it. This applies to items that are tested alone if only their goods are measured.
    """
    limits, row, place_of = program.limits, filings.item_row, program.exchange.currency
    foreign = (test.uses & FOREIGN) != 0
    wanted = np.where(foreign, limits.currency[test.entry], -1)
    minor, strict = limits.minor[test.entry], limits.strict[test.entry]
    goods = filings.price_currency.map(place_of, np.int64) == wanted[row]
    told: Flags = foreign & ((measure & _GOODS) != 0)
    told[row[~goods]] = False
    whole = row_totals(values.net, row, filings.rows)
    for place, column, currency in consignment_amounts(filings):
        amount = np.where((measure >> place & 1) == 1, column.values, 0)
        taxed = filings.includes_tax.values & ((program.regimes.taxed_parts[values.regime] >> place & 1) == 1)
        told &= (amount == 0) | ((currency.map(place_of, np.int64) == wanted) & ~taxed)
        if place in values.defaults:
            # What the law adds is in its own currency.
            told &= ((measure >> place & 1) == 0) | (values.defaults[place].entry < 0)
        whole += amount
    test.whole = _on_side(told, test.whole, test.most, whole + strict <= minor)
    if test.each is not None:
        goods &= (foreign & (measure == _GOODS))[row]
        test.each = _on_side(goods, test.each, test.most[row], values.net + strict[row] <= minor[row])


def _on_side(selected: Flags, amount: Int64, most: Int64, is_within: Flags) -> Int64:
    """Move amounts to the side of the maximum on which they are known to be."""
    return np.where(selected, np.where(is_within, np.minimum(amount, most), np.maximum(amount, most + 1)), amount)


def foreign_bounds(
    program: Program, values: Values, foreign: Flags, minor: Int64, currency: Int64, table: Int64
) -> tuple[Int64, Int64]:
    """Convert amounts of the law in another currency, without rounding: return the whole minor units below and above them.

    The conversion uses the test's own table if it has the currency on the exchange day, else the rulebook's; rows without a rate
    get NO_EXCHANGE_RATE. `foreign` states which rows; the others keep their amount.
    """
    exchange, day = program.exchange, values.exchange_day
    rate = exchange.find(table, currency, day)
    rate = np.where(rate >= 0, rate, exchange.find(program.regimes.exchange_table[values.regime], currency, day))
    values.fail(foreign & (rate < 0), Reason.NO_EXCHANGE_RATE)
    refused = np.zeros(len(minor), dtype=np.bool_)
    bounds = exchange.bounds(minor, np.where(foreign, rate, -1), refused)
    values.fail(foreign & refused, Reason.AMOUNT_OUT_OF_BOUNDS)
    return bounds


def measures_of(program: Program, values: Values, tests: list[LimitTest]) -> Measures:
    """Return the rows of a batch that count towards a limit tested on an aggregate, and their amounts."""
    found = [np.flatnonzero(test.summed & (values.reason == Reason.NONE)) for test in tests]
    row = np.concatenate(found)
    entry = np.concatenate([test.entry[rows] for test, rows in zip(tests, found, strict=True)])
    return Measures(
        row=row,
        limit=np.repeat(np.arange(len(tests)), [len(rows) for rows in found]),
        test=_SUM_OF_TEST[program.limits.test[entry]],
        jurisdiction=program.regimes.jurisdiction[values.regime[row]],
        amount=np.concatenate([test.whole[rows] for test, rows in zip(tests, found, strict=True)]),
        most=np.concatenate([test.most[rows] for test, rows in zip(tests, found, strict=True)]),
        day=values.law_day[row],
    )


def within_limits(
    filings: Filings, values: Values, tests: list[LimitTest], aggregates: LimitAggregates | None
) -> tuple[Flags, Flags | None]:
    """Return which rows are within each limit: [row, limit] and, if any item is tested alone, [item, limit]."""
    # Column-major, because each limit is written and read as a column.
    row_within = np.zeros((len(tests), filings.rows), dtype=np.bool_).T
    item_within: Flags | None = None
    for place, test in enumerate(tests):
        if not test.entries.needs:
            continue
        whole = test.whole if aggregates is None else _with_aggregates(values, test, aggregates, place)
        by_row: Flags = whole <= test.most
        if test.excluded is not None:
            by_row[filings.item_row[test.excluded]] = False
        row_within[:, place] = by_row
        if test.each is None:
            if item_within is not None:
                item_within[:, place] = by_row[filings.item_row]
            continue
        alone = test.each <= test.most[filings.item_row]
        if test.excluded is not None:
            alone &= ~test.excluded
        per_item = (test.uses & ITEMS) != 0
        over = row_totals((~alone).astype(np.int64), filings.item_row, filings.rows)
        row_within[:, place] = np.where(per_item, over == 0, by_row)
        if item_within is None:
            item_within = row_within[filings.item_row]
        item_within[:, place] = np.where(per_item[filings.item_row], alone, by_row[filings.item_row])
    return row_within, item_within


def _with_aggregates(values: Values, test: LimitTest, aggregates: LimitAggregates, place: int) -> Int64:
    """Add the aggregates of other consignments if the limit is tested on one."""
    summed = test.summed
    if not some(summed):
        return test.whole
    added: Int64 = np.where(summed, np.clip(aggregates.amount[:, place], 0, LARGEST_SUM), 0)
    values.notes[added > 0] |= int(Note.SUMMED)
    if aggregates.unnamed is not None:
        values.notes[summed & aggregates.unnamed[:, place]] |= int(Note.PERSON_NOT_DECLARED)
    whole: Int64 = test.whole + added
    return whole
