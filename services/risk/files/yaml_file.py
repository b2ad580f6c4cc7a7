"""Reads a YAML file strictly: no key twice, and every value's line known, so that a mistake can be shown where it is."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

#: Rule files are written by hand; one that is larger is not.
FILE_BYTES_MAX: Final = 8_000_000
#: Values of a file, those of aliases counted wherever they stand.
VALUES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 30


class YamlFileError(ValueError):
    """A file that cannot be read as YAML: which, where and why. `line` is 0 where the file as a whole is meant."""

    def __init__(self, text: str) -> None:
        """Take `file:line: why` or `file: why`."""
        super().__init__(text)
        found = re.match(r"(.+?):(\d+)?:? (.*)", text, re.DOTALL)
        self.file = found[1] if found else ""
        self.line = int(found[2]) if found and found[2] else 0
        self.message = found[3] if found else text


class YamlFile:
    """What a file says, and where (line and column from 1) each value begins, by its path such as `$.rules[3].weight`."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """Read the file, or take its content where it is there already; raises YamlFileError."""
        self.path = path
        self.lines: dict[str, int] = {}
        self.columns: dict[str, int] = {}
        #: Values written as a literal block (`|`), whose own lines keep their numbers: path → columns of indentation.
        self.blocks: dict[str, int] = {}
        self._left = VALUES_MAX
        if content is None:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise YamlFileError(f"{path}: the file cannot be read: {error.strerror}") from None
        if len(content) > FILE_BYTES_MAX:
            raise YamlFileError(f"{path}: the file has {len(content)} bytes; at most {FILE_BYTES_MAX} are read")
        self._text: list[bytes] = content.split(b"\n")
        # The parser's constructor reads the first bytes already.
        loader: Any = None
        try:
            loader = yaml.CSafeLoader(content)
            node = loader.get_single_node()
            self.data: Any = self._value(loader, node, "$", 0) if node is not None else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise YamlFileError(f"{path}:{line}: this is not YAML: {error.problem}") from None
        except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
            if isinstance(error, YamlFileError):
                raise
            raise YamlFileError(f"{path}: this is not YAML that is read here: {error}") from None
        finally:
            if loader is not None:
                loader.dispose()

    def _value(self, loader: Any, node: Any, path: str, depth: int) -> Any:
        line = node.start_mark.line + 1
        self._left -= 1
        if self._left < 0:
            # Aliases (&, *) can make a short file a very large one.
            raise YamlFileError(f"{self.path}:{line}: the file holds more than {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            raise YamlFileError(f"{self.path}:{line}: values lie more than {DEPTH_MAX} deep in each other")
        self.lines[path] = line
        self.columns[path] = node.start_mark.column + 1
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, each, f"{path}[{index}]", depth + 1) for index, each in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            mapping: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                where = f"{self.path}:{key_node.start_mark.line + 1}"
                # No text is a key that is a mapping or list, and building one would cost what it holds.
                key = self._scalar(loader, key_node) if isinstance(key_node, yaml.ScalarNode) else ()
                if not isinstance(key, str):
                    shown = repr(key) if key != () else "of several values"
                    raise YamlFileError(f"{where}: the key {shown} is no text; put it in quotes")
                if key in mapping:
                    raise YamlFileError(f"{where}: the key {key!r} stands twice; keep one of the two")
                mapping[key] = self._value(loader, value_node, f"{path}.{key}", depth + 1)
            return mapping
        if node.style == "|":
            first = self._text[line] if line < len(self._text) else b""
            self.blocks[path] = len(first) - len(first.lstrip(b" "))
        value = self._scalar(loader, node)
        if isinstance(value, datetime.datetime):
            raise YamlFileError(f"{self.path}:{line}: {node.value} has a time of day; write a day such as 2026-11-01")
        return value

    def _scalar(self, loader: Any, node: Any) -> Any:
        try:
            return loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception as error:  # such as a day that does not exist, 2026-02-30, or a base that has no such digit
            line = node.start_mark.line + 1
            raise YamlFileError(f"{self.path}:{line}: {str(node.value)[:60]} cannot be read: {error}") from None

    def line(self, number: int) -> str:
        """A line of the file, from 1; empty where there is none."""
        return self._text[number - 1].decode(errors="replace") if 0 < number <= len(self._text) else ""

    def place(self, path: str) -> str:
        """File and line of a value, or of the nearest value around it that stands in the file."""
        return f"{self.path}:{self.position(path)[0]}"

    def position(self, path: str) -> tuple[int, int]:
        """Line and column of a value, or of the nearest value around it that stands in the file."""
        while path not in self.lines and path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1), self.columns.get(path, 1)


def message_and_path(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong and where, as a path of YamlFile: of a key that is wrong, the mapping that it stands in."""
    message, _, where = str(error).partition(" - at `")
    if where.startswith("key` in `"):
        return f"a key: {message}", where.removeprefix("key` in `").rstrip("`")
    where = where.rstrip("`")
    # A value under any key of a mapping is told as $.mapping[...], which is no path of the file.
    return message, where.partition("[...]")[0] if where.startswith("$") else "$"
