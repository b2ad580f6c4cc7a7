"""What a batch was assessed on, as it is stored: the consignments and what history said of them.

Backtests, training and the screening after a change of a list read it. It is compressed, since names and descriptions
repeat: some 150 bytes a consignment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import zstandard

from libs.columns import Ints, Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.risk.history.columns import History as HistoryColumns
from services.risk.history.packing import PackingError, pack, unpack

UNPACKED_BYTES_MAX: Final = 64 << 20
"""A stored batch that claims to be larger is refused: no message of the transport is."""
_LEVEL: Final = 1
_ROWS: Final = "rows"
_PATHS: Final = {"consignments": "", "items": "items"}


class InputError(ValueError):
    """A stored batch that cannot be read; the message says why."""


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
        content = table.take(fresh).encode(ConsignmentColumns).SerializeToString()
    else:
        kept_items = None
    arrays: dict[str, npt.NDArray[np.generic]] = {_ROWS: fresh.astype(np.int32)}
    for path, columns in (("consignments", history.consignments), ("items", history.items)) if history else ():
        rows = fresh if path == "consignments" else kept_items
        for name, column in columns.items():
            whole = len(fresh) == table.rows
            values, valid = (column.values, column.valid) if whole else (column.values[rows], column.valid[rows])
            arrays[f"{path}.{name}"] = _narrow(np.where(valid, values, 0))
            arrays[f"{path}.{name}?"] = np.packbits(valid)
    facts = {
        "input": 1,
        "items": -1 if history is None else table.child("items").rows if kept_items is None else len(kept_items),
    }
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return compressor.compress(content), compressor.compress(pack(facts, arrays))


def unpack_input(columns: bytes, history: bytes) -> Input:
    """Read what pack_input made. Raises InputError."""
    try:
        table = Table.parse(ConsignmentColumns, _decompressed(columns))
        facts, arrays = unpack(_decompressed(history))
    except (zstandard.ZstdError, PackingError, ValueError) as error:
        raise InputError(f"the stored batch cannot be read: {error}") from error
    items = int(facts["items"])
    return Input(
        table, None if items < 0 else _history(arrays, table.rows, items), arrays[_ROWS].astype(np.int64, copy=False)
    )


def join(inputs: Sequence[Input]) -> tuple[Table, HistoryColumns | None]:
    """Several batches as one; history is None where one of them has none, or they have other columns."""
    table = Table.concat([each.table for each in inputs])
    known = [each.history for each in inputs if each.history is not None]
    if len(known) != len(inputs) or len({(*each.consignments, *each.items) for each in known}) != 1:
        return table, None
    return table, HistoryColumns(
        {name: Ints.concat([each.consignments[name] for each in known]) for name in known[0].consignments},
        {name: Ints.concat([each.items[name] for each in known]) for name in known[0].items},
    )


def _narrow(values: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """The same numbers in the smallest type that holds them all."""
    if not len(values):
        return values.astype(np.int8)
    low, high = int(values.min()), int(values.max())
    for kind in (np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return values


def _decompressed(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(content, max_output_size=UNPACKED_BYTES_MAX)


def _history(arrays: dict[str, npt.NDArray[np.generic]], consignments: int, items: int) -> HistoryColumns:
    found: dict[str, dict[str, Ints]] = {path: {} for path in _PATHS}
    for key, values in arrays.items():
        path, _, name = key.partition(".")
        if path in found and not name.endswith("?"):
            rows = consignments if path == "consignments" else items
            valid = np.unpackbits(arrays[f"{key}?"].view(np.uint8), count=rows).astype(np.bool_)
            found[path][name] = Ints.of(values.astype(np.int64), valid)
    return HistoryColumns(found["consignments"], found["items"])
