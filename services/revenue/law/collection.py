"""Collection: under which scheme each consignment comes, and which limits it keeps."""

from dataclasses import dataclass

import numpy as np

from services.revenue.law.arithmetic import Flags, Int64, every, row_sums, some
from services.revenue.law.conditions import Conditions
from services.revenue.law.filings import Filings
from services.revenue.law.problems import Note
from services.revenue.law.program import SCHEMES, Place, Program
from services.revenue.law.rulebook import COMPONENTS
from services.revenue.law.valuation import Values

_GOODS = 1 << COMPONENTS.index("goods")
ABSENT, NUMBER_MISSING, NUMBER_MALFORMED, WELL_FORMED = range(4)


@dataclass(slots=True)
class Standing:
    """Where each consignment stands before the charges."""

    scheme_state: Int64
    """[row, scheme]: ABSENT to WELL_FORMED."""
    row_within: Flags
    """[row, limit]: whether the consignment (all of its items where items are tested) keeps the limit."""
    item_within: Flags | None
    """[item, limit]; None where no item is tested alone, so that each keeps what its consignment keeps."""
    conditions: Conditions
    """The program's conditions over this batch."""
    relieved: dict[int, Flags]
    """Per number of a relief which items it relieves; a relief that relieves none is absent."""


def stand(program: Program, filings: Filings, values: Values) -> Standing:
    """Test limits and scheme numbers of a batch, and note what people will want to know."""
    regimes = program.regimes
    limits = regimes.limit_there.shape[1]
    item_within: Flags | None = None
    row_within = np.zeros((filings.rows, limits), dtype=np.bool_)
    for limit in range(limits):
        there = regimes.limit_there[values.regime, limit]
        amount = regimes.limit_minor[values.regime, limit]
        strict = regimes.limit_strict[values.regime, limit]
        per_item = there & regimes.limit_per_item[values.regime, limit]
        measure = regimes.limit_measure[values.regime, limit]
        measured: Int64 | None = None
        if every(measure == _GOODS) and not some(per_item):
            whole = values.intrinsic
        else:
            measured = values.total(measure[filings.item_row], slice(None))
            whole = row_sums(measured, filings.offsets)
        by_row = there & ((whole < amount) | (~strict & (whole == amount)))
        alone: Flags | None = None
        if measured is not None and some(per_item):
            most, harsh = amount[filings.item_row], strict[filings.item_row]
            alone = (measured < most) | (~harsh & (measured == most))
            over = row_sums((~alone).astype(np.int64), filings.offsets)
            by_row = np.where(per_item, over == 0, by_row)
        row_within[:, limit] = by_row
        if alone is not None:
            if item_within is None:
                item_within = row_within[filings.item_row]
            item_within[:, limit] = np.where(per_item[filings.item_row], alone, by_row[filings.item_row])
        elif item_within is not None:
            item_within[:, limit] = by_row[filings.item_row]
    values.notes |= np.where(row_within[:, 0], int(Note.WITHIN_LIMIT), 0)
    over_first = regimes.limit_there[values.regime, 0] & ~row_within[:, 0]
    values.notes |= np.where(over_first, int(Note.OVER_LIMIT), 0)
    states = _scheme_states(program, filings, values)
    conditions = Conditions(program.conditions, filings, states == WELL_FORMED)
    return Standing(states, row_within, item_within, conditions, {})


def _scheme_states(program: Program, filings: Filings, values: Values) -> Int64:
    states = np.zeros((filings.rows, len(SCHEMES)), dtype=np.int64)
    if not len(filings.reference_row):
        return states
    row, scheme, number = filings.reference_row, filings.reference_scheme, filings.reference_number
    jurisdiction = program.regimes.jurisdiction[values.regime[row]]
    empty = ~number.present
    for place, rules in enumerate(program.schemes):
        for code, form in rules:
            mine = (jurisdiction == place) & (scheme == code)
            if not some(mine):
                continue
            good: Flags = number.map(form.fullmatch, np.bool_)
            state = np.where(good, WELL_FORMED, np.where(empty, NUMBER_MISSING, NUMBER_MALFORMED))
            np.maximum.at(states, (row[mine], code), state[mine])
    best = states.max(axis=1)
    values.notes[(states == NUMBER_MISSING).any(axis=1) & (best < WELL_FORMED)] |= Note.SCHEME_NUMBER_MISSING
    values.notes[(states == NUMBER_MALFORMED).any(axis=1) & (best < WELL_FORMED)] |= Note.SCHEME_NUMBER_MALFORMED
    return states


def outcome_of(program: Program, standing: Standing, place: Place, slot: Int64, rows: Int64 | slice) -> Int64:
    """Return the number of the collection that applies to each row's slot: the first that fits, else the border."""
    ways = program.outcomes_per_slot
    chosen = slot * ways + ways - 1
    if not place.ways:
        return chosen
    states, within = standing.scheme_state[rows], standing.row_within[rows]
    each = np.arange(len(slot))
    outcomes = program.outcomes
    open_: Flags = np.ones(len(slot), dtype=np.bool_)
    for at in place.ways:
        way = slot * ways + at
        fits = open_ & outcomes.there[way]
        if not some(fits):
            continue
        scheme = outcomes.scheme[way]
        fits &= (scheme == 0) | (states[each, scheme] == WELL_FORMED)
        limit = outcomes.limit[way]
        if some(limit >= 0):
            fits &= (limit < 0) | (within[each, limit] != outcomes.over[way])
        only = outcomes.only[way]
        if some(only >= 0):
            fits &= standing.conditions.fits_rows(only, rows)
        chosen = np.where(fits, way, chosen)
        open_ &= ~fits
    return chosen
