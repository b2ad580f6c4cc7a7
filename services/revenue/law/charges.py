"""Charges: duty, tax and fees of valued consignments, slot by slot in the order of the law, over the whole batch."""

from dataclasses import dataclass

import numpy as np

from services.revenue.law.arithmetic import (
    LARGEST,
    Flags,
    Int64,
    Rounding,
    apportion,
    every,
    mul_div_round,
    row_sums,
    some,
)
from services.revenue.law.collection import WELL_FORMED, Standing, outcome_of
from services.revenue.law.filings import Filings
from services.revenue.law.problems import Note, Problem
from services.revenue.law.program import KINDS, Place, Program
from services.revenue.law.rulebook import CONSIGNMENT_LEVEL, METHODS, PPM
from services.revenue.law.valuation import ITEMS_MAX, Values

_PERCENT, _TARIFF, _TARIFF_LINE, _ITEM, _CONSIGNMENT, _KILOGRAM = range(len(METHODS))
_ON_ROWS = np.array([method in CONSIGNMENT_LEVEL for method in METHODS])
_NONE = int(Problem.NONE)
_BELOW_MINIMUM = int(Note.BELOW_MINIMUM)
_COMPONENT_OF_KIND = {0: 4, 1: 5, 2: 6}
assert KINDS == ("duty", "tax", "fee")


@dataclass(slots=True)
class Lines:
    """Charges of one slot, or of all; one element a charge, rising by row."""

    row: Int64
    item: Int64
    """Place of the item in the batch; -1 for a charge on the whole consignment."""
    slot: Int64
    outcome: Int64
    basis: Int64
    ppm: Int64
    minor: Int64
    """Specific amount in the jurisdiction's currency; 0 for percentages."""
    amount: Int64
    waived: Flags
    default_rate: Flags
    """The tariff names no rate for the code, so its default applies."""

    @staticmethod
    def join(parts: list["Lines"]) -> "Lines":
        """Put the slots' charges in order of row, slot, item."""
        if not parts:
            none, no = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
            return Lines(none, none, none, none, none, none, none, none, no, no)
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in Lines.__slots__]
        if len(parts) > 1:
            order = np.argsort(columns[0], kind="stable")
            columns = [column[order] for column in columns]
        return Lines(*columns)


def charge(program: Program, filings: Filings, values: Values, standing: Standing) -> Lines:
    """Assess every charge of a batch; rows that get a problem keep it in `values` and their charges are dropped."""
    parts = []
    work = _Work(program, filings, values, standing)
    first_slot = values.regime * program.slots_per_regime
    for at, place in enumerate(program.places):
        slot = first_slot + at
        there = program.slots.there[slot] & (values.problem == _NONE)
        if place.on_rows and place.on_items:
            whole = _ON_ROWS[program.slots.method[slot]]
            found = [work.on_rows(place, slot, there & whole), work.on_items(place, slot, there & ~whole)]
        elif place.on_rows:
            found = [work.on_rows(place, slot, there)]
        else:
            found = [work.on_items(place, slot, there)]
        for lines in found:
            if lines is not None:
                _add_to_components(program, filings, values, lines)
                parts.append(lines)
    lines = Lines.join(parts)
    failed = values.problem[lines.row] != _NONE
    if some(failed):
        lines = Lines(*(getattr(lines, name)[~failed] for name in Lines.__slots__))
    return lines


def _applies(program: Program, slot: Int64, within: Flags) -> Flags:
    """Whether the slot's limit and side fit, per element; `within` is [element, limit]."""
    limit = program.slots.limit[slot]
    side = within[:, 0] if within.shape[1] == 1 else within[np.arange(len(slot)), limit]
    result: Flags = (limit < 0) | (side != program.slots.over[slot])
    return result


