"""Digests of tables and of their rows: protobuf bytes are not canonical, columns are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import sha256
from itertools import pairwise, repeat
from typing import Any

import numpy as np

from libs.columns.arrays import Ints, Ragged, Strings
from libs.columns.table import Table


def digests(table: Table, exclude: Collection[str] = ()) -> list[bytes]:
    """Return for each row 32 bytes of SHA-256 over its present values with the names of their columns.

    Rows of equal content have equal digests. Columns in `exclude` do not count, neither do the other rows of the table
    nor the order of its columns.
    """
    return [sha256(text.encode()).digest() for text in _texts(table, exclude)]


def table_digest(table: Table, exclude: Collection[str] = ()) -> bytes:
    """Return 32 bytes of SHA-256 over all rows in their order: tables of equal content have equal digests, whatever their encoding.

    Whole columns are hashed, which costs a fifth of the digests of the rows. Columns in `exclude` do not count, neither does the order of
    the columns. Digests are stored, so every later release must compute the same.
    """
    pieces: list[bytes] = [table.rows.to_bytes(8, "little")]
    _add_columns(pieces, table, exclude)
    return sha256(b"".join(pieces)).digest()


def _add_columns(pieces: list[bytes], table: Table, exclude: Collection[str]) -> None:
    """Add the bytes of the columns that have a value. Each part has its length before it, so no two contents have the same bytes."""
    for name, column in sorted(table.columns.items()):
        if name in exclude:
            continue
        canonical: Any = column.by_appearance() if isinstance(column, Strings) else column
        if _has_values(canonical):
            pieces.append(f"{name}=".encode())
            _add_column(pieces, canonical)
    pieces.append(b";")


def _has_values(column: Any) -> bool:
    if isinstance(column, Strings):
        return any(column.dictionary)
    return bool(column.offsets[-1]) if isinstance(column, Ragged) else bool(column.valid.any())


def _add_column(pieces: list[bytes], column: Any) -> None:
    if isinstance(column, Strings):
        count = len(column.dictionary)
        lengths = np.fromiter(map(len, column.dictionary), "<u4", count)
        pieces += (count.to_bytes(8, "little"), lengths.tobytes(), "".join(column.dictionary).encode())
        if count > 1:
            pieces.append(column.indices.astype("<u4", copy=False).tobytes())
    elif isinstance(column, Ragged):
        pieces.append(column.offsets.astype("<i8", copy=False).tobytes())
        values = column.values
        if isinstance(values, Table):
            _add_columns(pieces, values, ())
        else:
            _add_column(pieces, values.by_appearance() if isinstance(values, Strings) else values)
    else:
        # What is absent has the value 0.
        pieces += (np.packbits(column.valid).tobytes(), column.values.astype("<i8", copy=False).tobytes())


def _texts(table: Table, exclude: Collection[str]) -> list[str]:
    texts = _Texts(table.rows)
    for name, column in sorted(table.columns.items()):
        if name not in exclude:
            _add(texts, name, column)
    return texts.rows()


class _Texts:
    """The texts of rows, piece by piece: what all rows share is one piece, however many columns it is of."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pieces: list[Iterable[str]] = []
        self._shared = ""

    def share(self, text: str) -> None:
        """Add the same text to all rows."""
        self._shared += text

    def add(self, texts: Iterable[str]) -> None:
        """Add a text to each row."""
        if self._shared:
            self._pieces.append(repeat(self._shared, self._count))
            self._shared = ""
        self._pieces.append(texts)

    def rows(self) -> list[str]:
        """Return the text of each row."""
        self.add(repeat("", self._count))
        return list(map("".join, zip(*self._pieces, strict=True)))


def _add(texts: _Texts, name: str, column: Any) -> None:
    if isinstance(column, Strings):
        # Lengths before values, so that no value can pass for two.
        by_place = [f"{name}={len(v)}:{v};" if v else "" for v in column.dictionary]
        if len(by_place) == 1:
            texts.share(by_place[0])
        else:
            texts.add(_taken(by_place, column))
    elif isinstance(column, Ragged):
        _add_lists(texts, name, column)
    elif column.valid.all():
        # A truth value is written as the number that it is.
        values = column.values.astype(np.int64, copy=False)
        if len(values) and (values == values[0]).all():
            texts.share(f"{name}={values[0]};")
            return
        texts.share(f"{name}=")
        texts.add(map(str, values.tolist()))
        texts.share(";")
    elif column.valid.any():
        pairs = zip(column.values.tolist(), column.valid.tolist(), strict=True)
        texts.add([f"{name}={int(v)};" if there else "" for v, there in pairs])


def _taken(by_place: list[str], column: Strings) -> list[str]:
    """Return the text of each row by the place of its value."""
    texts = np.empty(len(by_place), object)
    texts[:] = by_place
    taken: list[str] = texts.take(column.indices).tolist() if by_place else []
    return taken


def _add_lists(texts: _Texts, name: str, column: Ragged) -> None:
    values = column.values
    if isinstance(values, Strings):
        by_place = [f"{len(v)}:{v}," for v in values.dictionary]
        inner = _taken(by_place, values)
    elif isinstance(values, Ints):
        inner = [f"{v}," for v in values.values.tolist()]
    else:
        assert isinstance(values, Table), name
        inner = _texts(values, ())
    lengths = column.lengths
    if (lengths == 1).all():
        texts.share(f"{name}=[")
        texts.add(inner)
        texts.share("];")
    elif inner:
        spans = pairwise(column.offsets.tolist())
        texts.add([f"{name}=[{'|'.join(inner[start:stop])}];" if stop > start else "" for start, stop in spans])
