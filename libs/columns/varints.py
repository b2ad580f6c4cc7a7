"""Fields of messages as their bytes, since a message takes Python's numbers one at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

INT64: Final = 2**64 - 1
"""Largest number that a field of type int64 holds, of numbers modulo 2^64."""
UINT32: Final = 2**32 - 1
"""The same of type uint32."""
_GROUP: Final = np.uint64(7)
_SIZED: Final = 2
"""Wire type of a field of bytes, of a message, or of repeated numbers: a length, then the content."""


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes, a message or packed numbers by its number."""
    return b"%b%b%b" % (varint(number << 3 | _SIZED), varint(len(content)), content)


def varints(values: npt.NDArray[np.integer[Any]], largest_allowed: int) -> bytes:
    """Write numbers as varints: groups of seven bits, lowest first, each but the last with its eighth bit set.

    All get as many groups as the largest needs; a varint with groups of zeros at its end says the same, and no number needs
    to be looked at alone. Negative numbers are written as what they are modulo 2^64, in ten groups. Raises ValueError where
    one is then larger than `largest_allowed`; the field would keep its lowest bits.
    """
    if not len(values):
        return b""
    numbers = values.astype(np.int64, copy=False).view(np.uint64)
    largest = int(numbers.max())
    if largest < 128:
        return numbers.astype(np.uint8).tobytes()
    if largest > largest_allowed:
        raise ValueError(f"{int(values[numbers.argmax()])} is out of range: the field holds 0 to {largest_allowed}")
    if int(numbers.min()) == largest:
        return varint(largest) * len(numbers)
    groups = -(-largest.bit_length() // 7)
    written = np.empty((len(numbers), groups), np.uint8)
    for place in range(groups - 1):
        written[:, place] = numbers
        numbers = numbers >> _GROUP
    written |= 0x80
    written[:, -1] = numbers
    return written.tobytes()


def varint(number: int) -> bytes:
    """Write one number, at least 0."""
    if number < 128:
        return number.to_bytes(1, "little")
    written = bytearray()
    while number > 127:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
