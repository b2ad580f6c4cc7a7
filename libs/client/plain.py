"""Messages as plain values (what `--json` prints), and plain values as messages (JSON Lines), with the exact place of each error.

As in protobuf's JSON mapping with the fields' names of the contracts: enums are names, times RFC 3339. Whole numbers of
64 bits are written as numbers; read, they may be numbers or strings.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from libs.client.row_errors import ElementError
from libs.customs.time import datetime_of, parse_instant

TIMESTAMP = "google.protobuf.Timestamp"
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def plain(message: Message) -> dict[str, Any]:
    """Return a message as dictionaries, lists, numbers and texts; only what is set."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.is_repeated:
            found[field.name] = [_plain_value(field, each) for each in value]
        else:
            found[field.name] = _plain_value(field, value)
    return found


def _plain_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return instant(value) if field.message_type.full_name == TIMESTAMP else plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    if isinstance(value, bytes):
        return value.hex()
    return value


def instant(stamp: Any) -> str:
    """Return a Timestamp as ISO 8601 in UTC, to the microsecond where it has any; empty for one that is not set."""
    micros = stamp.seconds * 1_000_000 + stamp.nanos // 1000
    return "" if micros == 0 else datetime_of(micros).isoformat().replace("+00:00", "Z")


def fill(message: Message, values: Mapping[str, Any], path: str = "") -> None:
    """Set a message's fields from a JSON object; raise Fault naming the path of the first element that is wrong."""
    known = _setters(message.DESCRIPTOR)
    for name, value in values.items():
        here = f"{path}.{name}" if path else name
        setter = known.get(name)
        if setter is None:
            raise ElementError("FIELD_UNKNOWN", here, name, near=nearest(name, known))
        if value is not None:
            setter(message, value, here)


@functools.cache
def _setters(descriptor: Descriptor) -> dict[str, Callable[[Message, Any, str], None]]:
    return {field.name: _setter(field) for field in descriptor.fields}


def _setter(field: FieldDescriptor) -> Callable[[Message, Any, str], None]:
    name, message_type = field.name, field.message_type
    if message_type is not None:
        set_one = _set_time if message_type.full_name == TIMESTAMP else _set_message
        if not field.is_repeated:
            return lambda message, value, path: set_one(getattr(message, name), value, path)

        def set_all(message: Message, value: Any, path: str) -> None:
            target = getattr(message, name)
            for place, each in enumerate(_list(value, path)):
                set_one(target.add(), each, f"{path}[{place}]")

        return set_all
    convert = _scalar(field)
    if field.is_repeated:

        def extend(message: Message, value: Any, path: str) -> None:
            found = [convert(each, f"{path}[{place}]") for place, each in enumerate(_list(value, path))]
            getattr(message, name).extend(found)

        return extend
    return lambda message, value, path: setattr(message, name, convert(value, path))


def _set_message(target: Message, value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise ElementError("KIND_WRONG", path, value, wanted="an object", found=kind_of(value))
    target.SetInParent()
    fill(target, value, path)


def _set_time(target: Any, value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise ElementError("KIND_WRONG", path, value, wanted="a time in quotes", found=kind_of(value))
    set_time(target, value, path)


def set_time(target: Any, text: str, path: str) -> None:
    """Set a Timestamp from ISO 8601 text with its zone; raise Fault TIME_MALFORMED."""
    try:
        target.FromMicroseconds(parse_instant(text))
    except (ValueError, OverflowError):
        raise ElementError("TIME_MALFORMED", path, text) from None


def _scalar(field: FieldDescriptor) -> Callable[[Any, str], Any]:
    if field.enum_type is not None:
        return functools.partial(enum_number, field.enum_type)
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _text
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return _truth
    if kind in _FLOATS:
        raise TypeError(f"{field.full_name} is a float, which no contract of people's has")
    low, high = _BOUNDS[kind]
    return lambda value, path: _whole(value, path, low, high)


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise ElementError("KIND_WRONG", path, value, wanted="a text in quotes", found=kind_of(value))
    return value


def _truth(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise ElementError("KIND_WRONG", path, value, wanted="true or false", found=kind_of(value))
    return value


def _whole(value: Any, path: str, low: int, high: int) -> int:
    if isinstance(value, str):
        digits = value[1:] if value[:1] == "-" else value
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise ElementError("NUMBER_MALFORMED", path, value)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ElementError("KIND_WRONG", path, value, wanted="a whole number", found=kind_of(value))
    if not low <= value <= high:
        raise ElementError("NUMBER_TOO_WIDE", path, value, low=low, high=high)
    return value


def enum_number(enum: EnumDescriptor, value: Any, path: str) -> int:
    """Return the number of an enum's value by its name, with or without its prefix; raise Fault CHOICE_MISNAMED."""
    names = enum_names(enum)
    found = names.get(value) if isinstance(value, str) else None
    if found is None:
        choices = ", ".join(short for short in names if not short.startswith(prefix_of(enum)))
        raise ElementError("CHOICE_MISNAMED", path, value, choices=choices)
    return found


@functools.cache
def enum_names(enum: EnumDescriptor) -> dict[str, int]:
    """Return the numbers by name, both with and without the prefix; UNSPECIFIED is no name."""
    prefix = prefix_of(enum)
    named = {value.name: value.number for value in enum.values if value.number}
    return named | {name.removeprefix(prefix): number for name, number in named.items()}


@functools.cache
def prefix_of(enum: EnumDescriptor) -> str:
    """Return the prefix of an enum's values: TRANSPORT_MODE_ for TransportMode."""
    return str(enum.values_by_number[0].name.removesuffix("UNSPECIFIED"))


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words."""
    kinds = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        float: "a fraction",
        int: "a number",
    }
    return kinds.get(type(value), "nothing")


def nearest(name: str, choices: Mapping[str, Any]) -> str:
    """Return the known name that is most like a misspelt one, in a phrase for a hint."""
    import difflib

    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f"Did you mean {found[0]}?" if found else f"Known are: {', '.join(list(choices)[:60])}."


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise ElementError("KIND_WRONG", path, value, wanted="a list", found=kind_of(value))
    return value
