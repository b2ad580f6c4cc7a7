"""Sets elements of a consignment by their paths, and remembers which element of the declaration stated each."""

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from libs.client.filing.columns import shifted
from libs.client.plain import TIMESTAMP, enum_number, set_time
from libs.client.row_errors import ElementError
from libs.customs import codes
from libs.customs.currencies import minor_units
from luxor.consignment.v1.consignment_pb2 import Consignment, FiscalReference, Scheme

_SEGMENT: Final = re.compile(r"(\w+)(?:\[(\d*)\])?")
_MONEY: Final = "luxor.consignment.v1.Money"
_MASSES: Final = {"": 6, "KGM": 6, "GRM": 3, "MGM": 0, "TNE": 9}
"""Places by which a mass is shifted to milligrams, by its unit of recommendation 20; kilograms where none is stated."""
_MOMENT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)(Z|[-+]\d\d))?")
_DATE_DIGITS: Final = 8
_OTHER_CODE: Final = re.compile(r"[1-9][0-9]?")
_INT32: Final = 2**31


class Target:
    """A consignment that is being filled."""

    def __init__(self) -> None:
        self.message = Consignment()
        self.elements: dict[str, str] = {}
        """The element of the declaration by the path in the consignment, `items[0].price`."""
        self.texts: dict[str, str] = {}
        """Texts by their paths, as they were set."""
        self._parts: dict[str, dict[str, tuple[Any, str]]] = {}

    def add(self, context: str, name: str, constants: Mapping[str, str]) -> str:
        """Add an entry to a list, and return its path."""
        owner = self.message if name.startswith("/") else self._at(context)
        path = name[1:] if name.startswith("/") else _join(context, name)
        entries = getattr(owner, path.rpartition(".")[2])
        entry = entries.add()
        for field, value in constants.items():
            setattr(entry, field, value)
        return f"{path}[{len(entries) - 1}]"

    def remove_bare(self, path: str, constants: Mapping[str, str]) -> None:
        """Remove the last entry of a list, at its path, if it has nothing but the values that each entry has."""
        above, _, name = path.rpartition(".")
        entries = getattr(self._at(above), name.partition("[")[0])
        if entries[-1] == type(entries[-1])(**constants):
            del entries[-1]

    def set(self, context: str, target: str, text: str, element: Element, shown: str, names: Mapping[str, str]) -> None:
        """Set an element from the text of an element of the declaration; raise ElementError, also if it has another value already."""
        target, _, part = target.partition(":")
        path = target[1:] if target.startswith("/") else _join(context, target)
        above, _, name = path.rpartition(".")
        owner = self._at(above)
        parsed = _SEGMENT.fullmatch(name)
        assert parsed is not None, "paths of the mapping are well formed"
        field = owner.DESCRIPTOR.fields_by_name[parsed[1]]
        if field.is_repeated:
            values = getattr(owner, field.name)
            values.append(text)
            self.elements[f"{path.removesuffix('[]')}[{len(values) - 1}]"] = shown
            self.texts[f"{path.removesuffix('[]')}[{len(values) - 1}]"] = text
            return
        value = _value(field, text, element, shown, names)
        parts = self._parts.setdefault(path, {})
        before, stated = parts.setdefault(part, (value, shown))
        if before != value:
            raise ElementError("VALUES_DIFFER", shown, text, before=_text(before), other=stated)
        self.elements.setdefault(path, shown)
        if isinstance(value, str):
            value = self.texts[path] = "".join(parts[each][0] for each in sorted(parts))
        _assign(owner, field, value)
        unit = element.get("unitCode", "")
        if unit and field.name == "supplementary_quantity_milli":
            owner.supplementary_unit = unit
            self.elements[f"{above}.supplementary_unit"] = f"{shown}/@unitCode"

    def parts_of(self, path: str) -> dict[str, tuple[str, str]]:
        """Return the parts of a text by their numbers, each with the element that stated it; empty where it has no parts."""
        return {number: (str(text), shown) for number, (text, shown) in self._parts.get(path, {}).items() if number}

    def set_scheme(self, scheme: str, number: str, shown: str) -> None:
        """Set the number under a tax scheme; raise ElementError if it has another one already."""
        wanted = Scheme.Value(f"SCHEME_{scheme}")
        for each in self.message.fiscal_references:
            if each.scheme == wanted:
                if each.number != number:
                    raise ElementError("VALUES_DIFFER", shown, number, before=each.number, other=scheme)
                return
        self.message.fiscal_references.append(FiscalReference(scheme=wanted, number=number))
        self.elements[f"fiscal_references[{len(self.message.fiscal_references) - 1}].number"] = shown

    def _at(self, path: str) -> Any:
        """Return the message at a path; `packages[0]` is made if there is none."""
        found: Any = self.message
        for segment in filter(None, path.split(".")):
            parsed = _SEGMENT.fullmatch(segment)
            assert parsed is not None, "paths of the mapping are well formed"
            found = getattr(found, parsed[1])
            if parsed[2]:
                place = int(parsed[2])
                found = found[place] if place < len(found) else found.add()
        return found


