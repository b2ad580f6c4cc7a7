"""What stands to a declarant's credit: paid on the account, paid too much, or refunded, and not used for another debt yet.

Below nothing it says that credit which paid a debt was taken back. A row is locked from its change to the end of the
transaction, after the heads of partitions, so that credit is used once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from libs.store.database import Transaction
from services.revenue.ledger.account import prefix_of
from services.revenue.store.ledger.names import Names

Key: TypeAlias = tuple[int, str]
"""Account and currency."""
HOLDER: Final = "declarant"
"""The kind of account whose credit pays its debts: one holder, who pays consignment by consignment."""
_ADD: Final = """
insert into ledger_credit as kept (account, currency, minor)
select * from unnest($1::integer[], $2::text[], $3::bigint[]) as given(account, currency, minor)
order by given.account, given.currency collate "C"
on conflict (account, currency) do update set minor = kept.minor + excluded.minor returning account, currency, minor
"""
# Rows that another transaction holds are left to the work in the background: who waited here held rows already, out of their order.
_HAVE: Final = """
select account, currency, minor from ledger_credit where account = any($1::integer[]) and minor > 0
order by account, currency collate "C" for update skip locked
"""
_LOCK: Final = """
select kept.account, kept.currency, kept.minor from (
    select * from unnest($1::integer[], $2::text[]) as u(account, currency) order by u.account, u.currency collate "C"
) as given
cross join lateral (
    select * from ledger_credit k where k.account = given.account and k.currency = given.currency for update
) kept
"""
_READ_LOCKED: Final = "select minor from ledger_credit where account = $1 and currency = $2 for update"
_STORED: Final = "select minor from ledger_credit where account = $1 and currency = $2"
_DRAW: Final = """
insert into ledger_drawn as kept (account, currency, day, mrn, minor)
select * from unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $5::bigint[])
    as given(account, currency, day, mrn, minor)
on conflict (account, currency, day, mrn) do update set minor = kept.minor + excluded.minor
"""
_DRAWN_OUT: Final = """
delete from ledger_drawn kept using unnest($1::integer[], $2::text[], $3::integer[], $4::text[])
    as given(account, currency, day, mrn)
where kept.account = any(array[given.account]) and kept.currency = given.currency and kept.day = given.day and kept.mrn = given.mrn
    and kept.minor <= 0
"""
_USES: Final = """
select mrn, day, minor from ledger_drawn where account = $1 and currency = $2 and minor > 0
order by day desc, mrn desc limit $3
"""
_PAYABLE: Final = """
select mrn, day, minor from ledger_open where account = $1 and currency = $2 and alone order by day, mrn limit $3
"""
_LIST: Final = """
select o.mrn, o.day, o.currency, o.minor, o.alone as sole_debtor from ledger_open o
where o.account = $1 and (o.currency, o.day, o.mrn) > ($2::text, $3::integer, $4::text)
order by o.currency, o.day, o.mrn limit $5
"""
_OPEN: Final = """
select found.* from unnest($1::integer[], $2::text[]) with ordinality as given(account, currency, place)
cross join lateral (
    select coalesce(sum(minor) filter (where alone), 0)::bigint as alone, coalesce(sum(minor), 0)::bigint as all
    from ledger_open where account = given.account and currency = given.currency
) found order by given.place
"""
# Whoever has credit and a debt that it may pay, or lacks credit that paid a debt.
_WANTING: Final = """
select account, currency from ledger_credit c
where minor <> 0 and (minor > 0 and exists (
    select from ledger_open o where o.account = c.account and o.currency = c.currency and o.alone
) or minor < 0 and exists (
    select from ledger_drawn d where d.account = c.account and d.currency = c.currency and d.minor > 0
))
order by account, currency limit $1
"""


@dataclass(frozen=True, slots=True)
class CreditItem:
    """A consignment that credit may pay, or paid."""

    mrn: str
    day: int
    minor: int


async def add(tx: Transaction, changes: Mapping[Key, int]) -> dict[Key, int]:
    """Change what stands to accounts' credit, minor units; return what stands there now. The rows are held from here on."""
    if not changes:
        return {}
    keys = sorted(changes)
    rows = await tx.raw.fetch(
        _ADD, [account for account, _ in keys], [currency for _, currency in keys], [changes[key] for key in keys]
    )
    return {(row["account"], row["currency"]): row["minor"] for row in rows}


