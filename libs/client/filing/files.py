"""Consignments from CSV and JSON Lines and back, one at a time, so that memory stays flat whatever the file's size.

In a CSV a row is an item; rows of one consignment stand one after the other and have the same local_reference. In JSON
Lines a line is a consignment, with the contract's field names. `read` yields each consignment with its lines, or what is
wrong with it; only a header that cannot be used fails the whole file.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TextIO, TypeVar

import msgspec
from google.protobuf.message import Message

from libs.client.errors import LuxorError
from libs.client.filing.columns import ITEM, Column, columns
from libs.client.plain import fill, nearest, plain
from libs.client.row_errors import ElementError, RowError
from luxor.consignment.v1.consignment_pb2 import Consignment

M = TypeVar("M", bound=Message)

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
ITEMS_MAX: Final = 999
REQUIRED: Final = ("local_reference", "item_description", "item_commodity_code", "item_price", "item_price_currency")
"""Columns that no CSV can do without."""
TEMPLATE: Final = (
    "local_reference", "house_document_number", "house_document_type", "master_document_number", "master_document_type",
    "carrier_identifier",
    "transport_mode", "transport_service", "transport_conveyance_reference", "dispatch_country", "destination_country",
    "nature", "consignor_name", "consignor_address_street", "consignor_address_city", "consignor_address_country",
    "consignee_name", "consignee_person_type", "consignee_address_street", "consignee_address_postcode",
    "consignee_address_city", "consignee_address_country", "declarant_name", "declarant_identifier",
    "declarant_identifier_type", "order_platform", "order_number", "order_time", "fiscal_references_scheme",
    "fiscal_references_number", "packages_count", "packages_type", "gross_mass_kg", "freight_currency", "freight",
    "prices_include_tax", "item_number", "item_description", "item_commodity_code", "item_merchant_product_id", "item_manufacturer_product_id",
    "item_quantity", "item_quantity_unit", "item_net_mass_kg",
    "item_origin_country", "item_price_currency", "item_price",
)  # fmt: skip
"""Columns of the template: what an ordinary parcel needs. All others of `columns()` may be added."""
_REFERENCE: Final = "local_reference"


@dataclass(frozen=True, slots=True)
class Read:
    """A consignment as it stands in a file."""

    message: Consignment
    line: int
    """Where it begins."""
    item_lines: Sequence[int]
    """In a CSV, the line of each item; empty otherwise."""
    notes: Sequence[RowError] = ()
    """What the file states and no element of a consignment has."""
    element_of: Callable[[str], str] | None = None
    """In another format, the path there of an element of the contract; empty if the format has none."""

    def row_error(self, reason: str, path: str, value: str, sentence: str, hint: str) -> RowError:
        """Turn what ingestion said about an element into a line of the report, in this file's own terms."""
        element = path.partition("].")[2] if path.startswith("consignments[") else path
        line = self.line
        if self.item_lines and element.startswith("items["):
            place, _, rest = element.removeprefix("items[").partition("]")
            if place.isdigit() and int(place) < len(self.item_lines):
                line = self.item_lines[int(place)]
            element = f"items{rest}"
        if self.item_lines:
            element = _column_of(element)
        if self.element_of is not None:
            element = self.element_of(element) or element
        # A request's numbering of a batch means nothing to who wrote the file.
        shown = sentence.replace(path, element) if path else sentence
        return RowError(line, self.message.local_reference, element, reason, value, shown, hint)


# ── JSON Lines ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read_jsonl(file: BinaryIO) -> Iterator[Read | RowError]:
    """Yield the consignment or the error of each line. Empty lines are ignored."""
    for each in read_json_messages(file, Consignment, _REFERENCE):
        yield each if isinstance(each, RowError) else Read(each[0], each[1], ())


def read_json_messages(file: BinaryIO, kind: type[M], reference: str) -> Iterator[tuple[M, int] | RowError]:
    """Yield the message of each line with the line's number, or its error; `reference` is the element that errors name a message by."""
    decode = msgspec.json.Decoder().decode
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES_MAX)
            yield ElementError("LINE_TOO_LONG", "", bytes_max=LINE_BYTES_MAX).at(number, "")
            continue
        if not line.strip():
            continue
        message = kind()
        try:
            try:
                values = decode(line)
            except UnicodeDecodeError:
                raise ElementError("ENCODING_WRONG", "") from None
            except msgspec.DecodeError as error:
                raise ElementError("JSON_MALFORMED", "", why=str(error)) from None
            if not isinstance(values, dict):
                raise ElementError("JSON_MALFORMED", "", why="it holds something else")
            fill(message, values)
        except ElementError as element_error:
            yield element_error.at(number, getattr(message, reference))
            continue
        yield message, number


def read_messages(path: Path, kind: type[M], reference: str) -> tuple[list[tuple[M, int]], list[RowError]]:
    """Read a file of JSON Lines, a message in each line; return the messages with their lines, and the errors of the other lines."""
    messages: list[tuple[M, int]] = []
    errors: list[RowError] = []
    with path.open("rb") as file:
        for each in read_json_messages(file, kind, reference):
            if isinstance(each, RowError):
                errors.append(each)
            else:
                messages.append(each)
    return messages, errors


