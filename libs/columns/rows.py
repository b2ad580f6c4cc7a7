"""Row messages to columns and back, by field paths: consignor.address.city is the column consignor_address_city."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from operator import attrgetter, methodcaller
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from libs.columns.arrays import BoolArray, Bools, Column, Ints, Ragged, Strings, TableLike
from libs.columns.schema import TIMESTAMP, Schema

M = TypeVar("M", bound=Message)
T = TypeVar("T", bound=TableLike)
MakeTable: TypeAlias = Callable[[Schema, int, dict[str, Column]], T]
"""Makes a table of a schema with so many rows and these columns."""

UNREPRESENTABLE: Final = -(2**63)
"""Stands for an instant that no column can hold; it is before every bound."""
_SECONDS_MAX: Final = 9_000_000_000_000
_NANOS_MAX: Final = 999_999_999
_SECONDS: Final = attrgetter("seconds")
_NANOS: Final = attrgetter("nanos")


def fill_rows(make_table: MakeTable[T], schema: Schema, messages: Sequence[Any]) -> T:
    """Turn row messages of one type, without unknown fields, into a table of `schema`."""
    columns: dict[str, Column] = {}
    if messages:
        # One message after the other is, for protobuf, one message with the fields of all of them.
        joined = b"".join([message.SerializeToString() for message in messages])
        row = messages[0].DESCRIPTOR
        merged = _merged_class(row).FromString(joined)
        columns = _columns(make_table, schema, _Level(row, merged, len(messages), lambda: messages), "")
    return make_table(schema, len(messages), columns)


class _Level:
    """The messages of one level of a batch: each of them, and all of them as one message with a list for each element."""

    def __init__(self, row: Descriptor, merged: Any, count: int, read: Callable[[], Sequence[Any]]) -> None:
        """Take the type of the messages, the merged one, their number, and what returns them, which is called only if needed."""
        self.row = row
        self.merged = merged
        self.count = count
        self._read = read

    @cached_property
    def messages(self) -> Sequence[Any]:
        """Return each message."""
        return self._read()

    def values(self, field: FieldDescriptor) -> list[Any]:
        """Return the value of a field in each message."""
        return list(map(attrgetter(field.name), self.messages))

    def has(self, field: FieldDescriptor, rows: Sequence[int]) -> BoolArray:
        """Return which of some messages have a field."""
        asked = self.messages if len(rows) == self.count else [self.messages[row] for row in rows]
        return np.fromiter(map(methodcaller("HasField", field.name), asked), np.bool_, len(rows))

    def valid(self, field: FieldDescriptor, is_set: BoolArray) -> BoolArray:
        """Return which messages have a value, of which those in `is_set` have another one than 0; 0 of an enumeration is none."""
        if field.has_presence:
            zeros = np.flatnonzero(~is_set)
            is_set[zeros] = self.has(field, zeros.tolist())
        return is_set


def _columns(make_table: MakeTable[T], schema: Schema, level: _Level, prefix: str) -> dict[str, Column]:
    """Return the columns of one level, one value for each message of it."""
    columns: dict[str, Column] = {}
    for found, part in level.merged.ListFields():
        field = level.row.fields_by_number[found.number]
        name = prefix + field.name
        nested = field.message_type
        if field.is_repeated:
            columns[name] = _lists(make_table, schema, field, level, part, name)
        elif nested is None:
            columns[name] = _leaf(field, level, part)
        elif nested.full_name == TIMESTAMP:
            columns[name] = _times(field, level, part)
        else:
            columns |= _nested(make_table, schema, field, level, part, name + "_")
    return columns


def _nested(
    make_table: MakeTable[T], schema: Schema, field: FieldDescriptor, level: _Level, part: Any, prefix: str
) -> dict[str, Column]:
    """Return the columns of a message in each message; where it is absent, so are they."""
    row = cast(Descriptor, field.message_type)
    if _is_in_all(row, part, level.count):
        return _columns(make_table, schema, _Level(row, part, level.count, lambda: level.values(field)), prefix)
    has = level.has(field, range(level.count))
    rows = np.flatnonzero(has)

    def read() -> list[Any]:
        return [getattr(level.messages[row], field.name) for row in rows.tolist()]

    found = _columns(make_table, schema, _Level(row, part, len(rows), read), prefix)
    return {name: _spread(column, has) for name, column in found.items()}


def _is_in_all(row: Descriptor, merged: Any, count: int) -> bool:
    """Return whether an element has so many values: each message has at most one of it, so there are so many messages."""
    for found, part in merged.ListFields():
        field = row.fields_by_number[found.number]
        nested = field.message_type
        if not field.is_repeated and (len(part) == count if nested is None else _is_in_all(nested, part, count)):
            return True
    return False


def _spread(column: Column, has: BoolArray) -> Column:
    """Return a column of the rows that have a message as one of all rows."""
    if isinstance(column, Ragged):
        lengths = np.zeros(len(has), np.int64)
        lengths[has] = column.lengths
        return Ragged.of_lengths(lengths, column.values)
    if isinstance(column, Strings):
        return _spread_strings(column, has)
    values: npt.NDArray[Any] = np.zeros(len(has), column.values.dtype)
    valid = np.zeros(len(has), np.bool_)
    values[has], valid[has] = column.values, column.valid
    return Bools(values, valid) if isinstance(column, Bools) else Ints(values, valid)


def _spread_strings(column: Strings, has: BoolArray) -> Strings:
    """Put the absent value where the first row has it, so that the dictionary stays in the order of first rows."""
    dictionary, first = list(column.dictionary), int(has.argmin())
    if "" in dictionary:
        place = dictionary.index("")
        indices = np.full(len(has), place, np.int32)
        indices[has] = column.indices
        return Strings(dictionary, indices).by_appearance()
    place = int(column.indices[:first].max(initial=-1)) + 1
    dictionary.insert(place, "")
    indices = np.full(len(has), place, np.int32)
    indices[has] = column.indices + (column.indices >= place)
    return Strings(dictionary, indices)


def _lists(
    make_table: MakeTable[T], schema: Schema, field: FieldDescriptor, level: _Level, part: Any, name: str
) -> Ragged:
    lists = level.values(field)
    lengths = np.fromiter(map(len, lists), np.int64, level.count)
    if field.message_type is None:
        is_text = field.type == FieldDescriptor.TYPE_STRING
        assert len(part) == lengths.sum(), f"{field.full_name} has values in fields that the contract does not know"
        return Ragged.of_lengths(lengths, Strings.of(part[:]) if is_text else Ints.of(part[:]))
    entries = _Level(field.message_type, part, int(lengths.sum()), lambda: list(chain.from_iterable(lists)))
    child = schema.children[name]
    return Ragged.of_lengths(lengths, make_table(child, entries.count, _columns(make_table, child, entries, "")))


def _leaf(field: FieldDescriptor, level: _Level, part: Any) -> Column:
    """Return the column of an element; where all messages have a value, those of the merged one are in order."""
    is_whole = len(part) == level.count
    if field.type == FieldDescriptor.TYPE_STRING:
        return Strings.of(part[:] if is_whole else level.values(field))
    is_bool = field.type == FieldDescriptor.TYPE_BOOL
    dtype = np.bool_ if is_bool else np.int64
    numbers: npt.NDArray[Any]
    if is_whole:
        numbers, valid = np.array(part, dtype), np.ones(level.count, np.bool_)
    else:
        numbers = np.fromiter(level.values(field), dtype, level.count)
        valid = level.valid(field, numbers != 0)
    return Bools(numbers, valid) if is_bool else Ints(numbers, valid)


def _times(field: FieldDescriptor, level: _Level, part: Any) -> Ints:
    """Return the microseconds of instants; UNREPRESENTABLE for one that is invalid or that no column can contain."""
    count = level.count
    if len(part.seconds) == count and not part.nanos:
        seconds, nanos, valid = np.array(part.seconds, np.int64), np.zeros(count, np.int64), np.ones(count, np.bool_)
    else:
        stamps = level.values(field)
        seconds = np.fromiter(map(_SECONDS, stamps), np.int64, count)
        nanos = np.fromiter(map(_NANOS, stamps), np.int64, count)
        valid = level.valid(field, (seconds != 0) | (nanos != 0))
    wrong = (seconds < -_SECONDS_MAX) | (seconds > _SECONDS_MAX) | (nanos < 0) | (nanos > _NANOS_MAX)
    return Ints.of(np.where(wrong, UNREPRESENTABLE, seconds * 1_000_000 + nanos // 1_000), valid)


_merged: dict[str, type[Message]] = {}


def _merged_class(row: Descriptor) -> type[Message]:
    """Return the class of the message that many messages of one type make together: each element is a list, messages are one."""
    found = _merged.get(row.full_name)
    if found is None:
        file = FileDescriptorProto(name=row.full_name, package="merged", syntax="proto3")
        name = _add_merged(file, row, set())
        pool = DescriptorPool()
        pool.AddSerializedFile(file.SerializeToString())
        found = GetMessageClass(pool.FindMessageTypeByName(name.removeprefix(".")))
        _merged[row.full_name] = found
    return found


def _add_merged(file: FileDescriptorProto, row: Descriptor, names: set[str]) -> str:
    """Add the merged form of a message and of all in it to a file; return its name."""
    name = row.full_name.replace(".", "_")
    if name not in names:
        names.add(name)
        merged = DescriptorProto(name=name)
        for field in row.fields:
            part = merged.field.add(name=field.name, number=field.number)
            if field.message_type is not None:
                part.label, part.type = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.TYPE_MESSAGE
                part.type_name = _add_merged(file, field.message_type, names)
            else:
                kind = FieldDescriptor.TYPE_INT32 if field.enum_type is not None else field.type
                part.label, part.type = FieldDescriptorProto.LABEL_REPEATED, cast(Any, kind)
        file.message_type.append(merged)
    return f".merged.{name}"


def read_rows(table: TableLike, row_class: type[M]) -> list[M]:
    """Turn the rows of a table back into row messages."""
    messages = [row_class() for _ in range(table.rows)]
    _read(table, messages, cast(Descriptor, row_class.DESCRIPTOR), "")
    return messages


def _read(table: TableLike, messages: Sequence[Any], row: Descriptor, prefix: str) -> None:
    for field in row.fields:
        name = prefix + field.name
        nested = field.message_type
        if not _may_have(table, field, name):
            continue  # most elements are absent in most tables
        if _is_nested(field):
            _read_nested(table, messages, field, name)
            continue
        column = table.column(name)
        if isinstance(column, Ragged):
            _read_list(column, messages, field)
            continue
        for message, value in zip(messages, _values(column), strict=True):
            if value is None:
                continue
            if nested is not None:
                seconds, micros = divmod(value, 1_000_000)
                stamp = getattr(message, field.name)
                stamp.seconds, stamp.nanos = seconds, micros * 1000
            else:
                setattr(message, field.name, value)


def _is_nested(field: FieldDescriptor) -> bool:
    """Return whether the elements of a message have columns of their own."""
    nested = field.message_type
    return nested is not None and not field.is_repeated and nested.full_name != TIMESTAMP


def _may_have(table: TableLike, field: FieldDescriptor, name: str) -> bool:
    """Return whether a column of an element may have a value. Raises KeyError for an element that the table has not."""
    if not _is_nested(field):
        return table.may_have(name)
    return any(_may_have(table, part, f"{name}_{part.name}") for part in cast(Descriptor, field.message_type).fields)


def _values(column: Column) -> list[Any]:
    if isinstance(column, Strings):
        return [value or None for value in column.tolist()]
    assert isinstance(column, Ints | Bools)
    return [
        value if valid else None for value, valid in zip(column.values.tolist(), column.valid.tolist(), strict=True)
    ]


def _read_nested(table: TableLike, messages: Sequence[Any], field: FieldDescriptor, name: str) -> None:
    """Read a nested message into parts of their own and set those that hold anything: an absent one stays absent."""
    nested = cast(Descriptor, field.message_type)
    parts = [type(getattr(m, field.name))() for m in messages]
    _read(table, parts, nested, name + "_")
    marks = [f for f in nested.fields if not f.is_repeated and f.message_type is None and not f.has_presence]
    has_level = np.zeros(len(messages), np.bool_)
    for mark in marks:
        if table.may_have(f"{name}_{mark.name}"):
            column = table.column(f"{name}_{mark.name}")
            if isinstance(column, Ints | Bools):
                has_level |= column.valid
    for message, part, present in zip(messages, parts, has_level.tolist(), strict=True):
        if present or part.ByteSize():
            getattr(message, field.name).CopyFrom(part)


def _read_list(column: Ragged, messages: Sequence[Any], field: FieldDescriptor) -> None:
    values = column.values
    if isinstance(values, Strings):
        flat: list[Any] = values.tolist()
    elif isinstance(values, Ints):
        flat = values.values.tolist()
    else:
        kind = GetMessageClass(cast(Descriptor, field.message_type))
        flat = read_rows(values, kind)
    for index, message in enumerate(messages):
        span = column.span(index)
        if span.stop > span.start:
            getattr(message, field.name).extend(flat[span])
