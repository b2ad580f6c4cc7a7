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
        """Return the key of the entry."""
        return self.scheme, self.number


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """Why an entry is refused."""

    reason: str
    element: str
    """The field that is wrong."""
    value: str


def forms_of(program: Program) -> Mapping[int, Sequence[SchemeForm]]:
    """Return the forms of each scheme's numbers in the active law."""
    forms: dict[int, list[SchemeForm]] = {}
    for book in program.schemes:
        for form in book:
            forms.setdefault(form.scheme, []).append(form)
    return forms


def read_entry(number_entry: pb.SchemeNumber, forms: Mapping[int, Sequence[SchemeForm]]) -> SchemeEntry | RejectedEntry:
    """Read an entry; a number must be written as some law in force wants the scheme's numbers."""
    if not 0 < number_entry.scheme < len(SCHEMES):
        return RejectedEntry("SCHEME_NOT_KNOWN", "scheme", str(number_entry.scheme))
    number = registered_number(number_entry.number)
    if not number or len(number) > NUMBER_CHARACTERS_MAX or not number.isprintable() or number != number.strip():
        return RejectedEntry("SCHEME_NUMBER_UNREADABLE", "number", number_entry.number)
    if number_entry.scheme in forms and not any(form.fits(number) for form in forms[number_entry.scheme]):
        return RejectedEntry("SCHEME_NUMBER_MALFORMED", "number", number_entry.number)
    if len(number_entry.holder) > HOLDER_CHARACTERS_MAX or not (
        number_entry.holder.isprintable() or not number_entry.holder
    ):
        return RejectedEntry("SCHEME_HOLDER_UNREADABLE", "holder", number_entry.holder)
    days: list[int] = []
    for element in ("from_day", "to_day"):
        text = getattr(number_entry, element)
        day = OPEN_END if element == "to_day" and not text else _day(text)
        if day is None:
            return RejectedEntry("SCHEME_DAY_WRONG", element, text)
        days.append(day)
    first, last = days
    if last < first:
        return RejectedEntry("SCHEME_DAYS_TURNED", "to_day", number_entry.to_day)
    return SchemeEntry(number_entry.scheme, number, number_entry.holder, first, last)


def entry_message(entry: SchemeEntry) -> pb.SchemeNumber:
    """Return an entry as a message."""
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