def batches_of(messages: Iterable[M], items: Callable[[M], int], batch: int, items_max: int) -> Iterator[list[M]]:
    """Yield messages in batches of at most `batch` messages with at most `items_max` items together, or one message with more."""
    found: list[M] = []
    count = 0
    for each in messages:
        if len(found) == batch or (found and count + items(each) > items_max):
            yield found
            found, count = [], 0
        found.append(each)
        count += items(each)
    if found:
        yield found


def write_jsonl(file: BinaryIO, messages: Iterable[Consignment]) -> int:
    """Write consignments, one a line, and return how many."""
    encode = msgspec.json.Encoder().encode
    count = 0
    for message in messages:
        count += 1  # messages are counted as they pass
        file.write(encode(plain(message)) + b"\n")
    return count


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_csv(
    file: BinaryIO,
    translate: Callable[[Iterator[list[str]]], Iterator[list[str]]] = iter,
    *,
    required: Sequence[str] = REQUIRED,
) -> Iterator[Read | RowError]:
    """Yield each consignment of a table that has at least the `required` columns, or the first thing that is wrong with it.

    `translate` makes its rows of those of another table.
    """
    lines = _Lines(file)
    rows = translate(csv.reader(lines, strict=True))
    header = _header(rows, required)
    place = header.index(_REFERENCE)
    row_columns = [columns()[name] for name in header]
    # The currency of an amount determines its decimal places, so it is read first.
    order = sorted(range(len(row_columns)), key=lambda index: bool(row_columns[index].currency))
    own = [index for index in order if not header[index].startswith(ITEM)]
    items = [index for index in order if header[index].startswith(ITEM)]
    group: _Group | None = None
    while True:
        start = lines.number + 1
        row: list[str] = []
        element_error: ElementError | None = None
        try:
            row = next(rows)
        except StopIteration:
            break
        except UnicodeDecodeError:
            element_error = ElementError("ENCODING_WRONG", "")
        except RefusedRow as refused:
            row, element_error = refused.row, refused.element_error
        except csv.Error as error:
            element_error = ElementError("ROW_MALFORMED", "", why=str(error))
            if lines.too_long:
                element_error = ElementError("LINE_TOO_LONG", "", bytes_max=LINE_BYTES_MAX)
        if element_error is None and not row:
            continue
        reference = row[place].strip() if len(row) > place else ""
        if element_error is None and len(row) != len(header):
            element_error = ElementError("ROW_WIDTH_WRONG", "", cells=len(row), columns=len(header))
        if group is not None and (reference != group.reference or not reference):
            yield group.done()
            group = None
        if group is None:
            group = _Group(reference, start)
        if element_error is not None:
            group.fail(element_error, start)
        else:
            group.add(row, start, row_columns, own, items)
    if group is not None:
        yield group.done()


class RefusedRow(Exception):
    """A row of another table that cannot be translated, with what of it could be, such as its reference."""

    def __init__(self, element_error: ElementError, row: list[str]) -> None:
        """Take the error and the row."""
        self.element_error, self.row = element_error, row
        super().__init__(str(element_error))


class _Group:
    """The rows of one consignment."""

    def __init__(self, reference: str, line: int) -> None:
        self.reference = reference
        self._message = Consignment()
        self._line = line
        self._item_lines: list[int] = []
        self._cells: dict[int, str] = {}
        self._row_error: RowError | None = None

    def fail(self, element_error: ElementError, line: int) -> None:
        """Record the first error."""
        if self._row_error is None:
            self._row_error = element_error.at(line, self.reference)

    def add(self, row: list[str], line: int, row_columns: list[Column], own: list[int], items: list[int]) -> None:
        """Take a row in."""
        if self._row_error is not None:
            return
        try:
            for index in own:
                cell = row[index].strip()
                if not cell:
                    continue
                before = self._cells.get(index)
                if before is None:
                    self._cells[index] = cell
                    row_columns[index].read(self._message, cell, row_columns[index].name)
                elif before != cell:
                    raise ElementError("CONSIGNMENT_CONTRADICTED", row_columns[index].name, cell, before=before)
            if len(self._message.items) == ITEMS_MAX:
                raise ElementError("LIST_TOO_LONG", "items", count=f"more than {ITEMS_MAX}", count_max=ITEMS_MAX)
            item = self._message.items.add()
            for index in items:
                cell = row[index].strip()
                if cell:
                    row_columns[index].read(item, cell, row_columns[index].name)
            self._item_lines.append(line)
        except ElementError as element_error:
            self.fail(element_error, line)

    def done(self) -> Read | RowError:
        """Return the consignment, or the error."""
        return self._row_error or Read(self._message, self._line, self._item_lines)


