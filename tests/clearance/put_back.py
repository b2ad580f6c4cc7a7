"""Many cases over the same rows of one store, each of which alters them: what was there is put back after each."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar

from libs.store.database import Database

Case = TypeVar("Case")


async def put_back(database: Database, tables: Sequence[str], cases: Iterable[Case]) -> AsyncIterator[Case]:
    """Each case, with the rows of the tables as they are now; neither triggers nor references are in the way."""
    await save(database, tables)
    for case in cases:
        yield case
        await restore(database, tables)


async def save(database: Database, tables: Sequence[str]) -> None:
    """Store the rows of tables as they are now."""
    await _run(database, *(f"create table saved_{name} as select * from {name}" for name in tables))


async def restore(database: Database, tables: Sequence[str]) -> None:
    """Put them back."""
    statements = (
        f"delete from {name}; insert into {name} overriding system value select * from saved_{name}" for name in tables
    )
    await _run(database, *statements)


async def _run(database: Database, *statements: str) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute("set local session_replication_role = replica")
        for statement in statements:
            await tx.raw.execute(statement)
