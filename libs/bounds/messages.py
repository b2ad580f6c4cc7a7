"""Checks of whole messages by the bounds of their contracts, compiled once per message class.

A message within its bounds, as nearly every one is, is walked once over the fields that are set. Only a message with
a value beyond its bounds is walked again, to name each place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from libs.bounds.contract import Bound, bound_of, is_fraction, is_luxor_message, is_number, is_text, is_time

ENTRY_EXCESSES_MAX: Final = 10
"""Values beyond their bounds that are named of one entry of a batch."""
_COLUMNS: Final = "luxor.columns.v1"
_NOT_IN_LINES: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_NANOS_MAX: Final = 999_999_999


class Excess(NamedTuple):
    """A value beyond its bounds."""

    path: str
    """From the message that was checked. Example: "arrivals[3].arrived_at"."""
    reason: str
    """Of the catalogue."""
    value: str
    """The value; empty for text, unless its contract says that it may be shown."""
    facts: dict[str, Any]
    """What the catalogue's sentences need."""
    entry: tuple[str, int] | None
    """The list and the place in it where the entries of that list are answered one by one; else None."""


Entry = tuple[str, int] | None
ReasonAndFacts = tuple[str, dict[str, Any]] | None
"""A general reason with its facts, or None where a value is within its bounds."""


class _Check(NamedTuple):
    passes: Callable[[Any], bool]
    """Whether the field's value, for a list the whole list, is within its bounds."""
    excesses: Callable[[Any, str, Entry], Iterator[Excess]]
    """What of the value is beyond its bounds; the string is the path of the field."""


class MessageBounds:
    """The bounds of one message class and of all that is in it."""

    def __init__(self) -> None:
        """Begin empty: a message may contain itself, so its fields are added after it is registered."""
        self.checks: dict[FieldDescriptor, _Check] = {}

    def pass_all(self, message: Any) -> bool:
        """Return whether all set fields of a message are within their bounds."""
        checks = self.checks
        for field, value in message.ListFields():
            check = checks.get(field)
            if check is not None and not check.passes(value):
                return False
        return True

    def excesses(self, message: Any, prefix: str = "", entry: Entry = None) -> Iterator[Excess]:
        """Yield what is beyond its bounds, in the order of the message's fields."""
        for field, value in message.ListFields():
            check = self.checks.get(field)
            if check is not None and not check.passes(value):
                yield from check.excesses(value, f"{prefix}{field.name}", entry)


_compiled: dict[str, MessageBounds] = {}


def bounds_of(message_class: type[Message]) -> MessageBounds:
    """Return the compiled bounds of a message class."""
    return _compile(cast(Descriptor, message_class.DESCRIPTOR))


def _compile(message: Descriptor) -> MessageBounds:
    found = _compiled.get(message.full_name)
    if found is None:
        found = _compiled[message.full_name] = MessageBounds()
        if is_luxor_message(message) and not _is_columns(message):
            for field in message.fields:
                check = _check(field)
                if check is not None:
                    found.checks[field] = check
    return found


def _is_columns(message: Descriptor) -> bool:
    """Return whether a message has columns, which are checked when they are read."""
    kinds = [field.message_type for field in message.fields if field.message_type is not None]
    return message.file.package == _COLUMNS or any(kind.file.package == _COLUMNS for kind in kinds)


def _check(field: FieldDescriptor) -> _Check | None:
    bound = bound_of(field)
    one = None if bound.in_columns else _one(field, bound)
    return _list_check(field, bound, one) if field.is_repeated else one


