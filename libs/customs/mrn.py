"""The movement reference number (MRN): 18 characters that name one declaration for ever.

Year (n2), country (a2), serial (an12), procedure (a1), check digit (n1). Luxor's serial is the partition (n2, 00..63),
the day of the year of acceptance (n3, 001..366) and a sequence of 7 characters in base 36, so that an MRN alone tells
in which partition and on which day its rows lie.

Source: the MRN's structure and its check digit (ISO 6346 letter values, weights 2^i, modulo 11, modulo 10) as customs
administrations of the EU use them; verified against the public number 22ITZXBZYUTJFLJXK6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from libs.customs.partitions import PARTITIONS

LENGTH = 18
MAX_SEQUENCE = 36**7 - 1
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_EPOCH = date(1970, 1, 1)


class Procedure(StrEnum):
    """The letter at place 17: what kind of act the number stands for."""

    EXPORT = "A"
    TRANSIT = "J"
    IMPORT = "R"
    IMPORT_AND_ENTRY_SUMMARY = "S"
    ENTRY_SUMMARY = "T"
    TEMPORARY_STORAGE = "U"


class MrnError(ValueError):
    """The text is no MRN; the message says at which place and why."""


@dataclass(frozen=True, slots=True)
class Mrn:
    """What an MRN of Luxor says."""

    year: int
    """Year of acceptance, 2000..2099."""
    country: str
    """ISO 3166-1 alpha-2 code of the country that the goods are bound for."""
    partition: int
    """One of the 64 partitions."""
    day_of_year: int
    """Day of acceptance within the year, 1..366."""
    sequence: int
    """Serial within the country, partition and day, 0..36^7 - 1."""
    procedure: Procedure

    @property
    def day(self) -> int:
        """Day of acceptance as days since 1970-01-01."""
        return (date(self.year, 1, 1) - _EPOCH).days + self.day_of_year - 1

    def __str__(self) -> str:
        return make_mrns([self.country], [self.partition], self.day, self.sequence, self.procedure)[0]


def _letter_values() -> NDArray[np.int64]:
    # ISO 6346: A = 10, then upwards, leaving out the multiples of 11.
    values = np.full(256, -1, dtype=np.int64)
    values[48:58] = np.arange(10)
    values[65:91] = [value for value in range(10, 39) if value % 11]
    return values


_VALUES = _letter_values()
_WEIGHTS = np.left_shift(np.int64(1), np.arange(LENGTH - 1, dtype=np.int64))
_BASE36 = np.frombuffer(_DIGITS.encode(), dtype=np.uint8)
# Ten to the power p for the decimal parts, 36 to the power p for the sequence.
_POWERS36 = 36 ** np.arange(6, -1, -1, dtype=np.int64)


def check_digit(first_17: str) -> int:
    """Return the check digit (0..9) for the first 17 characters of an MRN.

    Raises MrnError where the text has another length or a character outside 0-9 and A-Z.
    """
    if len(first_17) != LENGTH - 1:
        raise MrnError(
            f"{first_17!r} has {len(first_17)} characters; the check digit is taken over the first 17 of an MRN"
        )
    total = 0
    for place, character in enumerate(first_17):
        value = int(_VALUES[ord(character)]) if ord(character) < 256 else -1
        if value < 0:
            raise MrnError(f"{first_17!r} has {character!r} at place {place + 1}; an MRN has only 0-9 and A-Z")
        total += value << place
    return total % 11 % 10


def is_valid(text: str) -> bool:
    """Say whether the text has an MRN's structure (of any administration) and the right check digit."""
    try:
        check(text)
    except MrnError:
        return False
    return True


def check(text: str) -> None:
    """Raise MrnError unless the text has an MRN's structure (of any administration) and the right check digit."""
    if len(text) != LENGTH:
        raise MrnError(f"{text!r} has {len(text)} characters; an MRN has {LENGTH}")
    if not (text[:2].isascii() and text[:2].isdigit()):
        raise MrnError(f"{text!r} starts with {text[:2]!r}; the first two characters of an MRN are the year, as digits")
    if not (text[2:4].isascii() and text[2:4].isalpha() and text[2:4].isupper()):
        raise MrnError(
            f"{text!r} has {text[2:4]!r} at places 3 and 4; there an MRN has a country's two capital letters"
        )
    if not (text[16].isascii() and text[16].isalpha() and text[16].isupper()):
        raise MrnError(f"{text!r} has {text[16]!r} at place 17; there an MRN has the letter of its procedure")
    expected = str(check_digit(text[:17]))
    if text[17] != expected:
        raise MrnError(
            f"{text!r} ends in {text[17]!r}; its check digit is {expected}. One of its characters is mistyped"
        )


