"""Requests as an enemy writes them: for every field of a message, one beyond its bounds at a time, in a message that is else in order.

All follows from the descriptors, so an RPC or field that is added is attacked without a line here.
"""

from __future__ import annotations

import itertools
import random
import struct
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from libs.bounds import bound_of
from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentColumnsRequest
from tests.ingestion.consignments import consignment

TIMESTAMP = "google.protobuf.Timestamp"
MRN = "26DE32329000033OR6"
LIST_ENTRIES = 1_200
TEXTS = (
    "\x00",
    "a\x00b",
    "\x1b[31m",
    "\u0085",
    "\u2028",
    "\ud7ff\ufdd0",
    "x" * 3_000,
    "a" * 200_000,
    "' or 1=1 --",
    "%s{0}{path}",
    "-1",
    "🛃" * 40,
)
ENVELOPE = ("mrn", "version", "accepted_at", "filer")
"""The columns that ingestion adds to those of filers."""
DOCUMENTS = (
    "\x00",
    "[" * 5_000,
    "{a: " * 3_000,
    "a: &a [*a]",
    "a: &a [1, 1]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c, *c]",
    "a: " + "9" * 5_000,
    "a: 1e999\nb: .nan\nc: -.inf\nd: 0x7fffffffffffffffffff",
    "a: 99999-99-99\nb: 0000-00-00\nc: 10000-01-01T00:00:00Z",
    "a: !!python/object/apply:os.system [true]",
    "a: !!binary x\nb: !!float x\nc: !!int x\nd: !!timestamp x",
    'a: "\\0 \\ud800 \\U0010ffff"',
    "? [a, b]\n: {c: d}",
    "- a\n b: c\n\t- d",
    "name: {}\nversion: []\nrules: 1\ncharges: [null]",
    "null",
    "\ufeff%YAML 9.9\n---\n...",
)
"""Texts that are no law and no rules, or more than any reader of YAML likes."""
INTEGERS = (
    -(2**63),
    -(2**31),
    -1,
    0,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53 + 1,
    10**12 + 1,
    10**16 + 1,
    10**18,
    10**18 + 1,
    2**62,
    2**63 - 1,
)
TIMES = (
    (2**62, 0),
    (-(2**62), 0),
    (-(2**63), -(2**31)),
    (2**63 - 1, 2**31 - 1),
    (1_790_000_000, -1),
    (1_790_000_000, 10**9),
    (-62_135_596_801, 0),
    (253_402_300_800, 0),
    (0, 0),
)
ENUMS = (-1, 999, 2**31 - 1, -(2**31))
FRACTIONS = (float("nan"), float("inf"), float("-inf"), 1e308, -1e308)
NUMBERS = (
    "99999999999",
    "-99999999999",
    "9" * 5_000,
    "1_0",
    " 1",
    "\u0663",
    "1e9",
    "",
)
"""Texts that a handler reads as a number, and that no column of 31 bits takes or that are written as no answer writes them."""
PIECES = (
    b"zz",
    b"\xff",
    b"99999999999.A",
    b"9" * 5_000 + b".A",
    b"-1.A",
    b"1_0.A",
    b"1.",
    b"1.\x00",
    b"\x00",
    b".",
    struct.pack("<qq", -1, -1),
    struct.pack("<qq", 2**63 - 1, 2**63 - 1),
    struct.pack("<qq", -(2**63), 0),
    struct.pack("<qq", 20_785, 2**63 - 1) + b"\x00",
)
"""What a token of ours might hold, so that a handler goes on to read it."""
BYTES = (b"\x00", b"\xff" * 64, b"x" * 100_000)

_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
_PYTHON = {FieldDescriptor.TYPE_STRING: str, FieldDescriptor.TYPE_BYTES: bytes}
_ORDERLY: dict[str, Any] = {
    "mrn": MRN,
    "amended_mrn": MRN,
    "previous_part_mrn": MRN,
    "returned_mrn": MRN,
    "currency": "EUR",
    "destination_country": "DE",
    "commodity_code": "620630",
    "origin_country": "CN",
    "dispatch_country": "CN",
    "jurisdiction": "EU",
    "month": "2026-10",
    "reason": "DOCUMENTS_IN_ORDER",
    "law_day": "2026-11-01",
    "from": "2026-01-01",
    "to": "2026-12-31",
    "place": "DEFRA",
    "name": "deferred:carrier-7",
    "account": "deferred:carrier-7",
    "page_token": "",
    "token": b"",
    "after": "",
    "hash": b"",
    "external_seal_hash": b"",
    "wait_millis": 0,
    "max_events": 0,
    "profile_path": "profile.yaml",
    "path": "profile.yaml",
    "text": "name: x",
    "LawFile.name": "eu/rulebook.yaml",
    "LawChange.path": "eu/rulebook.yaml:charges[flat_duty].rates[1].rate",
    "LawChange.value": "5.00 EUR per tariff_line",
    "consumer": "",
    "source": "clearance",
    "epoch": 1,
    "trace_ids": "0af7651916cd43dd8448eb211c80319c",
}


