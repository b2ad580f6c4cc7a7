"""The columns of a CSV of consignments, made from the contract itself, so that every data element has one.

A column is named for its path with underscores (consignee.address.city: consignee_address_city). Elements of items begin
with `item_`. Some read more easily than the contract:

    money         two columns: the amount as a decimal number and `…_currency`
    …_mg          kilograms as a decimal number, named …_kg
    …_milli       the quantity itself as a decimal number, without the ending
    …_ppm         percent as a decimal number, named …_percent
    enums         the name without its prefix: SALE, AIR, LEGAL
    lists         entries between semicolons; lists of messages have a column for each of their elements
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from libs.client.plain import TIMESTAMP, enum_number, instant, prefix_of, set_time
from libs.client.row_errors import ElementError
from libs.customs.currencies import is_currency, minor_units
from luxor.consignment.v1.consignment_pb2 import Consignment, Item

ITEM: Final = "item_"
_MONEY: Final = "luxor.consignment.v1.Money"
_UNITS: Final = {
    "_mg": ("_kg", 6, "kilograms"),
    "_milli": ("", 3, "quantities"),
    "_ppm": ("_percent", 4, "percentages"),
}
"""Ending of a field: that of its column, decimal places between the two, what they are."""
_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Column:
    """One column: how its cells are read into a message and written from it."""

    name: str
    path: str
    """Path of the element as errors of the services name it, without indices: items.price, consignee.address.city."""
    meaning: str
    """What is written in it, in a few words."""
    read: Callable[[Message, str, str], None]
    """Sets the element of a consignment (or of an item) from a cell that is not empty; raises Fault."""
    write: Callable[[Message], str]
    currency: "str" = ""
    """For an amount: the column of its currency, which is read first."""


@functools.cache
def columns() -> dict[str, Column]:
    """Return all columns by name: those of the consignment first, then those of its items, in the contract's order."""
    found = _columns_of(Consignment.DESCRIPTOR, (), "", "")
    found += _columns_of(Item.DESCRIPTOR, (), ITEM, "items.")
    return {column.name: column for column in found}


def _columns_of(descriptor: Descriptor, above: tuple[str, ...], prefix: str, path: str) -> list[Column]:
    found: list[Column] = []
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.full_name == Item.DESCRIPTOR.full_name:
            continue
        name, here = f"{prefix}{field.name}", f"{path}{field.name}"
        chain = (*above, field.name)
        if field.is_repeated and field.message_type is not None:
            found += _of_list(field, above, name, here)
        elif field.is_repeated:
            found.append(Column(name, here, "entries between semicolons", *_list(chain)))
        elif field.message_type is None:
            found.append(_scalar(field, above, name, here))
        elif field.message_type.full_name == TIMESTAMP:
            found.append(Column(name, here, "time with zone, 2026-07-01T08:30:00Z", *_time(chain)))
        elif field.message_type.full_name == _MONEY:
            currency = f"{name}_currency"
            found.append(Column(currency, f"{here}.currency", "ISO 4217, EUR", *_text((*chain, "currency"))))
            found.append(Column(name, here, "decimal amount, 19.99", *_amount(chain), currency=currency))
        else:
            found += _columns_of(field.message_type, chain, f"{name}_", f"{here}.")
    return found


def _scalar(field: FieldDescriptor, above: tuple[str, ...], name: str, path: str) -> Column:
    chain = (*above, field.name)
    for ending, (shown, places, what) in _UNITS.items():
        if field.name.endswith(ending):
            column = name.removesuffix(ending) + shown
            return Column(column, path, f"decimal number, {what}", *_decimal(chain, places, what))
    convert, show, meaning = _cell(field)

    def read(message: Message, cell: str, column: str) -> None:
        setattr(_reach(message, above), field.name, convert(cell, column))

    def write(message: Message) -> str:
        parent = _look(message, above)
        if parent is None or (field.has_presence and not parent.HasField(field.name)):
            return ""
        return show(getattr(parent, field.name))

    return Column(name, path, meaning, read, write)


def _cell(field: FieldDescriptor) -> tuple[Callable[[str, str], Any], Callable[[Any], str], str]:
    """Return how one scalar's cell is read and written, and what stands in it."""
    enum = field.enum_type
    if enum is not None:
        prefix = prefix_of(enum)
        choices = [value.name.removeprefix(prefix) for value in enum.values if value.number]

        def show(number: Any) -> str:
            known = enum.values_by_number.get(number)
            return "" if not number else known.name.removeprefix(prefix) if known is not None else str(number)

        return lambda cell, column: enum_number(enum, cell.upper(), column), show, " or ".join(choices[:9])
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return lambda cell, _column: cell, str, "text"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _truth, lambda value: "true" if value else "false", "true or false"
    return _whole, str, "whole number"


def _of_list(field: FieldDescriptor, above: tuple[str, ...], name: str, path: str) -> list[Column]:
    """Columns of a list of messages: entry i of each belongs to message i."""
    found = []
    assert field.message_type is not None, "a list of messages"
    for sub in field.message_type.fields:
        found += _of_list_part(field.name, sub, above, name, path)
    return found


def _of_list_part(list_name: str, sub: FieldDescriptor, above: tuple[str, ...], name: str, path: str) -> list[Column]:
    # Messages in a list hold no lists of their own but for money and times, which are columns here too.
    inner = _of_single(sub)

    def make(column: Column) -> Column:
        def read(message: Message, cell: str, label: str) -> None:
            entries = split(cell)
            parts = getattr(_reach(message, above), list_name)
            if len(parts) not in (0, len(entries)):
                raise ElementError("LISTS_UNEQUAL", label, cell, count=len(entries), others=len(parts))
            while len(parts) < len(entries):
                parts.add()
            for part, entry in zip(parts, entries, strict=True):
                if entry:
                    column.read(part, entry, label)

        def write(message: Message) -> str:
            parent = _look(message, above)
            entries = [] if parent is None else [column.write(part) for part in getattr(parent, list_name)]
            return join(entries) if any(entries) else ""

        currency = f"{name}_{column.currency}" if column.currency else ""
        return Column(
            f"{name}_{column.name}", f"{path}.{column.path}", f"{column.meaning}; a list", read, write, currency
        )

    return [make(column) for column in inner]


