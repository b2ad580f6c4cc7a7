"""Digests of tables and of their rows: protobuf bytes are not canonical, columns are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise, repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import Ints, Ragged, Strings
from libs.columns.table import Table

_WORDS: Final = 4
"""Numbers of 64 bits that a digest is."""


def digests(table: Table, exclude: Collection[str] = ()) -> list[bytes]:
    """Return for each row 32 bytes of SHA-256 over its present values with the names of their columns.

    Rows of equal content have equal digests. Columns in `exclude` do not count, neither do the other rows of the table
    nor the order of its columns. Stores of ingestion have them; `row_digests` costs half.
    """
    return [sha256(text.encode()).digest() for text in _texts(table, exclude)]


def row_digests(table: Table) -> list[bytes]:
    """Return for each row 32 bytes of SHA-256 over its present values and the names of their columns.

    Rows of equal content have equal digests, whatever the other rows of the table. A row is hashed as the digest of its names (joined by
    commas, in their order), and for each name its number (8 bytes, little endian), the digest of its text, or the number of elements of its
    list; then the elements of each list in the order of names, rows in the same form, and what their own lists hold behind them. Digests
    are stored, so every later release must compute the same.
    """
    pieces: list[list[bytes]] = []
    _add_rows(pieces, table, np.arange(table.rows + 1))
    return [sha256(b"".join(each)).digest() for each in zip(*pieces, strict=True)]


def _add_rows(pieces: list[list[bytes]], table: Table, bounds: npt.NDArray[np.int64]) -> None:
    """Add a piece for each owner of rows, of which `bounds` says where they begin and end, and further pieces for lists of these rows."""
    names: list[str] = []
    absent: list[tuple[int, slice, npt.NDArray[np.bool_]]] = []
    lists: list[Ragged] = []
    cells = np.empty((table.rows, _WORDS * (1 + len(table.columns))), np.int64)
    width = _WORDS
    for name, column in sorted(table.columns.items()):
        there: Any
        if isinstance(column, Strings):
            words, there = _WORDS, column.present
        elif isinstance(column, Ragged):
            words, there = 1, column.lengths > 0
        else:
            words, there = 1, column.valid
        every = there.all()
        if not every and not there.any():
            continue
        place = slice(width, width + words)
        if isinstance(column, Strings):
            cells[:, place] = _of_texts(column)
        elif isinstance(column, Ragged):
            cells[:, width] = column.lengths
            lists.append(column)
        else:
            cells[:, width] = column.values
        if not every:
            absent.append((len(names), place, there))
        names.append(name)
        width += words
    present = np.ones((table.rows, width), np.bool_)
    for _, place, there in absent:
        present[:, place] = there[:, None]
    cells = cells[:, :width]
    cells[:, :_WORDS] = _of_names(names, {each: there for each, _, there in absent}, table.rows)
    pieces.append(_cut(cells[present], np.cumsum(np.append(0, present.sum(1)))[bounds]))
    for column in lists:
        values, owned = column.values, column.offsets[bounds]
        if isinstance(values, Table):
            _add_rows(pieces, values, owned)
        elif isinstance(values, Strings):
            pieces.append(_cut(_of_texts(values), owned * _WORDS))
        else:
            assert isinstance(values, Ints)
            pieces.append(_cut(values.values, owned))


def _of_names(names: Sequence[str], partial: dict[int, npt.NDArray[np.bool_]], rows: int) -> npt.NDArray[np.int64]:
    """Return for each row the digest of the names that it has; `partial` has those that not all rows have, by their place among the names."""
    if not partial:
        return _words([_text_digest(",".join(names))])
    packed = np.packbits(np.stack(list(partial.values()), axis=1), axis=1)
    keys = np.zeros((rows, -(-packed.shape[1] // 8) * 8), np.uint8)
    keys[:, : packed.shape[1]] = packed
    # Numbers are sorted quicker than bytes.
    kinds = keys.view(np.int64 if keys.shape[1] == 8 else f"V{keys.shape[1]}").ravel()
    _, firsts, which = np.unique(kinds, return_index=True, return_inverse=True)
    forms = []
    for row in firsts.tolist():
        absent = {place for place, each in partial.items() if not each[row]}
        forms.append(_text_digest(",".join(name for place, name in enumerate(names) if place not in absent)))
    return _words(forms).take(which, axis=0)


def _of_texts(column: Strings) -> npt.NDArray[np.int64]:
    # Texts that nearly each row has its own of are not met again.
    are_own = 2 * len(column.dictionary) > len(column)
    digest = _text_digest.__wrapped__ if are_own else _text_digest
    return _words(list(map(digest, column.dictionary))).take(column.indices, axis=0)


@lru_cache(16_384)
def _text_digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _words(hashes: list[bytes]) -> npt.NDArray[np.int64]:
    return np.frombuffer(b"".join(hashes), "<i8").reshape(-1, _WORDS)


def _cut(cells: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]) -> list[bytes]:
    """Return the bytes of cells between each two bounds."""
    data = cells.astype("<i8", copy=False).tobytes()
    return [data[start:stop] for start, stop in pairwise((8 * bounds).tolist())]


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
