"""What a batch was assessed on, as it is stored: the consignments and what history said of them.

Backtests, training and the screening after a change of a list read it. It is compressed, since names and descriptions
repeat: some 150 bytes a consignment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Table, stored
from libs.columns.packing import Packed, pack
from libs.columns.stored import InputError, compressed, decompressed, narrow, reading
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.risk.v1.risk_pb2 import AssessmentColumns
from services.risk.history.columns import HistoryColumns as HistoryColumns

_ROWS: Final = "rows"
_PATHS: Final = {"consignments": "", "items": "items"}


@dataclass(frozen=True, slots=True)
class Input:
    """A batch as it was assessed: n consignments."""

    table: Table
    """A table of ConsignmentColumns."""
    history: HistoryColumns | None
    """What history said of them then; None where nothing was asked."""
    rows: npt.NDArray[np.int64]
    """Per consignment its row in the stored answer; (n,)."""


def pack_input(
    content: bytes, table: Table, history: HistoryColumns | None, fresh: npt.NDArray[np.intp]
) -> tuple[bytes, bytes]:
    """Pack the rows of a batch that were assessed for the first time. `content` are the table's bytes as they came, which spares
    to encode it anew.
    """
    if len(fresh) != table.rows:
        owners = table.ragged("items").owners()
        kept_items = np.flatnonzero(np.isin(owners, fresh))
        content = table.take(fresh).serialize(ConsignmentColumns)
    else:
        kept_items = None
    arrays: dict[str, npt.NDArray[np.generic]] = {_ROWS: fresh.astype(np.int32)}
    for path, columns in (("consignments", history.consignments), ("items", history.items)) if history else ():
        rows = fresh if path == "consignments" else kept_items
        for name, column in columns.items():
            whole = len(fresh) == table.rows
            values, valid = (column.values, column.valid) if whole else (column.values[rows], column.valid[rows])
            arrays[f"{path}.{name}"] = narrow(np.where(valid, values, 0))
            arrays[f"{path}.{name}?"] = np.packbits(valid)
    facts = {
        "input": 1,
        "items": -1 if history is None else table.child("items").rows if kept_items is None else len(kept_items),
    }
    return compressed(content), compressed(pack(facts, arrays))


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
    """Open what pack_input made. Raises InputError."""
    with reading("the stored batch"):
        table = Table.parse(ConsignmentColumns, decompressed(columns))
        packed = Packed(decompressed(history))
        rows = packed.array(_ROWS).astype(np.int64)
        items = int(packed.facts["items"])
    if len(rows) != table.rows:
        raise InputError(f"the stored batch has {table.rows} consignments, and answers to {len(rows)}")
    return Opened(table, packed, rows, items)


def unpack_input(columns: bytes, history: bytes) -> Input:
    """Read what pack_input made. Raises InputError."""
    opened = open_batch(columns, history)
    with reading("the stored batch"):
        return Input(opened.table, None if opened.items < 0 else _history(opened), opened.rows)


def read_answers(payload: bytes, rows: npt.NDArray[np.int64]) -> Table:
    """Stored answers (AssessmentColumns), which have these rows. Raises InputError."""
    return stored.read_answers(AssessmentColumns, payload, rows)


def _history(opened: Opened) -> HistoryColumns:
    found: dict[str, dict[str, Ints]] = {path: {} for path in _PATHS}
    for key in opened.history_names:
        path, _, name = key.partition(".")
        if path in found:
            rows = opened.table.rows if path == "consignments" else opened.items
            valid = np.unpackbits(opened.packed.array(f"{key}?").view(np.uint8), count=rows).astype(np.bool_)
            found[path][name] = Ints.of(opened.packed.array(key).astype(np.int64), valid)
    return HistoryColumns(found["consignments"], found["items"])
