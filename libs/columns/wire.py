"""Columns to and from the messages of luxor.columns.v1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import Bools, Ints, Ragged, Strings
from libs.columns.varints import INT64, UINT32, field, varints
from luxor.columns.v1 import columns_pb2


class MalformedColumns(ValueError):
    """A message of columns contradicts itself; the text has the column and the contradiction."""


def _bits(packed: bytes, rows: int, name: str) -> npt.NDArray[np.bool_]:
    if len(packed) * 8 < rows:
        raise MalformedColumns(f"{name}: {len(packed)} bytes of bits for {rows} rows")
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=rows, bitorder="little").astype(np.bool_)


def _packed(bits: npt.NDArray[np.bool_]) -> bytes:
    return np.packbits(bits, bitorder="little").tobytes()


def _numbers(repeated: Any, dtype: type[np.signedinteger[Any]]) -> npt.NDArray[Any]:
    return np.array(repeated, dtype) if len(repeated) else np.empty(0, dtype)


def read_strings(message: Any, rows: int, name: str) -> Strings:
    """Read a Strings message of `rows` rows; raises MalformedColumns."""
    if not len(message.indices):
        return Strings.absent(rows)
    indices = _numbers(message.indices, np.int32)
    dictionary = list(message.dictionary)
    if len(indices) != rows or (rows and not 0 <= int(indices.min()) <= int(indices.max()) < len(dictionary)):
        raise MalformedColumns(f"{name}: {len(indices)} indices into {len(dictionary)} values for {rows} rows")
    return Strings(dictionary, indices)


def read_ints(message: Any, rows: int, name: str) -> Ints:
    """Read an Ints message of `rows` rows; raises MalformedColumns."""
    if not len(message.values):
        return Ints.absent(rows)
    values = _numbers(message.values, np.int64)
    if len(values) != rows:
        raise MalformedColumns(f"{name}: {len(values)} values for {rows} rows")
    if not message.validity:
        return Ints(values, np.ones(rows, np.bool_))
    valid = _bits(message.validity, rows, name)
    return Ints(np.where(valid, values, 0), valid)


def read_bools(message: Any, rows: int, name: str) -> Bools:
    """Read a Bools message of `rows` rows; raises MalformedColumns."""
    if not message.values:
        return Bools.absent(rows)
    values = _bits(message.values, rows, name)
    valid = _bits(message.validity, rows, name) if message.validity else np.ones(rows, np.bool_)
    return Bools(values & valid, valid)


def read_offsets(repeated: Any, rows: int, name: str) -> npt.NDArray[np.int64]:
    """Read the offsets of `rows` lists; raises MalformedColumns."""
    if not len(repeated):
        return np.zeros(rows + 1, np.int64)
    offsets = _numbers(repeated, np.int64)
    if len(offsets) != rows + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise MalformedColumns(f"{name}: {len(offsets)} offsets for {rows} rows, or not rising from 0")
    return offsets


def read_string_lists(message: Any, rows: int, name: str) -> Ragged:
    """Read a StringLists message of `rows` rows; raises MalformedColumns."""
    offsets = read_offsets(message.offsets, rows, name)
    return Ragged(offsets, read_strings(message.values, int(offsets[-1]), name))


def read_int_lists(message: Any, rows: int, name: str) -> Ragged:
    """Read an IntLists message of `rows` rows; raises MalformedColumns."""
    offsets = read_offsets(message.offsets, rows, name)
    return Ragged(offsets, read_ints(message.values, int(offsets[-1]), name))


def strings_bytes(column: Strings) -> bytes:
    """Return a column as the bytes of a Strings message: none when every row is absent."""
    column = column.compact()
    if not any(column.dictionary):
        return b""
    dictionary = columns_pb2.Strings(dictionary=column.dictionary).SerializeToString()
    return dictionary + field(2, varints(column.indices, UINT32))


def ints_bytes(column: Ints) -> bytes:
    """Return a column as the bytes of an Ints message: none when every row is absent."""
    known = np.count_nonzero(column.valid)
    if not known:
        return b""
    values = field(1, varints(column.values, INT64))
    return values if known == len(column) else values + field(2, _packed(column.valid))


def bools_bytes(column: Bools) -> bytes:
    """Return a column as the bytes of a Bools message: none when every row is absent."""
    known = np.count_nonzero(column.valid)
    if not known:
        return b""
    values = field(1, _packed(column.values))
    return values if known == len(column) else values + field(2, _packed(column.valid))


def lists_bytes(column: Ragged) -> bytes:
    """Return a column of lists as the bytes of a StringLists or IntLists message: none when every list is empty."""
    if not int(column.offsets[-1]):
        return b""
    if isinstance(column.values, Strings):
        values = strings_bytes(column.values)
    else:
        assert isinstance(column.values, Ints)
        values = ints_bytes(column.values)
    offsets = field(1, varints(column.offsets, UINT32))
    return offsets + field(2, values) if values else offsets