def _join(context: str, name: str) -> str:
    return f"{context}.{name}" if context else name


def _text(value: Any) -> str:
    return f"{value[0]} {value[1]}" if isinstance(value, tuple) else str(value)


def _value(field: FieldDescriptor, text: str, element: Element, shown: str, names: Mapping[str, str]) -> Any:
    """Return what a text means in a field; amounts with their currency."""
    if field.enum_type is not None:
        name = names.get(text) or (names.get("*") if _OTHER_CODE.fullmatch(text) else None)
        if not name:
            choices = ", ".join(names).replace("*", "any other code of one or two digits")
            raise ElementError("CHOICE_MISNAMED", shown, text, choices=choices)
        return enum_number(field.enum_type, name, shown)
    if field.message_type is not None and field.message_type.full_name == TIMESTAMP:
        return _moment(text, element, shown)
    if field.message_type is not None:
        assert field.message_type.full_name == _MONEY, "the other fields are set by their own elements"
        currency = element.get("currencyID", "")
        if not currency:
            raise ElementError("CURRENCY_MISSING", shown, text)
        reason = codes.currency_error(currency)
        if reason:
            raise ElementError(reason, f"{shown}/@currencyID", currency)
        return shifted(text.removeprefix("+"), minor_units(currency), shown, currency), currency
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return text
    text = text.removeprefix("+")
    if field.name.endswith("_mass_mg"):
        unit = element.get("unitCode", "")
        if unit not in _MASSES:
            raise ElementError("CHOICE_MISNAMED", f"{shown}/@unitCode", unit, choices=", ".join(filter(None, _MASSES)))
        return shifted(text, _MASSES[unit], shown, unit or "KGM")
    if field.name.endswith("_milli"):
        return shifted(text, 3, shown, "quantity")
    whole = shifted(text, 0, shown, "a whole number")
    if not -_INT32 <= whole < _INT32:
        raise ElementError("NUMBER_TOO_WIDE", shown, text, low=-_INT32, high=_INT32 - 1)
    return whole


def _moment(text: str, element: Element, shown: str) -> str:
    """Return a date or a time of UN/EDIFACT 2379 codes 102 and 304 as ISO 8601; a date is its beginning in UTC."""
    parsed = _MOMENT.fullmatch(text)
    stated = next((each.get("formatCode", "") for each in element), "")
    if parsed is None or stated not in ("", "102" if len(text) == _DATE_DIGITS else "304"):
        raise ElementError("TIME_MALFORMED", shown, text)
    year, month, day, hour, minute, second, zone = parsed.groups(default="")
    clock = f"T{hour}:{minute}:{second}{zone if zone == 'Z' else f'{zone}:00'}" if hour else "T00:00:00Z"
    moment = f"{year}-{month}-{day}{clock}"
    set_time(Timestamp(), moment, shown)
    return moment


def _assign(owner: Message, field: FieldDescriptor, value: Any) -> None:
    if field.message_type is None:
        setattr(owner, field.name, value)
    elif isinstance(value, tuple):
        money = getattr(owner, field.name)
        money.minor, money.currency = value
    else:
        set_time(getattr(owner, field.name), value, field.name)
