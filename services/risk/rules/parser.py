"""From YAML to the written form, with every mistake of a file at once."""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Final

import msgspec

from libs.files.yaml_file import YamlFile, message_and_path, quoting_hint
from services.risk.rules.parser_messages import in_words
from services.risk.rules.validation_errors import ValidationError

#: What stands in for a value that is no good, so that the rest can be looked at.
_INVALID: Final = object()
#: A file that is wrong from top to bottom is not told in full.
ERRORS_MAX: Final = 1_000


class Reading:
    """Reads one file into a struct; `errors` are those of the file."""

    def __init__(self, file: YamlFile, errors: list[ValidationError]) -> None:
        self.file = file
        self.errors = errors

    def read(self, kind: type[Any]) -> Any | None:
        """What the file says as a struct of a kind; None where it has mistakes."""
        before = len(self.errors)
        value = self._value(kind, self.file.data, "$", "")
        return None if len(self.errors) > before else value

    def add_error(self, where: str, rule: str, message: str) -> None:
        """Add an error at a path of the file."""
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(ValidationError(self.file.name, *self.file.position(where), rule, message))

    def _value(self, kind: Any, value: Any, where: str, rule: str) -> Any:
        bare, meta = _without_meta(kind)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self._struct(bare, value, where, rule)
        element = _element(bare)
        if element is not None and isinstance(value, list):
            most = meta.max_length if meta is not None else None
            if most is not None and len(value) > most:
                self.add_error(where, rule, f"{len(value)} entries; at most {most} are taken")
                return _INVALID
            told = [
                self._value(element, each, f"{where}[{index}]", _owner(where, index, each))
                for index, each in enumerate(value)
            ]
            return _INVALID if _INVALID in told else tuple(told)
        return self._converted(kind, value, where, rule)

    def _struct(self, kind: type[Any], value: Any, where: str, rule: str) -> Any:
        if not isinstance(value, dict):
            self._converted(kind, value, where, rule)
            return _INVALID
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        good = True
        for name in value:
            if name not in fields:
                self.add_error(
                    f"{where}.{name}", rule, f"there is no element `{name}` here; there are {', '.join(fields)}"
                )
                good = False
        told: dict[str, Any] = {}
        for name, field in fields.items():
            if name not in value:
                if field.required:
                    self.add_error(where, rule, f"the element `{name}` is missing")
                    good = False
                continue
            each = self._value(field.type, value[name], f"{where}.{name}", rule)
            good = good and each is not _INVALID
            told[field.name] = each
        return kind(**told) if good else _INVALID

    def _converted(self, kind: Any, value: Any, where: str, rule: str) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            message, within = message_and_path(error)
        except (OverflowError, RecursionError) as error:
            message, within = str(error), "$"
        path = where + within.removeprefix("$")
        self.add_error(path, rule, f"{in_words(message)}{quoting_hint(message)} (at {path.removeprefix('$.')})")
        return _INVALID


def _without_meta(kind: Any) -> tuple[Any, msgspec.Meta | None]:
    """A type without what bounds it, and without None where that is allowed beside it."""
    if typing.get_origin(kind) is Annotated:
        return kind.__origin__, next((each for each in kind.__metadata__ if isinstance(each, msgspec.Meta)), None)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = [each for each in typing.get_args(kind) if each is not type(None)]
        if len(parts) == 1 and isinstance(parts[0], type) and issubclass(parts[0], msgspec.Struct):
            return parts[0], None
    return kind, None


def _element(kind: Any) -> type[Any] | None:
    """The struct that a tuple is made of."""
    if typing.get_origin(kind) is tuple:
        first = typing.get_args(kind)[0]
        if isinstance(first, type) and issubclass(first, msgspec.Struct):
            return first
    return None


def _owner(where: str, index: int, value: Any) -> str:
    """Return the name of a rule or typology for messages."""
    name = value.get("id") if isinstance(value, dict) else None
    kind = "typology" if where.endswith("typologies") else "rule"
    return f"{kind} {name[:63]}" if isinstance(name, str) else f"{kind} {index + 1}"
