"""Hashes of chains: each covers a content and the hash before it, and a seal covers the heads of all chains of a store.

What is hashed is bytes that never change their meaning. SHA-256 (FIPS 180-4).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

START: Final = bytes(32)
"""What stands before the first entry of a chain, and before the first seal."""
_FORM: Final = 1
_LENGTH: Final = struct.Struct("<H")
_SEAL: Final = struct.Struct("<BqqQ")
_SEALED: Final = struct.Struct("<q32s")


def text_bytes(text: str) -> bytes:
    """Return the hashed form of a text: its length in bytes and UTF-8."""
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def link(before: bytes, content: bytes) -> bytes:
    """Return the hash of an entry after the hash before it."""
    return sha256(before + content).digest()


def seal(number: int, sealed_at: int, before: bytes, heads: Sequence[tuple[int, bytes]], *, chains: int) -> bytes:
    """Return the hash of a seal over the heads of all chains (last number and hash, by chain) and the seal before.

    Raises ValueError unless there is one head for each of the chains.
    """
    if len(heads) != chains:
        raise ValueError(f"a seal takes the heads of all {chains} partitions, not of {len(heads)}")
    parts = [before, _SEAL.pack(_FORM, number, sealed_at, len(heads))]
    parts += [_SEALED.pack(last, digest) for last, digest in heads]
    return sha256(b"".join(parts)).digest()
