"""What columns a message of columns has, read from its descriptor once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

TIMESTAMP = "google.protobuf.Timestamp"
_WIRE = "luxor.columns.v1."


class Kind(Enum):
    """The kind of a column."""

    STRINGS = "Strings"
    INTS = "Ints"
    BOOLS = "Bools"
    STRING_LISTS = "StringLists"
    INT_LISTS = "IntLists"
    CHILD = "child table"

    __hash__ = object.__hash__  # each member is one object, and Enum's own hash is a call of Python for each column


@dataclass(frozen=True)
class Schema:
    """The columns of one message type, by name, and the tables below it."""

    name: str
    """Full name of the message type."""
    columns: dict[str, Kind]
    children: dict[str, Schema]
    numbers: dict[str, int] = dataclasses.field(default_factory=dict)
    """The numbers of its fields, also of `rows` or `offsets`; none where rows are only read as messages."""


def schema_of(message_class: type[Message]) -> Schema:
    """Return the schema of a message class of columns."""
    return _schema(cast(Descriptor, message_class.DESCRIPTOR))


_schemas: dict[str, Schema] = {}


def _schema(descriptor: Descriptor) -> Schema:
    found = _schemas.get(descriptor.full_name)
    if found is None:
        found = _schemas[descriptor.full_name] = _build(descriptor)
    return found


def _build(descriptor: Descriptor) -> Schema:
    columns: dict[str, Kind] = {}
    children: dict[str, Schema] = {}
    for each in descriptor.fields:
        if each.message_type is None:
            if each.name not in ("rows", "offsets"):
                raise TypeError(f"{descriptor.full_name}.{each.name} is no column: use a type of {_WIRE[:-1]}")
        elif each.message_type.full_name.startswith(_WIRE):
            columns[each.name] = Kind(each.message_type.name)
        else:
            columns[each.name] = Kind.CHILD
            children[each.name] = _schema(each.message_type)
    return Schema(descriptor.full_name, columns, children, {each.name: each.number for each in descriptor.fields})


def expected_columns(row: Descriptor, prefix: str = "") -> dict[str, Kind]:
    """Return the columns that a row message needs: one for each leaf, named by its path; repeated messages as child tables.

    A contract test compares them with the message of columns, so that no element is lost between the two.
    """
    kinds: dict[str, Kind] = {}
    for field in row.fields:
        name = prefix + field.name
        nested = field.message_type is not None and field.message_type.full_name != TIMESTAMP
        if nested and field.is_repeated:
            kinds[name] = Kind.CHILD
        elif nested:
            kinds |= expected_columns(cast(Descriptor, field.message_type), name + "_")
        else:
            kinds[name] = _leaf_kind(field)
    return kinds


def _leaf_kind(field: FieldDescriptor) -> Kind:
    if field.type == FieldDescriptor.TYPE_STRING:
        return Kind.STRING_LISTS if field.is_repeated else Kind.STRINGS
    if field.type == FieldDescriptor.TYPE_BOOL and not field.is_repeated:
        return Kind.BOOLS
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_BYTES):
        raise TypeError(f"{field.full_name} has a type without a column")
    return Kind.INT_LISTS if field.is_repeated else Kind.INTS
