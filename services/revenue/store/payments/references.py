"""What payers wrote that names nothing: kept while somebody may still set the payment right, then forgotten."""

from __future__ import annotations

from typing import Final

from libs.customs.identifiers import mrn as mrns_of
from libs.store.database import Database
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.account import PAYABLE, prefix_of
from services.revenue.store.assessments.inputs import ASSESSMENT_DAYS
from services.revenue.store.ledger.entries import MICROS_A_DAY

REFERENCE_DAYS: Final = ASSESSMENT_DAYS
"""As long as what a payment could be for is kept."""
ROWS_MAX: Final = 1_000
"""Payments looked at in one transaction."""
_OLD: Final = f"""
select booked_at, jurisdiction, id, reference from ledger_payment
where outcome = {pb.PAYMENT_OUTCOME_UNMATCHED} and reference <> '' and booked_at < $1
    and (booked_at, jurisdiction, id) > ($2::bigint, $3::text, $4::text)
order by booked_at, jurisdiction, id limit $5
"""  # noqa: S608  # a number of our own
_FORGET: Final = """
update ledger_payment kept set reference = '' from unnest($1::text[], $2::text[]) as given(jurisdiction, id)
where kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""


async def forget_references(database: Database) -> None:
    """Forget references of unmatched payments that are neither an MRN nor an account's name: a step of housekeeping."""
    after: tuple[int, str, str] = (-1, "", "")
    full = True
    while full:
        async with database.transaction() as tx:
            until = await tx.now() - REFERENCE_DAYS * MICROS_A_DAY
            rows = await tx.raw.fetch(_OLD, until, *after, ROWS_MAX)
            free = [row for row in rows if not _names_something(row["reference"])]
            if free:
                await tx.raw.execute(_FORGET, [row["jurisdiction"] for row in free], [row["id"] for row in free])
        full = len(rows) == ROWS_MAX
        if rows:
            after = (rows[-1]["booked_at"], rows[-1]["jurisdiction"], rows[-1]["id"])


def _names_something(reference: str) -> bool:
    return mrns_of.is_valid(reference) or prefix_of(reference) in PAYABLE