@dataclass(slots=True)
class _Work:
    """One batch under assessment."""

    program: Program
    filings: Filings
    values: Values
    standing: Standing

    def on_rows(self, place: Place, row_slot: Int64, there: Flags) -> Lines | None:
        """Charges on whole consignments at one place of the law."""
        rows = np.flatnonzero(there & _applies(self.program, row_slot, self.standing.row_within))
        if not len(rows):
            return None
        slots, values = self.program.slots, self.values
        slot = row_slot[rows]
        outcome = outcome_of(self.program, self.standing, place, slot, rows)
        specific = _specific(self.program, values, place, slot, rows)
        amount = specific.copy()
        basis = np.zeros(len(rows), dtype=np.int64)
        kilograms = slots.method[slot] == _KILOGRAM
        if some(kilograms):
            basis, amount = self._by_mass(rows, slot, outcome, specific, kilograms)
        minimum = slots.minimum[slot]
        waived = (minimum > 0) & (amount > 0) & (amount < minimum)
        waived |= slots.minimum_above[slot] & (amount > 0) & (amount == minimum)
        values.notes[rows[waived]] |= _BELOW_MINIMUM
        none, no = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.bool_)
        amount = np.where(waived, 0, amount)
        return Lines(rows, np.full(len(rows), -1), slot, outcome, basis, none, specific, amount, waived, no)

    def _by_mass(
        self, rows: Int64, slot: Int64, outcome: Int64, specific: Int64, kilograms: Flags
    ) -> tuple[Int64, Int64]:
        """Mass (rounded up to the rule's unit) and amount of what is levied per kilogram."""
        slots, outcomes, gross = self.program.slots, self.program.outcomes, self.filings.gross_mass
        self._fail(rows, kilograms & ~gross.valid[rows], Problem.MASS_MISSING)
        refused = np.zeros(len(rows), dtype=np.bool_)
        mass = np.clip(gross.values[rows], 0, LARGEST)
        mass = np.where(kilograms, mul_div_round(mass, 1, 1, int(Rounding.UP), slots.mass_unit[slot], refused), 0)
        amount = mul_div_round(mass, specific, 1_000_000, outcomes.mode[outcome], outcomes.unit[outcome], refused)
        self._fail(rows, refused, Problem.AMOUNT_OUT_OF_BOUNDS)
        return mass, np.where(kilograms, amount, specific)

    def _fail(self, rows: Int64, which: Flags, problem: Problem) -> None:
        if some(which):
            failed = np.zeros(self.filings.rows, dtype=np.bool_)
            failed[rows[which]] = True
            self.values.fail(failed, problem)

    def on_items(self, place: Place, row_slot: Int64, there: Flags) -> Lines | None:
        """Charges on lines of goods at one place of the law."""
        program, filings, values = self.program, self.filings, self.values
        slots, outcomes = program.slots, program.outcomes
        found = self._charged_items(place, row_slot, there)
        if found is None:
            return None
        applies, outcome_by_row = found
        items = np.arange(filings.items) if applies is None else np.flatnonzero(applies)
        if not len(items):
            return None
        select: Int64 | slice = slice(None) if len(items) == filings.items else items
        row = filings.item_row[select]
        slot, outcome = row_slot[row], outcome_by_row[row]
        ppm = slots.ppm[slot]
        none = np.zeros(len(items), dtype=np.int64)
        refused = np.zeros(len(items), dtype=np.bool_)
        default = np.zeros(len(items), dtype=np.bool_)
        by_tariff = slots.method[slot] == _TARIFF if place.tariff else default
        if some(by_tariff):
            ppm, default = _tariff_rates(program, filings, values, slot, select, row, by_tariff, ppm)
        percent = slots.method[slot] <= _TARIFF if place.specific else None
        basis = amount = specific = none
        if percent is not None:
            amount = specific = _specific(program, values, place, slot, row)
        if percent is None or some(percent):
            mode = outcomes.mode[outcome]
            basis = values.total(slots.base[slot], select)
            base_unit = outcomes.base_unit[outcome]
            if not every(base_unit == 1):
                basis = mul_div_round(basis, 1, 1, mode, base_unit, refused)
            computed = mul_div_round(basis, ppm, PPM, mode, outcomes.unit[outcome], refused)
            amount = computed if percent is None else np.where(percent, computed, amount)
            basis = basis if percent is None else np.where(percent, basis, 0)
        waived = np.zeros(len(items), dtype=np.bool_)
        # Where no amount is large, no sum of a consignment's can be: most batches need no sums.
        if place.minimum or some(refused) or int(np.maximum.reduce(amount)) > LARGEST // ITEMS_MAX:
            sums = _sums(filings, select, amount)
            over = sums > LARGEST
            over[row[refused]] = True
            values.fail(over, Problem.AMOUNT_OUT_OF_BOUNDS)
            amount = np.where(over[row], 0, amount)
        if place.minimum:
            waived = _below_minimum(program, values, row_slot, sums)[row]
            amount = np.where(waived, 0, amount)
        return Lines(row, items, slot, outcome, basis, ppm, specific, amount, waived, default)

    def _charged_items(self, place: Place, row_slot: Int64, there: Flags) -> tuple[Flags | None, Int64] | None:
        """Which items a place charges (None = all of the batch) and how each row's is collected; None for no item."""
        program, filings, standing = self.program, self.filings, self.standing
        row = filings.item_row
        claims = _preference_claims(filings) if place.preference else None
        by_row = there & _applies(program, row_slot, standing.row_within)
        applies: Flags | None
        if standing.item_within is None and claims is None:
            if not some(by_row):
                return None
            applies = None if every(by_row) else by_row[row]
        else:
            if not some(there):
                return None
            slot = row_slot[row]
            applies = by_row[row]
            if standing.item_within is not None:
                applies = there[row] & _applies(program, slot, standing.item_within)
            if claims is not None:
                applies = self._with_preferences(slot, applies, there, claims)
        outcome = outcome_of(program, standing, place, row_slot, slice(None))
        if place.tariff_line:
            everything = np.ones(filings.items, dtype=np.bool_) if applies is None else applies
            applies = _first_of_tariff_line(program, filings, row_slot[row], outcome[row], everything)
        return applies, outcome

    def _with_preferences(self, slot: Int64, applies: Flags, there: Flags, claims: Int64) -> Flags:
        slots, standing, row = self.program.slots, self.standing, self.filings.item_row
        excepted = _excepted(standing, row, claims, slots.unless_digits[slot], slots.unless_without[slot])
        brought_in = _excepted(standing, row, claims, slots.also_digits[slot], slots.also_without[slot])
        applies = (applies & ~excepted) | (brought_in & there[row])
        unapplied = np.zeros(self.filings.rows, dtype=np.bool_)
        # First digit 1 is no preference.
        unapplied[row[applies & (slots.method[slot] == _TARIFF) & (claims > 2)]] = True
        self.values.notes[unapplied] |= int(Note.PREFERENCE_NOT_APPLIED)
        return applies


