"""Features: which facts of consignments and goods the charges of some rulebooks ask for, and what they are in a batch.

Whether a charge applies, at which of its rates and collected by whom depends on the regime and on answers of yes or no:
which limits are kept, which schemes may be used, which conditions hold, what is relieved and what preference is claimed.
Each answer is one bit of a key, so that what has the same key is charged alike.
"""

from dataclasses import dataclass, field

import numpy as np

from services.revenue.law.batch.arithmetic import Int64, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.groups import Groups
from services.revenue.law.program.conditions import Conditions
from services.revenue.law.program.program import Limits, Place, Program, Reliefs

_KEY_BITS = 62
_ABSENT = -2
_CODES_MAX = 100_000
_DIGITS = frozenset("0123456789")


@dataclass(slots=True)
class Features:
    """What the charges of some rulebooks ask for; the bits of a key stand in the order of the fields."""

    limits: int
    schemes: list[int]
    row_conditions: list[int]
    """Conditions that are asked of whole consignments."""
    goods_conditions: list[int]
    """Conditions that ask for the commodity code alone: they are answered once a code."""
    item_conditions: list[int]
    claims: list[int]
    """Digits of preference codes that a charge looks for, as bits."""
    reliefs: int
    """Places of reliefs up to the last one whose items are not charged; returned goods are, so that nothing is decided by them."""
    of_limits: list[int]
    """Conditions that entries of limits ask of consignments."""
    of_reliefs: list[list[int]]
    """Per place of a relief the conditions of its entries; -1 for one without."""
    of_returns: list[bool]
    """Per place of a relief, whether all of its entries are of returned goods."""
    asked_of_goods: Int64
    """[regime]: bits of the `goods_conditions` that its charges ask: those of other countries and days are nothing to it."""
    goods_bits: int
    """The most of them that any regime asks."""
    _codes: dict[str, int] = field(default_factory=dict)
    _answers: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def row_bits(self) -> int:
        """Bits of a key of rows, behind the regime."""
        return self.limits + len(self.schemes) + len(self.row_conditions)

    @property
    def item_bits(self) -> int:
        """Bits of a key of items, behind the key of their row."""
        return self.goods_bits + self.limits + len(self.item_conditions) + len(self.claims) + self.reliefs

    @staticmethod
    def gather(program: Program, places: list[Place], books: Int64) -> "Features":
        """Collect the conditions that the charges of some rulebooks test."""
        slots, outcomes, rates = program.slots, program.outcomes, program.rates
        regimes = np.flatnonzero(np.isin(program.regimes.jurisdiction, books))
        slot = (regimes[:, None] * program.slots_per_regime + np.arange(program.slots_per_regime)).ravel()
        slot = slot[slots.exists[slot]]
        way = (slot[:, None] * program.outcomes_per_slot + np.arange(program.outcomes_per_slot)).ravel()
        way = way[outcomes.exists[way]]
        counts = slots.variant_count[slot]
        variants = np.repeat(slots.variants[slot], counts) + _each(counts)
        asked_of_rows, asked_of_items = [outcomes.condition[way]], [np.zeros(0, dtype=np.int64)]
        for at, place in enumerate(places):
            here = slot % program.slots_per_regime == at
            only = [slots.condition[slot[here]], rates.condition[variants[np.repeat(here, counts)]]]
            asked_of_rows += only if place.on_rows else []
            asked_of_items += only if place.on_items else []
        compiled = program.conditions.compiled
        of_items = _numbers(np.concatenate(asked_of_items), -1)
        # What asks for nothing but the consignment is asked of it alone.
        asked_of_rows.append(np.array([each for each in of_items if compiled[each].of_rows_alone], dtype=np.int64))
        of_rows = [each for each in _numbers(np.concatenate(asked_of_rows), -1) if compiled[each].on_rows]
        of_goods = [each for each in of_items if compiled[each].of_goods_alone]
        of_items = [each for each in of_items if not (compiled[each].of_goods_alone or compiled[each].of_rows_alone)]
        of_reliefs = [
            _numbers(of_place, _ABSENT) for of_place in _entries(program.reliefs, regimes, program.relief_entries)
        ]
        asked = _asked_of_goods(program, slot, of_goods)
        digits, also = slots.unless_digits[slot], slots.also_digits[slot]
        schemes = [outcomes.scheme[way], slots.unless_without[slot], slots.also_without[slot]]
        return Features(
            limits=len(program.limit_entries),
            schemes=_numbers(np.concatenate(schemes), 0),
            row_conditions=of_rows,
            goods_conditions=of_goods,
            item_conditions=of_items,
            claims=_numbers(np.concatenate([digits, also]), 0),
            reliefs=_excluding_places(program),
            of_limits=[
                number
                for number in _numbers(_entries(program.limits, regimes, program.limit_entries).ravel(), _ABSENT)
                if number >= 0
            ],
            of_reliefs=of_reliefs,
            of_returns=[
                all(each >= 0 and compiled[each].condition.returned for each in of_place) for of_place in of_reliefs
            ],
            asked_of_goods=asked,
            goods_bits=max((bits.bit_count() for bits in asked.tolist()), default=0),
        )

    def fit_a_key(self, regimes: int) -> bool:
        """Return whether regime and answers fit in one whole number."""
        return regimes << max(self.row_bits + self.item_bits, len(self.of_limits)) < 1 << _KEY_BITS

    def limit_keys(self, regime: Int64, conditions: Conditions) -> Int64:
        """Return the key by which each row selects its entries of limits."""
        key = regime << len(self.of_limits)
        for place, number in enumerate(self.of_limits):
            fits = conditions.of_rows(number)
            if some(fits):
                key += fits * (1 << place)
        return key

    def of_goods(self, program: Program, filings: Filings, regime: Int64, groups: Groups) -> Int64 | None:
        """Return the answers of each item's code to its own regime's conditions of goods; None where no code has any.

        `regime` is that of each row, `groups` are those of rows, of one regime each.
        """
        if not self.goods_conditions:
            return None
        # Few answers are different, whatever the codes are.
        codes: dict[int, int] = {}
        of_code = [codes.setdefault(self._of_code(program, code), len(codes)) for code in filings.code.dictionary]
        if not any(codes):
            return None
        # Of the rows of a group one regime asks; what several regimes ask alike is answered once.
        asked, of_group = np.unique(self.asked_of_goods[regime[groups.first]], return_inverse=True)
        table = [self._answer(code, each) for each in asked.tolist() for code in codes]
        group, code = groups.ids[filings.item_row], np.array(of_code, dtype=np.int64)[filings.code.indices]
        place = of_group[group] * len(codes) + code
        answers: Int64 = np.array(table, dtype=np.int64).take(place)
        return answers

    def _of_code(self, program: Program, code: str) -> int:
        """Bit p is set where the code fits the goods condition at the place p."""
        known = self._codes.get(code)
        if known is None:
            if len(self._codes) >= _CODES_MAX:
                self._codes.clear()
            asked = (program.conditions.compiled[number] for number in self.goods_conditions)
            known = self._codes[code] = sum(each.of_code(code) << place for place, each in enumerate(asked))
        return known

    def _answer(self, code: int, requested: int) -> int:
        """Return those answers of a code that a regime requests, packed."""
        if not code & requested:
            return 0
        known = self._answers.get((code, requested))
        if known is None:
            if len(self._answers) >= _CODES_MAX:
                self._answers.clear()
            places = [place for place in range(requested.bit_length()) if requested >> place & 1]
            known = sum((code >> place & 1) << at for at, place in enumerate(places))
            self._answers[code, requested] = known
        return known


