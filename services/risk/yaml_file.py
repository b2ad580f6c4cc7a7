"""Reads a YAML file strictly: no key twice, and every value's line known, so that a mistake can be shown where it is."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

#: Rule files are written by hand; one that is larger is not.
FILE_BYTES_MAX: Final = 8_000_000


class YamlFileError(ValueError):
    """A file that cannot be read as YAML: which, where and why."""


class YamlFile:
    """What a file says, and the line (from 1) that each value begins on, by its path such as `$.rules[3].weight`."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises YamlFileError."""
        self.path = path
        self.lines: dict[str, int] = {}
        #: Lines of values written as a literal block (`|`), whose own lines keep their numbers.
        self.blocks: set[str] = set()
        try:
            content = path.read_bytes()
        except OSError as error:
            raise YamlFileError(f"{path}: the file cannot be read: {error.strerror}") from None
        if len(content) > FILE_BYTES_MAX:
            raise YamlFileError(f"{path}: the file has {len(content)} bytes; at most {FILE_BYTES_MAX} are read")
        loader = yaml.CSafeLoader(content)
        try:
            node = loader.get_single_node()
            self.data: Any = self._value(loader, node, "$") if node is not None else None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise YamlFileError(f"{path}:{line}: this is not YAML: {error.problem}") from None
        except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
            raise YamlFileError(f"{path}: {error}") from None
        finally:
            loader.dispose()

    def _value(self, loader: Any, node: Any, path: str) -> Any:
        line = node.start_mark.line + 1
        self.lines[path] = line
        if isinstance(node, yaml.SequenceNode):
            return [self._value(loader, each, f"{path}[{index}]") for index, each in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            mapping: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = loader.construct_object(key_node)
                where = f"{self.path}:{key_node.start_mark.line + 1}"
                if not isinstance(key, str):
                    raise YamlFileError(f"{where}: the key {key!r} is no text; put it in quotes")
                if key in mapping:
                    raise YamlFileError(f"{where}: the key {key!r} stands twice; keep one of the two")
                mapping[key] = self._value(loader, value_node, f"{path}.{key}")
            return mapping
        if node.style == "|":
            self.blocks.add(path)
        value = loader.construct_object(node)
        if isinstance(value, datetime.datetime):
            raise YamlFileError(f"{self.path}:{line}: {node.value} has a time of day; write a day such as 2026-11-01")
        return value

    def place(self, path: str) -> str:
        """File and line of a value, or of the nearest value around it that stands in the file."""
        while path not in self.lines and path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.path}:{self.lines.get(path, 1)}"


def mistake_of(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong and where, as a path of YamlFile: of a key that is wrong, the mapping that it stands in."""
    message, _, where = str(error).partition(" - at `")
    if where.startswith("key` in `"):
        return f"a key: {message}", where.removeprefix("key` in `").rstrip("`")
    where = where.rstrip("`")
    # A value under any key of a mapping is told as $.mapping[...], which is no path of the file.
    return message, where.partition("[...]")[0] if where.startswith("$") else "$"
