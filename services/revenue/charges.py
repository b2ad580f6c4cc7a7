"""Charges: duty, tax and fees of valued consignments, slot by slot in the order of the law, over the whole batch."""

from dataclasses import dataclass

import numpy as np

from services.revenue.arithmetic import LARGEST, Flags, Int64, Rounding, apportion, mul_div_round, row_sums
from services.revenue.collection import WELL_FORMED, Standing, outcome_of
from services.revenue.filings import Filings
from services.revenue.problems import Note, Problem
from services.revenue.program import KINDS, Program
from services.revenue.rulebook import CONSIGNMENT_LEVEL, METHODS, PPM
from services.revenue.valuation import Values

_PERCENT, _TARIFF, _TARIFF_LINE, _ITEM, _CONSIGNMENT, _KILOGRAM = range(len(METHODS))
_ROW_METHODS = [METHODS.index(method) for method in METHODS if method in CONSIGNMENT_LEVEL]
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
    for place in range(program.slots_per_regime):
        slot = values.regime * program.slots_per_regime + place
        there = program.slots.there[slot] & (values.problem == Problem.NONE)
        if not there.any():
            continue
        by_row = there & np.isin(program.slots.method[slot], _ROW_METHODS)
        for lines in (
            _on_rows(program, filings, values, standing, slot, by_row),
            _on_items(program, filings, values, standing, slot, there & ~by_row),
        ):
            if lines is not None:
                _add_to_components(program, filings, values, lines)
                parts.append(lines)
    lines = Lines.join(parts)
    failed = values.problem[lines.row] != Problem.NONE
    if failed.any():
        lines = Lines(*(getattr(lines, name)[~failed] for name in Lines.__slots__))
    return lines


def _applies(program: Program, slot: Int64, within: Flags, rows: Int64) -> Flags:
    """Whether the slot's limit and side fit, per element; `within` is [element, limit]."""
    limit = program.slots.limit[slot]
    first = int(limit[0]) if len(limit) else -1
    side = within[:, first] if bool((limit == first).all()) else within[np.arange(len(slot)), limit]
    result: Flags = (limit < 0) | (side != program.slots.over[slot])
    return result


def _on_rows(
    program: Program, filings: Filings, values: Values, standing: Standing, slot: Int64, there: Flags
) -> Lines | None:
    rows = np.flatnonzero(there)
    if not len(rows):
        return None
    rows = rows[_applies(program, slot[rows], standing.row_within[rows], rows)]
    if not len(rows):
        return None
    slots = program.slots
    slot = slot[rows]
    outcome = outcome_of(program, standing, slot, rows)
    specific = _specific(program, values, slot, rows)
    kilograms = slots.method[slot] == _KILOGRAM
    basis = np.zeros(len(rows), dtype=np.int64)
    amount = specific.copy()
    if kilograms.any():
        missing = kilograms & ~filings.gross_mass.valid[rows]
        failed = np.zeros(filings.rows, dtype=np.bool_)
        failed[rows[missing]] = True
        values.fail(failed, Problem.MASS_MISSING)
        one = np.ones(len(rows), dtype=np.int64)
        refused = np.zeros(len(rows), dtype=np.bool_)
        mass = np.clip(filings.gross_mass.values[rows], 0, LARGEST)
        basis = np.where(kilograms, mul_div_round(mass, one, one, one * Rounding.UP, slots.mass_unit[slot], refused), 0)
        outcomes = program.outcomes
        by_mass = mul_div_round(
            basis, specific, one * 1_000_000, outcomes.mode[outcome], outcomes.unit[outcome], refused
        )
        amount = np.where(kilograms, by_mass, amount)
        failed = np.zeros(filings.rows, dtype=np.bool_)
        failed[rows[refused]] = True
        values.fail(failed, Problem.AMOUNT_OUT_OF_BOUNDS)
    waived = (amount < slots.minimum[slot]) | (slots.minimum_above[slot] & (amount == slots.minimum[slot]))
    values.notes[rows[waived]] |= Note.BELOW_MINIMUM
    no = np.zeros(len(rows), dtype=np.bool_)
    return Lines(
        rows, np.full(len(rows), -1), slot, outcome, basis, np.zeros(len(rows), dtype=np.int64), specific,
        np.where(waived, 0, amount), waived, no,
    )  # fmt: skip