def _sums(filings: Filings, select: Int64 | slice, amount: Int64) -> Int64:
    if isinstance(select, slice):
        return row_sums(amount, filings.offsets)
    everywhere = np.zeros(filings.items, dtype=np.int64)
    everywhere[select] = amount
    return row_sums(everywhere, filings.offsets)


def _below_minimum(program: Program, values: Values, row_slot: Int64, sums: Int64) -> Flags:
    slots = program.slots
    minimum = slots.minimum[row_slot]
    below: Flags = (sums > 0) & ((sums < minimum) | (slots.minimum_above[row_slot] & (sums == minimum)))
    values.notes[below] |= _BELOW_MINIMUM
    return below


def _specific(program: Program, values: Values, place: Place, slot: Int64, rows: Int64) -> Int64:
    """Specific amounts of the slots in each row's jurisdiction's currency."""
    slots, regimes = program.slots, program.regimes
    minor = slots.minor[slot]
    if not place.foreign:
        return minor
    currency = slots.currency[slot]
    foreign = currency >= 0
    if not some(foreign):
        return minor
    regime = values.regime[rows]
    rate = program.exchange.find(regimes.exchange_table[regime], currency, values.exchange_day[rows])
    unknown = np.zeros(len(values.regime), dtype=np.bool_)
    unknown[rows[foreign & (rate < 0)]] = True
    values.fail(unknown, Problem.NO_EXCHANGE_RATE)
    refused = np.zeros(len(minor), dtype=np.bool_)
    rate = np.where(foreign, rate, -1)
    return program.exchange.convert(minor, rate, regimes.exchange_mode[regime], regimes.exchange_unit[regime], refused)


