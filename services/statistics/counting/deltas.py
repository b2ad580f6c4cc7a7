"""Deltas: the changes of one page to the cells of one table, as bytes, until they are folded into the cells. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from libs.columns.packing import Packed, pack
from libs.columns.stored import compressed, decompressed, narrow, reading
from services.statistics.counting.cells import EXPORT_MARK, Cells, Key, sum_cells

_SEPARATOR: Final = "\0"
"""Between the values of a text column; PostgreSQL stores no text that contains it."""

_LOW_BITS: Final = 32
"""Sums of more than 64 bits are stored in two parts; the lower one has so many bits."""


def to_bytes(cells: Cells) -> bytes:
    """Return cells as bytes."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for place, key in enumerate(cells.key_columns):
        if isinstance(key, Strings):
            text = _SEPARATOR.join(key.dictionary)
            arrays[f"values{place}"] = np.frombuffer(text.encode(), np.uint8)
            arrays[f"key{place}"] = narrow(key.indices.astype(np.int64))
        else:
            arrays[f"key{place}"] = narrow(key)
    for place, measure in enumerate(cells.totals):
        if measure.dtype == object:
            arrays[f"high{place}"] = narrow((measure >> _LOW_BITS).astype(np.int64))
            measure = (measure & (1 << _LOW_BITS) - 1).astype(np.int64)
        arrays[f"sum{place}"] = narrow(measure)
    return compressed(pack({"keys": len(cells.key_columns), "sums": len(cells.totals)}, arrays))


def from_bytes(payload: bytes) -> Cells:
    """Return the cells that were made bytes. Raises InputError."""
    with reading("the delta of a page"):
        packed = Packed(decompressed(payload))
        there = frozenset(packed.names)
        keys: list[Key] = []
        for place in range(int(packed.facts["keys"])):
            numbers = packed.array(f"key{place}").astype(np.int64)
            if f"values{place}" in there:
                values = packed.array(f"values{place}").tobytes().decode().split(_SEPARATOR)
                keys.append(Strings(values, numbers))
            else:
                keys.append(numbers)
        totals = [packed.array(f"sum{place}").astype(np.int64) for place in range(int(packed.facts["sums"]))]
        for place in range(len(totals)):
            if f"high{place}" in there:
                high = packed.array(f"high{place}").astype(np.int64).astype(object)
                totals[place] = (high << _LOW_BITS) + totals[place].astype(object)
        return Cells(tuple(keys), tuple(totals))


def sum_deltas(deltas: Sequence[Cells]) -> Cells:
    """Return the sum of one or more deltas of one table."""
    return sum_cells(*_joined(deltas))


def sum_groups(
    deltas: Sequence[Cells],
    names: Sequence[str],
    group_by: Sequence[str],
    filters: Mapping[str, Sequence[Any]],
    period: tuple[int, int],
    *,
    exports: bool = False,
) -> Cells | None:
    """Return the sums of deltas by some of their key columns `names`, of cells within days and filters; None if there are none.

    They are those of imports, or of `exports`, where the cells have destinations. One of the names is "day".
    Without `group_by` there is one sum, whose key is 0.
    """
    if not deltas:
        return None
    columns, measures = _joined(deltas)
    keys = dict(zip(names, columns, strict=True))
    days = keys["day"]
    assert not isinstance(days, Strings)
    chosen = (days >= period[0]) & (days <= period[1])
    destination = keys.get("destination")
    if isinstance(destination, Strings):
        chosen &= destination.map(lambda country: country.startswith(EXPORT_MARK), np.bool_) == exports
    for name, values in filters.items():
        column = keys[name]
        chosen &= column.isin(set(values)) if isinstance(column, Strings) else np.isin(column, list(values))
    rows = np.flatnonzero(chosen)
    groups = [keys[name] for name in group_by] or [np.zeros(len(chosen), np.int64)]
    return sum_cells(*_taken(groups, measures, rows)) if len(rows) else None


def _joined(deltas: Sequence[Cells]) -> tuple[list[Key], list[npt.NDArray[np.int64]]]:
    keys: list[Key] = []
    for parts in zip(*(each.key_columns for each in deltas), strict=True):
        texts = [part for part in parts if isinstance(part, Strings)]
        keys.append(Strings.concat(texts) if texts else np.concatenate(parts))
    return keys, [np.concatenate(parts) for parts in zip(*(each.totals for each in deltas), strict=True)]


def _taken(
    keys: Sequence[Key], measures: Sequence[npt.NDArray[np.int64]], rows: npt.NDArray[Any]
) -> tuple[list[Key], list[npt.NDArray[np.int64]]]:
    taken: list[Key] = [
        Strings(key.dictionary, key.indices[rows]) if isinstance(key, Strings) else key[rows] for key in keys
    ]
    return taken, [measure[rows] for measure in measures]
