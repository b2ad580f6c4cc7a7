"""Random draws that anyone with the seed can repeat and nobody without it can foresee.

A draw is a keyed hash of the MRN, so it is the same in whatever batch, replica or version it is made. There is one seed
for each UTC day, its period: a consignment is drawn by that of the day of acceptance that its MRN tells, so an amendment is
not drawn anew. What is published before a day begins is the hash of its seed; when the seed is told later, every
draw of the day can be proved, and those of other days stay unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import IntArray
from libs.customs.identifiers.mrn import LENGTH
from libs.customs.time import day_of_date

SEED_BYTES: Final = 32
PPM: Final = 1_000_000
#: How many days before the present one have a seed of their own; as long as answers are kept.
PERIODS_BACK: Final = 400
_BYTES: Final = 7

Draws = npt.NDArray[np.uint64]


class Draw(IntEnum):
    """What a draw is for; its seven bytes of the hash begin at seven times its number."""

    MINIMUM_RED = 0
    MINIMUM_YELLOW = 1
    MINIMUM_BLUE = 2
    EXPECTED_RED = 3
    EXPECTED_YELLOW = 4
    EXPECTED_BLUE = 5
    MODEL_RED = 6
    MODEL_YELLOW = 7
    UNCERTAINTY_RED = 8


@dataclass(frozen=True, slots=True)
class MadeSeed:
    """A seed as it is kept."""

    day: int
    """Its period, days since 1970 UTC."""
    seed: bytes
    made_at: int
    """Microseconds since 1970."""
    today: int
    """The present day by the database's clock."""


class SeedMissing(LookupError):
    """Draws of a day whose seed is not at hand."""


def check_seed(seed: bytes) -> None:
    """Raise ValueError unless the seed has 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"the seed has {len(seed)} bytes; it must have {SEED_BYTES}, random and secret")


def commitment(seed: bytes) -> str:
    """What is published before a seed is used: the SHA-256 of it, in hexadecimal digits."""
    check_seed(seed)
    return hashlib.sha256(b"luxor selection seed" + seed).hexdigest()


def periods_of(mrns: Sequence[str], today: int) -> IntArray:
    """Per MRN the day whose seed it is drawn by, days since 1970 UTC: that of acceptance, which it tells; shape (n,).

    Where it tells none, or one after tomorrow or before seeds are kept, it is `today`. A clock of ingestion that is ahead
    by less than a day changes nothing.
    """
    periods: IntArray = np.empty(len(mrns), np.int64)
    known: dict[str, int] = {}
    for row, mrn in enumerate(mrns):
        # Year and day of the year. The check digit is not judged: ingestion gave the number.
        told = mrn[:2] + mrn[6:9] if len(mrn) == LENGTH else ""
        period = known.get(told)
        if period is None:
            period = known[told] = _period(told, today)
        periods[row] = period
    return periods


def _period(digits: str, today: int) -> int:
    if not (digits.isascii() and digits.isdigit()):
        return today
    day_of_year = int(digits[2:])
    day = day_of_date(date(2000 + int(digits[:2]), 1, 1)) + day_of_year - 1
    return day if 1 <= day_of_year <= 366 and today - PERIODS_BACK <= day <= today + 1 else today


def draws(seeds: Mapping[int, bytes], periods: IntArray, mrns: Sequence[str]) -> Draws:
    """Per MRN a number from 0 to 2^56 - 1 for each Draw; shape (n, 9). Raises SeedMissing.

    BLAKE2b of the MRN with the seed as key, 63 bytes of it; draw d is bytes 7d to 7d + 6, the lowest first.
    """
    starts = {}
    for period in np.unique(periods).tolist():
        if period not in seeds:
            raise SeedMissing(f"the seed of day {period} since 1970 is not at hand; ask the store for it first")
        check_seed(seeds[period])
        starts[period] = hashlib.blake2b(key=seeds[period], digest_size=_BYTES * len(Draw))
    found = bytearray()
    for mrn, period in zip(mrns, periods.tolist(), strict=True):
        hasher = starts[period].copy()
        hasher.update(mrn.encode())
        found += hasher.digest()
    numbers = np.zeros((len(mrns), len(Draw), 8), np.uint8)
    numbers[:, :, :_BYTES] = np.frombuffer(bytes(found), np.uint8).reshape(-1, len(Draw), _BYTES)
    drawn: Draws = numbers.view("<u8")[:, :, 0].astype(np.uint64)
    return drawn


def shares(numbers: Draws) -> npt.NDArray[np.float64]:
    """Draws as parts of 1. 53 bits of a draw are a float exactly; so every machine says the same."""
    parts: npt.NDArray[np.float64] = (numbers >> np.uint64(3)).astype(np.float64) / 2.0**53
    return parts


def below(numbers: Draws, chances_ppm: IntArray) -> npt.NDArray[np.bool_]:
    """Whether draws fall within chances in millionths. One of 1,000,000 always does and one of 0 never."""
    within: npt.NDArray[np.bool_] = shares(numbers) < chances_ppm / PPM
    return within
