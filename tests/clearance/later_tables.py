"""What the work lists of this release write, in a store of an earlier schema: tests file there with the code of today."""

from __future__ import annotations

from libs.store.database import Database

_ADDED = (
    "alter table held add column office text not null default ''",
    "create table claim (day integer not null, mrn text not null, officer text not null, claimed_at bigint not null, handed_by text not null, "
    "note text not null)",
    "create table storage (day integer not null, mrn text not null, office text not null, ends_at bigint not null, next_at bigint, "
    "primary key (day, mrn))",
)
_REMOVED = ("drop table storage", "drop table claim", "alter table held drop column office")


async def add_later_tables(database: Database) -> None:
    """Add what migrations 0022 and 0027 add."""
    await _carry_out(database, _ADDED)


async def remove_later_tables(database: Database) -> None:
    """Remove it again, so that the migration finds the store as an earlier release left it."""
    await _carry_out(database, _REMOVED)


async def _carry_out(database: Database, statements: tuple[str, ...]) -> None:
    async with database.transaction() as tx:
        for statement in statements:
            await tx.raw.execute(statement)
