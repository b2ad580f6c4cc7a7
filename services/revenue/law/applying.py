"""Whether a charge applies: the sides of limits, conditions, reliefs and preferences, by consignment and by line of goods."""

import numpy as np

from services.revenue.law.arithmetic import Flags, Int64
from services.revenue.law.collection import Standing
from services.revenue.law.features import claims_of
from services.revenue.law.filings import Filings
from services.revenue.law.program import Place, Program
from services.revenue.law.scheme_numbers import USABLE


def applies_to_rows(
    program: Program, standing: Standing, place: Place, slot: Int64, rows: Int64, there: Flags
) -> Flags:
    """Say of each of these rows whether a charge on whole consignments applies, of those where it is there at all."""
    applies = there & _sides(program, place, slot, standing.row_within[rows])
    if place.only:
        applies &= standing.conditions.fits_rows(program.slots.only[slot], rows)
    return applies


def applies_to_items(
    program: Program, filings: Filings, standing: Standing, place: Place, slot: Int64, rows: Int64, items: Int64,
    there: Flags,
) -> Flags:  # fmt: skip
    """Say of each of these items whether a charge on lines of goods applies; `rows` are those that own them."""
    slots = program.slots
    within = standing.row_within[rows] if standing.item_within is None else standing.item_within[items]
    applies = there & _sides(program, place, slot, within)
    if place.preference and any(filings.preference.dictionary):
        claims, states = claims_of(filings)[items], standing.scheme_state
        excepted = ((claims & slots.unless_digits[slot]) != 0) & (states[rows, slots.unless_without[slot]] != USABLE)
        brought_in = ((claims & slots.also_digits[slot]) != 0) & (states[rows, slots.also_without[slot]] != USABLE)
        applies = (applies & ~excepted) | (brought_in & there)
    if place.only:
        applies = applies & standing.conditions.fits_items(slots.only[slot], items)
    if place.relieved:
        for relief, relieved in standing.relieved.items():
            applies = applies & ~(relieved[items] & ((slots.relieved_by[slot] >> relief & 1) == 1))
    return applies


def _sides(program: Program, place: Place, slot: Int64, within: Flags) -> Flags:
    """Whether the slot's limits and sides fit, per element; `within` is [element, limit]."""
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
