"""Columns in and out of tables: thousands of rows a statement, never a statement a row.

    await bulk.insert(tx, "reference", {"filer": text(filers), "digest": bytea(digests), "day": int4(days)},
    on_conflict="do nothing")

`insert` and `update` send each column as one array (`unnest`), so the statement's text does not depend on the number of
rows and is prepared once; `copy` suits what cannot conflict. Measured on 2 shared cores with durable commits, rows a
second of five narrow columns: at 500 rows a transaction insert 110,000 to 190,000, copy 170,000; at 5,000 rows both about
260,000; into a hash-partitioned unique table at 500 rows 75,000 to 130,000, four at once 115,000 to 150,000.
"""
# ruff: noqa: S608 (only names and expressions of our own enter a statement's text; values are arguments)

import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, TypeAlias

import asyncpg
import numpy as np
import numpy.typing as npt

from libs.store.database import Transaction
from libs.store.errors import StoreMisuse
from libs.store.tables.schema import checked

Values: TypeAlias = Sequence[Any] | npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column's values in Python and their type in SQL; None stands for null."""

    sql_type: str
    values: list[Any]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Arrays:
    """One column of arrays without nulls; row i has elements[offsets[i]:offsets[i + 1]]. For `copy` alone."""

    elements: Sequence[str] | npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    bits: int = 0
    """Of integers, 16, 32 or 64; 0 for texts."""

    def __len__(self) -> int:
        return len(self.offsets) - 1


Columns: TypeAlias = Mapping[str, Column]


def _column(sql_type: str, values: Values, valid: npt.NDArray[np.bool_] | None) -> Column:
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if valid is not None and not valid.all():
        for place in np.flatnonzero(~valid).tolist():
            listed[place] = None
    return Column(sql_type, listed)


def text(values: Values, valid: npt.NDArray[np.bool_] | None = None) -> Column:
    """Strings; null where `valid` is False."""
    return _column("text", values, valid)


def bytea(values: Values, valid: npt.NDArray[np.bool_] | None = None) -> Column:
    """Bytes; null where `valid` is False."""
    return _column("bytea", values, valid)


def int2(values: Values, valid: npt.NDArray[np.bool_] | None = None) -> Column:
    """Integers of 16 bits; null where `valid` is False."""
    return _column("int2", values, valid)


def int4(values: Values, valid: npt.NDArray[np.bool_] | None = None) -> Column:
    """Integers of 32 bits; null where `valid` is False."""
    return _column("int4", values, valid)


def int8(values: Values, valid: npt.NDArray[np.bool_] | None = None) -> Column:
    """Integers of 64 bits; null where `valid` is False."""
    return _column("int8", values, valid)


def boolean(values: Values, valid: npt.NDArray[np.bool_] | None = None) -> Column:
    """Truth values; null where `valid` is False."""
    return _column("bool", values, valid)


async def insert(
    tx: Transaction,
    table: str,
    columns: Columns,
    *,
    on_conflict: str = "",
    returning: str = "",
    order_by: Sequence[str] = (),
) -> list[asyncpg.Record]:
    """Inserts the rows of `columns`; gives what `returning` names, for the rows that were inserted.

    `on_conflict` is what follows ON CONFLICT ("do nothing", "(key) do update set ..."). Where two transactions may
    insert the same keys, name the key's columns in `order_by`: both then wait in one order and never in a circle.
    """
    if _rows(columns) == 0:
        return []
    statement = _insert_statement(
        table,
        tuple((name, column.sql_type) for name, column in columns.items()),
        on_conflict,
        returning,
        tuple(order_by),
    )
    found: list[asyncpg.Record] = await tx.raw.fetch(statement, *(column.values for column in columns.values()))
    return found


async def copy(tx: Transaction, table: str, columns: Mapping[str, Column | Arrays]) -> int:
    """Appends the rows of `columns` by COPY; gives how many. A row that conflicts fails them all.

    Arrays are encoded a column at a time: the driver looks at each element for longer than the server takes to store it.
    """
    if _rows(columns) == 0:
        return 0
    names = [checked(name) for name in columns]
    plain = [column.values for column in columns.values() if isinstance(column, Column)]
    if len(plain) == len(columns):
        done: str = await tx.raw.copy_records_to_table(checked(table), records=zip(*plain, strict=True), columns=names)
    else:
        done = await tx.raw.copy_to_table(
            checked(table), source=_once(_binary(columns)), columns=names, format="binary"
        )
    return int(done.rpartition(" ")[2])


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


