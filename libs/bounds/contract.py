"""The bounds that the contracts state of their fields, with those that hold where a field states none.

Source: protos/luxor/bounds/v1/bounds.proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from luxor.bounds.v1 import bounds_pb2

TIMESTAMP: Final = "google.protobuf.Timestamp"
CHARACTERS_MAX: Final = 2_048
NUMBER_MAX: Final = 10**18
"""Sums and differences of two such numbers are int64 too."""
AMOUNT_MAX: Final = 10**12
"""Largest amount, minor units of its currency."""
DAY_MAX: Final = 47_482
"""2100-01-01, days since 1970-01-01 UTC."""
ENTRIES_MAX: Final = 1_000
TIME_LEAST: Final = 946_684_800_000_000
"""Earliest time: 2000-01-01 UTC, microseconds since 1970-01-01."""
TIME_MOST: Final = 4_102_444_800_000_000
"""Latest time: 2100-01-01 UTC."""

_TEXTS: Final = (FieldDescriptor.TYPE_STRING,)
_FRACTIONS: Final = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)
_NO_NUMBERS: Final = (FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE)


@dataclass(frozen=True, slots=True)
class Bound:
    """What one field may hold; what does not apply to its type has no effect."""

    characters_max: int
    lines: bool
    least: int
    most: int
    entries_max: int
    reason: str
    """Of the catalogue; empty for the general one."""
    answered_each: bool
    in_columns: bool
    shown: bool
    """Whether a text may be repeated in an error."""
    choices: frozenset[int]
    """Numbers of an enum's values; empty for other types."""


@cache
def bound_of(field: FieldDescriptor) -> Bound:
    """Return the bounds of a field of one of our contracts."""
    stated = field.GetOptions().Extensions[bounds_pb2.field]
    least, most = _range(field)
    return Bound(
        characters_max=stated.characters_max if stated.HasField("characters_max") else CHARACTERS_MAX,
        lines=stated.lines,
        least=stated.least if stated.HasField("least") else least,
        most=stated.most if stated.HasField("most") else most,
        entries_max=stated.entries_max if stated.HasField("entries_max") else ENTRIES_MAX,
        reason=stated.reason,
        answered_each=stated.answered_each,
        in_columns=stated.in_columns,
        shown=stated.shown,
        choices=frozenset(value.number for value in field.enum_type.values) if field.enum_type else frozenset(),
    )


def _range(field: FieldDescriptor) -> tuple[int, int]:
    if is_time(field):
        return TIME_LEAST, TIME_MOST
    if field.name.endswith("_minor") or field.name == "minor":
        return -AMOUNT_MAX, AMOUNT_MAX
    if field.name == "day" or field.name.endswith("_day"):
        return 0, DAY_MAX
    return -NUMBER_MAX, NUMBER_MAX


def is_luxor_message(message: Descriptor) -> bool:
    """Return whether a message belongs to the contracts of Luxor; others have no bounds."""
    return message.file.package.startswith("luxor.")


def is_time(field: FieldDescriptor) -> bool:
    """Return whether a field has instants."""
    return field.message_type is not None and field.message_type.full_name == TIMESTAMP


def is_text(field: FieldDescriptor) -> bool:
    """Return whether a field has text."""
    return field.type in _TEXTS


def is_fraction(field: FieldDescriptor) -> bool:
    """Return whether a field has numbers with a fraction."""
    return field.type in _FRACTIONS


def is_number(field: FieldDescriptor) -> bool:
    """Return whether a field has whole numbers that are no enum's."""
    return field.enum_type is None and field.type not in (*_TEXTS, *_FRACTIONS, *_NO_NUMBERS)
