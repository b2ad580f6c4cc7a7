"""Stored batches as one large table. A batch of a few hundred rows costs as much to judge as one of some thousands, and of the
hundred columns that are stored rules touch a few: so batches are put together, and each column is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from libs.columns import Column, Ints, Kind, Ragged, Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.risk.history.columns import History
from services.risk.history.packing import Packed, PackingError
from services.risk.inputs import UNPACKED_BYTES_MAX, InputError

_PATHS: Final = ("consignments", "items")
_decompressor: Final = zstandard.ZstdDecompressor()


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


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored batch, opened: nothing of its columns is read yet."""

    table: Table
    """A table of ConsignmentColumns."""
    packed: Packed
    rows: npt.NDArray[np.int64]
    """Per consignment its row in the stored answers; (n,)."""
    items: int
    """How many items history tells of; -1 where it was not asked."""

    @property
    def history_names(self) -> tuple[str, ...]:
        """The columns of history that are there."""
        return tuple(name for name in self.packed.names if "." in name and not name.endswith("?"))


def open_batch(columns: bytes, history: bytes) -> Opened:
    """Open what services.risk.inputs.pack_input made. Raises InputError."""
    try:
        table = Table.parse(ConsignmentColumns, _decompressor.decompress(columns, max_output_size=UNPACKED_BYTES_MAX))
        packed = Packed(_decompressor.decompress(history, max_output_size=UNPACKED_BYTES_MAX))
        rows = packed.array("rows").astype(np.int64)
        items = int(packed.facts["items"])
    except (zstandard.ZstdError, PackingError, ValueError, KeyError) as error:
        raise InputError(f"the stored batch cannot be read: {error}") from error
    except Exception as error:  # protobuf's own DecodeError is of no public base
        raise InputError(f"the stored batch cannot be read: {type(error).__name__}") from error
    if len(rows) != table.rows:
        raise InputError(f"the stored batch has {table.rows} consignments and tells the answers of {len(rows)}")
    return Opened(table, packed, rows, items)


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
