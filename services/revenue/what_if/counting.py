"""What is counted of a part: who is touched, revenue before and after, and who wins and loses. The same whatever the parts are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from libs.columns import Strings, Table
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.batch.arithmetic import apportion
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.what_if.bands import Bands
from services.revenue.what_if.part import (
    PLACES,
    Numbers,
    OwedCharges,
    PartCharges,
    Truths,
    baseline_charges,
    draft_charges,
    kind_and_collector,
)
from services.revenue.what_if.progress import AFTER, BEFORE, GROUPED_BY, UNASSESSED, Progress

_LOW_BITS = 26
_EXACT = 2**53


def count_part(state: Progress, assessment: Assessment, answers: Table, counted: Truths, bands: Bands) -> None:
    """Count the consignments `counted` of a part: `assessment` by the draft, `answers` (AssessmentColumns) of then.

    Raises SumTooLarge.
    """
    filings = assessment.filings
    then, now = baseline_charges(answers, filings), draft_charges(assessment)
    state.consignments += int(counted.sum())
    state.items += int(counted[filings.item_row].sum())
    lost, gained = counted & then.assessed & ~now.assessed, counted & now.assessed & ~then.assessed
    state.unassessed_now += int(lost.sum())
    state.unassessed_then += int(gained.sum())
    _count_revenue(state, BEFORE, then, counted)
    _count_revenue(state, AFTER, now, counted)
    _count_revenue(state, UNASSESSED, then, lost)
    _count_law(state, assessment, now, counted)
    both = counted & then.assessed & now.assessed
    same = same_words(then.currency, now.currency)
    state.other_currency += int((both & ~same).sum())
    _count_touched(state, filings, then, now, both, same)
    _count_groups(state, assessment, answers, then, now, both & same, bands)


def same_words(one: Strings, other: Strings) -> Truths:
    """Where two columns say the same."""
    words = {word: place for place, word in enumerate(dict.fromkeys([*one.dictionary, *other.dictionary]))}
    places = [np.array([words[word] for word in each.dictionary], np.int64)[each.indices] for each in (one, other)]
    same: Truths = places[0] == places[1]
    return same


def exact_totals(groups: Numbers, amounts: Numbers, size: int) -> dict[int, int]:
    """Return exact totals of amounts (0 to 10^17) by group (0 up to `size`); groups of zero are omitted.

    Floats would lose the last digits of large sums, and int64 could wrap: so the halves of the amounts are summed up apart.
    """
    if int(amounts.max(initial=0)) * len(amounts) < _EXACT:
        sums = np.bincount(groups, amounts, size)
        there = np.flatnonzero(sums)
        return {group: int(total) for group, total in zip(there.tolist(), sums[there].tolist(), strict=True)}
    low = np.bincount(groups, amounts & ((1 << _LOW_BITS) - 1), size)
    high = np.bincount(groups, amounts >> _LOW_BITS, size)
    there = np.flatnonzero((low > 0) | (high > 0))
    return {
        group: (int(more) << _LOW_BITS) + int(less)
        for group, more, less in zip(there.tolist(), high[there].tolist(), low[there].tolist(), strict=True)
    }


def _count_revenue(state: Progress, side: int, charges: PartCharges, rows: Truths) -> None:
    if not rows.any():
        return
    owed = charges.owed.of_rows(rows)
    words, law = _pairs(charges.jurisdiction, charges.currency)
    sums = exact_totals(law[owed.row] * PLACES + owed.trait, owed.amount, len(words) * PLACES)
    for place, minor in sums.items():
        jurisdiction, currency = words[place // PLACES]
        state.add_revenue((jurisdiction, *kind_and_collector(place % PLACES), currency), side, minor)


def _count_law(state: Progress, assessment: Assessment, now: PartCharges, counted: Truths) -> None:
    """Count how much of what would be owed rests on reviewed law, and who would owe it at least."""
    rows = counted & now.assessed
    state.lower_bounds += int((rows & ((assessment.notes & int(Note.NOT_COVERED)) != 0)).sum())
    currencies = now.currency.dictionary
    reviewed = exact_totals(now.currency.indices[rows].astype(np.int64), assessment.reviewed[rows], len(currencies))
    for place, minor in reviewed.items():
        state.add_reviewed(currencies[place], minor)


def _pairs(one: Strings, other: Strings) -> tuple[list[tuple[str, str]], Numbers]:
    """Each pair of words that can stand in a row, and which of them does."""
    size = len(other.dictionary)
    words = [(first, second) for first in one.dictionary for second in other.dictionary]
    return words, one.indices.astype(np.int64) * size + other.indices


def _count_touched(
    state: Progress, filings: Filings, baseline: PartCharges, now: PartCharges, both: Truths, same: Truths
) -> None:
    before, after = baseline.owed.of_rows(both), now.owed.of_rows(both)
    # What is owed in another currency is other, however much it is.
    shift = np.where(same, 0, PLACES)
    trait = np.concatenate([before.trait, after.trait + shift[after.row]])
    there = np.zeros(2 * PLACES, np.bool_)
    there[trait] = True
    number = np.cumsum(there) - 1
    places = filings.items + filings.rows
    place = np.concatenate([before.place, after.place])
    net = np.zeros(int(there.sum()) * places, np.int64)
    np.add.at(net, number[trait] * places + place, np.concatenate([-before.amount, after.amount]))
    differs = (net.reshape(int(there.sum()), places) != 0).any(axis=0)
    of_whole = differs[filings.items :]
    item = differs[: filings.items] | of_whole[filings.item_row]
    row = of_whole.copy()
    row[filings.item_row[item]] = True
    state.consignments_touched += int(row.sum())
    state.items_touched += int(item.sum())


def _count_groups(
    state: Progress,
    assessment: Assessment,
    answers: Table,
    baseline: PartCharges,
    now: PartCharges,
    rows: Truths,
    bands: Bands,
) -> None:
    filings = assessment.filings
    if not rows.any() or not filings.items:
        return
    chosen = slice(None) if rows.all() else np.flatnonzero(rows[filings.item_row])
    before, after = (_by_item(told.owed.of_rows(rows), assessment)[chosen] for told in (baseline, now))
    less, more = after < before, after > before
    row = filings.item_row[chosen]
    currencies, currency = baseline.currency.dictionary, baseline.currency.indices.astype(np.int64)[row]
    chapters = filings.code.translate(lambda code: code[:2])
    for by, words in enumerate((filings.origin, chapters)):
        keys = [(by, word, 0) for word in words.dictionary]
        _add_groups(
            state, keys, words.indices.astype(np.int64)[chosen], currencies, currency, before, after, less, more
        )
    band = _bands(answers, baseline.currency, bands)[row]
    keys = [(GROUPED_BY.index("value_band"), "", number) for number in range(int(band.max()) + 1)]
    _add_groups(state, keys, band, currencies, currency, before, after, less, more)


def _by_item(owed: OwedCharges, assessment: Assessment) -> Numbers:
    """Return the amount that each item owes, with its share by value of the charges on the whole consignment."""
    filings = assessment.filings
    sums = np.zeros(filings.items + filings.rows, np.int64)
    np.add.at(sums, owed.place, owed.amount)
    return sums[: filings.items] + apportion(sums[filings.items :], assessment.goods, filings.offsets, filings.item_row)


def _bands(answers: Table, currency: Strings, bands: Bands) -> Numbers:
    """Return for each consignment the band of its original intrinsic value."""
    value = answers.ints("intrinsic_value").values
    result = np.zeros(len(value), np.int64)
    for place, word in enumerate(currency.dictionary):
        rows = currency.indices == place
        if word and rows.any():
            result[rows] = bands.find(word, value[rows])
    return result


def _add_groups(
    state: Progress,
    keys: Sequence[tuple[int, str, int]],
    key: Numbers,
    currencies: Sequence[str],
    currency: Numbers,
    before: Numbers,
    after: Numbers,
    less: Truths,
    rises: Truths,
) -> None:
    group = key * len(currencies) + currency
    size = len(keys) * len(currencies)
    items = np.bincount(group, minlength=size)
    counts = [items, np.bincount(group[less], minlength=size), np.bincount(group[rises], minlength=size)]
    money = [exact_totals(group, amounts, size) for amounts in (before, after)]
    for place in np.flatnonzero(items).tolist():
        told = [int(count[place]) for count in counts] + [sums.get(place, 0) for sums in money]
        state.add_group((*keys[place // len(currencies)], currencies[place % len(currencies)]), told)
