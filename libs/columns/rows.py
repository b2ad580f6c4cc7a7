"""Row messages to columns and back, by field paths: consignor.address.city is the column consignor_address_city."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter, methodcaller
from typing import Any, Final, TypeAlias, TypeVar, cast

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from libs.columns.arrays import BoolArray, Bools, Column, IntArray, Ints, Ragged, Strings, TableLike
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
    """Turn row messages of one type into a table of `schema`."""
    columns: dict[str, Column] = {}
    if messages:
        # One message with all fields that any of them has: fields that it lacks need not be read.
        union = type(messages[0])()
        for message in messages:
            union.MergeFrom(message)
        _fill(make_table, schema, messages, None, union, "", columns)
    return make_table(schema, len(messages), columns)


def _fill(
    make_table: MakeTable[T],
    schema: Schema,
    messages: Sequence[Any],
    has_level: Any,
    union: Any,
    prefix: str,
    columns: dict[str, Column],
) -> None:
    """Add the columns of one level; `has_level` has the rows with this level's message (None: all)."""
    count = len(messages)
    for field in _fields_of(union, has_level is not None):
        name = prefix + field.name
        get = attrgetter(field.name)
        nested = field.message_type
        if field.is_repeated:
            lists = list(map(get, messages))
            lengths = np.fromiter(map(len, lists), np.int64, count)
            flat = list(chain.from_iterable(lists))
            if nested is not None:
                columns[name] = Ragged.of_lengths(lengths, fill_rows(make_table, schema.children[name], flat))
            else:
                text = field.type == FieldDescriptor.TYPE_STRING
                columns[name] = Ragged.of_lengths(lengths, Strings.of(flat) if text else Ints.of(flat))
        elif nested is not None:
            has = _has(field, messages, count)
            inner = list(map(get, messages))
            if nested.full_name == TIMESTAMP:
                columns[name] = Ints.of(_micros(inner, count), has)
            else:
                _fill(make_table, schema, inner, has, get(union), name + "_", columns)
        else:
            values = list(map(get, messages))
            if field.type == FieldDescriptor.TYPE_STRING:
                columns[name] = Strings.of(values)
                continue
            valid = _validity(field, messages, values, has_level, count)
            if field.type == FieldDescriptor.TYPE_BOOL:
                columns[name] = Bools.of(np.fromiter(values, np.bool_, count), valid)
            else:
                columns[name] = Ints.of(np.fromiter(values, np.int64, count), valid)


def _micros(stamps: Sequence[Any], count: int) -> IntArray:
    """Return the microseconds of instants; UNREPRESENTABLE for one that is invalid or that no column can contain."""
    seconds = np.fromiter(map(_SECONDS, stamps), np.int64, count)
    nanos = np.fromiter(map(_NANOS, stamps), np.int64, count)
    wrong = (seconds < -_SECONDS_MAX) | (seconds > _SECONDS_MAX) | (nanos < 0) | (nanos > _NANOS_MAX)
    return np.where(wrong, UNREPRESENTABLE, seconds * 1_000_000 + nanos // 1_000)


def _fields_of(union: Any, nested: bool) -> list[FieldDescriptor]:
    """Return the fields that any of the messages has; of nested messages also plain numbers, whose 0 is a value."""
    present = [field for field, _ in union.ListFields()]
    if nested:
        known = {field.name for field in present}
        present += [field for field in union.DESCRIPTOR.fields if field.name not in known and _plain_number(field)]
    return present


def _plain_number(field: FieldDescriptor) -> bool:
    text = field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
    return not (field.is_repeated or field.has_presence or text or field.enum_type is not None)


def _has(field: FieldDescriptor, messages: Sequence[Any], count: int) -> BoolArray:
    return np.fromiter(map(methodcaller("HasField", field.name), messages), np.bool_, count)


def _validity(field: FieldDescriptor, messages: Sequence[Any], values: list[Any], has_level: Any, count: int) -> Any:
    """Return which rows have a value: by presence if the field has it, not 0 for enums, else where its message is present."""
    if field.has_presence:
        return _has(field, messages, count)
    if field.enum_type is not None:
        return np.fromiter(values, np.int64, count) != 0
    return np.ones(count, np.bool_) if has_level is None else has_level


def read_rows(table: TableLike, row_class: type[M]) -> list[M]:
    """Turn the rows of a table back into row messages."""
    messages = [row_class() for _ in range(table.rows)]
    _read(table, messages, cast(Descriptor, row_class.DESCRIPTOR), "")
    return messages


def _read(table: TableLike, messages: Sequence[Any], row: Descriptor, prefix: str) -> None:
    for field in row.fields:
        name = prefix + field.name
        nested = field.message_type
        if nested is not None and not field.is_repeated and nested.full_name != TIMESTAMP:
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
