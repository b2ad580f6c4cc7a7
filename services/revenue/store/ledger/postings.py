"""Postings of entries, as the comparison with positions reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from libs.store.database import Transaction
from services.revenue.store.ledger.pages import postings_of

_POSTINGS: Final = postings_of("$1::integer[]", "given.day", "given.partition", "given.number")
_PLACES: Final = """
unnest((select $2::integer[]), (select $3::integer[]), (select $4::smallint[]), (select $5::bigint[])) as given(row, day, partition, number)
"""
_CHARGES: Final = f"""
select given.row, p.account, p.charge as kind, p.currency, sum(p.amount)::numeric as amount
from {_PLACES}
cross join lateral (select account, charge, currency, amount from ({_POSTINGS}) own offset 0) p
group by given.row, p.account, p.charge, p.currency
"""  # noqa: S608  # a condition of our own
_MONEY: Final = f"""
select given.row, coalesce(nullif(e.reverses, 0), e.kind) as kind, e.reference, e.currency, e.amount
from {_PLACES}
cross join lateral (
    select kind, reverses, reference, currency, amount from ({_POSTINGS}) own where place = 0 offset 0
) e
"""  # noqa: S608  # a condition of our own


async def charges_of(reader: Transaction, places: Sequence[Sequence[int]]) -> Sequence[Any]:
    """Return the sums of postings by row, account, kind of charge and currency.

    `places` has four columns: row, day, partition and number of each entry.
    """
    rows: Sequence[Any] = await reader.raw.fetch(_CHARGES, sorted(set(places[1])), *places)
    return rows


async def money_of(reader: Transaction, places: Sequence[Sequence[int]]) -> Sequence[Any]:
    """Return of each entry its row, the kind of what it books or reverses, its reference and currency, and the amount of its first
    posting; `places` as of `charges_of`.
    """
    rows: Sequence[Any] = await reader.raw.fetch(_MONEY, sorted(set(places[1])), *places)
    return rows
