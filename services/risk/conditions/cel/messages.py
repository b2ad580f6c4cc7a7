"""Rows as the messages that the CEL library knows: their types, and how a batch's columns become them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2

from libs.columns import Kind
from luxor.consignment.v1 import consignment_pb2
from services.risk.conditions.evaluation.frames import ColumnSource
from services.risk.conditions.evaluation.vectors import Interned, Segments, Vec

PACKAGE: Final = "luxor.conditions"

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_WRAPPERS: Final = {Kind.STRINGS: "StringValue", Kind.INTS: "Int64Value", Kind.BOOLS: "BoolValue"}


@dataclass(frozen=True)
class Shape:
    """The elements of one kind of row, and the shapes of the child tables below it."""

    message: str
    """Full name of the message type that conditions see."""
    elements: Mapping[str, Kind]
    children: Mapping[str, Shape]


def pool_of(shape: Shape) -> descriptor_pool.DescriptorPool:
    """The messages of a shape and what conditions name beside them."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(descriptor: Any) -> None:
        if descriptor.name in added:
            return
        added.add(descriptor.name)
        for dependency in descriptor.dependencies:
            add(dependency)
        copy = descriptor_pb2.FileDescriptorProto()
        descriptor.CopyToProto(copy)
        pool.Add(copy)

    add(wrappers_pb2.DESCRIPTOR)
    add(consignment_pb2.DESCRIPTOR)
    file = descriptor_pb2.FileDescriptorProto(name="luxor/conditions/rows.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    _describe(file, shape, set())
    pool.Add(file)
    return pool


def _describe(file: descriptor_pb2.FileDescriptorProto, shape: Shape, done: set[str]) -> None:
    if shape.message in done:
        return
    done.add(shape.message)
    message = file.message_type.add(name=shape.message.rpartition(".")[2])
    for number, (name, kind) in enumerate(shape.elements.items(), 1):
        field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
        if kind in _WRAPPERS:
            field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".google.protobuf.{_WRAPPERS[kind]}"
            continue
        field.label = _FIELD.LABEL_REPEATED
        if kind is Kind.CHILD:
            field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{shape.children[name].message}"
        else:
            field.type = _FIELD.TYPE_STRING if kind is Kind.STRING_LISTS else _FIELD.TYPE_INT64
    for child in shape.children.values():
        _describe(file, child, done)


def fill(
    messages: Sequence[Any],
    shape: Shape,
    source: ColumnSource,
    names: Collection[str] | None = None,
    path: str = "",
    at: Any = None,
) -> None:
    """Set the elements of messages, one a row of the table at `path` (the rows `at`, where they are given), and of what is
    below; with `names` only those.
    """
    for name, kind in shape.elements.items():
        if names is not None and name not in names:
            continue
        vec = source.column(path, name)
        vec = vec if at is None else vec.take(at)
        if kind in _WRAPPERS:
            values, null = plain(vec), vec.null
            for row, message in enumerate(messages):
                if null is None or not null[row]:
                    getattr(message, name).value = values[row]
            continue
        segments: Segments = vec.data
        starts, counts = segments.starts.tolist(), segments.counts.tolist()
        if kind is Kind.CHILD:
            children = [
                getattr(message, name).add()
                for message, count in zip(messages, counts, strict=True)
                for _ in range(count)
            ]
            rows = np.array(
                [start + place for start, count in zip(starts, counts, strict=True) for place in range(count)], int
            )
            fill(children, shape.children[name], source, names, f"{path}/{name}" if path else name, rows)
        else:
            elements = plain(segments.base)
            for message, start, count in zip(messages, starts, counts, strict=True):
                getattr(message, name).extend(elements[start : start + count])


def plain(vec: Vec) -> list[Any]:
    """The data of a vector as a list of Python values, one a row."""
    if isinstance(vec.data, Interned):
        return [vec.data.entries[index] for index in vec.data.indices.tolist()]
    values: list[Any] = vec.data.tolist()
    return values
