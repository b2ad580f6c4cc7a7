"""Digests of tables and of their rows: protobuf bytes are not canonical, columns are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import compress, pairwise, repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import Ints, Ragged, Strings
from libs.columns.table import Table

_WORDS: Final = 4
"""Numbers of 64 bits that a digest is, and a text at most."""
_SHORT: Final = 31
"""Bytes of a text that is written itself."""
_LONGER: Final = 255
"""Written in place of the number of bytes of a longer text."""


def digests(table: Table, exclude: Collection[str] = ()) -> list[bytes]:
    """Return for each row 32 bytes of SHA-256 over its present values with the names of their columns.

    Rows of equal content have equal digests. Columns in `exclude` do not count, neither do the other rows of the table
    nor the order of its columns. Stores of ingestion have them; `row_digests` costs half.
    """
    return [sha256(text.encode()).digest() for text in _texts(table, exclude)]


def row_digests(table: Table) -> list[bytes]:
    """Return for each row 32 bytes of SHA-256 over its present values and the names of their columns.

    Rows of equal content have equal digests, whatever the other rows of the table. A row is hashed as the digest of its names (of numbers and
    lists, then of texts, each in their order, joined by commas); its numbers, and of its lists the number of elements (8 bytes, little
    endian); and its texts: up to 31 bytes as their number (one byte), these bytes, and zeros up to whole words of 8 bytes; more as 255 and
    the last 31 bytes of their digest. Then follow the elements of each list in the order of names, rows in the same form, and what their own
    lists hold behind them. Digests are stored, so every later release must compute the same.
    """
    words, counted, lists = _words_of(table)
    pieces = [_cut(words, counted, np.arange(table.rows + 1)), *map(_of_lists, lists)]
    return [sha256(b"".join(each)).digest() for each in zip(*pieces, strict=True)]


def _of_lists(column: Ragged) -> list[bytes]:
    """Return the bytes of the list of each row. The column remembers them: the next version of a consignment has most lists of the former."""
    if column.written is None:
        pieces: list[list[bytes]] = []
        _add_lists_of(pieces, column, column.offsets)
        column.written = pieces[0] if len(pieces) == 1 else list(map(b"".join, zip(*pieces, strict=True)))
    return column.written


def _add_lists_of(pieces: list[list[bytes]], column: Ragged, bounds: npt.NDArray[np.int64]) -> None:
    """Add a piece for each owner of elements, of which `bounds` says where they begin and end, and further pieces for lists of the elements."""
    values = column.values
    if isinstance(values, Table):
        words, counted, lists = _words_of(values)
        pieces.append(_cut(words, counted, bounds))
        for below in lists:
            _add_lists_of(pieces, below, below.offsets[bounds])
    elif isinstance(values, Strings):
        pieces.append(_cut(*_text_words([values], len(values), empty=1), bounds))
    else:
        assert isinstance(values, Ints)
        pieces.append(_cut(values.values[:, None], np.ones((len(values), 1), np.bool_), bounds))


def _words_of(table: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], list[Ragged]]:
    """Return the words of each row and which of them count, both of shape (rows, words), and the columns of lists with elements.

    A word is a number of 64 bits. All columns are looked at together: a batch has few rows for its many columns.
    """
    numbers: dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]] = {}
    texts: dict[str, Strings] = {}
    lists: list[Ragged] = []
    for name, column in sorted(table.columns.items()):
        if isinstance(column, Strings):
            if any(column.dictionary):
                texts[name] = column
        elif isinstance(column, Ragged):
            lengths = column.lengths
            if lengths.any():
                numbers[name] = lengths, lengths > 0
                lists.append(column)
        elif column.valid.any():
            numbers[name] = column.values, column.valid
    last_number = _WORDS + len(numbers)
    width = last_number + _WORDS * len(texts)
    words, counted = np.empty((table.rows, width), np.int64), np.ones((table.rows, width), np.bool_)
    for place, (number, valid) in enumerate(numbers.values(), _WORDS):
        words[:, place], counted[:, place] = number, valid
    words[:, last_number:], counted[:, last_number:] = _text_words(list(texts.values()), table.rows)
    present = np.concatenate([counted[:, _WORDS:last_number], counted[:, last_number::_WORDS]], axis=1)
    words[:, :_WORDS] = _of_names([*numbers, *texts], present)
    return words, counted, lists


def _of_names(names: Sequence[str], present: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return for each row the digest of the names that it has, which `present` says, shape (rows, names)."""
    partial = np.flatnonzero(~present.all(axis=0))
    if not len(partial):
        return _joined([_text_digest(",".join(names))])
    packed = np.packbits(present[:, partial], axis=1)
    keys = np.zeros((len(present), -(-packed.shape[1] // 8) * 8), np.uint8)
    keys[:, : packed.shape[1]] = packed
    # Numbers are sorted quicker than bytes.
    kinds = keys.view(np.int64 if keys.shape[1] == 8 else f"V{keys.shape[1]}").ravel()
    _, firsts, which = np.unique(kinds, return_index=True, return_inverse=True)
    forms = [_text_digest(",".join(compress(names, present[row].tolist()))) for row in firsts.tolist()]
    return _joined(forms).take(which, axis=0)


def _text_words(
    columns: Sequence[Strings], rows: int, *, empty: int = 0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return for each row _WORDS words of each column, and which of them count, both of shape (rows, _WORDS * columns).

    Of an empty text `empty` words count: none in a column, where it is no text, and one in a list, where it is an element.
    """
    places = np.empty((rows, len(columns)), np.int64)
    texts: list[str] = []
    for place, column in enumerate(columns):
        np.add(column.indices, len(texts), out=places[:, place])
        texts += column.dictionary
    data = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, data), np.int64, len(data))
    counts = np.where(lengths > 0, lengths // 8 + 1, empty)
    for place in np.flatnonzero(lengths > _SHORT).tolist():
        data[place], lengths[place], counts[place] = _text_digest(texts[place])[-_SHORT:], _LONGER, _WORDS
    cells = np.empty((len(data), 1 + _SHORT), np.uint8)
    cells[:, 0] = lengths
    cells[:, 1:] = np.array(data, f"S{_SHORT}").view(np.uint8).reshape(-1, _SHORT)
    words, counted = cells.view("<i8"), np.arange(_WORDS) < counts[:, None]
    shape = (rows, _WORDS * len(columns))
    return words.take(places, axis=0).reshape(shape), counted.take(places, axis=0).reshape(shape)


@lru_cache(16_384)
def _text_digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _joined(hashes: list[bytes]) -> npt.NDArray[np.int64]:
    return np.frombuffer(b"".join(hashes), "<i8").reshape(-1, _WORDS)


def _cut(words: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_], bounds: npt.NDArray[np.int64]) -> list[bytes]:
    """Return the bytes of the words that count, of the rows between each two bounds."""
    starts = np.append(0, np.cumsum(counted.sum(axis=1)))[bounds]
    data = words[counted].astype("<i8", copy=False).tobytes()
    return [data[start:stop] for start, stop in pairwise((8 * starts).tolist())]


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
