"""Forget what payers wrote that names nothing, once nobody can set the payment right any more."""

from __future__ import annotations

from typing import Final

from libs.customs.identifiers import mrn as mrns_of
from libs.store.database import Database
from services.revenue.ledger.account import PAYABLE, prefix_of
from services.revenue.store.assessments.inputs import ASSESSMENT_DAYS
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.payments import references

REFERENCE_DAYS: Final = ASSESSMENT_DAYS
"""As long as what a payment could be for is kept."""
ROWS_MAX: Final = 1_000
"""Payments looked at in one transaction."""


async def forget_references(database: Database) -> None:
    """Delete references of unmatched payments that are neither an MRN nor an account's name: a step of housekeeping."""
    after = references.BEGINNING
    full = True
    while full:
        async with database.transaction() as tx:
            until = await tx.now() - REFERENCE_DAYS * MICROS_A_DAY
            rows = await references.unmatched(tx, until, after, ROWS_MAX)
            await references.clear(tx, [each for each in rows if not _names_something(each.text)])
        full = len(rows) == ROWS_MAX
        if rows:
            after = rows[-1].place


def _names_something(reference: str) -> bool:
    return mrns_of.is_valid(reference) or prefix_of(reference) in PAYABLE
