"""Revenue's register of scheme numbers as filings are compared with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Strings
from libs.columns.arrays import BoolArray
from libs.customs.codes import tidy_code
from libs.customs.identifiers import ioss

OPEN_END: Final = 2**31 - 1
"""The last day of a number that is valid until further notice."""
UNKNOWN: Final = "the register of the scheme does not have it"
NOT_VALID: Final = "it is registered, and it is not valid on the day of the filing"
_VALID, _IS_UNKNOWN, _IS_NOT_VALID = range(3)


@dataclass(frozen=True, slots=True)
class SchemeNumber:
    """An entry of the register; days since 1970-01-01 UTC, both included."""

    scheme: int
    """Number of luxor.consignment.v1.Scheme."""
    number: str
    """As it is registered."""
    first_day: int
    last_day: int


def normal_form(number: str) -> str:
    """Return the form in which numbers are compared: without blanks, in capitals, without the reference of a sale after an IOSS number."""
    tidy = tidy_code(number)
    return ioss.split(tidy)[0] if tidy.startswith("IM") else tidy


class SchemeRegister:
    """The register at one time. Entries are added or replaced, never removed."""

    def __init__(self, entries: Iterable[SchemeNumber] = ()) -> None:
        """Take entries."""
        self._days: dict[tuple[int, str], tuple[SchemeNumber, ...]] = {}
        self._schemes: set[int] = set()
        self.put(entries)

    def __len__(self) -> int:
        return sum(map(len, self._days.values()))

    def put(self, entries: Iterable[SchemeNumber]) -> None:
        """Add entries; one with the number of another replaces it."""
        for each in entries:
            key = each.scheme, normal_form(each.number)
            # Two entries may be one number that is written in two ways: it is valid when either is.
            others = (other for other in self._days.get(key, ()) if other.number != each.number)
            self._days[key] = (*others, each)
            self._schemes.add(each.scheme)

    def not_valid(self, scheme: int, numbers: Strings, day: int) -> Iterator[tuple[str, BoolArray]]:
        """Yield why numbers of a scheme may not be used on a day, each with the rows that it concerns, shape (n,).

        A scheme without any number in the register has none that is not valid: its administration registers none.
        """
        if scheme not in self._schemes:
            return
        states = numbers.map(lambda number: self._state(scheme, number, day), np.int8)
        for state, why in ((_IS_UNKNOWN, UNKNOWN), (_IS_NOT_VALID, NOT_VALID)):
            rows = states == state
            if rows.any():
                yield why, rows

    def _state(self, scheme: int, number: str, day: int) -> int:
        entries = self._days.get((scheme, normal_form(number)))
        if entries is None:
            return _IS_UNKNOWN
        return _VALID if any(each.first_day <= day <= each.last_day for each in entries) else _IS_NOT_VALID
