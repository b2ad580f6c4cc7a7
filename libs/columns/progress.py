"""Stored progress of a job as bytes: a mark, a checksum, and compressed MessagePack with the number of its format."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class ProgressError(ValueError):
    """Bytes that are something else, were altered, or are of another format."""


def to_progress(mark: bytes, form: int, state: Any) -> bytes:
    """Return a state as bytes; `mark` is four bytes."""
    content = zlib.compress(msgspec.msgpack.encode((form, state)), 1)
    return mark + zlib.crc32(content).to_bytes(4, "little") + content


def from_progress(mark: bytes, form: int, kind: type[T], content: bytes, work: str) -> T:
    """Read it again; `work` names the work in the message of the ProgressError that is raised where it is something else."""
    if content[:4] != mark or zlib.crc32(content[8:]) != int.from_bytes(content[4:8], "little"):
        raise ProgressError(f"the stored progress of the {work} is of another kind or was altered; start it again")
    unpacked = zlib.decompress(content[8:])
    found = msgspec.msgpack.decode(unpacked, type=tuple[int, msgspec.Raw])
    if found[0] != form:
        raise ProgressError(f"the stored progress of the {work} has format {found[0]}; {form} is supported")
    return msgspec.msgpack.decode(found[1], type=kind)
