"""What a job keeps to go on from, as bytes that tell what they are: a mark, a sum, and compressed MessagePack with its format's number."""

from __future__ import annotations

import zlib
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class ProgressError(ValueError):
    """Bytes that are something else, were altered, or are of another format."""


def to_progress(mark: bytes, form: int, state: Any) -> bytes:
    """Keep a state; `mark` is four bytes."""
    content = zlib.compress(msgspec.msgpack.encode((form, state)), 1)
    return mark + zlib.crc32(content).to_bytes(4, "little") + content


def from_progress(mark: bytes, form: int, kind: type[T], content: bytes, what: str) -> T:
    """Read it again; `what` names the work in the message of the ProgressError that is raised where it is something else."""
    if content[:4] != mark or zlib.crc32(content[8:]) != int.from_bytes(content[4:8], "little"):
        raise ProgressError(f"what was kept of the {what} is something else or was altered; start it anew")
    unpacked = zlib.decompress(content[8:])
    found = msgspec.msgpack.decode(unpacked, type=tuple[int, msgspec.Raw])
    if found[0] != form:
        raise ProgressError(f"what was kept of the {what} has format {found[0]}; {form} is read")
    return msgspec.msgpack.decode(found[1], type=kind)
