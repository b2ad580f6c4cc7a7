"""Copies of the files of every list in force, in the data directory: what a replica starts from where the newest is broken.

Of each list there is a directory with the copy of its files, what lists.yaml said of them, and `current`, which names the
copy that counts. That one file is replaced in a step, so a copy is whole or not there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from libs.telemetry import get_logger
from services.risk.screening.lists.list_files import ListFile, ListText
from services.risk.screening.lists.party_list import ListRefused, ListVersion, PartyList, digest

_CURRENT: Final = "current"
_TEXT: Final = "list.json"
_log = get_logger()


class _CopyText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str
    text: ListText


@dataclass(frozen=True, slots=True)
class ListCopies:
    """The copies in a directory."""

    directory: Path

    def names(self) -> Sequence[str]:
        """The lists of which there is a copy."""
        return sorted(path.parent.name for path in self.directory.glob(f"*/{_CURRENT}"))

    def digest_of(self, name: str) -> str:
        """Digest of the files of a list's copy; "" where there is none."""
        try:
            return (self.directory / name / _CURRENT).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def has(self, file: ListFile) -> bool:
        """Whether the copy of a list is of the files that are there now."""
        try:
            return self.digest_of(file.text.name) == digest(*(path.read_bytes() for path in file.paths))
        except OSError:
            return False

    def load(self, name: str) -> PartyList | None:
        """The list of a copy, or None: without one, or where it cannot be read, which the log tells."""
        wanted = self.digest_of(name)
        if not wanted:
            return None
        place = self.directory / name / wanted
        try:
            kept = msgspec.json.decode((place / _TEXT).read_bytes(), type=_CopyText)
            paths = tuple(place / _name(number, each) for number, each in enumerate(kept.text.files))
            loaded = ListFile(kept.text, paths).load()
            if loaded.version.digest != wanted:
                raise ListRefused(f"{place}: the files have another digest than they had when they were copied")
        except (OSError, msgspec.MsgspecError, ListRefused) as error:
            _log.error("LIST_COPY_UNREADABLE", list=name, why=str(error))
            return None
        return loaded

    def store(self, file: ListFile, version: ListVersion) -> None:
        """Copy the files of a version that is in force now. What fails is told, and the older copy stays."""
        name = file.text.name
        if self.digest_of(name) == version.digest:
            return
        place = self.directory / name / version.digest
        try:
            contents = [path.read_bytes() for path in file.paths]
            if digest(*contents) != version.digest:
                return  # They were replaced since they were read: the next look takes those.
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            for number, (each, content) in enumerate(zip(file.text.files, contents, strict=True)):
                _write(place / _name(number, each), content)
            _write(place / _TEXT, msgspec.json.encode(_CopyText(version.digest, file.text)))
            _write(place.parent / _CURRENT, version.digest.encode())
            for other in place.parent.iterdir():
                if other.is_dir() and other != place:
                    shutil.rmtree(other)
        except OSError as error:
            _log.warning("LIST_NOT_COPIED", list=version.id, why=str(error))

    def forget(self, name: str) -> None:
        """Remove a list's copy."""
        try:
            shutil.rmtree(self.directory / name)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("LIST_COPY_NOT_REMOVED", list=name, why=str(error))


def _name(number: int, file: str) -> str:
    """Name of a copied file: it keeps what tells its kind, and no path."""
    return f"{number}{Path(file).suffix}"


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
