"""A table of columns, read lazily from its message, and its ways to and from row messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
from google.protobuf.message import Message

from libs.columns import wire
from libs.columns.arrays import Bools, Column, IndexArray, Ints, Ragged, Strings
from libs.columns.rows import fill_rows, read_rows
from libs.columns.schema import Kind, Schema, schema_of
from libs.columns.varints import UINT32, field, varint, varints

M = TypeVar("M", bound=Message)


class Table:
    """Many rows as columns, of a schema.

    Columns that a message holds are read when first asked for; columns that nobody set are absent in every row.
    """

    __slots__ = ("_columns", "_is_as_read", "_source", "rows", "schema")

    def __init__(self, schema: Schema, rows: int, columns: Mapping[str, Column] | None = None) -> None:
        """Make a table of `rows` rows; each column has as many.

        Raises:
            KeyError: a column is not in the schema.
            ValueError: a column has another number of rows.
        """
        self.schema = schema
        self.rows = rows
        self._source: Any = None
        self._is_as_read = False
        self._columns: dict[str, Column] = {}
        for name, column in (columns or {}).items():
            self._set(name, column)

    def __len__(self) -> int:
        return self.rows

    def _set(self, name: str, column: Column) -> None:
        if name not in self.schema.columns:
            raise KeyError(f"{self.schema.name} has no column {name}")
        if len(column) != self.rows:
            raise ValueError(f"{self.schema.name}.{name} has {len(column)} rows where the table has {self.rows}")
        self._columns[name] = column

    @classmethod
    def of(cls, message_class: type[Message], rows: int, columns: Mapping[str, Column]) -> Table:
        """Make a table for a message class of columns."""
        return cls(schema_of(message_class), rows, columns)

    @classmethod
    def decode(cls, message: Message) -> Table:
        """Read a message of columns, which must not change afterwards.

        Raises MalformedColumns when a column that contradicts itself is first read.
        """
        table = cls(schema_of(type(message)), int(message.rows))  # type: ignore[attr-defined]
        table._source = message
        table._is_as_read = True
        return table

    @classmethod
    def parse(cls, message_class: type[Message], payload: bytes) -> Table:
        """Read the bytes of a message of columns."""
        return cls.decode(message_class.FromString(payload))

    @classmethod
    def _child(cls, schema: Schema, message: Any, rows: int) -> Table:
        table = cls(schema, rows)
        table._source = message
        return table

    @property
    def names(self) -> list[str]:
        """Return the names of the columns that may have a value, without reading them."""
        return [name for name in self.schema.columns if self.may_have(name)]

    def may_have(self, name: str) -> bool:
        """Return whether a column may have a value, without reading it; raise KeyError if the schema has none of that name."""
        if name in self._columns:
            return True
        if name not in self.schema.columns:
            raise KeyError(name)
        return self._has(name)

    @property
    def columns(self) -> dict[str, Column]:
        """Return every column that may have a value, by name."""
        return {name: self.column(name) for name in self.names}

    def _has(self, name: str) -> bool:
        return self._source is not None and bool(self._source.HasField(name))

    def column(self, name: str) -> Column:
        """Return a column by name; raise KeyError if the schema has none of that name."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self.read_column(name)
        return column

    def read_column(self, name: str) -> Column:
        """Decode a column."""
        kind = self.schema.columns[name]
        there = self._has(name)
        if kind is Kind.CHILD:
            child = self.schema.children[name]
            if not there:
                return Ragged(np.zeros(self.rows + 1, np.int64), Table(child, 0))
            message = getattr(self._source, name)
            offsets = wire.read_offsets(message.offsets, self.rows, name)
            return Ragged(offsets, Table._child(child, message, int(offsets[-1])))
        if not there:
            return cast(Column, _ABSENT[kind](self.rows))
        return cast(Column, _READ[kind](getattr(self._source, name), self.rows, f"{self.schema.name}.{name}"))

    def strings(self, name: str) -> Strings:
        """Return a column of strings."""
        column = self.column(name)
        assert isinstance(column, Strings), name
        return column

    def ints(self, name: str) -> Ints:
        """Return a column of whole numbers."""
        column = self.column(name)
        assert isinstance(column, Ints), name
        return column

    def bools(self, name: str) -> Bools:
        """Return a column of truth values."""
        column = self.column(name)
        assert isinstance(column, Bools), name
        return column

    def ragged(self, name: str) -> Ragged:
        """Return a column of lists or a child table with its offsets."""
        column = self.column(name)
        assert isinstance(column, Ragged), name
        return column

    def child(self, name: str) -> Table:
        """Return a child table: the rows of all rows, one after the other."""
        values = self.ragged(name).values
        assert isinstance(values, Table), name
        return values

    def with_columns(self, columns: Mapping[str, Column]) -> Table:
        """Return a table with these columns set or replaced."""
        table = Table(self.schema, self.rows)
        table._source = self._source
        table._columns = dict(self._columns)
        for name, column in columns.items():
            table._set(name, column)
        return table

    def take(self, rows: IndexArray) -> Table:
        """Return these rows, in this order; the table itself for all rows in their order."""
        if len(rows) == self.rows and bool((rows == np.arange(self.rows)).all()):
            return self
        return Table(self.schema, len(rows), {name: column.take(rows) for name, column in self.columns.items()})

    @staticmethod
    def concat(tables: Sequence[Table]) -> Table:
        """Put tables of one schema one below the other."""
        if len(tables) == 1:
            return tables[0]
        schema = tables[0].schema
        names = [n for n in schema.columns if any(n in t._columns or t._has(n) for t in tables)]
        columns: dict[str, Column] = {}
        for name in names:
            parts: list[Any] = [table.column(name) for table in tables]
            columns[name] = type(parts[0]).concat(parts)
        return Table(schema, sum(t.rows for t in tables), columns)

    def serialize(self, message_class: type[Message]) -> bytes:
        """Write the table as the bytes of a message of columns.

        Raises TypeError for the class of another schema.
        """
        if schema_of(message_class) != self.schema:
            raise TypeError(f"a table of {self.schema.name} cannot be written as {message_class.DESCRIPTOR.full_name}")
        parts = [varint(self.schema.numbers["rows"] << 3), varint(self.rows)] if self.rows else []
        self._add(parts)
        return b"".join(parts)

    def _add(self, parts: list[bytes]) -> None:
        """Add the bytes of the columns that have a value."""
        for name, column in self.columns.items():
            if isinstance(column, Ragged) and isinstance(column.values, Table):
                if not column.values.rows:
                    continue
                below = [field(column.values.schema.numbers["offsets"], varints(column.offsets, UINT32))]
                column.values._add(below)
                content = b"".join(below)
            else:
                content = _BYTES[self.schema.columns[name]](column)
                if not content:
                    continue
            parts.append(field(self.schema.numbers[name], content))

    def encode(self, message_class: type[M]) -> M:
        """Write the table as a message of columns."""
        return message_class.FromString(self.serialize(message_class))

    def payload(self, message_class: type[Message]) -> bytes:
        """Return the bytes of the message that the table was read from, or of another table what `serialize` writes.

        Raises MalformedColumns if a column contradicts itself, TypeError as `serialize`.
        """
        if not self._is_as_read or schema_of(message_class) != self.schema:
            return self.serialize(message_class)
        self._read_all()
        return cast(bytes, self._source.SerializeToString())

    def _read_all(self) -> None:
        for column in self.columns.values():
            if isinstance(column, Ragged) and isinstance(column.values, Table):
                column.values._read_all()

    def write(self, message: Message) -> None:
        """Write the table into an empty message of columns; where that is a part of another, nothing needs to be copied there."""
        # What is there already would stay before what is written.
        assert not message.ByteSize(), f"{message.DESCRIPTOR.full_name} is written into twice"
        message.MergeFromString(self.serialize(type(message)))

    @classmethod
    def from_messages(
        cls, messages: Iterable[Message], message_class: type[Message], row_class: type[Message]
    ) -> Table:
        """Turn row messages into columns: a column for each leaf, named by its path.

        Fields that the contract does not know must be dropped before, as the server does with those of requests.
        """
        # A list, since a repeated field creates the Python objects of its messages again in each iteration.
        return fill_rows(cls, schema_of(message_class), list(messages))

    def to_messages(self, row_class: type[M]) -> list[M]:
        """Return the columns as row messages."""
        return read_rows(self, row_class)


_READ: dict[Kind, Any] = {
    Kind.STRINGS: wire.read_strings,
    Kind.INTS: wire.read_ints,
    Kind.BOOLS: wire.read_bools,
    Kind.STRING_LISTS: wire.read_string_lists,
    Kind.INT_LISTS: wire.read_int_lists,
}
_BYTES: dict[Kind, Any] = {
    Kind.STRINGS: wire.strings_bytes,
    Kind.INTS: wire.ints_bytes,
    Kind.BOOLS: wire.bools_bytes,
    Kind.STRING_LISTS: wire.lists_bytes,
    Kind.INT_LISTS: wire.lists_bytes,
}
_ABSENT: dict[Kind, Any] = {
    Kind.STRINGS: Strings.absent,
    Kind.INTS: Ints.absent,
    Kind.BOOLS: Bools.absent,
    Kind.STRING_LISTS: lambda rows: Ragged(np.zeros(rows + 1, np.int64), Strings.absent(0)),
    Kind.INT_LISTS: lambda rows: Ragged(np.zeros(rows + 1, np.int64), Ints.absent(0)),
}
