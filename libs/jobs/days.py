"""The days of assessment in the messages about jobs: text, or a number where a release before 0.3 stored the message."""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from libs.customs.time import day_text, parse_day
from libs.server.errors import Refusal

DAYS_MAX: Final = 400
FIRST_DAY: Final = parse_day("2000-01-01")
LAST_DAY: Final = parse_day("2099-12-31")


class Period(Protocol):
    """A message with the first and the last day of a period, ISO 8601."""

    from_day: str
    to_day: str


def requested_days(period: Period, reason: str, path: str = "") -> tuple[int, int]:
    """Return the days of a request as days since 1970-01-01. Raise Refusal with `reason` where they are none.

    A period has 1 to DAYS_MAX days of the years 2000 to 2099. `path` is that of the message, with its dot.
    """
    days = []
    for name, text in (("from_day", period.from_day), ("to_day", period.to_day)):
        try:
            day = parse_day(text)
        except ValueError as error:
            raise Refusal(reason, path=f"{path}{name}", why=f"is wrong: {error}") from None
        if not FIRST_DAY <= day <= LAST_DAY:
            raise Refusal(reason, path=f"{path}{name}", why=f"is {text}, which lies outside the years 2000 to 2099")
        days.append(day)
    first, last = days
    if not first <= last < first + DAYS_MAX:
        why = f"is {period.to_day}; it is 0 to {DAYS_MAX - 1} days after from_day, {period.from_day}"
        raise Refusal(reason, path=f"{path}to_day", why=why)
    return first, last


def stored_days(period: Message, numbers: tuple[int, int]) -> tuple[int, int]:
    """Return the days of a stored message; `numbers` are those of the fields in which a release before 0.3 stored them as numbers."""
    first, last = getattr(period, "from_day", ""), getattr(period, "to_day", "")
    if first:
        return parse_day(first), parse_day(last)
    return stored_number(period, numbers[0]), stored_number(period, numbers[1])


def stored_number(message: Message, number: int) -> int:
    """Return the number in a field of a stored message that the contract has no more; 0 where it is absent."""
    return next((field.data for field in cast(Any, UnknownFieldSet(message)) if field.field_number == number), 0)


def fill_days(period: Any, numbers: tuple[int, int]) -> None:
    """Write the days of a stored message as text, where a release before 0.3 stored numbers; days that are absent stay absent."""
    days = stored_days(period, numbers)
    if any(days):
        period.from_day, period.to_day = map(day_text, days)
    period.DiscardUnknownFields()


def days_text(days: tuple[int, int]) -> str:
    """Return a period as people read it."""
    return f"{day_text(days[0])} to {day_text(days[1])}"
