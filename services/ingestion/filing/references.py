"""Checks of the fiscal references of filings: schemes, and the form and the registration of their numbers. Pure; whole batches."""

from __future__ import annotations

import numpy as np

from luxor.consignment.v1 import consignment_pb2 as consignment
from services.ingestion.filing import elements
from services.ingestion.filing.findings import Findings, Level
from services.ingestion.schemes.register import SchemeRegister


def check_references(root: Level, findings: Findings, register: SchemeRegister | None = None, day: int = 0) -> None:
    """Check the references of consignments, and compare their numbers with a register on a day (since 1970-01-01); None: it is not known."""
    if not root.table.ragged("fiscal_references").lengths.any():
        return
    level = root.below("fiscal_references")
    scheme = level.table.ints("scheme")
    numbers = level.table.strings("number")
    findings.mark(level, "scheme", np.flatnonzero(~scheme.valid), "ELEMENT_MISSING")
    # The carrier answers for special arrangements as such; every other scheme is a number's.
    bare = scheme.valid & (scheme.values != consignment.SCHEME_SPECIAL_ARRANGEMENTS) & ~numbers.present
    findings.mark(level, "number", np.flatnonzero(bare), "ELEMENT_MISSING")
    malformed = numbers.map(lambda value: bool(value) and elements.ioss_error(value) is not None, np.bool_)
    malformed &= scheme.values == consignment.SCHEME_IOSS
    findings.mark(level, "number", np.flatnonzero(malformed), "SCHEME_NUMBER_MALFORMED")
    if register is not None and findings.warns("SCHEME_NUMBER_UNKNOWN") is not None:
        functions = root.table.ints("function").values
        filed = (functions != consignment.MESSAGE_FUNCTION_INVALIDATE)[level.owners]
        printable = numbers.map(str.isprintable, np.bool_)
        compared = scheme.valid & numbers.present & printable & ~malformed & filed
        for each in np.unique(scheme.values[compared]).tolist():
            rows = np.flatnonzero(compared & (scheme.values == each))
            # Each distinct number is looked up in its own schemes alone.
            for why, found in register.not_valid(each, numbers.take(rows).compact(), day):
                findings.mark(level, "number", rows[found], "SCHEME_NUMBER_UNKNOWN", cause=why)
    references = root.table.ragged("fiscal_references")
    for row in np.flatnonzero(references.lengths > 1).tolist():
        seen = scheme.values[references.offsets[row] : references.offsets[row + 1]].tolist()
        if len(set(seen)) < len(seen):
            findings.add(row, "SCHEME_REPEATED", root.path(row, "fiscal_references"))
