"""A digest of each row over its columns: protobuf bytes are not canonical, columns are."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from itertools import pairwise
from typing import Any

from libs.columns.arrays import Ints, Ragged, Strings
from libs.columns.table import Table


def digests(table: Table, exclude: Collection[str] = ()) -> list[bytes]:
    """Return for each row 32 bytes of SHA-256 over its present values with the names of their columns.

    Rows of equal content have equal digests. Columns in `exclude` do not count, neither do the other rows of the table
    nor the order of its columns.
    """
    return [sha256(text.encode()).digest() for text in _texts(table, exclude)]


def _texts(table: Table, exclude: Collection[str]) -> list[str]:
    parts: list[list[str]] = []
    for name, column in sorted(table.columns.items()):
        if name not in exclude:
            parts.append(_column_texts(name, column))
    if not parts:
        return [""] * table.rows
    return list(map("".join, zip(*parts, strict=True)))


def _column_texts(name: str, column: Any) -> list[str]:
    if isinstance(column, Strings):
        # Lengths before values, so that no value can pass for two.
        by_place = [f"{name}={len(v)}:{v};" if v else "" for v in column.dictionary]
        return list(map(by_place.__getitem__, column.indices.tolist()))
    if isinstance(column, Ragged):
        return _list_texts(name, column)
    values, valid = column.values.tolist(), column.valid
    if valid.all():
        return [f"{name}={int(v)};" for v in values]
    return [f"{name}={int(v)};" if there else "" for v, there in zip(values, valid.tolist(), strict=True)]


def _list_texts(name: str, column: Ragged) -> list[str]:
    values = column.values
    if isinstance(values, Strings):
        inner = [f"{len(v)}:{v}," for v in values.tolist()]
    elif isinstance(values, Ints):
        inner = [f"{v}," for v in values.values.tolist()]
    else:
        assert isinstance(values, Table), name
        inner = _texts(values, ())
    offsets = column.offsets.tolist()
    texts = []
    for start, stop in pairwise(offsets):
        texts.append(f"{name}=[{'|'.join(inner[start:stop])}];" if stop > start else "")
    return texts
