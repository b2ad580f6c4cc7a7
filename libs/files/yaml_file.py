"""Reads YAML strictly: bounded, no key twice, and the position of each value known, so that an error can say where it is."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

T = TypeVar("T")

_TEXT: Final = "tag:yaml.org,2002:str"
_INDEX: Final = re.compile(r"\[(\d+)\]")
Keys = tuple[str | int, ...]


class YamlError(Exception):
    """YAML that cannot be read: the file, the line from 1 (0: the file as a whole), the path of the value, and why."""

    def __init__(self, file: str, line: int, where: str, message: str) -> None:
        self.file, self.line, self.where, self.message = file, line, where, message
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")


class InvalidYamlError(YamlError):
    """A text that is not YAML; `reason` is what follows these words."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        self.reason = reason
        super().__init__(file, line, "", f"this is not YAML{reason}")


class DuplicateKeyError(YamlError):
    """A mapping that has a key twice, of which YAML would silently take the last."""

    def __init__(self, file: str, line: int, where: str, key: str) -> None:
        self.key = key
        super().__init__(file, line, where, f"the key {key!r} stands twice; keep one of the two")


class _ScalarError(Exception):
    """A scalar that its type cannot hold."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        self.line, self.message = node.start_mark.line + 1, message


class StrictLoader(yaml.CSafeLoader):
    """Names each scalar that its type cannot hold, and refuses times of day."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node."""
        try:
            value = super().construct_object(node, deep)
        except (yaml.YAMLError, _ScalarError):
            raise
        except Exception as error:  # such as a day that does not exist, 2026-02-30, or a base that has no such digit
            raise _ScalarError(node, f"{str(node.value)[:60]} cannot be read: {error}") from None
        if isinstance(value, datetime.datetime):
            raise _ScalarError(node, f"{node.value} has a time of day; write a day such as 2026-11-01")
        return value


@dataclass(frozen=True, slots=True)
class YamlOptions:
    """The bounds of a file, and how it is read. Values of an alias count wherever it stands."""

    bytes_max: int = 8_000_000
    values_max: int = 1_000_000
    depth_max: int = 30
    loader: type[yaml.CSafeLoader] = StrictLoader
    text_keys: bool = True
    """Refuse keys that YAML reads as numbers, truth values or merges."""


_OPTIONS: Final = YamlOptions()


