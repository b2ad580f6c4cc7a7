"""The deltas of pages that are not folded into the cells yet: one row for each table of cells that a page changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.store.database import Transaction
from services.statistics.counting.cells import Cells
from services.statistics.counting.deltas import from_bytes, to_bytes

_APPEND: Final = "insert into cell_delta (cells, payload) select * from unnest($1::text[], $2::bytea[])"
_PENDING: Final = "select id, payload from cell_delta where cells = $1 order by id limit $2"
_DELETE: Final = "delete from cell_delta where cells = $1 and id = any($2::bigint[])"
_COUNT: Final = "select count(*) from cell_delta"


@dataclass(frozen=True, slots=True)
class Pending:
    """Deltas of one table that are not folded yet, in the order of their pages."""

    ids: list[int]
    cells: list[Cells]


async def append(tx: Transaction, changes: Mapping[str, Cells]) -> None:
    """Store the changes of a page by table of cells; those without a cell are not stored."""
    stored = {table: cells for table, cells in changes.items() if len(cells)}
    if stored:
        await tx.raw.execute(_APPEND, list(stored), [to_bytes(cells) for cells in stored.values()])


async def pending(reader: Transaction, table: str, rows_max: int | None = None) -> Pending:
    """Return the oldest deltas of a table of cells, all of them without `rows_max`."""
    rows = await reader.raw.fetch(_PENDING, table, rows_max)
    return Pending([row["id"] for row in rows], [from_bytes(row["payload"]) for row in rows])


async def delete(tx: Transaction, table: str, ids: Sequence[int]) -> bool:
    """Delete deltas; return whether all of them were still there."""
    return str(await tx.raw.execute(_DELETE, table, list(ids))) == f"DELETE {len(ids)}"


async def count(reader: Transaction) -> int:
    """Return how many deltas are not folded yet."""
    return int(await reader.raw.fetchval(_COUNT))
