"""Days and instants as numbers: days since 1970-01-01, microseconds since 1970-01-01T00:00:00Z. Always UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command that shows a day starts without numpy
    import numpy as np
    from numpy.typing import NDArray

MICROS_PER_SECOND = 1_000_000
MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def day_of(micros: int) -> int:
    """Return the day (since 1970-01-01) in which an instant lies."""
    return micros // MICROS_PER_DAY


def days_of(micros: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """Return the day of each instant, shape (n,), int64."""
    return micros // MICROS_PER_DAY


def start_of(day: int) -> int:
    """Return the first instant of a day, in microseconds."""
    return day * MICROS_PER_DAY


def day_of_date(value: date) -> int:
    """Return a calendar date as days since 1970-01-01."""
    return (value - _EPOCH_DAY).days


def date_of_day(day: int) -> date:
    """Return a day number as a calendar date. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH_DAY + timedelta(days=day)


def parse_day(text: str) -> int:
    """Read an ISO 8601 calendar date (`2026-07-01`) as days since 1970-01-01. Raises ValueError on any other text."""
    try:
        # Python reads weeks (2026-W27-3) and other shapes of ISO 8601 as well; only one form is accepted.
        if not _DAY.fullmatch(text):
            raise ValueError
        return day_of_date(date.fromisoformat(text))
    except ValueError:
        raise ValueError(f"{text!r} is no date: write it as year-month-day, such as 2026-07-01") from None


def day_text(day: int) -> str:
    """Return a day as ISO 8601 text, `2026-07-01`."""
    return date_of_day(day).isoformat()


def parse_instant(text: str) -> int:
    """Read an ISO 8601 instant with its offset (`2026-07-01T08:30:00Z`) as microseconds since the epoch.

    Raises ValueError on any other text, and where the offset is missing: an instant without one could be anywhere.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no instant: write it as 2026-07-01T08:30:00Z") from None
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC: append Z, or an offset such as +02:00")
    return micros_of(value)


def micros_of(value: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch. Raises ValueError where it has no time zone."""
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone; all times of Luxor are UTC")
    return (value - _EPOCH) // timedelta(microseconds=1)


def datetime_of(micros: int) -> datetime:
    """Return an instant as a datetime in UTC. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=micros)


def instant_text(micros: int) -> str:
    """Return an instant as ISO 8601 text to the millisecond, `2026-07-01T08:30:00.000Z`."""
    return datetime_of(micros).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamp_text(seconds: int) -> str:
    """Return seconds since the epoch as an instant in text; as a number if it is outside of the calendar."""
    try:
        return instant_text(seconds * 1_000_000)
    except (OverflowError, ValueError):
        return f"{seconds} seconds since 1970"
