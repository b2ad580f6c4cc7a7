"""Reads tables with the columns of other data sets: of the European Union's H7, and of ITMATT and the forms CN 22 and CN 23 of the posts."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import msgspec

from libs.client.errors import LuxorError
from libs.client.filing.columns import columns, join, split
from libs.client.filing.declarations.mapping import EORI
from libs.client.filing.declarations.totals import add_gross_mass
from libs.client.filing.files import REQUIRED, Read, RefusedRow, read_csv
from libs.client.row_errors import ElementError, RowError
from libs.files.yaml_file import YamlFile

REFERENCE: Final = "local_reference"
_NUMBER: Final = re.compile(r"\d{2} ?\d{2}( ?\d{3}){0,2}")
_SIMPLE: Final = 4
"""Digits of the number of an element that has no parts."""


class TableColumn(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What becomes of one data element."""

    name: str = ""
    to: list[str] = []
    codes: dict[str, str] = {}
    eori: list[str] = []
    sets: dict[str, str] = {}
    digits: Annotated[int, msgspec.Meta(ge=0)] = 0
    note: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a column that is neither taken nor left out, or a target that is none."""
        if bool(self.to) == bool(self.note):
            raise ValueError("state either to or note")
        unknown = {*self.to, *self.eori, *self.sets} - set(columns())
        if unknown:
            raise ValueError(f"{sorted(unknown)} are no columns of a consignment")

    def value(self, cell: str, header: str) -> str:
        """Return a cell as the columns have it; raise ElementError for a part of a code that has other digits than it must."""
        if self.digits and (len(cell) != self.digits or not (cell.isascii() and cell.isdigit())):
            # Parts of other lengths would read as another code together.
            raise ElementError("CODE_MALFORMED", header, cell, form=f"{self.digits} digits")
        return join([self.codes.get(each.upper(), each) for each in split(cell)]) if self.codes else cell


class TableMapping(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The file."""

    format: Literal[1]
    source: str
    separator: str = ""
    columns: dict[str, TableColumn]


@dataclass(frozen=True)
class DataSet:
    """The columns of a data set."""

    columns: Mapping[str, TableColumn]
    """By their keys."""
    key_of: Callable[[str], str]
    """Returns the key of a header; empty for a header of another column."""
    separator: str = ""
    """Stands between the values of columns that state the same."""
    required: Sequence[str] = REQUIRED
    """Columns of a CSV of consignments that a table states at least."""


@functools.cache
def h7_columns() -> dict[str, TableColumn]:
    """Return the columns by the numbers of their data elements, without blanks."""
    mapping = YamlFile(Path(__file__).with_name("h7.yaml")).convert(TableMapping)
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


@functools.cache
def itmatt() -> DataSet:
    """Return the attributes of ITMATT by their names, in which neither case nor what is between the words counts."""
    mapping = YamlFile(Path(__file__).with_name("itmatt.yaml")).convert(TableMapping)

    def key_of(header: str) -> str:
        name = "_".join(re.findall(r"[a-z0-9]+", header.lower()))
        return name if name in mapping.columns else ""

    # Forms of mail without goods have neither value nor code.
    return DataSet(mapping.columns, key_of, mapping.separator, ("local_reference", "item_description"))


def read_itmatt(file: BinaryIO) -> Iterator[Read | RowError]:
    """Yield each postal item of a table with the attributes of ITMATT, as `read_h7` does."""
    return _read(file, itmatt())


def read_h7(file: BinaryIO) -> Iterator[Read | RowError]:
    """Yield each consignment of a table, with notes of what was left out; columns of a CSV of consignments may stand beside those of H7."""
    return _read(file, DataSet(h7_columns(), number_of))


def _read(file: BinaryIO, data_set: DataSet) -> Iterator[Read | RowError]:
    rows = _Rows(data_set)
    for each in read_csv(file, rows.translated, required=data_set.required):
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
    """Turns rows of a data set into rows of a CSV of consignments."""

    def __init__(self, data_set: DataSet) -> None:
        self._data_set = data_set
        self.left_out: dict[str, list[tuple[str, str, str]]] = {}
        """Headers, values and explanations by the reference of their consignment."""
        self.headers_of: dict[str, str] = {}
        """The header that states a column, by the column."""
        self._width = 0
        self._taken: list[tuple[int, str, TableColumn | None]] = []
        """Place, header, and column of the data set, in the order in which parts are joined."""
        self._names: list[str] = []

    def translated(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        """Return the rows; errors come as they are read, and do not end them."""
        return _Translated(rows, self)

    def header(self, row: list[str]) -> list[str]:
        """Return the header; raise LuxorError COLUMN_REPEATED if two columns state the same."""
        self._width = len(row)
        order = list(self._data_set.columns)
        keys = [self._data_set.key_of(header.strip()) for header in row]
        places = sorted(range(len(row)), key=lambda place: order.index(keys[place]) if keys[place] else len(order))
        for place in places:
            header = row[place].strip()
            column = self._data_set.columns.get(keys[place])
            repeated = column is not None and keys.count(keys[place]) > 1
            for name in [header.lower()] if column is None else column.to:
                repeated = repeated or (column is None and name in self.headers_of)
                self.headers_of.setdefault(name, header)
            if repeated:
                raise LuxorError.from_reason("COLUMN_REPEATED", path="line 1", value=header)
            self._taken.append((place, header, column))
        added = [name for _, _, column in self._taken if column is not None for name in (*column.eori, *column.sets)]
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
                    value = column.value(cell, header)
                    values[name] = f"{values[name]}{self._data_set.separator}{value}" if values[name] else value
            except ElementError as error:
                element_error = element_error or error
            if EORI.fullmatch(cell):
                values |= {name: "EORI" for name in column.eori if not values[name]}
            values |= {name: value for name, value in column.sets.items() if not values[name]}
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
