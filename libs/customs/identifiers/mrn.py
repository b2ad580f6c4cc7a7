"""The movement reference number (MRN): 18 characters that name one declaration for ever.

Year (n2), country (a2), serial (an12), procedure (a1), check digit (n1). Luxor's serial is the partition (n2, 00..63),
the day of the year of acceptance (n3, 001..366) and a sequence of 7 characters in base 36, so that an MRN alone tells
in which partition and on which day its rows lie.

Source: the MRN's structure and its check digit (ISO 6346 letter values, weights 2^i, modulo 11, modulo 10) as customs
administrations of the EU use them; verified against the public number 22ITZXBZYUTJFLJXK6.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from libs.customs.partitions import PARTITIONS

LENGTH = 18
MAX_SEQUENCE = 36**7 - 1
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
EPOCH = date(1970, 1, 1)


class Procedure(StrEnum):
    """The letter at place 17: the kind of procedure of the number."""

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
    """ISO 3166-1 alpha-2 code of the country whose customs decides: that the goods are bound for, or that they are exported from."""
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
        return (date(self.year, 1, 1) - EPOCH).days + self.day_of_year - 1

    def __str__(self) -> str:
        serial = serial_text(self.sequence)
        first_17 = (
            f"{self.year % 100:02d}{self.country}{self.partition:02d}{self.day_of_year:03d}{serial}{self.procedure}"
        )
        text = f"{first_17}{check_digit(first_17)}"
        if parse(text) != self:
            raise ValueError(f"{self!r} has a value out of its bounds: {text} is the text of another one")
        return text


# ISO 6346: A = 10, then upwards, leaving out the multiples of 11.
VALUES: Final = dict(zip(DIGITS, [*range(10), *(value for value in range(10, 39) if value % 11)], strict=True))
"""What each character counts in the check digit."""


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
        value = VALUES.get(character, -1)
        if value < 0:
            raise MrnError(f"{first_17!r} has {character!r} at place {place + 1}; an MRN has only 0-9 and A-Z")
        total += value << place
    return total % 11 % 10


def is_export(text: str) -> bool:
    """Return whether an MRN, whose structure is not checked, is that of an export."""
    return text[16:17] == Procedure.EXPORT.value


def is_valid(text: str) -> bool:
    """Return whether the text has an MRN's structure (of any administration) and the right check digit."""
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


def serial_text(serial: int) -> str:
    """Return a sequence number as places 10 to 16 of an MRN have it; texts are in the order of the numbers."""
    if not 0 <= serial <= MAX_SEQUENCE:
        raise ValueError(f"sequence numbers run from 0 to {MAX_SEQUENCE}; got {serial}")
    return "".join(DIGITS[serial // 36**power % 36] for power in range(6, -1, -1))


def is_country(code: str) -> bool:
    """Return whether a code is of two capital letters."""
    return len(code) == 2 and code.isascii() and code.isalpha() and code.isupper()


def _days_in(year: int) -> int:
    return (date(year + 1, 1, 1) - date(year, 1, 1)).days
