"""The tables ledger_turnover and ledger_turnover_day: sums of the postings of days that are over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libs.store.database import Transaction
from services.revenue.store.ledger.balances import CONSIGNMENTS

Key = tuple[int, str, str, int]
"""Account, currency, destination and kind of charge."""

_UNSUMMED: Final = """
select min(d.day) from ledger_day d
where d.day < $1 and not exists (select from ledger_turnover_day t where t.day = d.day)
"""
_SUM_PART: Final = f"""
select account, currency, destination, charge, sum({CONSIGNMENTS})::bigint as consignments,
    sum(greatest(amount, 0))::numeric as debit, sum(greatest(-amount, 0))::numeric as credit
from all_postings where day = $1 and partition = $2 group by account, currency, destination, charge
"""  # noqa: S608  # an expression of our own
_STORE: Final = """
insert into ledger_turnover (day, account, currency, destination, kind, consignments, debit, credit)
select $1, * from unnest($2::integer[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::bigint[])
on conflict (account, currency, day, destination, kind) do update
set consignments = excluded.consignments, debit = excluded.debit, credit = excluded.credit
"""


async def unsummed_day(reader: Transaction, before: int) -> int | None:
    """Return the first day before a day that has entries and no sums; None where all have them."""
    day: int | None = await reader.raw.fetchval(_UNSUMMED, before)
    return day


async def totals_of_partition(reader: Transaction, day: int, partition: int) -> list[tuple[Key, tuple[int, int, int]]]:
    """Return the sums of a partition's postings of a day: consignments, debit and credit of each key."""
    rows = await reader.raw.fetch(_SUM_PART, day, partition)
    return [
        ((account, currency, destination, kind), (int(consignments), int(debit), int(credit)))
        for account, currency, destination, kind, consignments, debit, credit in rows
    ]


async def store(tx: Transaction, day: int, totals: Sequence[tuple[Key, Sequence[int]]]) -> None:
    """Store sums of a day: consignments, debit and credit of each key."""
    columns = zip(*((*key, *numbers) for key, numbers in totals), strict=True)
    await tx.raw.execute(_STORE, day, *map(list, columns))


async def store_day(tx: Transaction, day: int) -> None:
    """Note that all sums of a day are stored."""
    await tx.raw.execute("insert into ledger_turnover_day (day) values ($1) on conflict do nothing", day)
