"""Returns: whether a relief waived something, and why what is charged is not relieved, so that the filer reads what is missing."""

import numpy as np

from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.assess.valuation.values import Values
from services.revenue.law.batch.arithmetic import Int64, some
from services.revenue.law.batch.charge_lines import Lines
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.program import KINDS, Program
from services.revenue.law.program.returns import Proof

_FEE = KINDS.index("fee")
_NOT_CLAIMED, _NOT_COVERED = -1, -2
_NOTES = {
    _NOT_COVERED: Note.RETURN_NOT_COVERED,
    _NOT_CLAIMED: Note.RETURN_NOT_CLAIMED,
    int(Proof.NONE): Note.RETURN_NOT_PROVEN,
    int(Proof.TERM_ENDED): Note.RETURN_TERM_ENDED,
    int(Proof.TERM_UNKNOWN): Note.RETURN_TERM_UNKNOWN,
    # Goods of a kind that the relief leaves out.
    int(Proof.WITHIN): Note.RETURN_NOT_CLAIMED,
}


def remark_returns(program: Program, filings: Filings, values: Values, eligibility: Eligibility, lines: Lines) -> None:
    """Note what is relieved, and why duties and taxes of returns are levied: of several reliefs the one that is nearest decides."""
    returns = filings.returns
    if returns is None:
        return
    if eligibility.returned and lines.forgone is not None:
        named = np.where(lines.item >= 0, program.slots.relieved_by[lines.slot], 0)
        waived = eligibility.come_back(named, lines.item) & (lines.forgone > 0)
        values.notes[lines.row[waived]] |= int(Note.RETURN_RELIEVED)
    levied = returns[lines.row] & (lines.amount > 0) & (program.slots.kind[lines.slot] != _FEE)
    at = levied.nonzero()[0]
    if not len(at):
        return
    nearest = _nearest(program, values, eligibility, lines, at)
    for found, note in _NOTES.items():
        values.notes[lines.row[at[nearest == found]]] |= int(note)


def _nearest(program: Program, values: Values, eligibility: Eligibility, lines: Lines, at: Int64) -> Int64:
    """Return for each of these lines how near its goods are to a relief: a number of `_NOTES`."""
    reliefs, conditions = program.reliefs, eligibility.conditions
    row, item, slot = lines.row[at], lines.item[at], lines.slot[at]
    nearest = np.full(len(at), _NOT_COVERED)
    most = max(program.relief_entries, default=0)
    for place, entries in enumerate(program.relief_entries):
        named = program.slots.relieved_by[slot] >> place & 1 == 1
        for each in range(entries):
            entry = (values.regime[row] * len(program.relief_entries) + place) * most + each
            there = named & reliefs.returned[entry]
            if not some(there):
                continue
            values.notes[row[there & reliefs.unverified[entry]]] |= int(Note.UNVERIFIED_VALUE)
            fits = there & conditions.fits_items(np.where(there, reliefs.apart[entry], -1), item)
            state = np.where(there, _NOT_CLAIMED, _NOT_COVERED)
            for number in np.unique(reliefs.condition[entry[fits]]).tolist():
                asked = fits & (reliefs.condition[entry] == number)
                state = np.where(asked, conditions.proof(number)[row], state)
            nearest = np.maximum(nearest, state)
    return nearest
