"""Schemes: which of the numbers that a filing tells may be used, by their form and by the register."""

import numpy as np

from libs.columns import Strings
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Flags, Int64, every, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.program import SCHEMES, Program
from services.revenue.law.program.scheme_numbers import (
    ABSENT,
    NUMBER_EXPIRED,
    NUMBER_MALFORMED,
    NUMBER_MISSING,
    NUMBER_UNKNOWN,
    USABLE,
    SchemeForm,
    registered_number,
)

_NOTES = (
    (NUMBER_MISSING, Note.SCHEME_NUMBER_MISSING),
    (NUMBER_MALFORMED, Note.SCHEME_NUMBER_MALFORMED),
    (NUMBER_UNKNOWN, Note.SCHEME_NUMBER_UNKNOWN),
    (NUMBER_EXPIRED, Note.SCHEME_NUMBER_EXPIRED),
)


def scheme_states(program: Program, filings: Filings, values: Values, register: Register | None) -> Int64:
    """Return [row, scheme] from ABSENT to USABLE, and note what is wrong with numbers."""
    # Scheme after scheme in memory: each is read and written as a column.
    states = np.zeros((len(SCHEMES), filings.rows), dtype=np.int64).T
    if not len(filings.reference_row):
        return states
    row, scheme = filings.reference_row, filings.reference_scheme
    books, all_usable = values.plan.books, True
    jurisdiction = program.regimes.jurisdiction[values.regime[row]] if len(books) > 1 else None
    returns = None if filings.returns is None else filings.returns[row]
    for place in books:
        for form in program.schemes[place]:
            mine: Flags = scheme == form.scheme
            if jurisdiction is not None:
                mine &= jurisdiction == place
            if form.of_sales and returns is not None and some(mine & returns):
                # A return is no sale, so that nothing is collected under a scheme of sales.
                values.notes[row[mine & returns]] |= int(Note.SCHEME_NOT_OPEN)
                mine &= ~returns
            if some(mine):
                which = slice(None) if every(mine) else mine
                rows = row[which]
                found = _states(form, filings, values, register or EMPTY, which)
                all_usable = all_usable and every(found == USABLE)
                if every(rows[1:] > rows[:-1]):
                    states[rows, form.scheme] = found
                else:
                    # Several numbers of one scheme: the best counts.
                    np.maximum.at(states[:, form.scheme], rows, found)
    if all_usable:
        return states
    best = states.max(axis=1)
    refused = ((best > ABSENT) & (best < USABLE)).nonzero()[0]
    if len(refused):
        told = states[refused]
        for state, note in _NOTES:
            values.notes[refused[(told == state).any(axis=1)]] |= int(note)
    return states


def _states(form: SchemeForm, filings: Filings, values: Values, register: Register, selected: Flags | slice) -> Int64:
    rows = filings.reference_row[selected]
    written = Strings(filings.reference_number.dictionary, filings.reference_number.indices[selected])
    state: Int64 = written.map(form.state, np.int64)
    if not form.registered:
        return state
    usable = state == USABLE
    if form.scheme not in register.schemes:
        values.notes[rows[usable]] |= int(Note.SCHEME_NUMBER_UNCHECKED)
        return state
    numbers = Strings([registered_number(number) for number in written.dictionary], written.indices)
    known, holds = register.find(form.scheme, numbers, values.law_day[rows])
    state[usable & ~known] = NUMBER_UNKNOWN
    state[usable & known & ~holds] = NUMBER_EXPIRED
    return state