class _Lines:
    """Reads a file's lines as text and counts them; the length of a line is limited."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self.too_long = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(LINE_BYTES_MAX + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.too_long = len(line) > LINE_BYTES_MAX
        if self.too_long:
            while line and not line.endswith(b"\n"):
                line = self._file.readline(LINE_BYTES_MAX)
            return "\0"  # which the reader refuses
        if self.number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        return line.decode("utf-8")


def _header(rows: Iterator[list[str]], required: Sequence[str]) -> list[str]:
    try:
        header = [name.strip().lower() for name in next(rows)]
    except StopIteration:
        raise LuxorError.from_reason("FILE_EMPTY") from None
    except UnicodeDecodeError:
        raise LuxorError.from_reason("ENCODING_WRONG") from None
    except csv.Error as error:
        raise LuxorError.from_reason("ROW_MALFORMED", why=error) from None
    seen: set[str] = set()
    for name in header:
        if name not in columns():
            raise LuxorError.from_reason("COLUMN_UNKNOWN", path="line 1", value=name, near=_near(name))
        if name in seen:
            raise LuxorError.from_reason("COLUMN_REPEATED", path="line 1", value=name)
        seen.add(name)
    amounts = [columns()[name].currency for name in header if columns()[name].currency]
    for name in (*required, *amounts):
        if name not in seen:
            raise LuxorError.from_reason("COLUMN_MISSING", path="line 1", value=name)
    return header


def _near(name: str) -> str:
    found = nearest(name, columns())
    return found if found.startswith("Did") else "Items' columns begin with item_."


def write_csv(file: TextIO, messages: Iterable[Consignment], names: Sequence[str] | None = None) -> int:
    """Write consignments as a table with these columns (None: all that there are), and return how many."""
    chosen = [columns()[name] for name in (names if names is not None else columns())]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in chosen])
    count = 0
    for message in messages:
        count += 1  # messages are counted as they pass
        own = [None if column.name.startswith(ITEM) else column.write(message) for column in chosen]
        for item in message.items:
            cells = zip(chosen, own, strict=True)
            writer.writerow([column.write(item) if cell is None else cell for column, cell in cells])
    return count


def template(kind: str = "csv") -> str:
    """Return the template: one consignment with two items, as a header and two rows, or as a line of JSON."""
    if kind == "jsonl":
        lines = io.BytesIO()
        write_jsonl(lines, [_example()])
        return lines.getvalue().decode()
    text = io.StringIO()
    write_csv(text, [_example()], TEMPLATE)
    return text.getvalue()


def _example() -> Consignment:
    message = Consignment()
    fill(
        message,
        {
            "local_reference": "SHOP-2026-0000123",
            "house_document": {"number": "HAWB-0000123", "type": "N703"},
            "master_document": {"number": "020-12345675", "type": "N741"},
            "carrier_identifier": "carrier-1",
            "transport": {"mode": "AIR", "service": "EXPRESS", "conveyance_reference": "LX0188"},
            "dispatch_country": "CN",
            "destination_country": "DE",
            "nature": "SALE",
            "consignor": {
                "name": "Meadow Lane Trading Ltd",
                "address": {"street": "8 Harbour Road", "city": "Shenzhen", "country": "CN"},
            },
            "consignee": {
                "name": "Erika Beispiel",
                "person_type": "NATURAL",
                "address": {"street": "Lindenstrasse 12", "postcode": "10969", "city": "Berlin", "country": "DE"},
            },
            "declarant": {"name": "Swift Parcels GmbH", "identifier": "DE123456789012345", "identifier_type": "EORI"},
            "order": {"platform": "bazaar.example", "number": "2026-77-1", "time": "2026-11-20T09:15:00Z"},
            "fiscal_references": [{"scheme": "IOSS", "number": "IM2760000014"}],
            "packages": [{"count": 1, "type": "CT"}],
            "gross_mass_mg": 640_000,
            "freight": {"minor": 399, "currency": "EUR"},
            "prices_include_tax": False,
            "items": [
                {
                    "number": 1,
                    "description": "Women's woven cotton blouse",
                    "commodity_code": "620630",
                    "merchant_product_id": "ML-4711-M",
                    "manufacturer_product_id": "8430",
                    "quantity_milli": 2000,
                    "quantity_unit": "H87",
                    "net_mass_mg": 420_000,
                    "origin_country": "CN",
                    "price": {"minor": 3198, "currency": "EUR"},
                },
                {
                    "number": 2,
                    "description": "Leather belt",
                    "commodity_code": "420330",
                    "merchant_product_id": "ML-0815",
                    "manufacturer_product_id": "B-90",
                    "quantity_milli": 1000,
                    "quantity_unit": "H87",
                    "net_mass_mg": 150_000,
                    "origin_country": "CN",
                    "price": {"minor": 1250, "currency": "EUR"},
                },
            ],
        },
    )
    return message


def _column_of(element: str) -> str:
    """Return the column that holds an element, by its path; the path itself where none does."""
    bare = "".join(part.partition("]")[2] if place else part for place, part in enumerate(element.split("[")))
    for name in _by_path().get(bare, ()):
        return name
    return element


def _by_path() -> dict[str, list[str]]:
    if not _PATHS:
        for column in columns().values():
            _PATHS.setdefault(column.path, []).append(column.name)
            _PATHS.setdefault(f"{column.path}.minor", []).append(column.name)
    return _PATHS


_PATHS: dict[str, list[str]] = {}
