"""Stored batches of the same columns of history as one table (libs.columns.joined), and what history said beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from libs.columns import Ints, Table
from libs.columns.joined import Joined
from libs.columns.packing import Packed
from services.risk.elements.stored_inputs import Opened
from services.risk.history.columns import HistoryColumns

_PATHS: Final = ("consignments", "items")


class _Columns(Mapping[str, Ints]):
    """HistoryColumns's columns of some batches by name, each put together when it is first asked for."""

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


def join_batches(parts: Sequence[Opened]) -> tuple[Table, HistoryColumns | None]:
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
    return table, HistoryColumns(
        consignments, _Columns("items", packed, [part.items for part in parts], names["items"])
    )
