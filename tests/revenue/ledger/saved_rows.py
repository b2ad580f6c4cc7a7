"""Rows of tables that are put back after each alteration, so that many alterations share one ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from libs.store.database import Database

Saved = dict[str, tuple[list[str], list[tuple[Any, ...]]]]
"""The columns and the rows of each table."""


async def save(database: Database, tables: Sequence[str]) -> Saved:
    """Return all rows of tables."""
    saved: Saved = {}
    async with database.connection(snapshot=True) as reader:
        for table in tables:
            statement = await reader.raw.prepare(f"select * from {table}")
            columns = [each.name for each in statement.get_attributes()]
            saved[table] = columns, [tuple(row) for row in await statement.fetch()]
    return saved


async def restore(database: Database, saved: Saved) -> None:
    """Put the rows back as they were, whatever guards the tables."""
    async with database.transaction() as tx:
        await tx.raw.execute("set local session_replication_role = replica")
        for table, (columns, rows) in saved.items():
            await tx.raw.execute(f"delete from {table}")
            await tx.raw.copy_records_to_table(table, records=rows, columns=columns)
