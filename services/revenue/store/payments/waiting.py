"""Payments by an MRN that wait for their debt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import Transaction

# Hardly ever does anything wait, and then no consignment is looked for. A list of MRNs would be looked for in every part of the table.
_WAITING: Final = """
select waiting.* from unnest($1::text[]) as given(mrn) cross join lateral (
    select mrn, jurisdiction, id, currency, amount from ledger_waiting where mrn = given.mrn offset 0
) waiting
where exists (select from ledger_waiting) order by mrn, jurisdiction, id
"""
_ADD: Final = """
insert into ledger_waiting (mrn, jurisdiction, id, currency, amount)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
"""
_REMOVE: Final = """
delete from ledger_waiting kept using unnest($1::text[], $2::text[], $3::text[]) as given(mrn, jurisdiction, id)
where kept.mrn = any(array[given.mrn]) and kept.jurisdiction = given.jurisdiction and kept.id = given.id
"""


@dataclass(frozen=True, slots=True)
class WaitingPayment:
    """A payment that waits; its amount in minor units."""

    mrn: str
    jurisdiction: str
    id: str
    currency: str
    amount: int


async def read(tx: Transaction, mrns: Sequence[str]) -> list[WaitingPayment]:
    """Return the payments that wait for the debts of consignments."""
    return [WaitingPayment(**dict(row)) for row in await tx.raw.fetch(_WAITING, list(mrns))]


async def add(tx: Transaction, payments: Sequence[WaitingPayment]) -> None:
    """Store payments that wait from here on."""
    if payments:
        columns = [[getattr(each, name) for each in payments] for name in WaitingPayment.__slots__]
        await tx.raw.execute(_ADD, *columns)


async def remove(tx: Transaction, payments: Sequence[tuple[str, str, str]]) -> None:
    """Delete payments that wait no more: MRN, jurisdiction and id of each."""
    if payments:
        await tx.raw.execute(_REMOVE, *(list(column) for column in zip(*payments, strict=True)))
