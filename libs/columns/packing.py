"""Arrays as bytes: a head that names them, their raw contents, and a checksum over it all."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

_MAGIC: Final = b"LXRH"
_LENGTH: Final = 4


class PackingError(ValueError):
    """Bytes that are not what was packed: cut short, altered or of another kind."""


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    facts: dict[str, int | str]
    arrays: list[tuple[str, str, tuple[int, ...]]]


def pack(facts: Mapping[str, int | str], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Pack arrays with some facts about them; little-endian whatever the machine."""
    told, parts = [], []
    for name, values in arrays.items():
        little = np.ascontiguousarray(values)
        if sys.byteorder == "big":
            little = little.astype(little.dtype.newbyteorder("<"))
        told.append((name, values.dtype.newbyteorder("<").str, values.shape))
        parts.append(little.reshape(-1).view(np.uint8).data)
    head = msgspec.json.encode(_Head(dict(facts), told))
    parts.insert(0, memoryview(_MAGIC + len(head).to_bytes(_LENGTH, "little") + head))
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([*parts, checksum.to_bytes(4, "little")])


class Packed:
    """Packed arrays, of which only those that are asked for are made."""

    __slots__ = ("_places", "_view", "facts")

    def __init__(self, content: bytes) -> None:
        """Read the head and check the whole. Raises PackingError."""
        view = self._view = memoryview(content)
        start = len(_MAGIC) + _LENGTH
        if len(view) < start + 4 or bytes(view[: len(_MAGIC)]) != _MAGIC:
            raise PackingError(f"{len(view)} bytes that do not begin like packed arrays; they are something else")
        if zlib.crc32(view[:-4]) != int.from_bytes(view[-4:], "little"):
            raise PackingError(
                "the checksum differs: the bytes were cut short or altered; take an older copy or rebuild"
            )
        at = start + int.from_bytes(view[len(_MAGIC) : start], "little")
        head = msgspec.json.decode(view[start:at], type=_Head)
        self.facts = head.facts
        self._places: dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}
        for name, told, shape in head.arrays:
            kind = np.dtype(told)
            self._places[name] = (at, kind, shape)
            at += kind.itemsize * math.prod(shape)

    @property
    def names(self) -> Collection[str]:
        """The names of the arrays, in the order in which they were packed."""
        return self._places.keys()

    def array(self, name: str) -> npt.NDArray[Any]:
        """An array; read-only. Raises KeyError."""
        at, kind, shape = self._places[name]
        size = kind.itemsize * math.prod(shape)
        values = np.frombuffer(self._view[at : at + size], kind).reshape(shape)
        return values.astype(kind.newbyteorder("="), copy=False)


def unpack(content: bytes) -> tuple[dict[str, int | str], dict[str, npt.NDArray[Any]]]:
    """Return the unpacked facts and arrays; the arrays are read-only. Raises PackingError."""
    packed = Packed(content)
    return packed.facts, {name: packed.array(name) for name in packed.names}
