"""Reading of published files as tables: bytes to rows, and all errors of form at once."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from services.revenue.law.source.tariff_lines import LINES_MAX
from services.revenue.tariff_file.imported import TariffFileError

SIZE_MAX = 200_000_000
"""Bytes of a file, uncompressed."""
_ERRORS_MAX = 100


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file."""

    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        """Return a value without blanks around it."""
        return self.values[column].strip()


def read_rows(file: str, data: bytes, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV file in UTF-8, which may be compressed by gzip.

    Raises TariffFileError for a file that is empty, truncated, in another encoding, too long, or without one of the
    columns, and for rows with too many or too few values.
    """
    text = _text(file, data)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [name for name in columns if name not in header]
        if missing:
            raise TariffFileError(
                [f"{file}:1: has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}: check --format"]
            )
        read, errors = list[Row](), list[str]()
        for values in rows:
            if not values:
                continue
            if len(values) != len(header):
                errors.append(
                    f"{file}:{rows.line_num}: {','.join(values)[:60]!r} has {len(values)} values and the header {len(header)}; "
                    "correct the line, or get the whole file"
                )
            elif len(read) >= LINES_MAX:
                errors.append(f"{file}:{rows.line_num}: has more than {LINES_MAX} lines; divide the file")
            else:
                read.append(Row(rows.line_num, dict(zip(header, values, strict=True))))
            if len(errors) >= _ERRORS_MAX:
                break
    except csv.Error as error:
        raise TariffFileError([f"{file}:{rows.line_num}: is no CSV: {error}; get the whole file"]) from None
    if not errors and not read:
        errors.append(f"{file}:1: has no lines below its header; get the whole file")
    if not errors and not text.endswith("\n"):
        errors.append(f"{file}:{rows.line_num}: does not end with a line end: it may be truncated; get the whole file")
    if errors:
        raise TariffFileError(errors)
    return read


def _text(file: str, data: bytes) -> str:
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(data)) as unpacked:
                data = unpacked.read(SIZE_MAX + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise TariffFileError([f"{file}: is no whole gzip file: {error}; get the whole file"]) from None
    if len(data) > SIZE_MAX:
        raise TariffFileError([f"{file}: has more than {SIZE_MAX} bytes; divide it"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise TariffFileError(
            [f"{file}:{line}: {data[error.start : error.start + 1]!r} is not UTF-8; convert the file to UTF-8"]
        ) from None
    if not text.strip():
        raise TariffFileError([f"{file}: is empty; get the whole file"])
    return text


def code_of(text: str) -> str:
    """Return a commodity code without its points and blanks; codes of 7 or 9 digits get back the zero that spreadsheets remove."""
    code = re.sub(r"[ .]", "", text)
    return f"0{code}" if code.isdigit() and len(code) in (7, 9) else code
