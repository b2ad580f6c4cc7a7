"""The file of a snapshot: facts, then arrays slice by slice, then what to lay over them; each part with its checksum.

A part is the length of its head, the head as JSON, the contents, and a CRC-32 over head and contents. The last part says that
nothing was cut off. Little-endian whatever the machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

import msgspec
import numpy as np

from services.risk.history.tables.undo_log import Array

#: Bytes of an array that are copied, and so may stand still, at a time.
SLICE_BYTES: Final = 4 << 20
_MAGIC: Final = b"LXRSNAP1"
_HEAD_MAX: Final = 1 << 20
_LENGTH: Final = 4

Facts = Mapping[str, int | str]


class SnapshotError(ValueError):
    """A snapshot that cannot be taken over: what differs."""


class _Part(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: str
    name: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    at: int = 0
    """Slices: the first row. Changes: how many rows they are of."""
    facts: dict[str, int | str] = {}


class Writer:
    """Writes a snapshot to a file, from its beginning to its end."""

    def __init__(self, file: BinaryIO, facts: Facts) -> None:
        self._file = file
        self._parts = 0
        file.write(_MAGIC)
        self._part(_Part("facts", facts=dict(facts)))

    def array(self, name: str, values: Array) -> None:
        """Write an array that nobody changes meanwhile."""
        self.declare(name, values)
        for at in range(0, len(values), step := rows_of_slice(values)):
            self.slice(name, at, values[at : at + step])

    def declare(self, name: str, values: Array) -> None:
        """Say what an array is of; its slices follow from the first row on."""
        self._part(_Part("array", name, values.dtype.newbyteorder("<").str, values.shape))

    def slice(self, name: str, at: int, values: Array) -> None:
        """Write some rows of an array, `at` being the first."""
        self._part(_Part("slice", name, shape=values.shape, at=at), _bytes(values))

    def changes(self, name: str, rows: Array, values: Array) -> None:
        """Write what rows of an array are to be: later ones are laid over it before earlier ones."""
        self._part(_Part("changes", name, shape=values.shape, at=len(rows)), _bytes(rows), _bytes(values))

    def end(self) -> None:
        """Say that it is whole."""
        self._part(_Part("end", at=self._parts))

    def _part(self, part: _Part, *contents: memoryview) -> None:
        head = msgspec.json.encode(part)
        checksum = zlib.crc32(head)
        self._file.write(len(head).to_bytes(_LENGTH, "little"))
        self._file.write(head)
        for content in contents:
            checksum = zlib.crc32(content, checksum)
            self._file.write(content)
        self._file.write(checksum.to_bytes(_LENGTH, "little"))
        self._parts += 1


def rows_of_slice(values: Array) -> int:
    """How many rows of an array make a slice."""
    return max(1, SLICE_BYTES // max(1, values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))))


def _bytes(values: Array) -> memoryview:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def read(file: BinaryIO, size: int) -> tuple[dict[str, int | str], dict[str, Array]]:
    """Give back facts and arrays of a snapshot of `size` bytes. Raises SnapshotError; never holds more than `size` says."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise SnapshotError("it does not begin like a snapshot of this release")
    reader = _Reader(file, size)
    while reader.take():
        pass
    return reader.whole()