def _preference_claims(filings: Filings) -> Int64 | None:
    """Per item 1 << first digit of its preference code; None where nobody claims one."""
    if not any(filings.preference.dictionary):
        return None
    claims: Int64 = filings.preference.map(
        lambda code: 1 << int(code[0]) if code[:1] in set("0123456789") else 0, np.int64
    )
    return claims


def _excepted(standing: Standing, row: Int64, claims: Int64, digits: Int64, without: Int64) -> Flags:
    result: Flags = ((claims & digits) != 0) & (standing.scheme_state[row, without] != WELL_FORMED)
    return result


def _first_of_tariff_line(program: Program, filings: Filings, slot: Int64, outcome: Int64, applies: Flags) -> Flags:
    """Keep of each tariff line of a consignment its first item only, where the charge is per tariff line.

    Codes are told apart by as many digits as the rule says under the scheme. An item without a code is its own line.
    """
    slots = program.slots
    per_line = applies & (slots.method[slot] == _TARIFF_LINE)
    if not some(per_line):
        return applies
    items = np.flatnonzero(per_line)
    digits = slots.line_digits[slot[items], program.outcomes.scheme[outcome[items]]]
    lines = np.empty(len(items), dtype=np.int64)
    dictionary = filings.code.dictionary
    places: dict[str, int] = {}
    indices = filings.code.indices[items]
    for width in np.unique(digits).tolist():
        heads = [places.setdefault(code[:width], len(places)) for code in dictionary]
        mine = digits == width
        lines[mine] = np.asarray(heads, dtype=np.int64)[indices[mine]]
    nameless = places.get("")
    if nameless is not None:
        without = lines == nameless
        lines[without] = len(places) + items[without]
    span = len(places) + filings.items
    _, first = np.unique(filings.item_row[items] * span + lines, return_index=True)
    kept = np.zeros(len(applies), dtype=np.bool_)
    kept[items[first]] = True
    result: Flags = (applies & ~per_line) | kept
    return result


def _tariff_rates(
    program: Program, filings: Filings, values: Values, slot: Int64, select: Int64 | slice, row: Int64,
    by_tariff: Flags, ppm: Int64,
) -> tuple[Int64, Flags]:  # fmt: skip
    """Look the duty rates up by commodity code, once per distinct code."""
    default = np.zeros(len(slot), dtype=np.bool_)
    table = program.slots.tariff[slot]
    indices = filings.code.indices[select]
    missing = by_tariff & ~filings.code.present[select]
    for place in np.unique(table[by_tariff]).tolist():
        mine = by_tariff & (table == place)
        used = np.unique(indices[mine])
        found = [program.tariffs[place].find(filings.code.dictionary[at]) for at in used.tolist()]
        at = np.searchsorted(used, indices[mine])
        ppm = ppm.copy()
        ppm[mine] = np.array([rate for rate, _ in found], dtype=np.int64)[at]
        default[mine] = ~np.array([named for _, named in found], dtype=np.bool_)[at]
    values.notes[row[default]] |= int(Note.DEFAULT_DUTY_RATE)
    values.notes[row[missing]] |= int(Note.CODE_MISSING)
    return ppm, default


def _add_to_components(program: Program, filings: Filings, values: Values, lines: Lines) -> None:
    """Make what was charged part of later bases, where any rulebook's base names it."""
    kinds = program.slots.kind[lines.slot]
    for kind, component in _COMPONENT_OF_KIND.items():
        if not program.bases_used >> component & 1:
            continue
        amounts = np.where(kinds == kind, lines.amount, 0)
        if not some(amounts != 0):
            continue
        by_item = np.zeros(filings.items, dtype=np.int64)
        on_item = lines.item >= 0
        if every(on_item):
            by_item[lines.item] = amounts
        else:
            whole = np.zeros(filings.rows, dtype=np.int64)
            whole[lines.row] = amounts
            by_item = apportion(whole, values.components[0], filings.offsets, filings.item_row)
        known = values.components.get(component)
        values.components[component] = by_item if known is None else known + by_item