def parse(text: str) -> Mrn:
    """Read an MRN that Luxor gave.

    Raises MrnError where the text is no MRN, or is one of another administration (whose serial has another form).
    """
    check(text)
    try:
        procedure = Procedure(text[16])
    except ValueError as error:
        known = ", ".join(Procedure)
        raise MrnError(f"{text!r} has the procedure {text[16]!r}; known are {known}") from error
    if not text[4:9].isdigit() or not text[4:9].isascii():
        raise MrnError(f"{text!r} was not given by Luxor: places 5 to 9 hold {text[4:9]!r}, not a partition and a day")
    year, partition, day_of_year = 2000 + int(text[:2]), int(text[4:6]), int(text[6:9])
    if partition >= PARTITIONS or not 1 <= day_of_year <= _days_in(year):
        raise MrnError(f"{text!r} was not given by Luxor: partition {partition} or day {day_of_year} does not exist")
    return Mrn(year, text[2:4], partition, day_of_year, int(text[9:16], 36), procedure)


def make_mrns(
    countries: Sequence[str],
    partitions: Sequence[int] | NDArray[np.int64],
    day: int,
    first_serial: int | NDArray[np.int64],
    procedure: Procedure = Procedure.IMPORT,
) -> list[str]:
    """Return an MRN for each row of a batch.

    `countries` (n two-letter codes) and `partitions` (n numbers 0..63) are parallel; `day` is the day of acceptance as
    days since 1970-01-01. `first_serial` is the first of n consecutive sequence numbers, or the n numbers themselves.
    Raises ValueError where lengths differ or a value is out of bounds.
    """
    rows = len(countries)
    parts = np.asarray(partitions, dtype=np.int64)
    accepted = _EPOCH + timedelta(days=day)
    if np.ndim(first_serial):
        serials = np.asarray(first_serial, dtype=np.int64)
    else:
        serials = np.arange(rows, dtype=np.int64) + np.int64(first_serial)
    _check_columns(countries, parts, serials, accepted)
    if rows == 0:
        return []
    text = np.empty((rows, LENGTH), dtype=np.uint8)
    head = f"{accepted.year % 100:02d}".encode()
    text[:, 0], text[:, 1] = head
    text[:, 2:4] = np.frombuffer("".join(countries).encode("ascii"), dtype=np.uint8).reshape(rows, 2)
    text[:, 4] = parts // 10 + 48
    text[:, 5] = parts % 10 + 48
    text[:, 6:9] = np.frombuffer(f"{accepted.timetuple().tm_yday:03d}".encode(), dtype=np.uint8)
    text[:, 9:16] = _BASE36[serials[:, None] // _POWERS36 % 36]
    text[:, 16] = ord(procedure.value)
    # At most 38 * (2^17 - 1), so int64 is far from its end.
    text[:, 17] = (_VALUES[text[:, :17]] @ _WEIGHTS) % 11 % 10 + 48
    joined = text.tobytes().decode("ascii")
    return [joined[start : start + LENGTH] for start in range(0, rows * LENGTH, LENGTH)]


def _check_columns(
    countries: Sequence[str], partitions: NDArray[np.int64], serials: NDArray[np.int64], accepted: date
) -> None:
    rows = len(countries)
    if len(partitions) != rows or len(serials) != rows:
        raise ValueError(
            f"columns differ in length: {rows} countries, {len(partitions)} partitions, {len(serials)} serials"
        )
    if not 2000 <= accepted.year <= 2099:
        raise ValueError(f"{accepted} is outside 2000 to 2099, whose years an MRN can tell by two digits")
    wrong = {country for country in set(countries) if not _is_country(country)}
    if wrong:
        raise ValueError(f"no two-letter country codes: {sorted(wrong)}")
    if rows and (partitions.min() < 0 or partitions.max() >= PARTITIONS):
        raise ValueError(f"partitions run from 0 to {PARTITIONS - 1}; got {partitions.min()} to {partitions.max()}")
    if rows and (serials.min() < 0 or serials.max() > MAX_SEQUENCE):
        raise ValueError(f"sequence numbers run from 0 to {MAX_SEQUENCE}; got {serials.min()} to {serials.max()}")


def _is_country(code: str) -> bool:
    return len(code) == 2 and code.isascii() and code.isalpha() and code.isupper()


def _days_in(year: int) -> int:
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days
