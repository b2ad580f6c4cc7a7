"""The formats of files that consignments are read from."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from libs.client.errors import LuxorError
from libs.client.filing.declarations.reader import read_declaration
from libs.client.filing.declarations.tables import read_h7, read_itmatt
from libs.client.filing.files import REQUIRED, Read, read_csv, read_jsonl
from libs.client.row_errors import RowError
from luxor.consignment.v1.consignment_pb2 import (
    MESSAGE_FUNCTION_AMEND,
    MESSAGE_FUNCTION_INVALIDATE,
    MESSAGE_FUNCTION_NEW,
)

READERS: Final[dict[str, Callable[[BinaryIO], Iterator[Read | RowError]]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "dec": read_declaration,
    "h7": read_h7,
    "itmatt": read_itmatt,
}
"""How each format is read."""
_OF_INVALIDATION: Final = frozenset(
    {"local_reference", "function", "amended_mrn", "amended_version", "return_document"}
)
"""Elements that an invalidation uses."""
_ENDINGS: Final = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "xml": "dec"}


def kind_of(path: Path, chosen: str = "") -> str:
    """Return the format of a file by its name, or what was chosen; raise LuxorError FILE_KIND_UNKNOWN."""
    kind = chosen or _ENDINGS.get(path.suffix.lower().lstrip("."), "")
    if kind not in READERS:
        raise LuxorError.from_reason("FILE_KIND_UNKNOWN", value=path.name)
    return kind


def read(file: BinaryIO, kind: str, function: int = MESSAGE_FUNCTION_NEW) -> Iterator[Read | RowError]:
    """Yield what stands in an open file, in its order; raise LuxorError for a header that cannot be used.

    Consignments that state no function get `function`. A change without the version that it replaces then replaces the first one, and an
    invalidation has nothing but what it needs; in a CSV it needs no columns of items.
    """
    if function == MESSAGE_FUNCTION_NEW:
        return READERS[kind](file)
    bare = kind == "csv" and function == MESSAGE_FUNCTION_INVALIDATE
    rows = read_csv(file, required=REQUIRED[:1]) if bare else READERS[kind](file)
    return (_with_function(each, function) for each in rows)


def _with_function(each: Read | RowError, function: int) -> Read | RowError:
    if isinstance(each, RowError):
        return each
    message = each.message
    if not message.function:
        message.function = function  # type: ignore[assignment]  # a number of the enumeration
    changes = message.function in (MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE)
    if changes and not message.HasField("amended_version"):
        message.amended_version = 1
    if message.function == MESSAGE_FUNCTION_INVALIDATE:
        for field, _ in message.ListFields():
            if field.name not in _OF_INVALIDATION:
                message.ClearField(field.name)  # type: ignore[arg-type]  # a name of its own fields
    return each