def _on_items(
    program: Program, filings: Filings, values: Values, standing: Standing, row_slot: Int64, there: Flags
) -> Lines | None:
    if not there.any():
        return None
    slots, outcomes = program.slots, program.outcomes
    slot = row_slot[filings.item_row]
    applies = _applies(program, slot, standing.item_within, filings.item_row)
    claims = _preference_claims(filings)
    if claims is not None:
        row = filings.item_row
        excepted = _excepted(standing, row, claims, slots.unless_digits[slot], slots.unless_without[slot])
        brought_in = _excepted(standing, row, claims, slots.also_digits[slot], slots.also_without[slot])
        applies = (applies & ~excepted) | brought_in
        unapplied = np.zeros(filings.rows, dtype=np.bool_)
        unapplied[row[applies & (slots.method[slot] == _TARIFF) & (claims > 2)]] = True
        values.notes[unapplied & there] |= Note.PREFERENCE_NOT_APPLIED
    applies &= there[filings.item_row]
    outcome_by_row = outcome_of(program, standing, row_slot, np.arange(filings.rows))
    applies = _first_of_tariff_line(program, filings, slot, outcome_by_row[filings.item_row], applies)
    items = np.flatnonzero(applies)
    if not len(items):
        return None
    select: Int64 | slice = slice(None) if len(items) == filings.items else items
    row, slot = filings.item_row[select], slot[select]
    outcome = outcome_by_row[row]
    method = slots.method[slot]
    ppm = slots.ppm[slot]
    default = np.zeros(len(items), dtype=np.bool_)
    by_tariff = method == _TARIFF
    if by_tariff.any():
        ppm, default = _tariff_rates(program, filings, values, slot, select, row, by_tariff, ppm)
    percent = by_tariff | (method == _PERCENT)
    amount = specific = np.zeros(len(items), dtype=np.int64)
    basis = np.zeros(len(items), dtype=np.int64)
    refused = np.zeros(len(items), dtype=np.bool_)
    if not percent.all():
        specific = _specific(program, values, slot, row)
        amount = specific
    if percent.any():
        mode, unit = outcomes.mode[outcome], outcomes.unit[outcome]
        basis = np.where(percent, values.total(slots.base[slot], select), 0)
        base_unit = outcomes.base_unit[outcome]
        one = np.ones(len(items), dtype=np.int64)
        if not (base_unit == 1).all():
            basis = mul_div_round(basis, one, one, mode, base_unit, refused)
        computed = mul_div_round(basis, ppm, one * PPM, mode, unit, refused)
        amount = np.where(percent, computed, amount)
    sums = _sums(filings, select, amount)
    over = sums > LARGEST
    over[row[refused]] = True
    if over.any():
        values.fail(over, Problem.AMOUNT_OUT_OF_BOUNDS)
        amount = np.where(over[row], 0, amount)
    waived = _below_minimum(program, values, row_slot, sums)[row]
    return Lines(row, items, slot, outcome, basis, ppm, specific, np.where(waived, 0, amount), waived, default)


def _sums(filings: Filings, select: Int64 | slice, amount: Int64) -> Int64:
    if isinstance(select, slice):
        return row_sums(amount, filings.offsets)
    everywhere = np.zeros(filings.items, dtype=np.int64)
    everywhere[select] = amount
    return row_sums(everywhere, filings.offsets)


def _below_minimum(program: Program, values: Values, row_slot: Int64, sums: Int64) -> Flags:
    slots = program.slots
    minimum = slots.minimum[row_slot]
    if not minimum.any():
        return np.zeros(len(sums), dtype=np.bool_)
    below: Flags = (sums > 0) & ((sums < minimum) | (slots.minimum_above[row_slot] & (sums == minimum)))
    values.notes[below] |= Note.BELOW_MINIMUM
    return below


def _specific(program: Program, values: Values, slot: Int64, rows: Int64) -> Int64:
    """Specific amounts of the slots in each row's jurisdiction's currency."""
    slots, regimes = program.slots, program.regimes
    minor, currency = slots.minor[slot], slots.currency[slot]
    foreign = currency >= 0
    if not foreign.any():
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
    if not per_line.any():
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
    values.notes[row[default]] |= Note.DEFAULT_DUTY_RATE
    values.notes[row[missing]] |= Note.CODE_MISSING
    return ppm, default


def _add_to_components(program: Program, filings: Filings, values: Values, lines: Lines) -> None:
    """Make what was charged part of later bases, where any rulebook's base names it."""
    kinds = program.slots.kind[lines.slot]
    for kind, component in _COMPONENT_OF_KIND.items():
        if not program.bases_used >> component & 1:
            continue
        amounts = np.where(kinds == kind, lines.amount, 0)
        if not amounts.any():
            continue
        by_item = np.zeros(filings.items, dtype=np.int64)
        on_item = lines.item >= 0
        if on_item.all():
            by_item[lines.item] = amounts
        else:
            whole = np.zeros(filings.rows, dtype=np.int64)
            whole[lines.row] = amounts
            by_item = apportion(whole, values.components[0], filings.offsets, filings.item_row)
        known = values.components.get(component)
        values.components[component] = by_item if known is None else known + by_item
