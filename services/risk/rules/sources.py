"""Where the files of a rule set come from: a directory, or a mapping of what was sent."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from libs.files.yaml_file import YamlError

FILES_MAX: Final = 200
PATH_CHARACTERS_MAX: Final = 200


class FileSource(Protocol):
    """Files by their paths, which are relative and written with slashes."""

    def at(self, path: str) -> tuple[Path, bytes | None]:
        """How a file is called in mistakes, and what it holds; None: it is to be read from there. Raises YamlError."""


class Directory:
    """Files below or beside a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def at(self, path: str) -> tuple[Path, bytes | None]:
        """The path of a file, which is read when it is opened."""
        return self._root / path, None


class SentFiles:
    """Files that were sent. `used` tells which of them were asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self.used: set[str] = set()

    def at(self, path: str) -> tuple[Path, bytes | None]:
        """What a file holds. Raises YamlError where it was not sent."""
        if path not in self._files:
            message = f"the file cannot be read: it is not among the {len(self._files)} that were sent"
            raise YamlError(path, 0, "", message)
        self.used.add(path)
        return Path(path), self._files[path]


def relative_path(path: str, relative: str) -> str:
    """The path of a file that another names."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))


def path_error(path: str) -> str:
    """What is wrong with the path of a file that was sent; empty for nothing."""
    if not 0 < len(path) <= PATH_CHARACTERS_MAX or not path.isprintable():
        return f"a path has 1 to {PATH_CHARACTERS_MAX} characters that can be printed"
    if path.startswith("/") or posixpath.normpath(path) != path or path.split("/", 1)[0] in (".", ".."):
        return "a path is relative, written with slashes, and has no part . or .."
    return ""
