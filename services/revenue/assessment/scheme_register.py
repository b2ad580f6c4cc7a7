"""Entries of the register of scheme numbers as they are asked for: what is wrong with one, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from libs.customs.time import date_of_day, day_of_date
from luxor.revenue.v1 import schemes_pb2 as pb
from services.revenue.law.program.program import SCHEMES, Program
from services.revenue.law.program.scheme_numbers import SchemeForm, registered_number

NUMBER_CHARACTERS_MAX: Final = 35
HOLDER_CHARACTERS_MAX: Final = 70
OPEN_END: Final = 2**31 - 1
"""Last day of a number that holds until further notice."""


@dataclass(frozen=True, slots=True)
class SchemeEntry:
    """A number of the register."""

    scheme: int
    number: str
    holder: str
    first_day: int
    last_day: int
    """OPEN_END until further notice."""

    @property
    def key(self) -> tuple[int, str]:
        """What it is found by."""
        return self.scheme, self.number


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """Why an entry is refused."""

    reason: str
    element: str
    """The field that is wrong."""
    value: str


def forms_of(program: Program) -> Mapping[int, Sequence[SchemeForm]]:
    """The forms that the law in force knows of each scheme's numbers."""
    forms: dict[int, list[SchemeForm]] = {}
    for book in program.schemes:
        for form in book:
            forms.setdefault(form.scheme, []).append(form)
    return forms


def read_entry(told: pb.SchemeNumber, forms: Mapping[int, Sequence[SchemeForm]]) -> SchemeEntry | RejectedEntry:
    """Read an entry; a number must be written as some law in force wants the scheme's numbers."""
    if not 0 < told.scheme < len(SCHEMES):
        return RejectedEntry("SCHEME_NOT_KNOWN", "scheme", str(told.scheme))
    number = registered_number(told.number)
    if not number or len(number) > NUMBER_CHARACTERS_MAX or not number.isprintable() or number != number.strip():
        return RejectedEntry("SCHEME_NUMBER_UNREADABLE", "number", told.number)
    if told.scheme in forms and not any(form.fits(number) for form in forms[told.scheme]):
        return RejectedEntry("SCHEME_NUMBER_MALFORMED", "number", told.number)
    if len(told.holder) > HOLDER_CHARACTERS_MAX or not (told.holder.isprintable() or not told.holder):
        return RejectedEntry("SCHEME_HOLDER_UNREADABLE", "holder", told.holder)
    days: list[int] = []
    for element in ("from_day", "to_day"):
        text = getattr(told, element)
        day = OPEN_END if element == "to_day" and not text else _day(text)
        if day is None:
            return RejectedEntry("SCHEME_DAY_WRONG", element, text)
        days.append(day)
    first, last = days
    if last < first:
        return RejectedEntry("SCHEME_DAYS_TURNED", "to_day", told.to_day)
    return SchemeEntry(told.scheme, number, told.holder, first, last)


def entry_message(entry: SchemeEntry) -> pb.SchemeNumber:
    """An entry as a message."""
    return pb.SchemeNumber(
        scheme=entry.scheme,  # type: ignore[arg-type]  # a number of the enumeration
        number=entry.number,
        holder=entry.holder,
        from_day=date_of_day(entry.first_day).isoformat(),
        to_day="" if entry.last_day == OPEN_END else date_of_day(entry.last_day).isoformat(),
    )


def _day(text: str) -> int | None:
    try:
        return day_of_date(date.fromisoformat(text)) if len(text) == len("2021-07-01") else None
    except ValueError:
        return None
