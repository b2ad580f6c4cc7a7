"""Postings of entries, as the comparison with positions reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from libs.store.database import Transaction

_CHARGES: Final = """
select given.row, p.account, p.kind, p.currency, sum(p.amount)::numeric as amount
from unnest($1::integer[], $2::integer[], $3::smallint[], $4::bigint[]) as given(row, day, partition, number)
cross join lateral (
    select account, kind, currency, amount from ledger_posting
    where day = given.day and partition = given.partition and number = given.number offset 0
) p group by given.row, p.account, p.kind, p.currency
"""
_MONEY: Final = """
select given.row, coalesce(nullif(e.reverses, 0), e.kind) as kind, e.reference, e.currency, p.amount
from unnest($1::integer[], $2::integer[], $3::smallint[], $4::bigint[]) as given(row, day, partition, number)
cross join lateral (
    select kind, reverses, reference, currency from ledger_entry
    where day = given.day and partition = given.partition and number = given.number offset 0
) e
cross join lateral (
    select amount from ledger_posting
    where day = given.day and partition = given.partition and number = given.number and place = 0 offset 0
) p
"""


async def charges_of(reader: Transaction, places: Sequence[Sequence[int]]) -> Sequence[Any]:
    """Return the sums of postings by row, account, kind of charge and currency.

    `places` has four columns: row, day, partition and number of each entry.
    """
    rows: Sequence[Any] = await reader.raw.fetch(_CHARGES, *places)
    return rows


async def money_of(reader: Transaction, places: Sequence[Sequence[int]]) -> Sequence[Any]:
    """Return of each entry its row, the kind of what it books or reverses, its reference and currency, and the amount of its first
    posting; `places` as of `charges_of`.
    """
    rows: Sequence[Any] = await reader.raw.fetch(_MONEY, *places)
    return rows
