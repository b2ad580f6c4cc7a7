"""What is counted of a part: who is touched, revenue before and after, and who wins and loses. The same whatever the parts are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from libs.columns import Strings, Table
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.batch.arithmetic import apportion
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.what_if.bands import Bands
from services.revenue.what_if.behaviour import Elasticity, item_elasticities, quantities, quantities_of_rows
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
from services.revenue.what_if.progress import AFTER, BEFORE, GROUPED_BY, UNASSESSED, GroupKey, Progress

_LOW_BITS = 26
_EXACT = 2**53


def count_part(
    state: Progress,
    assessment: Assessment,
    answers: Table,
    counted: Truths,
    bands: Bands,
    before: Assessment | None = None,
    elasticities: Sequence[Elasticity] = (),
) -> None:
    """Count the consignments `counted` of a part: `assessment` by the draft, `answers` (AssessmentColumns) of then.

    `before` gives the amounts before in place of the answers, by another draft. With `elasticities` what is bought less is counted beside.
    Raises SumTooLarge.
    """
    filings = assessment.filings
    then = baseline_charges(answers, filings) if before is None else draft_charges(before)
    now = draft_charges(assessment)
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
    value = answers.ints("intrinsic_value").values if before is None else before.intrinsic
    groups = _Groups(state, filings, then.currency, both & same, _bands(value, then.currency, bands))
    charges = _by_item(then.owed.of_rows(groups.rows), assessment), _by_item(now.owed.of_rows(groups.rows), assessment)
    groups.count(*charges)
    if elasticities:
        _count_behaviour(state, assessment, groups, now, counted, charges, elasticities)


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


def _count_revenue(state: Progress, side: int | None, charges: PartCharges, rows: Truths) -> None:
    """Count revenue on one side; None: that with behaviour."""
    if not rows.any():
        return
    owed = charges.owed.of_rows(rows)
    words, law = _pairs(charges.jurisdiction, charges.currency)
    sums = exact_totals(law[owed.row] * PLACES + owed.trait, owed.amount, len(words) * PLACES)
    for place, minor in sums.items():
        jurisdiction, currency = words[place // PLACES]
        key = (jurisdiction, *kind_and_collector(place % PLACES), currency)
        if side is None:
            state.add_behaviour(key, minor)
        else:
            state.add_revenue(key, side, minor)


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


@dataclass(frozen=True, slots=True)
class _Groups:
    """The groups of a part's items: by origin, HS chapter and band of value, in each currency."""

    state: Progress
    filings: Filings
    currency: Strings
    rows: Truths
    """The consignments that are counted in groups."""
    band: Numbers
    """By consignment."""

    def count(self, before: Numbers, after: Numbers) -> None:
        """Count items, who owes less and more, and both amounts of each item."""
        less, more = after < before, after > before
        for keys, group, size in self._each():
            items = np.bincount(group, minlength=size)
            counts = [np.bincount(group[each[self._chosen]], minlength=size) for each in (less, more)]
            money = [exact_totals(group, amounts[self._chosen], size) for amounts in (before, after)]
            for place in np.flatnonzero(items).tolist():
                sums = [int(items[place]), *(int(count[place]) for count in counts)]
                self.state.add_group(keys(place), sums + [each.get(place, 0) for each in money])

    def count_behaviour(self, quantity: Numbers, amount: Numbers) -> None:
        """Count the quantities of items in millionths, and what they would owe."""
        for keys, group, size in self._each():
            sums = [exact_totals(group, each[self._chosen], size) for each in (quantity, amount)]
            for place in np.flatnonzero(np.bincount(group, minlength=size)).tolist():
                self.state.add_behaviour_group(keys(place), [each.get(place, 0) for each in sums])

    @property
    def _chosen(self) -> slice | Numbers:
        return slice(None) if self.rows.all() else np.flatnonzero(self.rows[self.filings.item_row])

    def _each(self) -> Iterator[tuple[Callable[[int], GroupKey], Numbers, int]]:
        """For each subject: the key of a group by its number, the group of each chosen item, and how many groups there are."""
        if not self.rows.any() or not self.filings.items:
            return
        chosen = self._chosen
        row = self.filings.item_row[chosen]
        currencies, currency = self.currency.dictionary, self.currency.indices.astype(np.int64)[row]
        band = self.band[row]
        chapters = self.filings.code.translate(lambda code: code[:2])
        subjects = [
            ([(by, word, 0) for word in words.dictionary], words.indices.astype(np.int64)[chosen])
            for by, words in enumerate((self.filings.origin, chapters))
        ]
        subjects.append(([(GROUPED_BY.index("value_band"), "", each) for each in range(int(band.max()) + 1)], band))
        for keys, key in subjects:

            def named(place: int, keys: Sequence[tuple[int, str, int]] = keys) -> GroupKey:
                return *keys[place // len(currencies)], currencies[place % len(currencies)]

            yield named, key * len(currencies) + currency, len(keys) * len(currencies)


def _count_behaviour(
    state: Progress,
    assessment: Assessment,
    groups: _Groups,
    now: PartCharges,
    counted: Truths,
    charges: tuple[Numbers, Numbers],
    elasticities: Sequence[Elasticity],
) -> None:
    """Count what would be bought and owed if the quantities follow the prices; consignments outside the groups buy as before."""
    filings, worth = assessment.filings, assessment.goods
    elasticity = np.where(groups.rows[filings.item_row], item_elasticities(elasticities, filings), 0)
    quantity = quantities(elasticity, worth, *charges)
    owed = now.owed.less(np.concatenate([quantity, quantities_of_rows(quantity, worth, filings)]))
    _count_revenue(state, None, replace(now, owed=owed), counted)
    groups.count_behaviour(quantity, _by_item(owed.of_rows(groups.rows), assessment))


def _by_item(owed: OwedCharges, assessment: Assessment) -> Numbers:
    """Return the amount that each item owes, with its share by value of the charges on the whole consignment."""
    filings = assessment.filings
    sums = np.zeros(filings.items + filings.rows, np.int64)
    np.add.at(sums, owed.place, owed.amount)
    return sums[: filings.items] + apportion(sums[filings.items :], assessment.goods, filings.offsets, filings.item_row)


def _bands(value: Numbers, currency: Strings, bands: Bands) -> Numbers:
    """Return for each consignment the band of its intrinsic value before."""
    result = np.zeros(len(value), np.int64)
    for place, word in enumerate(currency.dictionary):
        rows = currency.indices == place
        if word and rows.any():
            result[rows] = bands.find(word, value[rows])
    return result
