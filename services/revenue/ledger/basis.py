"""What the charges of a state rest on: which of revenue's own answers is in force, as clearance's feed tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Table
from luxor.clearance.v1.clearance_pb2 import CHANGE_ADJUSTED, STATE_INVALIDATED
from services.revenue.ledger.entry import Int64

UNDECIDED: Final = 0
"""No decision yet, so nothing is owed."""
ASSESSED: Final = 1
"""What an answer says is owed."""
WITHDRAWN: Final = 2
"""Withdrawn, so nothing is owed, whatever it was assessed at."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What n states rest on, one value each."""

    standing: Int64
    """UNDECIDED, ASSESSED or WITHDRAWN."""
    generation: Int64
    """luxor.revenue.v1.AssessmentColumns.generation of the answer to the filing; 0 for the first."""
    adjusted: Int64
    """Version of the state that an officer's last adjustment of this filing made, under which its answer is kept; 0 for none."""
    adjusted_at: Int64
    """When that was, microseconds since 1970-01-01 UTC; 0 for never."""

    def take(self, rows: Int64) -> Basis:
        """Give those asked for, in that order."""
        return Basis(self.standing[rows], self.generation[rows], self.adjusted[rows], self.adjusted_at[rows])


def basis_of(states: Table, last: Table) -> Basis:
    """Say what the states `last` rest on, the newest of each consignment in `states` (both ClearanceColumns)."""
    decided = last.ints("decided_at").valid
    withdrawn = last.ints("state").values == STATE_INVALIDATED
    standing = np.where(withdrawn, WITHDRAWN, np.where(decided, ASSESSED, UNDECIDED)).astype(np.int64)
    adjusted = np.zeros(last.rows, np.int64)
    made = np.flatnonzero(states.ints("change").filled(0) == CHANGE_ADJUSTED)
    if len(made):
        places = {mrn: row for row, mrn in enumerate(last.strings("mrn").tolist())}
        mrns, filings = states.strings("mrn").tolist(), states.ints("filing_version").values
        versions, newest = states.ints("version").values, last.ints("filing_version").values
        for row in made.tolist():
            place = places[mrns[row]]
            if filings[row] == newest[place]:
                adjusted[place] = max(adjusted[place], versions[row])
    return Basis(standing, last.ints("assessment_generation").filled(0), adjusted, last.ints("adjusted_at").filled(0))


def followed(
    now: Basis, version: Int64, filing_version: Int64, before: Basis, held_version: Int64, held_filing_version: Int64
) -> Basis:
    """Give what states rest on after what was held: an adjustment stays in force until another, or until an amendment.

    Where the feed tells of an adjustment that it does not show (a reader that begins anew gets the newest state alone), it was
    made with the state's version at the latest.
    """
    told = now.adjusted > 0
    amended = (held_version > 0) & (filing_version > held_filing_version)
    same = (now.adjusted_at == before.adjusted_at) & (held_version > 0)
    missed = (now.adjusted_at > 0) & ~same & ~amended
    kept = np.where(same & ~amended, before.adjusted, np.where(missed, version, 0))
    return Basis(now.standing, now.generation, np.where(told, now.adjusted, kept), now.adjusted_at)
