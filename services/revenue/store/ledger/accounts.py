"""Accounts that officers put: who holds them and may draw on them, what they may stand for, and whether they are closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.store.database import Database, Transaction
from services.revenue.ledger.account import FILERS_MAX

# What holds now, and beside it each version that an officer told, for ever.
_PUT: Final = """
with put as (
insert into ledger_account as kept (name, currency, limit_minor, closed, holder, filers, changed_by)
select given.name, given.currency, given.limit_minor, given.closed, given.holder, string_to_array(given.filers, ' '), $7
    from unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::text[], $6::text[])
    as given(name, currency, limit_minor, closed, holder, filers) order by given.name collate "C"
on conflict (name) do update set currency = excluded.currency, limit_minor = excluded.limit_minor,
    closed = excluded.closed, holder = excluded.holder, filers = excluded.filers, changed_by = excluded.changed_by,
    changed_at = clock_timestamp()
returning name, currency, limit_minor, closed, holder, filers, changed_by, changed_at
)
insert into ledger_account_version (name, currency, limit_minor, closed, holder, filers, changed_by, changed_at)
select * from put
"""
_READ: Final = """
select name, currency, limit_minor, closed, holder, filers from ledger_account where name = any($1::text[])
"""
_BOOKED: Final = "select distinct name from ledger_holding where name = any($1::text[])"
_PAGE: Final = """
select name, currency, limit_minor, closed, holder, filers from ledger_account
where name > $1 and name >= $2 and name < $3 order by name limit $4
"""


_OPENED: Final = "select name from ledger_account where name = any($1::text[])"


@dataclass(frozen=True, slots=True)
class Account:
    """An account that an officer opened."""

    name: str
    currency: str
    limit_minor: int | None
    """What it may stand for at most, minor units of the currency; None without limit."""
    closed: bool
    holder: str
    filers: tuple[str, ...] = ()
    """Ids of the filers and carriers that may draw on it beside its holder, sorted; without spaces."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an account; what is None stays as it is."""

    name: str
    currency: str | None = None
    limit_minor: int | None = None
    no_limit: bool = False
    """The limit is taken away."""
    closed: bool | None = None
    holder: str | None = None
    filers: tuple[str, ...] | None = None
    adds_filers: tuple[str, ...] = ()
    drops_filers: tuple[str, ...] = ()

    def apply(self, before: Account | None) -> Account:
        """Return the account after the change."""
        kept = before or Account(self.name, "", None, False, "", ())
        filers = set(kept.filers if self.filers is None else self.filers)
        limit = kept.limit_minor if self.limit_minor is None else self.limit_minor
        return Account(
            self.name,
            kept.currency if self.currency is None else self.currency,
            None if self.no_limit else limit,
            kept.closed if self.closed is None else self.closed,
            kept.holder if self.holder is None else self.holder,
            tuple(sorted((filers | set(self.adds_filers)) - set(self.drops_filers))),
        )


class Accounts:
    """Keeps what officers said of accounts; what stands on them is in the book."""

    def __init__(self, database: Database) -> None:
        """Store them in a database."""
        self._database = database

    async def put(self, tx: Transaction, accounts: Sequence[Account], by: str) -> None:
        """Open accounts or change them; each at most once."""
        await tx.raw.execute(
            _PUT,
            [each.name for each in accounts],
            [each.currency for each in accounts],
            [each.limit_minor for each in accounts],
            [each.closed for each in accounts],
            [each.holder for each in accounts],
            [" ".join(each.filers) for each in accounts],
            by,
        )

    async def change(self, tx: Transaction, changes: Sequence[Change], by: str) -> list[Account | str]:
        """Open accounts or change them, each at most once; return what holds of each now, or why it is refused:
        ACCOUNT_CURRENCY_MISSING, ACCOUNT_CURRENCY_FIXED, ACCOUNT_FILERS_TOO_MANY.
        """
        # What is not told is kept: nobody else may change it in between.
        await tx.raw.execute("lock table ledger_account in share row exclusive mode")
        names = [each.name for each in changes]
        before = {row["name"]: _account(row) for row in await tx.raw.fetch(_READ, names)}
        booked = {row["name"] for row in await tx.raw.fetch(_BOOKED, names)}
        told: list[Account | str] = []
        for each in changes:
            kept, now = before.get(each.name), each.apply(before.get(each.name))
            if not now.currency:
                told.append("ACCOUNT_CURRENCY_MISSING")
            elif kept and kept.currency != now.currency and (kept.limit_minor is not None or each.name in booked):
                told.append("ACCOUNT_CURRENCY_FIXED")
            elif len(now.filers) > FILERS_MAX:
                told.append("ACCOUNT_FILERS_TOO_MANY")
            else:
                told.append(now)
        await self.put(tx, [each for each in told if isinstance(each, Account)], by)
        return told

    async def read(self, names: Sequence[str]) -> dict[str, Account]:
        """Return those of some accounts that were opened, by name."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_READ, list(names))
        return {row["name"]: _account(row) for row in rows}

    async def drawn_on_by(self, name: str, ident: str, carries_as: str | None) -> bool:
        """Return whether a filer or carrier may draw on an account, or see it: it is listed, or the account is named for it, opened or not.

        A carrier's account is also named by the code `carries_as`, by which declarations name it.
        """
        if name in (f"deferred:{ident}", f"carrier:{ident}") or (carries_as and name == f"carrier:{carries_as}"):
            return True
        found = await self.read([name])
        return name in found and ident in found[name].filers

    async def page(self, *, after: str = "", prefix: str = "", rows_max: int) -> list[Account]:
        """Return the opened accounts after a name, by name."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_PAGE, after, prefix, prefix + "\U0010ffff", rows_max)
        return [_account(row) for row in rows]


async def opened(reader: Transaction, names: Collection[str]) -> set[str]:
    """Return those of some names under which an account was opened."""
    return {row["name"] for row in await reader.raw.fetch(_OPENED, list(names))}


def _account(row: Mapping[str, Any]) -> Account:
    return Account(**dict(row) | {"filers": tuple(row["filers"])})