class _Reader:
    """Takes in part after part."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self._facts: dict[str, int | str] | None = None
        self._arrays: dict[str, Array] = {}
        self._filled: dict[str, int] = {}
        self._changes: list[tuple[str, Array, Array]] = []
        self._parts = 0

    def take(self) -> bool:
        """Take the next part in; False at the end."""
        length = int.from_bytes(self._read(_LENGTH), "little")
        if length > _HEAD_MAX:
            raise SnapshotError(f"a part has a head of {length} bytes; it was altered")
        head = self._read(length)
        try:
            part = msgspec.json.decode(head, type=_Part)
        except msgspec.MsgspecError:
            raise SnapshotError("the head of a part cannot be read; it was altered") from None
        checksum = self._contents(part, zlib.crc32(head))
        if checksum != int.from_bytes(self._read(_LENGTH), "little"):
            raise SnapshotError(f"the checksum of {part.name or part.kind} differs; it was cut short or altered")
        if part.kind == "facts" and self._facts is None:
            self._facts = part.facts
        if part.kind == "end":
            if part.at != self._parts:
                raise SnapshotError(f"it has {self._parts} parts; {part.at} were written")
            return False
        self._parts += 1
        return True

    def _contents(self, part: _Part, checksum: int) -> int:
        if part.kind == "array":
            self._declare(part)
        elif part.kind == "slice":
            values = self._array(part.name)
            at = self._filled[part.name]
            stop = at + (part.shape[0] if part.shape else 0)
            if part.at != at or part.shape[1:] != values.shape[1:] or stop > len(values):
                raise SnapshotError(f"a slice of {part.name} does not follow the one before it")
            self._filled[part.name] = stop
            checksum = self._into(values[at:stop], checksum)
        elif part.kind == "changes":
            values = self._array(part.name)
            if part.shape[:1] != (part.at,) or part.shape[1:] != values.shape[1:]:
                raise SnapshotError(f"changes of {part.name} have not its shape")
            rows = self._new((part.at,), np.dtype("<i8"))
            checksum = self._into(rows, checksum)
            before = self._new(part.shape, values.dtype)
            checksum = self._into(before, checksum)
            self._changes.append((part.name, rows, before))
        return checksum

    def _declare(self, part: _Part) -> None:
        try:
            dtype = np.dtype(part.dtype)
        except TypeError:
            dtype = np.dtype(object)
        if dtype.kind not in "uib" or part.name in self._arrays or not part.shape or min(part.shape) < 0:
            raise SnapshotError(f"the array {part.name!r} is of {part.dtype!r} and {part.shape}")
        self._arrays[part.name] = self._new(part.shape, dtype)
        self._filled[part.name] = 0

    def _new(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        wanted = dtype.itemsize
        for each in shape:
            wanted *= each
        if wanted > self._left:
            raise SnapshotError(
                f"an array of {wanted} bytes is announced and {self._left} are left; it was cut short or altered"
            )
        return np.zeros(shape, dtype)

    def _array(self, name: str) -> Array:
        if name not in self._arrays:
            raise SnapshotError(f"the array {name!r} is not announced")
        return self._arrays[name]

    def _into(self, values: Array, checksum: int) -> int:
        """Fill contiguous rows from the file, some at a time."""
        view = values.reshape(-1).view(np.uint8).data
        for at in range(0, len(view), SLICE_BYTES):
            piece = view[at : at + SLICE_BYTES]
            if self._file.readinto(piece) != len(piece):  # type: ignore[attr-defined]  # of files and of BytesIO alike
                raise SnapshotError("it was cut short")
            checksum = zlib.crc32(piece, checksum)
        self._left -= len(view)
        return checksum

    def _read(self, length: int) -> bytes:
        content = self._file.read(length)
        if len(content) != length:
            raise SnapshotError("it was cut short")
        self._left -= length
        return content

    def whole(self) -> tuple[dict[str, int | str], dict[str, Array]]:
        """Facts and arrays, with the changes laid over them."""
        if self._facts is None:
            raise SnapshotError("it has no facts")
        for name, filled in self._filled.items():
            if filled != len(self._arrays[name]):
                raise SnapshotError(f"{name} has {filled} of {len(self._arrays[name])} rows")
        while self._changes:
            name, rows, before = self._changes.pop()
            values = self._arrays[name]
            if len(rows) and (rows.min() < 0 or rows.max() >= len(values)):
                raise SnapshotError(f"a change of {name} is of a row that is not there")
            values[rows] = before
        return self._facts, {
            name: values.astype(values.dtype.newbyteorder("="), copy=False) for name, values in self._arrays.items()
        }
