"""A part of the period: consignments as they were assessed, the answers of then, and where each charge of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Strings, Table
from services.revenue.law.assess.assessment import Assessment
from services.revenue.law.batch.arithmetic import Rounding, mul_div_round
from services.revenue.law.batch.filings import Filings
from services.revenue.law.program.program import COLLECTORS, DEBTORS, KINDS
from services.revenue.what_if.behaviour import WHOLE
from services.revenue.what_if.progress import SumTooLarge

Numbers = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

_KINDS, _COLLECTORS, _DEBTORS = len(KINDS) + 1, len(COLLECTORS) + 1, len(DEBTORS) + 1
PLACES: Final = _KINDS * _COLLECTORS * _DEBTORS
"""How many kinds, collectors and debtors there are together; each charge has the number of its three."""


@dataclass(frozen=True, slots=True)
class OwedCharges:
    """Charges of more than nothing, one element each, in any order: what is waived or relieved is not owed."""

    row: Numbers
    place: Numbers
    """Of the item in the part; a charge on the whole consignment has its row's place, behind those of all items."""
    trait: Numbers
    """Kind, collector and debtor in one number."""
    amount: Numbers

    def of_rows(self, rows: Truths) -> OwedCharges:
        """Return those of some consignments."""
        return self if rows.all() else self._select(rows[self.row])

    @classmethod
    def more_than_nothing(cls, row: Numbers, place: Numbers, trait: Numbers, amount: Numbers) -> OwedCharges:
        """Return only charges above zero."""
        return cls(row, place, trait, amount)._select(amount != 0)

    def less(self, quantity: Numbers) -> OwedCharges:
        """Return what is owed of other quantities, in millionths by place: whole minor units, a half to the even one."""
        refused: Truths = np.zeros(len(self.row), np.bool_)
        amount = mul_div_round(self.amount, quantity[self.place], WHOLE, Rounding.HALF_EVEN, 1, refused)
        if refused.any():
            raise SumTooLarge(
                "a charge with the stated elasticities has more than 10^15 minor units; take smaller elasticities"
            )
        return OwedCharges.more_than_nothing(self.row, self.place, self.trait, amount)

    def _select(self, selected: Truths) -> OwedCharges:
        at = np.flatnonzero(selected)
        return (
            self
            if len(at) == len(selected)
            else OwedCharges(self.row[at], self.place[at], self.trait[at], self.amount[at])
        )


@dataclass(frozen=True, slots=True)
class PartCharges:
    """What a part owes, by the answers of then or by the draft."""

    assessed: Truths
    """Per consignment whether it was assessed."""
    jurisdiction: Strings
    """Per consignment; nothing where it was not assessed."""
    currency: Strings
    owed: OwedCharges


def trait_of(kind: Numbers, collector: Numbers, debtor: Numbers) -> Numbers:
    """One number of the contract's numbers of Kind, Collector and Debtor."""
    return (kind * _COLLECTORS + collector) * _DEBTORS + debtor


def kind_and_collector(trait: int) -> tuple[int, int]:
    """Return the contract's numbers of kind and collector."""
    kind, collector = divmod(trait // _DEBTORS, _COLLECTORS)
    return kind, collector


def baseline_charges(answers: Table, filings: Filings) -> PartCharges:
    """Return the charges of the original answers (AssessmentColumns, aligned with the filings)."""
    charges, child = answers.ragged("charges"), answers.child("charges")
    row = charges.owners()
    trait = trait_of(*(_within(child.ints(name), size) for name, size in
                       (("kind", _KINDS), ("collector", _COLLECTORS), ("debtor", _DEBTORS))))  # fmt: skip
    number = child.ints("item_number")
    item = np.where(number.valid, item_places(filings, row, number.values), -1)
    jurisdiction = answers.strings("rulebook_version").translate(lambda version: version.partition("/")[0])
    owed = OwedCharges.more_than_nothing(row, _places(filings, row, item), trait, child.ints("amount").values)
    # No draft of the law of imports changes what exports owe.
    return PartCharges(
        ~answers.strings("reason").present & ~filings.exports, jurisdiction, answers.strings("currency"), owed
    )


def draft_charges(assessment: Assessment) -> PartCharges:
    """Return the charges by the draft."""
    program, lines = assessment.program, assessment.lines
    outcomes = program.outcomes
    trait = trait_of(
        program.slots.kind[lines.slot] + 1, outcomes.collector[lines.outcome] + 1, outcomes.debtor[lines.outcome] + 1
    )
    place = _places(assessment.filings, lines.row, first_places(assessment.filings, lines.item))
    books = [read.rulebook for read in program.books]
    return PartCharges(
        assessment.valued,
        _by_book(assessment, [book.jurisdiction for book in books]),
        _by_book(assessment, [book.currency for book in books]),
        OwedCharges.more_than_nothing(lines.row, place, trait, lines.amount),
    )


def _places(filings: Filings, row: Numbers, item: Numbers) -> Numbers:
    """Return an item's place, or for -1 the consignment's place behind all items."""
    return np.where(item >= 0, item, filings.items + row)


def item_places(filings: Filings, row: Numbers, number: Numbers) -> Numbers:
    """Places of a consignment's items by their numbers, the first of those that have the same; -1 where there is none."""
    if not filings.items:
        return np.full(len(row), -1, np.int64)
    if _plain(filings):
        place = filings.offsets[row] + number - 1
        there = (number >= 1) & (place < filings.offsets[row + 1])
        return np.where(there, place, -1)
    order = np.lexsort((np.arange(filings.items), filings.item_number, filings.item_row))
    rows, numbers = filings.item_row[order], filings.item_number[order]
    keys, wanted = _keys(rows, numbers, row, number)
    at = np.minimum(np.searchsorted(keys, wanted), filings.items - 1)
    return np.where(keys[at] == wanted, order[at], -1)


def first_places(filings: Filings, item: Numbers) -> Numbers:
    """Return the first of items that have the same number in a consignment; answers identify them only by their numbers."""
    if not filings.items or _plain(filings):
        return item
    first = item_places(filings, filings.item_row, filings.item_number)
    return np.where(item >= 0, first[item], -1)


def _plain(filings: Filings) -> bool:
    """Return whether items are numbered 1, 2, 3 … in each consignment."""
    place = np.arange(filings.items, dtype=np.int64) - filings.offsets[filings.item_row] + 1
    return bool((filings.item_number == place).all())


def _keys(rows: Numbers, numbers: Numbers, row: Numbers, number: Numbers) -> tuple[Numbers, Numbers]:
    """Row and number in one, for both; numbers are first made small, since a filing may tell any."""
    known = np.unique(numbers)
    at = np.searchsorted(known, number)
    found = np.minimum(at, len(known) - 1)
    small = np.where(known[found] == number, found, len(known))
    span = len(known) + 1
    return rows * span + np.searchsorted(known, numbers), row * span + small


def _within(column: Ints, size: int) -> Numbers:
    """Return a column of an enum's numbers; numbers unknown to this release become absent."""
    return np.where(column.valid & (column.values > 0) & (column.values < size), column.values, 0)


def _by_book(assessment: Assessment, words: list[str]) -> Strings:
    known = list(dict.fromkeys(["", *words]))
    of_book = np.array([known.index(word) for word in words], np.int32)
    book = assessment.program.regimes.jurisdiction[assessment.regime]
    return Strings(known, np.where(assessment.valued, of_book[book], 0).astype(np.int32))
