"""Which filings were made before the declaration, and what they lack for each stage. Pure; whole batches."""

from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, schema_of
from libs.columns.arrays import BoolArray
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.completeness import before_declaration, gaps
from libs.filing_stages.deadlines import late
from libs.filing_stages.law import included
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.columns import choose
from services.clearance.consignment.decision import INCOMPLETE
from services.clearance.consignment.state.awaited_parts import awaited_columns

_SCHEMA = schema_of(ClearanceColumns).children["incomplete_stages"]


@dataclass(frozen=True, slots=True)
class EarlyFilings:
    """The filings of a batch that were made before the declaration."""

    rows: BoolArray
    """Which they are, shape (n,)."""
    columns: dict[str, Column] = field(default_factory=dict)
    """The columns of the state with the stages for which they are not complete, and with late filings among all; without absent ones."""

    def reasons(self, revenue: Strings) -> Strings:
        """Return why nothing can be computed, from the reasons of revenue."""
        return choose(self.rows, Strings.constant(INCOMPLETE, len(revenue)), revenue) if self.rows.any() else revenue


def early_of(filings: Table) -> EarlyFilings:
    """Return the filings that were made before the declaration, by the data sets of this release."""
    data_sets = included()
    rows = before_declaration(filings, data_sets)
    if not rows.any():
        return EarlyFilings(rows, late_column(filings, rows))
    places = np.flatnonzero(rows)
    days = filings.ints("accepted_at").values[places] // MICROS_PER_DAY
    found = gaps(filings.take(places), data_sets, days)
    lengths = np.zeros(filings.rows, np.int64)
    lengths[places] = [len(each) for each in found]
    lines = list(chain.from_iterable(found))
    elements = Strings.of([name for _, names in lines for name in names])
    table = Table(
        _SCHEMA,
        len(lines),
        {
            "stage": Ints.of([int(stage) for stage, _ in lines]),
            "missing_elements": Ragged.of_lengths([len(names) for _, names in lines], elements),
        },
    )
    return EarlyFilings(rows, {"incomplete_stages": Ragged.of_lengths(lengths, table)} | late_column(filings, rows))


def missing_parts(filings: Table) -> tuple[BoolArray, dict[str, Column]]:
    """Return which filings lack a required part, shape (n,), and the columns of the state about the parts: none if none does."""
    roles = filings.ragged("missing_roles")
    missing: BoolArray = roles.lengths > 0
    if not missing.any():
        return np.zeros((), np.bool_), {}
    return missing, {"missing_roles": roles} | awaited_columns(filings)


def late_column(filings: Table, early: BoolArray) -> dict[str, Column]:
    """Return the column of the state with which filings missed their deadline, by their acceptance; none if none did.

    That of a later version counts only where it is the declaration of what was filed before it.
    """
    found = np.zeros(filings.rows, np.bool_)
    for _, _, rows in late(filings, included(), early, filings.ints("accepted_at").values):
        found |= rows
    return {"filed_late": Bools.of(found, found)} if found.any() else {}
