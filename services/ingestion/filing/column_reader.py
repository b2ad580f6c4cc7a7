"""Reads columns that a filer packed, and trusts nothing in them: what it returns are columns as ingestion makes them of messages.

Every column has a value for each row, indices lie within their dictionary, lists begin with 0 and never descend, and nothing is
read whose size the bytes of the request do not account for. The elements themselves are checked afterwards, as those of messages
are (services.ingestion.filing.validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from libs.columns import Bools, Column, Ints, Kind, Ragged, Schema, Strings, Table, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.filing import elements
from services.ingestion.filing.elements import Choice, Element, Several
from services.ingestion.filing.findings import Place, consignment_place, element_path, entry_place

LISTS_MIN: Final = 1_000
"""Lists are bounded together as if there were so many of them, so that one that is too long is refused alone, as in messages."""
BARE_ENTRIES_MAX: Final = 1_000
"""Entries of lists that have no value at all: beyond it a few bytes would make a large table."""
_ENTRY_BYTES: Final = 2
"""Least size of a value or an entry in a message: its tag, and its length or value."""


class ColumnError(Exception):
    """Columns that are inconsistent: a reason of the catalogue, the path, the value and the facts of its sentence."""

    def __init__(self, reason: str, path: str, value: object = "", **facts: Any) -> None:
        """Take them."""
        super().__init__(f"{reason}: {path}")
        self.reason = reason
        self.path = path
        self.value = value
        self.facts = facts


@dataclass(frozen=True, slots=True)
class _Level:
    """A table of the request: its rows, where it stands, and the path of each row."""

    rows: int
    path: str
    """Of the message of columns. Example: "consignments.items"."""
    place: Place
    elements: Mapping[str, Element]
    root: bool

    def column(self, name: str) -> str:
        """Return the path of a column."""
        return f"{self.path}.{name}"

    def element(self, row: int, name: str) -> str:
        """Return the path of an element."""
        return element_path(self.place, row, name, self.root)


def read(message: ConsignmentColumns, bytes_max: int) -> Table:
    """Return the consignments of a filer's message, which must not change afterwards; written out, they have at most `bytes_max` bytes.

    The number of rows is checked before. Raises ColumnError.
    """
    reader = _Reader()
    root = _Level(message.rows, "consignments", consignment_place, elements.CONSIGNMENT, True)
    table = reader.table(message, schema_of(ConsignmentColumns), root)
    size = reader.bytes_at_least(bytes_max)
    if size > bytes_max:
        raise ColumnError("BATCH_EXPANDED_TOO_LARGE", "consignments", bytes=size, bytes_max=bytes_max)
    return table


class _Reader:
    """Reads the tables of one request and counts what they would be as messages."""

    def __init__(self) -> None:
        self._entries = 0
        self._texts: list[Strings] = []

    def bytes_at_least(self, enough: int) -> int:
        """Return at least how many bytes the rows have in messages; exact in its terms only where it is more than `enough`."""
        numbers = self._entries * _ENTRY_BYTES
        longest = sum(len(each) * max(map(len, each.dictionary)) for each in self._texts)
        if numbers + longest <= enough:
            return numbers + longest
        return numbers + sum(int(each.map(len, np.int64).sum()) for each in self._texts)

    def table(self, message: Any, schema: Schema, level: _Level) -> Table:
        """Read a table; only the columns of `level.elements` may have values."""
        columns: dict[str, Column] = {}
        for field, part in message.ListFields():
            kind = schema.columns.get(field.name)
            if kind is None or not part.ByteSize():
                continue  # rows and offsets; and columns without a value
            element = level.elements.get(field.name)
            if element is None:
                raise ColumnError("COLUMN_NOT_FILED", level.column(field.name))
            columns[field.name] = self._column(kind, part, schema, field.name, element, level)
        return Table(schema, level.rows, columns)

    def _column(self, kind: Kind, part: Message, schema: Schema, name: str, element: Element, level: _Level) -> Column:
        if kind is Kind.STRINGS:
            return self._strings(part, name, level)
        if kind is Kind.INTS:
            return self._ints(part, name, level, isinstance(element, Choice))
        if kind is Kind.BOOLS:
            return self._bools(part, name, level)
        assert isinstance(element, Several), f"{level.column(name)} is a column of lists"
        offsets = self._offsets(part, name, element, level)
        total = int(offsets[-1])
        place = entry_place(level.place, name, offsets)
        path = level.column(name)
        if kind is Kind.STRING_LISTS:
            # The values of a list have the paths of its entries: receptacles[2].
            return Ragged(offsets, self._list_values(part, _Level(total, path, place, {}, False)))
        self._entries += total
        below = _Level(total, path, place, elements.CHILDREN[name], False)
        child = self.table(part, schema.children[name], below)
        if total > BARE_ENTRIES_MAX and not child.names:
            raise ColumnError("COLUMN_ENTRIES_TOO_MANY", path, count=total, count_max=BARE_ENTRIES_MAX)
        return Ragged(offsets, child)

    def _list_values(self, part: Any, entries: _Level) -> Strings:
        if part.values.ByteSize():
            return self._strings(part.values, "values", entries, entry=True)
        if entries.rows > BARE_ENTRIES_MAX:
            raise ColumnError("COLUMN_ENTRIES_TOO_MANY", entries.path, count=entries.rows, count_max=BARE_ENTRIES_MAX)
        return Strings.absent(entries.rows)

    def _strings(self, part: Any, name: str, level: _Level, *, entry: bool = False) -> Strings:
        path, rows = level.column(name), level.rows
        indices = np.array(part.indices, np.int64)
        _check_length(path, "indices", len(indices), rows, rows)
        dictionary = part.dictionary[:]
        if len(dictionary) > rows:
            raise ColumnError("COLUMN_DICTIONARY_TOO_LARGE", path, count=len(dictionary), rows=rows)
        beyond = indices >= len(dictionary)
        if beyond.any():
            row = int(beyond.argmax())
            where = level.place(row) if entry else level.element(row, name)
            raise ColumnError("COLUMN_INDEX_UNKNOWN", where, int(indices[row]), column=path, count=len(dictionary))
        if len(set(dictionary)) < len(dictionary):
            first, second = _repeated(dictionary)
            raise ColumnError("COLUMN_VALUE_REPEATED", f"{path}.dictionary[{second}]", first=first)
        column = Strings(dictionary, indices).by_appearance()
        self._entries += int(np.count_nonzero(column.present)) if "" in dictionary else rows
        self._texts.append(column)
        return column

    def _ints(self, part: Any, name: str, level: _Level, is_choice: bool) -> Ints:
        path, rows = level.column(name), level.rows
        values = np.array(part.values, np.int64)
        _check_length(path, "values", len(values), rows, rows)
        valid = _bits(part.validity, rows, path, "validity") if part.validity else np.ones(rows, np.bool_)
        if is_choice:
            # In a message 0 is what an enumeration has where nothing is set.
            valid &= values != 0
        self._entries += int(np.count_nonzero(valid))
        return Ints(np.where(valid, values, 0), valid)

    def _bools(self, part: Any, name: str, level: _Level) -> Bools:
        path, rows = level.column(name), level.rows
        values = _bits(part.values, rows, path, "values")
        valid = _bits(part.validity, rows, path, "validity") if part.validity else np.ones(rows, np.bool_)
        self._entries += int(np.count_nonzero(valid))
        return Bools(values & valid, valid)

    def _offsets(self, part: Any, name: str, element: Several, level: _Level) -> npt.NDArray[np.int64]:
        path = level.column(name)
        offsets = np.array(part.offsets, np.int64)
        _check_length(path, "offsets", len(offsets), level.rows, level.rows + 1)
        wrong = np.diff(offsets) < 0
        if offsets[0] or wrong.any():
            row = 0 if offsets[0] else int(wrong.argmax())
            start, end = int(offsets[row]), int(offsets[min(row + 1, level.rows)])
            raise ColumnError("COLUMN_OFFSETS_WRONG", level.element(row, name), column=path, start=start, end=end)
        most = max(LISTS_MIN, level.rows) * element.bound.entries_max
        if offsets[-1] > most:
            raise ColumnError("COLUMN_ENTRIES_TOO_MANY", path, count=int(offsets[-1]), count_max=most)
        return offsets


def _check_length(path: str, unit: str, count: int, rows: int, expected: int) -> None:
    if count != expected:
        raise ColumnError("COLUMN_LENGTH_WRONG", path, count=count, unit=unit, rows=rows, expected=expected)


def _bits(packed: bytes, rows: int, path: str, part: str) -> npt.NDArray[np.bool_]:
    _check_length(path, f"bytes of {part}", len(packed), rows, -(-rows // 8))
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
    if bits[rows:].any():
        raise ColumnError("COLUMN_BITS_BEYOND", f"{path}.{part}", rows=rows)
    return bits[:rows].astype(np.bool_)


def _repeated(dictionary: list[str]) -> tuple[int, int]:
    """Return the places of the first value that is there twice."""
    places: dict[str, int] = {}
    for place, value in enumerate(dictionary):
        first = places.setdefault(value, place)
        if first < place:
            return first, place
    raise AssertionError("no value is repeated")