class _Serial:
    """Numbers from 1 on, none twice."""

    drawn = 0

    def __next__(self) -> int:
        self.drawn += 1
        return self.drawn


_serial = _Serial()
_models: dict[tuple[str, int], Any] = {}
"""Messages in order, by kind and depth, in which nothing is different each time: requests are made of thousands of them."""


def orderly(kind: Descriptor, depth: int = 0) -> Any:
    """Return a message in which every field is set, as nearly in order as can be known from its contract."""
    message = GetMessageClass(kind)()
    if kind.full_name == Consignment.DESCRIPTOR.full_name:
        message.CopyFrom(consignment(next(_serial)))
        return message
    if kind.full_name == ConsignmentColumns.DESCRIPTOR.full_name:
        message.CopyFrom(columns())
        return message
    if (model := _models.get((kind.full_name, depth))) is not None:
        message.CopyFrom(model)
        return message
    before = _serial.drawn
    seen: set[str] = set()
    for field in kind.fields:
        if depth > 4 or (field.containing_oneof is not None and field.containing_oneof.name in seen):
            continue
        if field.containing_oneof is not None:
            seen.add(field.containing_oneof.name)
        put(message, field, [orderly_value(field, depth)] if field.is_repeated else orderly_value(field, depth))
    _filed(message)
    if _serial.drawn == before:
        _models[kind.full_name, depth] = type(message).FromString(message.SerializeToString())
    return message


def _filed(message: Any) -> Any:
    """Return the message; columns that a filer sends are without those that ingestion adds, and the others are reached."""
    if message.DESCRIPTOR.full_name == SubmitConsignmentColumnsRequest.DESCRIPTOR.full_name:
        for name in ENVELOPE:
            message.consignments.ClearField(name)
    return message


def orderly_value(field: FieldDescriptor, depth: int) -> Any:
    """Return a single value of a field."""
    if field.name == "request_id":
        return f"hostile-{next(_serial)}"
    _, message, _ = field.full_name.rsplit(".", 2)
    known = _ORDERLY.get(f"{message}.{field.name}", _ORDERLY.get(field.name))
    if known is not None and field.message_type is None and type(known) is _PYTHON.get(field.type, int):
        return known
    if field.message_type is not None:
        if field.message_type.full_name == TIMESTAMP:
            return GetMessageClass(field.message_type)(seconds=int(time.time()) - 60)
        return orderly(field.message_type, depth + 1)
    if field.enum_type is not None:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
    is_day = field.name == "day" or field.name.endswith("_day")
    if field.type == FieldDescriptor.TYPE_STRING:
        return time.strftime("%Y-%m-%d", time.gmtime()) if is_day else "a"
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"a"
    if is_day:
        return int(time.time()) // 86_400
    return field.type == FieldDescriptor.TYPE_BOOL or 1


@cache
def columns() -> ConsignmentColumns:
    """Return columns of two consignments as ingestion hands them on."""
    table = Table.from_messages([consignment(1), consignment(2)], ConsignmentColumns, Consignment)
    made = table.encode(ConsignmentColumns)
    made.mrn.dictionary.extend([MRN, "26DEB3Z0KQ2WX1A4R7"])
    made.mrn.indices.extend([0, 1])
    made.version.values.extend([1, 1])
    made.accepted_at.values.extend([int(time.time() * 1e6)] * 2)
    made.filer.dictionary.append("acme")
    made.filer.indices.extend([0, 0])
    return made


