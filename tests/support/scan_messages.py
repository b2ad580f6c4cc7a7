"""Messages of a scanner and their mapping for tests: those of the documentation, so that its example works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_DOCS: Final = (Path(__file__).resolve().parents[2] / "docs" / "clearance.md").read_text(encoding="utf-8")
_EXAMPLE: Final = _DOCS.partition("### Messages of scanners")[2]
MAPPING: Final = re.findall(r"```yaml\n(.*?)```", _EXAMPLE, re.DOTALL)[0]
MESSAGE: Final = re.findall(r"```xml\n(.*?)```", _EXAMPLE, re.DOTALL)[0]
MRN: Final = "26DE07329000001XR8"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return a text after each change, which has to find its place."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def written(path: Path, text: str) -> Path:
    """Write a file and return its path."""
    path.write_text(text, encoding="utf-8")
    return path


def mapping_at(directory: Path, *changes: tuple[str, str]) -> Path:
    """Write the mapping, changed."""
    return written(directory / "mapping.yaml", changed(MAPPING, *changes))


def message_at(directory: Path, *changes: tuple[str, str], name: str = "17.xml") -> Path:
    """Write the message, changed."""
    return written(directory / name, changed(MESSAGE, *changes))
