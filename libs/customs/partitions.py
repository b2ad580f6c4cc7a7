"""The 64 virtual partitions: fixed for ever, and found from what the filer knows.

Source: the flow's design (feeds, leases and cells are all cut along these 64).
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTITIONS = 64
_SEPARATOR = "\x1f"  # the unit separator is refused in every identifier, so no two keys can run together


def partition_of(filer: str, reference: str) -> int:
    """Return the partition (0..63) of a filer's local reference.

    The first 8 bytes of SHA-256 over `filer`, U+001F and `reference` (UTF-8), as a big-endian number, modulo 64.
    """
    return hashlib.sha256(f"{filer}{_SEPARATOR}{reference}".encode()).digest()[7] & 63


def partitions_of(filers: str | Sequence[str], references: Sequence[str]) -> "NDArray[np.int64]":
    """Return the partition of each reference, shape (n,), int64.

    `filers` is one filer for the whole batch (hashed once) or one for each reference. Raises ValueError when the
    lengths differ.
    """
    import numpy as np  # a command that asks for one partition starts without it

    if isinstance(filers, str):
        start = hashlib.sha256(f"{filers}{_SEPARATOR}".encode())
        last = bytearray()
        for reference in references:
            hasher = start.copy()
            hasher.update(reference.encode())
            last.append(hasher.digest()[7])
        return np.frombuffer(bytes(last), dtype=np.uint8).astype(np.int64) & 63
    if len(filers) != len(references):
        raise ValueError(
            f"{len(filers)} filers for {len(references)} references: give one filer, or one for each reference"
        )
    sha256 = hashlib.sha256
    keys = [f"{filer}{_SEPARATOR}{reference}".encode() for filer, reference in zip(filers, references, strict=True)]
    return np.frombuffer(bytes([sha256(key).digest()[7] for key in keys]), dtype=np.uint8).astype(np.int64) & 63