_LENGTH: Final = struct.Struct(">i")
_ARRAY: Final = struct.Struct(">iiiii")
_NO_ELEMENTS: Final = struct.Struct(">iii")
_TEXT_TYPE: Final = 25
_INTEGERS: Final = {"int2": (">h", 21), "int4": (">i", 23), "int8": (">q", 20)}
_ELEMENTS: Final = {16: (">i2", 21), 32: (">i4", 23), 64: (">i8", 20)}


def _binary(columns: Mapping[str, Column | Arrays]) -> bytes:
    """Returns rows in the binary form of COPY (PostgreSQL's manual, COPY, File Formats; the types' send functions)."""
    prefix = struct.pack(">h", len(columns))
    fields = [_array_fields(each) if isinstance(each, Arrays) else _fields(each) for each in columns.values()]
    rows = (prefix + b"".join(row) for row in zip(*fields, strict=True))
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff"


def _fields(column: Column) -> Iterator[bytes]:
    encoded: Iterator[bytes]
    if column.sql_type in _INTEGERS:
        form = struct.Struct(_INTEGERS[column.sql_type][0])
        encoded = map(form.pack, column.values)
    elif column.sql_type == "bytea":
        encoded = iter(column.values)
    elif column.sql_type == "text":
        encoded = (value.encode() for value in column.values)
    else:
        raise StoreMisuse(f"columns of {column.sql_type} cannot be copied beside arrays")
    return (_LENGTH.pack(len(each)) + each for each in encoded)


def _array_fields(column: Arrays) -> Iterator[bytes]:
    bounds = column.offsets.tolist()
    if isinstance(column.elements, np.ndarray):
        form, type_id = _ELEMENTS[column.bits]
        limits = np.iinfo(np.dtype(form))
        if len(column.elements) and not limits.min <= column.elements.min() <= column.elements.max() <= limits.max:
            raise StoreMisuse(f"an integer of an array does not fit into {column.bits} bits")
        items = np.empty(len(column.elements), [("size", ">i4"), ("value", form)])
        items["size"], items["value"] = column.bits // 8, column.elements
        data, width = items.tobytes(), items.itemsize
        bodies = (data[start * width : end * width] for start, end in pairwise(bounds))
    else:
        type_id = _TEXT_TYPE
        packed = {text: _packed(text) for text in set(column.elements)}
        texts = [packed[text] for text in column.elements]
        bodies = (b"".join(texts[start:end]) for start, end in pairwise(bounds))
    for (start, end), body in zip(pairwise(bounds), bodies, strict=True):
        head = _ARRAY.pack(1, 0, type_id, end - start, 1) if end > start else _NO_ELEMENTS.pack(0, 0, type_id)
        yield _LENGTH.pack(len(head) + len(body)) + head + body


def _packed(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _rows(columns: Mapping[str, Column | Arrays]) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise StoreMisuse(f"columns of one statement must be of equal length, not {lengths}")
    return next(iter(lengths.values()))


@lru_cache(maxsize=512)
def _insert_statement(
    table: str, columns: tuple[tuple[str, str], ...], on_conflict: str, returning: str, order_by: tuple[str, ...]
) -> str:
    names = ", ".join(_quoted(name) for name, _ in columns)
    order = f" order by {', '.join(_quoted(name) for name in order_by)}" if order_by else ""
    return (
        f"insert into {checked(table)} as t ({names}) select {names} from {_arguments(columns)}{order}"
        + (f" on conflict {on_conflict}" if on_conflict else "")
        + (f" returning {returning}" if returning else "")
    )


def _arguments(columns: tuple[tuple[str, str], ...]) -> str:
    arrays = ", ".join(f"${place}::{sql_type}[]" for place, (_, sql_type) in enumerate(columns, 1))
    return f"unnest({arrays}) as g({', '.join(_quoted(name) for name, _ in columns)})"


def _quoted(name: str) -> str:
    return f'"{checked(name)}"'
