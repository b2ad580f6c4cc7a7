"""Reliefs: whole items that are not charged, such as gifts and returned goods, in their order and up to an amount.

The value of an item is never split (for the Union: Council Regulation (EC) No 1186/2009 on consignments between private
persons): an item that would take what is relieved beyond the amount is passed over, and a later one that still fits is
relieved.
"""

import numpy as np

from services.revenue.law.assess.eligibility.limits import foreign_bounds
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64, row_totals, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.conditions import Conditions, excluded_of
from services.revenue.law.program.program import Program


def relieve(
    program: Program, filings: Filings, values: Values, conditions: Conditions
) -> tuple[dict[int, Flags], dict[int, Flags], dict[int, Int64]]:
    """Return per place of a relief in its rulebook which items it relieves of a charge, which returned items it relieves of paying
    it, and by row the entry by which; reliefs that relieve none are left out.
    """
    relieved: dict[int, Flags] = {}
    returned: dict[int, Flags] = {}
    entries: dict[int, Int64] = {}
    features = values.plan.features
    for place, asked in enumerate(features.of_reliefs):
        if features.of_returns[place] and filings.returns is None:
            continue
        if -1 not in asked and not any(some(conditions.of_items(number)) for number in asked):
            continue
        found = _relieve(program, filings, values, conditions, place)
        if found is None:
            continue
        items, entries[place] = found
        come_back: Flags = items & program.reliefs.returned[entries[place]][filings.item_row]
        if some(come_back):
            returned[place] = come_back
            items = items & ~come_back
        if some(items):
            relieved[place] = items
            values.notes[filings.item_row[items]] |= int(Note.GIFT_RELIEVED)
    return relieved, returned, entries


def _relieve(
    program: Program, filings: Filings, values: Values, conditions: Conditions, place: int
) -> tuple[Flags, Int64] | None:
    reliefs, row = program.reliefs, filings.item_row
    taken = _taken(program, filings, values, conditions, place)
    if taken is None:
        return None
    entry, items = taken
    values.notes[(entry >= 0) & reliefs.unverified[entry]] |= int(Note.UNVERIFIED_VALUE)
    items &= ~excluded_of(program.prefixes, np.where(items, reliefs.excluded[entry][row], -1), filings.code)
    currency = np.where(entry >= 0, reliefs.currency[entry], -1)
    minor = np.where(entry >= 0, reliefs.minor[entry], 0)
    if some(currency >= 0):
        own = np.full(len(minor), -1, dtype=np.int64)
        minor, _ = foreign_bounds(program, values, currency >= 0, minor, currency, own)
    worth = values.total(reliefs.measure[entry][row], slice(None))
    items = whole_items(items, worth, minor, filings)
    return (items, entry) if some(items) else None


def _taken(
    program: Program, filings: Filings, values: Values, conditions: Conditions, place: int
) -> tuple[Int64, Flags] | None:
    """Return for each row the first entry that matches any of its items (-1 = none), with these items."""
    reliefs, most = program.reliefs, program.relief_entries
    first = (values.regime * len(most) + place) * max(most)
    entry = np.full(filings.rows, -1, dtype=np.int64)
    items: Flags = np.zeros(filings.items, dtype=np.bool_)
    for at in range(most[place]):
        there = reliefs.exists[first + at] & (entry < 0)
        if not some(there):
            break
        only = np.where(there, reliefs.condition[first + at], -1)
        fits = conditions.fits_items(only[filings.item_row]) & there[filings.item_row]
        if some(fits):
            rows = row_totals(fits.astype(np.int64), filings.item_row, filings.rows) > 0
            entry = np.where(rows, first + at, entry)
            items |= fits
    return (entry, items) if some(items) else None


def whole_items(candidates: Flags, worth: Int64, most: Int64, filings: Filings) -> Flags:
    """Choose of each row's candidates, in their order, whole items as long as their worth stays within the row's most."""
    row = filings.item_row
    enough = row_totals(np.where(candidates, worth, 0), filings.item_row, filings.rows) <= most
    chosen: Flags = candidates & enough[row]
    items = np.flatnonzero(candidates & ~enough[row])
    if not len(items):
        return chosen
    # Item by item: the first candidate of all rows, then the second, and so on.
    owner = row[items]
    rank = np.arange(len(items)) - np.searchsorted(owner, owner)
    order = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank))
    reached = np.zeros(filings.rows, dtype=np.int64)
    for at in np.split(items[order], ends[:-1]):
        fits = reached[row[at]] + worth[at] <= most[row[at]]
        reached[row[at]] += np.where(fits, worth[at], 0)
        chosen[at] = fits
    return chosen