def put(message: Any, field: FieldDescriptor, value: Any) -> None:
    """Set a field of any kind."""
    if field.is_repeated:
        message.ClearField(field.name)
        getattr(message, field.name).extend(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def hostile_values(field: FieldDescriptor) -> Iterator[Any]:
    """Yield single values of a field that are beyond bounds, or at the edge of its type."""
    if field.message_type is not None:
        if field.message_type.full_name == TIMESTAMP:
            yield from (GetMessageClass(field.message_type)(seconds=seconds, nanos=nanos) for seconds, nanos in TIMES)
    elif field.enum_type is not None:
        yield from ENUMS
    elif field.type == FieldDescriptor.TYPE_STRING:
        yield from TEXTS
        bound = bound_of(field)
        yield "x" * (bound.characters_max + 1)
        if bound.lines:
            yield from DOCUMENTS
    elif field.type == FieldDescriptor.TYPE_BYTES:
        yield from BYTES
        if field.name == "content":
            yield from (document.encode("utf-8", "surrogatepass") for document in DOCUMENTS)
    elif field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        yield from FRACTIONS
    elif field.type in _RANGES:
        low, high = _RANGES[field.type]
        yield from (value for value in INTEGERS if low <= value <= high)


def variants(kind: Descriptor, depth: int = 0) -> Iterator[Any]:
    """Yield messages that are in order but for one field each: beyond its bounds, absent, empty, or a list without end."""
    for field in kind.fields:
        for value in hostile_values(field):
            yield _with(kind, field, [value] if field.is_repeated else value)
            yield _with(kind, field, [value] if field.is_repeated else value, alone=True)
        absent = orderly(kind)
        absent.ClearField(field.name)
        yield absent
        if field.is_repeated:
            yield _with(kind, field, [orderly_value(field, depth)] * LIST_ENTRIES)
        if field.message_type is not None and field.message_type.full_name != TIMESTAMP and depth < 4:
            yield _with(
                kind,
                field,
                [GetMessageClass(field.message_type)()] if field.is_repeated else GetMessageClass(field.message_type)(),
            )
            for inner in variants(field.message_type, depth + 1):
                yield _filed(_with(kind, field, [inner] if field.is_repeated else inner))


def read_by_handlers(kind: Descriptor, depth: int = 0) -> Iterator[Any]:
    """Yield messages whose fields a handler reads by itself: tokens that look like ours, and numbers written as texts beside every kind of them."""
    if depth > 3 or kind.full_name in (Consignment.DESCRIPTOR.full_name, ConsignmentColumns.DESCRIPTOR.full_name):
        return
    enums = [field for field in kind.fields if field.enum_type is not None and not field.is_repeated]
    for field in kind.fields:
        if field.type == FieldDescriptor.TYPE_BYTES and field.name == "token":
            for token in _tokens(field):
                yield _with(kind, field, token)
                for other in kind.fields:
                    if other.has_presence and other.message_type is None:
                        without = _with(kind, field, token)
                        without.ClearField(other.name)
                        yield without
        elif field.type == FieldDescriptor.TYPE_STRING:
            for enum, number in itertools.product(enums, NUMBERS):
                for value in enum.enum_type.values:
                    message = _with(kind, enum, value.number)
                    put(message, field, [number] if field.is_repeated else number)
                    yield message
        elif field.message_type is not None and field.message_type.full_name != TIMESTAMP:
            for inner in read_by_handlers(field.message_type, depth + 1):
                yield _with(kind, field, [inner] if field.is_repeated else inner)


def _tokens(field: FieldDescriptor) -> Iterator[bytes]:
    """Yield tokens in the form of each message of the same contract that is one, with hostile pieces."""
    for name, form in field.containing_type.file.message_types_by_name.items():
        if name.endswith("Token"):
            for piece in (each for each in form.fields if each.type == FieldDescriptor.TYPE_BYTES):
                for value in PIECES:
                    yield _with(form, piece, value).SerializeToString()


def _with(kind: Descriptor, field: FieldDescriptor, value: Any, *, alone: bool = False) -> Any:
    """Return a message with one value changed, or with that value alone and what every call needs."""
    message = orderly(kind)
    if alone:
        kept = getattr(message, "request_id", "")
        message.Clear()
        if kept:
            message.request_id = kept
    put(message, field, value)
    return message


def undecodable(kind: Descriptor, draw: random.Random) -> Iterator[bytes]:
    """Yield bytes that are no message, or only by chance."""
    good = orderly(kind).SerializeToString()
    yield b"\xff" * 20
    yield b"\x0a\xff\xff\xff\xff\x0f"
    yield good[: len(good) // 2]
    yield b"\x0b" * 200
    for _ in range(3):
        spoilt = bytearray(good or b"\x00")
        for _ in range(1 + len(spoilt) // 20):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        yield bytes(spoilt)
        yield draw.randbytes(40)


def batch_of(kind: Descriptor) -> FieldDescriptor | None:
    """Return the list of a request whose entries are answered one by one, or None."""
    return next((field for field in kind.fields if field.is_repeated and bound_of(field).answered_each), None)


def copies(message: Message, count: int) -> list[Message]:
    """Return as many copies of a message."""
    made = []
    for _ in range(count):
        copy = type(message)()
        copy.CopyFrom(message)
        made.append(copy)
    return made
