"""Stored batches as one large table. A batch of a few hundred rows costs as much to work on as one of some thousands, and of the
hundred columns that are stored few are read: so batches are put together, and each column is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from libs.columns.arrays import Column, Ragged
from libs.columns.schema import Kind
from libs.columns.table import Table


class Joined(Table):
    """Tables of one schema, one below the other; a column is put together when it is first asked for."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Table]) -> None:
        """Join one or more tables."""
        super().__init__(parts[0].schema, sum(part.rows for part in parts))
        self._parts = parts

    def _has(self, name: str) -> bool:
        return any(name in part._columns or part._has(name) for part in self._parts)

    def with_columns(self, columns: Mapping[str, Column]) -> Table:
        """Return a table with these columns set or replaced, and all other columns put together."""
        return Table(self.schema, self.rows, {**self.columns, **columns})

    def read_column(self, name: str) -> Column:
        """Return a column of all parts."""
        if not self._has(name):
            return super().read_column(name)
        if self.schema.columns[name] is Kind.CHILD:
            return _join_children([part.ragged(name) for part in self._parts])
        columns: list[Any] = [part.column(name) for part in self._parts]
        joined: Column = type(columns[0]).concat(columns)
        return joined


def _join_children(parts: Sequence[Ragged]) -> Ragged:
    """Lists of rows of child tables, the tables joined in their turn."""
    starts = np.cumsum([0, *(int(part.offsets[-1]) for part in parts)])
    offsets = [part.offsets[1:] + start for part, start in zip(parts, starts.tolist(), strict=False)]
    tables = [part.values for part in parts if isinstance(part.values, Table)]
    return Ragged(np.concatenate([np.zeros(1, np.int64), *offsets]), Joined(tables))