def summed(*parts: Mapping[Key, int]) -> dict[Key, int]:
    """Sum amounts by account and currency."""
    sums: dict[Key, int] = {}
    for part in parts:
        for key, minor in part.items():
            sums[key] = sums.get(key, 0) + minor
    return sums


async def follow_positions(names: Names, tx: Transaction, before: Mapping[Key, int], after: Mapping[Key, int]) -> None:
    """Follow what consignments leave to accounts' credit from one state to another; of declarants alone."""
    changes = summed(after, {key: -minor for key, minor in before.items()})
    changes = {key: minor for key, minor in changes.items() if minor}
    if changes:
        told = await names.texts(tx, {account for account, _ in changes})
        await add(tx, {key: minor for key, minor in changes.items() if prefix_of(told[key[0]]) == HOLDER})


async def lock_unused(tx: Transaction, accounts: Iterable[int]) -> dict[Key, int]:
    """Lock the credit of those accounts that no other transaction uses; return the positive amounts."""
    rows = await tx.raw.fetch(_HAVE, sorted(set(accounts)))
    return {(row["account"], row["currency"]): row["minor"] for row in rows}


async def lock(tx: Transaction, keys: Iterable[Key]) -> dict[Key, int]:
    """Lock the credit of accounts in their order; return the amounts."""
    told = sorted(set(keys))
    rows = await tx.raw.fetch(_LOCK, [account for account, _ in told], [currency for _, currency in told])
    return {(row["account"], row["currency"]): row["minor"] for row in rows}


async def stored(tx: Transaction, key: Key) -> int:
    """Return the credit of an account, without a lock on its row."""
    return int(await tx.raw.fetchval(_STORED, *key) or 0)


async def lock_one(tx: Transaction, key: Key) -> int:
    """Lock the credit of an account; return the amount."""
    return int(await tx.raw.fetchval(_READ_LOCKED, *key) or 0)


async def payable_items(tx: Transaction, key: Key, rows_max: int) -> list[CreditItem]:
    """Return open consignments for which an account is the only debtor, oldest first."""
    return [CreditItem(**dict(row)) for row in await tx.raw.fetch(_PAYABLE, *key, rows_max)]


@dataclass(frozen=True, slots=True)
class OpenItem:
    """What an account owes of a consignment."""

    mrn: str
    day: int
    currency: str
    minor: int
    sole_debtor: bool


async def open_items(tx: Transaction, account: int, after: tuple[str, int, str], rows_max: int) -> list[OpenItem]:
    """Return the open items of an account after one, by currency, day and MRN."""
    return [OpenItem(**dict(row)) for row in await tx.raw.fetch(_LIST, account, *after, rows_max)]


async def items_paid_by(tx: Transaction, key: Key, rows_max: int) -> list[CreditItem]:
    """Return the consignments that an account's credit paid, newest first."""
    return [CreditItem(**dict(row)) for row in await tx.raw.fetch(_USES, *key, rows_max)]


async def add_paid_items(tx: Transaction, items: Sequence[tuple[Key, CreditItem]]) -> None:
    """Remember what of accounts' credit paid which consignment; below nothing where it does so no more."""
    told = [(*key, each.day, each.mrn, each.minor) for key, each in items]
    columns = [list(column) for column in zip(*told, strict=True)]
    if columns:
        await tx.raw.execute(_DRAW, *columns)
        await tx.raw.execute(_DRAWN_OUT, *columns[:4])


async def open_totals(tx: Transaction, keys: Sequence[Key]) -> list[tuple[int, int]]:
    """Return the open totals of accounts, one pair each: of the consignments with no other debtor, and of all."""
    rows = await tx.raw.fetch(_OPEN, [account for account, _ in keys], [currency for _, currency in keys])
    return [(row["alone"], row["all"]) for row in rows]


async def applicable(tx: Transaction, rows_max: int) -> list[Key]:
    """Return accounts whose credit can pay a debt, or has to be reclaimed from one."""
    return [(row["account"], row["currency"]) for row in await tx.raw.fetch(_WANTING, rows_max)]
