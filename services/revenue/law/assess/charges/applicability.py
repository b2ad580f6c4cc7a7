"""Which charges apply to consignments and lines of goods, at which of their rates, and how they are collected.

By the sides of limits, conditions, reliefs, preferences and schemes; what a tariff says of a code comes later.
"""

from collections.abc import Callable

import numpy as np

from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.batch.arithmetic import Flags, Int64, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.program.features import claims_of
from services.revenue.law.program.program import Place, Program
from services.revenue.law.program.scheme_numbers import USABLE


def applies_to_rows(
    program: Program, eligibility: Eligibility, place: Place, slot: Int64, rows: Int64, exists: Flags
) -> Flags:
    """Return whether a charge on whole consignments applies to each of these rows; `exists` marks those whose law has it."""
    applies = exists & _sides(program, place, slot, eligibility.row_within[rows])
    if place.has_condition:
        applies &= eligibility.conditions.fits_rows(program.slots.condition[slot], rows)
    return applies


def applies_to_items(
    program: Program, filings: Filings, eligibility: Eligibility, place: Place, slot: Int64, rows: Int64, items: Int64,
    exists: Flags,
) -> Flags:  # fmt: skip
    """Return whether a charge on lines of goods applies to each of these items; `rows` are the consignments of the items."""
    slots = program.slots
    within = eligibility.row_within[rows] if eligibility.item_within is None else eligibility.item_within[items]
    applies = exists & _sides(program, place, slot, within)
    if place.preference and any(filings.preference.dictionary):
        claims, states = claims_of(filings)[items], eligibility.scheme_state
        excepted = ((claims & slots.unless_digits[slot]) != 0) & (states[rows, slots.unless_without[slot]] != USABLE)
        brought_in = ((claims & slots.also_digits[slot]) != 0) & (states[rows, slots.also_without[slot]] != USABLE)
        applies = (applies & ~excepted) | (brought_in & exists)
    if place.has_condition:
        applies = applies & eligibility.conditions.fits_items(slots.condition[slot], items)
    if place.relieved:
        for relief, relieved in eligibility.relieved.items():
            applies = applies & ~(relieved[items] & ((slots.relieved_by[slot] >> relief & 1) == 1))
    return applies


def _sides(program: Program, place: Place, slot: Int64, within: Flags) -> Flags:
    """Return whether the slot's limits and sides fit, per element; `within` is [element, limit]."""
    slots = program.slots
    limit = slots.limit[slot]
    side = within[:, 0] if within.shape[1] == 1 else within[np.arange(len(slot)), limit]
    result: Flags = (limit < 0) | (side != slots.over[slot])
    if place.several:
        kept, passed = slots.more_within[slot], slots.more_over[slot]
        for each in range(within.shape[1]):
            keeps = within[:, each]
            result &= ((kept >> each & 1) == 0) | keeps
            result &= ((passed >> each & 1) == 0) | ~keeps
    return result


def variant_of_items(program: Program, eligibility: Eligibility, place: Place, slot: Int64, items: Int64) -> Int64:
    """Return the place in Program.rates for each of these items by the conditions of their slot's rates alone."""
    return _variant(program, place, slot, lambda only: eligibility.conditions.fits_items(only, items))


def variant_of_rows(program: Program, eligibility: Eligibility, place: Place, slot: Int64, rows: Int64) -> Int64:
    """Return the place in Program.rates for each of these rows by the conditions of their slot's rates."""
    return _variant(program, place, slot, lambda only: eligibility.conditions.fits_rows(only, rows))


def _variant(program: Program, place: Place, slot: Int64, fits_of: Callable[[Int64], Flags]) -> Int64:
    slots, rates = program.slots, program.rates
    first, count = slots.variants[slot], slots.variant_count[slot]
    chosen, open_ = slot, np.ones(len(slot), dtype=np.bool_)
    for at in range(place.variants):
        tried: Flags = open_ & (at < count)
        if not some(tried):
            break
        variant = np.where(tried, first + at, slot)
        fits = tried & fits_of(np.where(tried, rates.condition[variant], -1))
        chosen = np.where(fits, variant, chosen)
        open_ &= ~fits
    return chosen


def outcome_of(program: Program, eligibility: Eligibility, place: Place, slot: Int64, rows: Int64 | slice) -> Int64:
    """Return the number of the collection that applies to each row's slot: the first that fits, else the border."""
    ways = program.outcomes_per_slot
    chosen = slot * ways + ways - 1
    if not place.ways:
        return chosen
    states, within = eligibility.scheme_state[rows], eligibility.row_within[rows]
    each = np.arange(len(slot))
    outcomes = program.outcomes
    open_: Flags = np.ones(len(slot), dtype=np.bool_)
    for at in place.ways:
        way = slot * ways + at
        fits = open_ & outcomes.exists[way]
        if not some(fits):
            continue
        scheme = outcomes.scheme[way]
        fits &= (scheme == 0) | (states[each, scheme] == USABLE)
        limit = outcomes.limit[way]
        if some(limit >= 0):
            fits &= (limit < 0) | (within[each, limit] != outcomes.over[way])
        only = outcomes.condition[way]
        if some(only >= 0):
            fits &= eligibility.conditions.fits_rows(only, rows)
        chosen = np.where(fits, way, chosen)
        open_ &= ~fits
    return chosen
