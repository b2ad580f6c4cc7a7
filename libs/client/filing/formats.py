"""The formats of files that consignments are read from."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from libs.client.errors import LuxorError
from libs.client.filing.declarations.h7 import read_h7
from libs.client.filing.declarations.reader import read_declaration
from libs.client.filing.files import Read, read_csv, read_jsonl
from libs.client.row_errors import RowError

READERS: Final[dict[str, Callable[[BinaryIO], Iterator[Read | RowError]]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "dec": read_declaration,
    "h7": read_h7,
}
"""How each format is read."""
_ENDINGS: Final = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "xml": "dec"}


def kind_of(path: Path, chosen: str = "") -> str:
    """Return the format of a file by its name, or what was chosen; raise LuxorError FILE_KIND_UNKNOWN."""
    kind = chosen or _ENDINGS.get(path.suffix.lower().lstrip("."), "")
    if kind not in READERS:
        raise LuxorError.from_reason("FILE_KIND_UNKNOWN", value=path.name)
    return kind


def read(file: BinaryIO, kind: str) -> Iterator[Read | RowError]:
    """Yield what stands in an open file, in its order; raise LuxorError for a header that cannot be used."""
    return READERS[kind](file)
