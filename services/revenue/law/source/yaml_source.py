"""Law files as YAML: read strictly into structs, with errors that name the file, the line and the rule."""

import datetime
import re
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
import yaml

from libs.files.yaml_file import DuplicateKeyError, InvalidYamlError, YamlError, YamlFile, YamlOptions, path_text

DEPTH_MAX: Final = 60

T = TypeVar("T")
Path = tuple[str | int, ...]


class LawFileError(ValueError):
    """A law file that cannot be applied; says where, what, why and what to do."""

    def __init__(self, file: str, line: int, where: str, message: str) -> None:
        """Take the name of the file, the line from 1 (0 = unknown), the rule and a plain sentence."""
        self.file, self.line, self.where, self.message = file, line, where, message
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {where}: {message}" if where else f"{place}: {message}")


class _Loader(yaml.CSafeLoader):
    pass


# A figure of the law keeps its digits: no value passes through a float.
_Loader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: Decimal(node.value))


def _day(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.value} is no day of the calendar", node.start_mark
        ) from None


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _day)
# Keys may be merges (<<).
_OPTIONS: Final = YamlOptions(64_000_000, values_max=4_000_000, depth_max=DEPTH_MAX, loader=_Loader, text_keys=False)


class Source:
    """One YAML text and what it says."""

    def __init__(self, file: str, text: str) -> None:
        """Parse the text; LawFileError where it is no YAML or names a key twice."""
        self.file = file
        #: Of lists whose entries were written out to several: by its path, for each the place in the text.
        self.written_out: dict[Path, list[int]] = {}
        try:
            self._yaml = YamlFile(file, text, _OPTIONS)
        except InvalidYamlError as error:
            raise LawFileError(file, error.line, "", f"is no YAML{error.reason}") from None
        except YamlError as error:
            message = error.message
            if isinstance(error, DuplicateKeyError):
                message = f"the key {error.key!r} stands here twice; keep one"
            raise LawFileError(file, error.line, error.where.lstrip("$."), message) from None
        self.data: Any = self._yaml.data

    def convert(self, kind: type[T]) -> T:
        """Read the whole text as the struct; LawFileError names the element that does not fit."""
        if not isinstance(self.data, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            found = "is empty" if self.data is None else "holds no keys with values"
            raise LawFileError(self.file, 1, "", f"{found}; {_begins(kind)}")
        try:
            return _convert(self.data, kind)
        except msgspec.ValidationError as error:
            text = str(error)
            message, _, location = text.partition(" - at `")
            location = location.rpartition("` in `")[2]
            path: Path = ()
            for part in re.finditer(r"\[(\d+)\]|\[(\.\.\.)\]|([A-Za-z_]\w*)", location.rstrip("`").removeprefix("$")):
                path = (*path, int(part[1]) if part[1] else part[3] or self._key(kind, path, text))
            unknown = re.fullmatch(_UNKNOWN, message)
            raise self.error(path, _plain(message) + _how_written(path, message), unknown and unknown[1]) from None

    def _key(self, kind: type[Any], path: Path, text: str) -> str:
        """Find the key of the mapping at the path that the message is about, which the message does not name."""
        for key in _at(self.data, path):
            try:
                _convert(_single_key(self.data, path, key), kind)
            except msgspec.ValidationError as error:
                if str(error) == text:
                    return str(key)
        return "..."

    def error(self, path: Path, message: str, key: str | None = None) -> LawFileError:
        """Return the error for the element at the path, of lists as they were expanded; its line is that of its `key`."""
        for place, part in enumerate(path):
            stands = self.written_out.get(path[:place])
            if stands and isinstance(part, int):
                path = (*path[:place], stands[part], *path[place + 1 :])
        return LawFileError(self.file, self.line(path if key is None else (*path, key)), self.name(path), message)

    def line(self, path: Path) -> int:
        """Return the line of the element at the path, or of the nearest one above it; of the text itself that of its first key."""
        return self._yaml.entry_line(path_text(path))

    def name(self, path: Path) -> str:
        """Return the path as people say it: a list's entry goes by its id where it has one."""
        data: Any = self.data
        text = ""
        for part in path:
            try:
                data = data[part]
            except (KeyError, IndexError, TypeError):
                data = None
            if isinstance(part, int):
                known = data.get("id") if isinstance(data, dict) else None
                text += f"[{known if known is not None else part}]"
            else:
                text += f".{part}" if text else str(part)
        return text


def _begins(kind: type[msgspec.Struct]) -> str:
    """Return a hint of the keys with which a file of this type begins: the first required ones."""
    needed = [field.encode_name for field in msgspec.structs.fields(kind) if field.required]
    return f"such a law file begins with {', '.join(f'{name}: …' for name in needed[:3])}"


def _convert(data: Any, kind: type[T]) -> T:
    return msgspec.convert(data, type=kind, strict=True, builtin_types=(datetime.date, Decimal))


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _single_key(data: Any, path: Path, key: Any) -> Any:
    """Return the data with the mapping at the path reduced to one key."""
    if not path:
        return {key: data[key]}
    head, *rest = path
    changed = _single_key(data[head], tuple(rest), key)
    if isinstance(data, dict):
        return data | {head: changed}
    return [changed if place == head else each for place, each in enumerate(data)]


_UNKNOWN = r"Object contains unknown field `(\w+)`"
_FIGURES = {"amount": "700.00 EUR", "unit": "0.01 EUR", "base_unit": "1.00 EUR", "total_unit": "0.10 EUR"}
_FIGURES |= {"less": "20.00 EUR", "rate": "7.5 %", "share": "70 %", "percent": "12.5 %"}


def _how_written(path: Path, message: str) -> str:
    """Return a hint how a figure is written if it is given as a number, perhaps because a comma ended it."""
    name = str(path[-1]) if path else ""
    if name not in _FIGURES or not re.fullmatch(r"Expected `str`, got `(int|float|decimal|null|array)`", message, re.I):
        return ""
    return f"; write it as '{_FIGURES[name]}', with a point: a comma ends what stands before it"


def _plain(message: str) -> str:
    if match := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return f"has no {match[1]!r}; every entry needs it"
    if match := re.fullmatch(_UNKNOWN, message):
        return f"{match[1]!r} is not known here; look for a slip of the pen"
    if match := re.fullmatch(r"Invalid enum value '(.*)'", message):
        return f"{match[1]!r} is not one of the known words"
    return message[0].lower() + message[1:]
