"""Reads a table with the columns of the European Union's data set H7: their headers are numbers of data elements."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import msgspec

from libs.client.errors import LuxorError
from libs.client.filing.columns import columns, join, split
from libs.client.filing.declarations.mapping import EORI
from libs.client.filing.declarations.totals import add_gross_mass
from libs.client.filing.files import Read, RefusedRow, read_csv
from libs.client.row_errors import ElementError, RowError
from libs.files.yaml_file import YamlFile

REFERENCE: Final = "local_reference"
_NUMBER: Final = re.compile(r"\d{2} ?\d{2}( ?\d{3}){0,2}")
_SIMPLE: Final = 4
"""Digits of the number of an element that has no parts."""


class H7Column(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What becomes of one data element."""

    name: str
    to: list[str] = []
    codes: dict[str, str] = {}
    eori: list[str] = []
    digits: Annotated[int, msgspec.Meta(ge=0)] = 0
    note: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a column that is neither taken nor left out, or a target that is none."""
        if bool(self.to) == bool(self.note):
            raise ValueError("state either to or note")
        unknown = {*self.to, *self.eori} - set(columns())
        if unknown:
            raise ValueError(f"{sorted(unknown)} are no columns of a consignment")

    def value(self, cell: str, header: str) -> str:
        """Return a cell as the columns have it; raise ElementError for a part of a code that has other digits than it must."""
        if self.digits and (len(cell) != self.digits or not (cell.isascii() and cell.isdigit())):
            # Parts of other lengths would read as another code together.
            raise ElementError("CODE_MALFORMED", header, cell, form=f"{self.digits} digits")
        return join([self.codes.get(each.upper(), each) for each in split(cell)]) if self.codes else cell


class H7Mapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The file."""

    format: Literal[1]
    source: str
    columns: dict[str, H7Column]


@functools.cache
def h7_columns() -> dict[str, H7Column]:
    """Return the columns by the numbers of their data elements, without blanks."""
    mapping = YamlFile(Path(__file__).with_name("h7.yaml")).convert(H7Mapping)
    return {number.replace(" ", ""): column for number, column in mapping.columns.items()}


def number_of(header: str) -> str:
    """Return the number in a header as `h7_columns` has it; empty for a header that is no number there.

    >>> number_of("12 09 000 000"), number_of("18 05 001 000"), number_of("12 05 001 000"), number_of("1304018021"), number_of("nature")
    ('1209', '1805', '1205001', '1304018021', '')
    """
    if _NUMBER.fullmatch(header) is None:
        return ""
    digits = header.replace(" ", "")
    while len(digits) > _SIMPLE and digits.endswith("000"):
        digits = digits[:-3]
    if digits not in h7_columns() and digits[_SIMPLE:] == "001":
        digits = digits[:_SIMPLE]
    return digits if digits in h7_columns() else ""


def read_h7(file: BinaryIO) -> Iterator[Read | RowError]:
    """Yield each consignment of a table, with notes of what was left out; columns of a CSV of consignments may stand beside those of H7."""
    rows = _Rows()
    for each in read_csv(file, rows.translated):
        if isinstance(each, RowError):
            rows.left_out.pop(each.reference, None)
            shown = rows.headers_of.get(each.element, "")
            yield each._replace(element=shown, sentence=each.sentence.replace(each.element, shown)) if shown else each
            continue
        add_gross_mass(each.message)
        reference = each.message.local_reference
        notes = [
            ElementError("ELEMENT_NOT_CONVERTED", header, value, why=note).at(each.line, reference)
            for header, value, note in rows.left_out.pop(reference, [])
        ]
        yield Read(each.message, each.line, each.item_lines, tuple(notes), lambda name: rows.headers_of.get(name, ""))


class _Rows:
    """Turns rows of H7 into rows of a CSV of consignments."""

    def __init__(self) -> None:
        self.left_out: dict[str, list[tuple[str, str, str]]] = {}
        """Headers, values and explanations by the reference of their consignment."""
        self.headers_of: dict[str, str] = {}
        """The header that states a column, by the column."""
        self._width = 0
        self._taken: list[tuple[int, str, H7Column | None]] = []
        """Place, header, and column of H7, in the order in which parts are joined."""
        self._names: list[str] = []

    def translated(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        """Return the rows; errors come as they are read, and do not end them."""
        return _Translated(rows, self)

    def header(self, row: list[str]) -> list[str]:
        """Return the header; raise LuxorError COLUMN_REPEATED if two columns state the same."""
        self._width = len(row)
        order = list(h7_columns())
        numbers = [number_of(header.strip()) for header in row]
        places = sorted(
            range(len(row)), key=lambda place: order.index(numbers[place]) if numbers[place] else len(order)
        )
        for place in places:
            header = row[place].strip()
            column = h7_columns().get(numbers[place])
            repeated = column is not None and numbers.count(numbers[place]) > 1
            for name in [header.lower()] if column is None else column.to:
                repeated = repeated or (column is None and name in self.headers_of)
                self.headers_of.setdefault(name, header)
            if repeated:
                raise LuxorError.from_reason("COLUMN_REPEATED", path="line 1", value=header)
            self._taken.append((place, header, column))
        added = [name for _, _, column in self._taken if column is not None for name in column.eori]
        self._names = list(dict.fromkeys([*self.headers_of, *added]))
        return self._names

    def row(self, row: list[str]) -> list[str]:
        """Return a row in the columns of the header; raise RefusedRow with the first error of one that cannot be translated."""
        element_error: ElementError | None = None
        if len(row) != self._width:
            element_error = ElementError("ROW_WIDTH_WRONG", "", cells=len(row), columns=self._width)
        values = dict.fromkeys(self._names, "")
        left_out = []
        for place, header, column in self._taken:
            cell = row[place].strip() if place < len(row) else ""
            if not cell:
                continue
            if column is None:
                values[header.lower()] = cell
                continue
            try:
                for name in column.to:
                    values[name] += column.value(cell, header)
            except ElementError as error:
                element_error = element_error or error
            if EORI.fullmatch(cell):
                values |= {name: "EORI" for name in column.eori if not values[name]}
            if column.note:
                left_out.append((header, cell, column.note))
        if left_out and values.get(REFERENCE):
            self.left_out.setdefault(values[REFERENCE], []).extend(left_out)
        translated = [values[name] for name in self._names]
        if element_error is not None:
            raise RefusedRow(element_error, translated)
        return translated


class _Translated(Iterator[list[str]]):
    """Rows as they are read, of which the first is the header."""

    def __init__(self, rows: Iterator[list[str]], into: _Rows) -> None:
        self._rows, self._into, self._has_header = rows, into, False

    def __next__(self) -> list[str]:
        row = next(self._rows)
        if not self._has_header:
            self._has_header = True
            return self._into.header(row)
        return self._into.row(row) if row else row