def claims_of(filings: Filings) -> Int64:
    """Return for each item 1 << first digit of the preference code that it claims, 0 where it claims none."""
    claims: Int64 = filings.preference.map(lambda code: 1 << int(code[0]) if code[:1] in _DIGITS else 0, np.int64)
    return claims


def _asked_of_goods(program: Program, slot: Int64, of_goods: list[int]) -> Int64:
    """Return for each regime the bits of these conditions that its charges and their rates test; `slot` are its slots."""
    slots, rates = program.slots, program.rates
    counts = slots.variant_count[slot]
    variants = np.repeat(slots.variants[slot], counts) + _each(counts)
    regime = slot // program.slots_per_regime
    asked = np.zeros(len(program.regimes.jurisdiction), dtype=np.int64)
    for number, at in (
        (slots.condition[slot], regime),
        (rates.condition[slot], regime),
        (rates.condition[variants], regime.repeat(counts)),
    ):
        for place, condition in enumerate(of_goods):
            asked[at[number == condition]] |= 1 << place
    return asked


def _entries(table: Limits | Reliefs, regimes: Int64, most: tuple[int, ...]) -> Int64:
    """Return the conditions of all entries of some regimes, [place, entry]; -1 for one without, _ABSENT for none."""
    only = np.where(table.exists, table.condition, _ABSENT)
    places = len(most)
    if not max(most, default=0):
        return np.zeros((places, 0), dtype=np.int64)
    by_place: Int64 = only.reshape(-1, places, max(most))[regimes].transpose(1, 0, 2).reshape(places, -1)
    return by_place


def _excluding_places(program: Program) -> int:
    places, most = len(program.relief_entries), max(program.relief_entries, default=0)
    if not most:
        return places
    excluding = (program.reliefs.exists & ~program.reliefs.returned).reshape(-1, places, most).any(axis=(0, 2))
    return int(np.flatnonzero(excluding).max(initial=-1)) + 1


def _each(counts: Int64) -> Int64:
    """Count from 0 within each group of the given sizes."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)


def _numbers(column: Int64, nothing: int) -> list[int]:
    numbers: list[int] = np.unique(column[column != nothing]).tolist()
    return numbers
