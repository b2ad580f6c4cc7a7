"""The days of assessment in the messages about jobs: text, or a number where a release before 0.3 stored the message."""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from libs.customs.time import day_text, parse_day
from libs.server.errors import Refusal

DAYS_MAX: Final = 400


class Period(Protocol):
    """A message with the first and the last day of a period, ISO 8601."""

    from_day: str
    to_day: str


def requested_days(period: Period, reason: str, path: str = "") -> tuple[int, int]:
    """Return the days of a request as days since 1970-01-01. Raise Refusal with `reason` where there is no such period of 1 to DAYS_MAX days.

    `path` is that of the message, with its dot.
    """
    days = []
    for name, text in (("from_day", period.from_day), ("to_day", period.to_day)):
        try:
            days.append(parse_day(text))
        except ValueError as error:
            raise Refusal(reason, path=f"{path}{name}", why=f"is wrong: {error}") from None
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
    stored = {field.field_number: field.data for field in cast(Any, UnknownFieldSet(period))}
    return stored.get(numbers[0], 0), stored.get(numbers[1], 0)


def fill_days(period: Any, numbers: tuple[int, int]) -> None:
    """Write the days of a stored message as text, where a release before 0.3 stored numbers."""
    period.from_day, period.to_day = map(day_text, stored_days(period, numbers))
    period.DiscardUnknownFields()


def days_text(days: tuple[int, int]) -> str:
    """Return a period as people read it."""
    return f"{day_text(days[0])} to {day_text(days[1])}"
