"""The state after its filer invalidated a declaration, and the notice where a change of the filing came too late. Pure.

Law: UCC, article 174. Invalidation ends the debt of a declaration whose goods were never released, also of goods that are sent back under a new
transport document.
"""

from typing import Final

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table
from services.clearance.consignment.columns import choose
from services.clearance.consignment.transitions import Change, Debt

WITHDRAWN: Final = "WITHDRAWN_BY_FILER"
"""Reason of a declaration that its filer invalidated, which filers read."""


def withdrawing(states: Table, filings: Table) -> Table:
    """Return the states before the event, aligned with `filings` (ConsignmentColumns): the declaration counts as never lodged, so nothing is owed."""
    rows = states.rows
    documents = filings.strings("return_document_number")
    return states.with_columns(
        {
            "filing_version": filings.ints("version"),
            "reasons": Ragged.of_lengths(np.ones(rows, np.int64), Strings.constant(WITHDRAWN, rows)),
            "debt_status": Ints.constant(Debt.NONE, rows),
            "debt_account": Strings.absent(rows),
            "return_document_number": choose(documents.present, documents, states.strings("return_document_number")),
        }
    )


def refused_states(states: Table, versions: Ints, at: int) -> Table:
    """Return what a notice says about states that later `versions` of their filings do not change: they came too late."""
    rows = states.rows
    return states.with_columns(
        {
            "change": Ints.constant(Change.AMENDMENT_REFUSED, rows),
            "changed_at": Ints.constant(at, rows),
            "filing_version": versions,
            "public_change": Ints.absent(rows),
            "public_changed_at": Ints.absent(rows),
        }
    )
