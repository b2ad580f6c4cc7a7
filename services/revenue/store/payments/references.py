"""References of unmatched payments, as payers wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import Transaction
from luxor.revenue.v1 import ledger_pb2 as pb

Place = tuple[int, str, str]
"""When a payment was booked, its jurisdiction and its id: the order in which payments are read."""
BEGINNING: Final[Place] = (-1, "", "")
"""Before all payments."""
_OLD: Final = f"""
select booked_at, jurisdiction, id, reference from ledger_payment
where outcome = {pb.PAYMENT_OUTCOME_UNMATCHED} and reference <> '' and booked_at < $1
    and (booked_at, jurisdiction, id) > ($2::bigint, $3::text, $4::text)
order by booked_at, jurisdiction, id limit $5
"""  # noqa: S608  # a number of our own
_CLEAR: Final = """
update ledger_payment kept set reference = '' from unnest($1::text[], $2::text[]) as given(jurisdiction, id)
where kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""


@dataclass(frozen=True, slots=True)
class PaymentReference:
    """What the payer of an unmatched payment wrote."""

    place: Place
    text: str


async def unmatched(tx: Transaction, before: int, after: Place, rows_max: int) -> list[PaymentReference]:
    """Return references of unmatched payments that were booked before an instant, behind a place."""
    rows = await tx.raw.fetch(_OLD, before, *after, rows_max)
    return [PaymentReference((row["booked_at"], row["jurisdiction"], row["id"]), row["reference"]) for row in rows]


async def clear(tx: Transaction, references: Sequence[PaymentReference]) -> None:
    """Delete the payers' texts."""
    if references:
        await tx.raw.execute(_CLEAR, [each.place[1] for each in references], [each.place[2] for each in references])