class YamlFile:
    """The data of a file, and the position of each value by its path such as `$.rules[3].weight`."""

    def __init__(self, path: Path | str, content: bytes | str | None = None, options: YamlOptions = _OPTIONS) -> None:
        """Read the file, or take its content, which `path` then only names. Raises YamlError."""
        self.name = str(path)
        self._options = options
        self._values = 0
        try:
            content = Path(path).read_bytes() if content is None else content
        except OSError as error:
            raise YamlError(self.name, 0, "", f"the file cannot be read: {error.strerror}") from None
        self._content = content.encode(errors="surrogatepass") if isinstance(content, str) else content
        if len(self._content) > options.bytes_max:
            message = f"the file has {len(self._content)} bytes; at most {options.bytes_max} are read"
            raise YamlError(self.name, 0, "", message)
        self.data: Any = None
        try:
            loader: Any = options.loader(self._content)
            self._tree: Any = loader.get_single_node()
            if self._tree is not None:
                self._check(self._tree, ())
                self.data = loader.construct_document(self._tree)
        except _ScalarError as error:
            raise YamlError(self.name, error.line, "", error.message) from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise InvalidYamlError(self.name, line, f": {error.problem}") from None
        except (yaml.YAMLError, ArithmeticError, RecursionError, TypeError, ValueError) as error:
            reason = f" that is read here: {str(error) or type(error).__name__}"
            raise InvalidYamlError(self.name, 0, reason) from None

    def _check(self, node: Any, path: Keys) -> None:
        """Raise YamlError for a key that is refused, or if aliases (&, *) make a short file a large or endless one."""
        self._values += 1
        most, deepest = self._options.values_max, self._options.depth_max
        if self._values > most or len(path) > deepest:
            why = f"the file holds more than {most} values, or values more than {deepest} deep in each other"
            raise self._error(node, path[:5], f"{why}; divide it into several files")
        if isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._check(value, (*path, index))
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise self._error(key, path, "a key here has several values; write it as one word")
                if self._options.text_keys and key.tag != _TEXT:
                    raise self._error(key, path, f"the key {key.value} is no text; put it in quotes")
                if key.value in keys:
                    raise DuplicateKeyError(self.name, key.start_mark.line + 1, path_text(path), key.value)
                keys.add(key.value)
                self._check(value, (*path, key.value))

    def _error(self, node: yaml.Node, path: Keys, message: str) -> YamlError:
        return YamlError(self.name, node.start_mark.line + 1, path_text(path), message)

    def convert(self, kind: type[T]) -> T:
        """Return the data as a type of msgspec; raise YamlError for the value that does not fit."""
        try:
            return msgspec.convert(self.data, kind)
        except msgspec.ValidationError as error:
            message, where = message_and_path(error)
            message += f"{quoting_hint(message)} (at {where.removeprefix('$.')})"
            raise YamlError(self.name, self.position(where)[0], where, message) from None

    def line(self, number: int) -> str:
        """Return a line of the file, from 1; empty where there is none."""
        lines = self._content.split(b"\n")
        return lines[number - 1].decode(errors="replace") if 0 < number <= len(lines) else ""

    def place(self, path: str) -> str:
        """Return file and line of a value, or of the nearest value around it that stands in the file."""
        return f"{self.name}:{self.position(path)[0]}"

    def position(self, path: str) -> tuple[int, int]:
        """Return line and column, from 1, at which a value begins, or the nearest value around it that stands in the file."""
        node, _ = self._nearest(path)
        return (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (1, 1)

    def entry_line(self, path: str) -> int:
        """Return the line of a value's key, or of a list's entry, or of the nearest one around it; 0 in an empty file."""
        return self._nearest(path)[1]

    def block_indentation(self, path: str) -> int | None:
        """Return the columns of indentation of a literal block (`|`), whose lines are those of the file; None for other values."""
        node, _ = self._nearest(path)
        if not isinstance(node, yaml.ScalarNode) or node.style != "|":
            return None
        first = self.line(node.start_mark.line + 2)
        return len(first) - len(first.lstrip(" "))

    def _nearest(self, path: str) -> tuple[Any, int]:
        """Return the value at a path, or the nearest one around it, and the line at which its entry begins."""
        node = self._tree
        line = node.start_mark.line + 1 if node is not None else 0
        rest = path.removeprefix("$")
        while rest:
            index = _INDEX.match(rest)
            if isinstance(node, yaml.MappingNode):
                # Keys may have points, so the longest fits; of those that a merge has put before others, the last counts.
                pairs = [pair for pair in reversed(node.value) if f"{rest}.".startswith(_starts(pair[0].value))]
                if not pairs:
                    break
                key, node = max(pairs, key=lambda pair: len(pair[0].value))
                line, rest = key.start_mark.line + 1, rest[len(key.value) + 1 :]
            elif isinstance(node, yaml.SequenceNode) and index is not None and int(index[1]) < len(node.value):
                node, rest = node.value[int(index[1])], rest[index.end() :]
                line = node.start_mark.line + 1
            else:
                break
        return node, line


def _starts(key: str) -> tuple[str, str]:
    return f".{key}.", f".{key}["


def path_text(path: Keys) -> str:
    """Return a path as text.

    >>> path_text(("rules", 3, "weight"))
    '$.rules[3].weight'
    """
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def message_and_path(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the message of an error and its path in a YamlFile: if a key is wrong, that of its mapping."""
    message, _, where = str(error).partition(" - at `")
    if where.startswith("key` in `"):
        return f"a key: {message}", where.removeprefix("key` in `").rstrip("`")
    where = where.rstrip("`")
    # A value under any key of a mapping is reported as $.mapping[...], which is no path of the file.
    return message, where.partition("[...]")[0] if where.startswith("$") else "$"


def quoting_hint(message: str) -> str:
    """Return a hint if msgspec's message is about a text that YAML reads as a truth value or a number; else an empty text."""
    if "got `bool`" in message:
        return "; YAML reads yes, no, on and off as truth values, so put such a text in quotes"
    if "Expected `str`, got `int`" in message:
        return "; put codes and numbers in quotes, or a leading 0 is lost"
    return ""
