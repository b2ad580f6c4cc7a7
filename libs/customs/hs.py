"""Commodity codes: the Harmonized System's six digits, and the national digits that may follow them.

The numbers of the subheadings of HS 2022 are shipped, and those that HS 2017 had and 2022 has not, so that a code can
be refused with its reason. Descriptions are the WCO's and are not shipped.

Source: HS 2022, in force since 2022-01-01; see the head of each file in data/ for where its numbers are from.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from importlib.resources import files

MIN_DIGITS, MAX_DIGITS = 6, 10
NATIONAL_CHAPTERS: frozenset[str] = frozenset({"98", "99"})
"""Chapters that the HS leaves to each country; their codes are of no use across a border."""


class HsStatus(StrEnum):
    """What the Harmonized System says of a code's first six digits."""

    CURRENT = "CURRENT"
    """A subheading of HS 2022."""
    WITHDRAWN = "WITHDRAWN"
    """A subheading of HS 2017 that left the system with 2022."""
    NATIONAL = "NATIONAL"
    """In chapter 98 or 99, which each country fills as it likes."""
    UNKNOWN = "UNKNOWN"
    """Never a subheading of HS 2017 or 2022."""
    MALFORMED = "MALFORMED"
    """Not 6 to 10 digits."""


def is_well_formed(code: str) -> bool:
    """Return whether the code is 6 to 10 digits."""
    return MIN_DIGITS <= len(code) <= MAX_DIGITS and code.isascii() and code.isdigit()


def status(code: str) -> HsStatus:
    """Return what the Harmonized System says of a code of 6 to 10 digits."""
    if not is_well_formed(code):
        return HsStatus.MALFORMED
    six = code[:6]
    if six in subheadings():
        return HsStatus.CURRENT
    if six in withdrawn_subheadings():
        return HsStatus.WITHDRAWN
    return HsStatus.NATIONAL if six[:2] in NATIONAL_CHAPTERS else HsStatus.UNKNOWN


@cache
def subheadings() -> frozenset[str]:
    """Return the 5,612 subheadings of HS 2022, six digits each."""
    return load_codes(files(__package__).joinpath("data/hs2022_codes.txt").read_text("utf-8").splitlines())


@cache
def withdrawn_subheadings() -> frozenset[str]:
    """Return the subheadings that left the system with HS 2022, six digits each."""
    return load_codes(files(__package__).joinpath("data/hs2017_withdrawn.txt").read_text("utf-8").splitlines())


def load_codes(lines: Iterable[str]) -> frozenset[str]:
    """Read a list of commodity codes: each line has digits that begin its codes, then the rest of each.

    "0101 21 29" gives 010121 and 010129; a line with one word gives that word. "#" starts a comment. Raises ValueError,
    naming the line, where a code is not 6 to 10 digits or stands twice.
    """
    found: set[str] = set()
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        codes = [words[0] + rest for rest in words[1:]] or [words[0]]
        for code in codes:
            if not is_well_formed(code):
                raise ValueError(f"line {number}: {code!r} is no commodity code, which has 6 to 10 digits")
            if code in found:
                raise ValueError(f"line {number}: {code} stands in the list twice; remove one")
            found.add(code)
    return frozenset(found)