def _of_single(field: FieldDescriptor) -> list[Column]:
    """Columns of one field of a message that stands in a list."""
    assert field.containing_type is not None, "no extension"
    return [each for each in _columns_of(field.containing_type, (), "", "") if each.path.split(".")[0] == field.name]


def _reach(message: Message, chain: tuple[str, ...]) -> Any:
    for name in chain:
        message = getattr(message, name)
    return message


def _look(message: Message, chain: tuple[str, ...]) -> Any:
    for name in chain:
        if not message.HasField(name):
            return None
        message = getattr(message, name)
    return message


Codec = tuple[Callable[[Message, str, str], None], Callable[[Message], str]]


def _text(chain: tuple[str, ...]) -> Codec:
    *above, name = chain

    def read(message: Message, cell: str, _column: str) -> None:
        setattr(_reach(message, tuple(above)), name, cell)

    def write(message: Message) -> str:
        parent = _look(message, tuple(above))
        return "" if parent is None else str(getattr(parent, name))

    return read, write


def _list(chain: tuple[str, ...]) -> Codec:
    *above, name = chain

    def read(message: Message, cell: str, _column: str) -> None:
        getattr(_reach(message, tuple(above)), name).extend(split(cell))

    def write(message: Message) -> str:
        parent = _look(message, tuple(above))
        return "" if parent is None else join(getattr(parent, name))

    return read, write


def _time(chain: tuple[str, ...]) -> Codec:
    def read(message: Message, cell: str, column: str) -> None:
        set_time(_reach(message, chain), cell, column)

    def write(message: Message) -> str:
        found = _look(message, chain)
        return "" if found is None else instant(found)

    return read, write


def _decimal(chain: tuple[str, ...], places: int, unit_text: str) -> Codec:
    *above, name = chain

    def read(message: Message, cell: str, column: str) -> None:
        setattr(_reach(message, tuple(above)), name, shifted(cell, places, column, unit_text))

    def write(message: Message) -> str:
        parent = _look(message, tuple(above))
        if parent is None or not parent.HasField(name):
            return ""
        return decimal_text(getattr(parent, name), places)

    return read, write


def _amount(chain: tuple[str, ...]) -> Codec:
    def read(message: Message, cell: str, column: str) -> None:
        money = _reach(message, chain)
        if not is_currency(money.currency):
            # Without a currency there are no minor units; ingestion reports the error.
            money.minor = shifted(cell, 2, column, "money")
        else:
            money.minor = shifted(cell, minor_units(money.currency), column, money.currency)

    def write(message: Message) -> str:
        money = _look(message, chain)
        if money is None:
            return ""
        return decimal_text(money.minor, minor_units(money.currency) if is_currency(money.currency) else 2)

    return read, write


def shifted(cell: str, places: int, column: str, unit: str) -> int:
    """Return a decimal number times 10^places, exactly; raise Fault for what is no number, too fine or too large."""
    try:
        with localcontext() as context:
            context.prec = 60
            if not set(cell) <= set("0123456789.-") or len(cell) > 40:
                raise InvalidOperation
            value = Decimal(cell).scaleb(places)
            whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise ElementError("AMOUNT_MALFORMED", column, cell) from None
    if value != whole:
        raise ElementError("AMOUNT_TOO_FINE", column, cell, unit=unit, places=places)
    if not -(2**63) <= whole < 2**63:
        low, high = (decimal_text(each, places) for each in (-(2**63), 2**63 - 1))
        raise ElementError("NUMBER_TOO_WIDE", column, cell, low=low, high=high)
    return whole


def decimal_text(value: int, places: int) -> str:
    """Return a whole number of 10^-places as decimal text, without trailing zeros beyond those of money."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(places + 1, "0")
    if not places:
        return f"{sign}{digits}"
    whole, fraction = digits[:-places], digits[-places:]
    if places > 2:
        fraction = fraction.rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _whole(cell: str, column: str) -> int:
    digits = cell[1:] if cell[:1] == "-" else cell
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise ElementError("NUMBER_MALFORMED", column, cell)
    value = int(cell)
    if not -(2**31) <= value < 2**31:
        raise ElementError("NUMBER_TOO_WIDE", column, cell, low=-(2**31), high=2**31 - 1)
    return value


def _truth(cell: str, column: str) -> bool:
    found = _TRUTHS.get(cell.lower())
    if found is None:
        raise ElementError("TRUTH_MALFORMED", column, cell)
    return found


def split(cell: str) -> list[str]:
    r"""Return the entries between semicolons; `\;` is a semicolon and `\\` a backslash inside of one."""
    if "\\" not in cell:
        return [entry.strip() for entry in cell.split(";")]
    entries, current, escaped = [], "", False
    for character in cell:
        if escaped:
            current, escaped = current + character, False
        elif character == "\\":
            escaped = True
        elif character == ";":
            entries.append(current)
            current = ""
        else:
            current += character
    return [entry.strip() for entry in [*entries, current]]


def join(entries: Any) -> str:
    """Return entries between semicolons, as `split` reads them."""
    return ";".join(str(entry).replace("\\", "\\\\").replace(";", "\\;") for entry in entries)
