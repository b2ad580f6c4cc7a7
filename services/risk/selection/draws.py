"""Random draws that anyone with the seed can repeat and nobody without it can foresee.

A draw is a keyed hash of the MRN and the lane, so it is the same in whatever batch, replica, version or year it is
made: a consignment that is amended is not drawn again. The seed's commitment is published before it is used; when the
seed is told later, every draw can be proved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

SEED_BYTES_MIN: Final = 16
SEED_BYTES_MAX: Final = 64
_COLUMNS: Final = 8

Draws = npt.NDArray[np.uint64]


class Draw(IntEnum):
    """What a draw is for; the place of its eight bytes in the hash."""

    RED = 0
    YELLOW = 1
    BLUE = 2
    RED_BY_MODEL = 3
    YELLOW_BY_MODEL = 4
    RED_BY_UNCERTAINTY = 5


def check_seed(seed: bytes) -> None:
    """Raise ValueError unless the seed has 16 to 64 bytes."""
    if not SEED_BYTES_MIN <= len(seed) <= SEED_BYTES_MAX:
        raise ValueError(
            f"the seed has {len(seed)} bytes; it must have {SEED_BYTES_MIN} to {SEED_BYTES_MAX}, random and kept secret"
        )


def commitment(seed: bytes) -> str:
    """What is published before a seed is used: the SHA-256 of it, in hexadecimal digits."""
    check_seed(seed)
    return hashlib.sha256(b"luxor selection seed" + seed).hexdigest()


def draws(seed: bytes, mrns: Sequence[str]) -> Draws:
    """Per MRN a number from 0 to 2^64 - 1 for each Draw; shape (n, 8).

    BLAKE2b of the MRN with the seed as key; draw d is bytes 8d to 8d + 7 of it, the lowest first.
    """
    check_seed(seed)
    start = hashlib.blake2b(key=seed, digest_size=8 * _COLUMNS)
    found = bytearray()
    for mrn in mrns:
        hasher = start.copy()
        hasher.update(mrn.encode())
        found += hasher.digest()
    numbers: Draws = np.frombuffer(bytes(found), "<u8").astype(np.uint64).reshape(-1, _COLUMNS)
    return numbers


def below(numbers: Draws, chances: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether draws fall within chances from 0 to 1. A chance of 1 always does and one of 0 never."""
    # 53 bits of a draw are a float exactly; so every machine says the same.
    share = (numbers >> np.uint64(11)).astype(np.float64) / 2.0**53
    within: npt.NDArray[np.bool_] = share < chances
    return within
