"""Whole numbers into messages: as the bytes that a message parses, since it takes Python's numbers one at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor import FieldDescriptor

_FEW: Final = 200
"""So many numbers are added one at a time as quickly as at once."""
_GROUP: Final = np.uint64(7)
_LARGEST: Final = {FieldDescriptor.CPPTYPE_INT64: 2**64 - 1, FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1}
"""What a field holds, by its type, of numbers modulo 2^64."""
_PACKED: Final = 2
"""Wire type of a repeated field of numbers: a length, then the numbers."""


def extend(message: Any, name: str, values: npt.NDArray[np.integer[Any]]) -> None:
    """Add numbers to the repeated field `name` of a message, of type int64 or uint32.

    Raises ValueError for a number that the field does not hold; of those at once it would keep the lowest bits.
    """
    if len(values) <= _FEW:
        getattr(message, name).extend(values.tolist())
        return
    field = message.DESCRIPTOR.fields_by_name[name]
    packed = varints(values, _LARGEST[field.cpp_type])
    message.MergeFromString(_varint(field.number << 3 | _PACKED) + _varint(len(packed)) + packed)


def varints(values: npt.NDArray[np.integer[Any]], largest_allowed: int) -> bytes:
    """Write one or more numbers as varints: groups of seven bits, lowest first, each but the last with its eighth bit set.

    All get as many groups as the largest needs; a varint with groups of zeros at its end says the same, and no number needs
    to be looked at alone. Negative numbers are written as what they are modulo 2^64, in ten groups. Raises ValueError where
    one is then larger than `largest_allowed`.
    """
    numbers = values.astype(np.int64, copy=False).view(np.uint64)
    largest = int(numbers.max())
    if largest < 128:
        return numbers.astype(np.uint8).tobytes()
    if largest > largest_allowed:
        raise ValueError(f"{int(values[numbers.argmax()])} is out of range: the field holds 0 to {largest_allowed}")
    groups = -(-largest.bit_length() // 7)
    written = np.empty((len(numbers), groups), np.uint8)
    for place in range(groups - 1):
        written[:, place] = numbers
        numbers = numbers >> _GROUP
    written |= 0x80
    written[:, -1] = numbers
    return written.tobytes()


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
