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
_APPLICATIONS = "create table rights_revision (revision bigint not null)", "insert into rights_revision values (0)"


async def add_later_tables(database: Database) -> None:
    """Add what migrations 0022, 0027 and 0036 add."""
    await _carry_out(database, (*_ADDED, *_APPLICATIONS))


async def remove_later_tables(database: Database) -> None:
    """Remove it again, so that the migration finds the store as an earlier release left it."""
    await _carry_out(database, _REMOVED)
    await remove_applications(database)


async def add_applications(database: Database) -> None:
    """Add what migration 0036 adds and each decision reads."""
    await _carry_out(database, _APPLICATIONS)


async def remove_applications(database: Database) -> None:
    """Remove it again."""
    await _carry_out(database, ("drop table rights_revision",))


async def _carry_out(database: Database, statements: tuple[str, ...]) -> None:
    async with database.transaction() as tx:
        for statement in statements:
            await tx.raw.execute(statement)
