"""Stored batches as one large table. A batch of a few hundred rows costs as much to judge as one of some thousands, and of the
hundred columns that are stored rules touch a few: so batches are put together, and each column is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from libs.columns import Column, Ints, Kind, Ragged, Table
from libs.columns.packing import Packed
from services.risk.history.columns import History
from services.risk.inputs import Opened

_PATHS: Final = ("consignments", "items")


class Joined(Table):
    """Tables of one schema, one below the other; a column is put together when it is first asked for."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Table]) -> None:
        """Join one or more tables."""
        super().__init__(parts[0].schema, sum(part.rows for part in parts))
        self._parts = parts

    def _has(self, name: str) -> bool:
        return any(name in part._columns or part._has(name) for part in self._parts)

    def _read(self, name: str) -> Column:
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


class _Columns(Mapping[str, Ints]):
    """History's columns of some batches by name, each put together when it is first asked for."""

    def __init__(self, path: str, parts: Sequence[Packed], rows: Sequence[int], names: Sequence[str]) -> None:
        self._path, self._parts, self._rows, self._names = path, parts, rows, names
        self._read: dict[str, Ints] = {}

    def __getitem__(self, name: str) -> Ints:
        column = self._read.get(name)
        if column is None:
            if name not in self._names:
                raise KeyError(name)
            key = f"{self._path}.{name}"
            values = np.concatenate([part.array(key) for part in self._parts]).astype(np.int64)
            bits = [
                np.unpackbits(part.array(f"{key}?").view(np.uint8), count=rows)
                for part, rows in zip(self._parts, self._rows, strict=True)
            ]
            column = self._read[name] = Ints.of(values, np.concatenate(bits).astype(np.bool_))
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def join_batches(parts: Sequence[Opened]) -> tuple[Table, History | None]:
    """Opened batches of the same columns of history as one."""
    table = Joined([part.table for part in parts])
    if parts[0].items < 0:
        return table, None
    names: dict[str, list[str]] = {path: [] for path in _PATHS}
    for key in parts[0].history_names:
        path, _, name = key.partition(".")
        names[path].append(name)
    packed = [part.packed for part in parts]
    consignments = _Columns("consignments", packed, [part.table.rows for part in parts], names["consignments"])
    return table, History(consignments, _Columns("items", packed, [part.items for part in parts], names["items"]))