def _one(field: FieldDescriptor, bound: Bound) -> _Check | None:
    """Return the check of a single value, or None for a type without bounds."""
    least, most, characters_max = bound.least, bound.most, bound.characters_max
    if is_text(field):
        return _Check(
            lambda text: (len(text) <= characters_max and text.isprintable()) or text_excess(text, bound) is None,
            _named(bound, text_excess, str if bound.shown else _nothing),
        )
    if field.enum_type is not None:
        return _Check(bound.choices.__contains__, _named(bound, choice_excess))
    if is_number(field):
        return _Check(lambda number: least <= number <= most, _named(bound, number_excess))
    if is_fraction(field):
        return _Check(math.isfinite, _named(bound, lambda _value, _bound: ("NUMBER_NOT_FINITE", {})))
    if is_time(field):
        return _Check(lambda time: time_excess(time, bound) is None, _named(bound, time_excess, _stamp_text))
    if field.message_type is not None:
        child = _compile(field.message_type)
        return _Check(child.pass_all, lambda value, path, entry: child.excesses(value, f"{path}.", entry))
    return None


def _list_check(field: FieldDescriptor, bound: Bound, one: _Check | None) -> _Check:
    most = bound.entries_max

    def passes(values: Any) -> bool:
        return len(values) <= most and (one is None or all(map(one.passes, values)))

    def excesses(values: Any, path: str, entry: Entry) -> Iterator[Excess]:
        if len(values) > most:
            facts: dict[str, Any] = {"count": len(values), "count_max": most, "items_max": most}
            yield Excess(path, bound.reason or "LIST_TOO_LONG", str(len(values)), facts, entry)
        elif one is not None:
            for place, value in enumerate(values):
                if not one.passes(value):
                    own = (field.name, place) if bound.answered_each else entry
                    found = one.excesses(value, f"{path}[{place}]", own)
                    yield from islice(found, ENTRY_EXCESSES_MAX if bound.answered_each else None)

    return _Check(passes, excesses)


def text_excess(text: str, bound: Bound) -> ReasonAndFacts:
    """Return why a text is beyond its bounds."""
    most = bound.characters_max
    if len(text) > most:
        return "TEXT_TOO_LONG", {"characters": len(text), "characters_max": most}
    if text.isprintable() or (bound.lines and _NOT_IN_LINES.search(text) is None):
        return None
    return "TEXT_UNPRINTABLE", {"characters_max": most}


def number_excess(number: int, bound: Bound) -> ReasonAndFacts:
    """Return why a whole number is beyond its bounds."""
    facts = {"least": bound.least, "most": bound.most, "limit": bound.most, "amount": number, "amount_max": bound.most}
    if number < bound.least:
        return "NUMBER_NEGATIVE" if bound.least == 0 else "NUMBER_TOO_SMALL", facts
    return ("NUMBER_TOO_LARGE", facts) if number > bound.most else None


def choice_excess(number: int, bound: Bound) -> ReasonAndFacts:
    """Return why a number is none of an enum's values."""
    return None if number in bound.choices else ("CHOICE_UNKNOWN", {})


def time_excess(time: Any, bound: Bound) -> ReasonAndFacts:
    """Return why a google.protobuf.Timestamp is beyond its bounds."""
    if 0 <= time.nanos <= _NANOS_MAX and bound.least <= time.seconds * 1_000_000 + time.nanos // 1_000 <= bound.most:
        return None
    return "TIME_OUT_OF_BOUNDS", time_facts(bound)


def time_facts(bound: Bound) -> dict[str, Any]:
    """Return what the sentence of TIME_OUT_OF_BOUNDS needs."""
    return {"earliest": _day_text(bound.least), "latest": _day_text(bound.most)}


def _day_text(micros: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).date().isoformat()


def _stamp_text(time: Any) -> str:
    return f"{time.seconds} s {time.nanos} ns"


def _nothing(_value: Any) -> str:
    return ""


def _named(
    bound: Bound, find: Callable[[Any, Bound], ReasonAndFacts], show: Callable[[Any], str] = str
) -> Callable[[Any, str, Entry], Iterator[Excess]]:
    """Return how a value beyond its bounds is named."""

    def excesses(value: Any, path: str, entry: Entry) -> Iterator[Excess]:
        found = find(value, bound)
        if found is not None:
            reason, facts = found
            shown = "".join(each if each.isprintable() else "?" for each in show(value)[:65])
            yield Excess(path, bound.reason or reason, shown, facts, entry)

    return excesses
