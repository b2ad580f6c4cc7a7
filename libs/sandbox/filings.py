"""What the sandbox reads of a call that files consignments, before a service checks it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from libs.columns import Ragged, Strings, Table
from libs.sandbox.findings import Change
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, Consignment
from luxor.ingestion.v1 import ingestion_pb2

MESSAGES: Final = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"
COLUMNS: Final = "/luxor.ingestion.v1.IngestionService/SubmitConsignmentColumns"
ROWS_MAX: Final = 1_000
CHARACTERS_MAX: Final = 8 * 1024 * 1024
"""Of the texts of consignments that are changed, all written out; the services take fewer bytes in a call."""


class Row(NamedTuple):
    """One consignment of a call."""

    reference: str
    house: str
    """Number of its house document."""
    declarant: str
    """Identifier of its declarant."""
    function: int
    """MessageFunction."""
    digest: str
    """Of its content; of columns, of the whole call."""

    @property
    def is_change(self) -> bool:
        """Whether it amends or invalidates a filing."""
        return self.function >= MESSAGE_FUNCTION_AMEND


class Filing(NamedTuple):
    """A call that files consignments."""

    request_id: str
    rows: list[Row]


def read(method: str, raw: bytes) -> Filing | None:
    """Return what a call files, or None if it cannot be read: the service then says what is wrong with it."""
    try:
        return _messages(raw) if method == MESSAGES else _columns(raw)
    except Exception:
        # Columns are not checked yet, so reading them may fail in any way.
        return None


def changed(method: str, raw: bytes, changes: Mapping[int, Change]) -> bytes:
    """Return a call in which some consignments, by their places, are changed; the call itself if its columns cannot be read."""
    if method == COLUMNS:
        return _changed_columns(raw, changes)
    request = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw)
    for place, change in changes.items():
        change(request.consignments[place])
    return request.SerializeToString()


def single_call(method: str, raw: bytes, place: int, change: Change, request_id: str) -> bytes | None:
    """Return a call of SubmitConsignments with one consignment of a call, changed, under another request_id; None if its columns cannot be read."""
    if method == COLUMNS:
        found = _rows_of(_table(raw), [place])
        if found is None:
            return None
        (row,) = found
    else:
        row = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw).consignments[place]
    change(row)
    return ingestion_pb2.SubmitConsignmentsRequest(request_id=request_id, consignments=[row]).SerializeToString()


def _changed_columns(raw: bytes, changes: Mapping[int, Change]) -> bytes:
    table = _table(raw)
    rows = _rows_of(table, list(changes))
    if rows is None:
        return raw
    order = np.arange(table.rows)
    for number, (place, change) in enumerate(changes.items()):
        change(rows[number])
        order[place] = table.rows + number
    own = Table.from_messages(rows, ConsignmentColumns, Consignment)
    request = ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw)
    request.consignments.CopyFrom(Table.concat([table, own]).take(order).encode(ConsignmentColumns))
    return request.SerializeToString()


def _table(raw: bytes) -> Table:
    return Table.decode(ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw).consignments)


def _rows_of(table: Table, places: Sequence[int]) -> list[Consignment] | None:
    """Return some consignments of a table that no service has checked yet, None where it is malformed or expands beyond what a call may have."""
    try:
        if table.rows > ROWS_MAX or not _is_sound(table):
            return None
        chosen = table.take(np.array(places, np.int64))
        return None if _characters(chosen) > CHARACTERS_MAX else chosen.to_messages(Consignment)
    except Exception:
        # As above.
        return None


def _is_sound(table: Table) -> bool:
    """Return whether each column has a value for each row, and each list is a span of its values."""
    for column in table.columns.values():
        if len(column) != table.rows:
            return False
        if isinstance(column, Ragged):
            offsets, count = column.offsets, len(column.values)
            if offsets[0] != 0 or offsets[-1] != count or (np.diff(offsets) < 0).any():
                return False
            if isinstance(column.values, Table) and not _is_sound(column.values):
                return False
    return True


def _characters(table: Table) -> int:
    """Return how many characters the texts of a table have when each row is written out."""
    count = 0
    for column in table.columns.values():
        values = column.values if isinstance(column, Ragged) else column
        if isinstance(values, Table):
            count += _characters(values)
        elif isinstance(values, Strings):
            lengths = np.fromiter(map(len, values.dictionary), np.int64, len(values.dictionary))
            count += int(lengths[values.indices].sum())
    return count


def _messages(raw: bytes) -> Filing:
    request = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw)
    rows = [
        Row(
            each.local_reference, each.house_document.number, each.declarant.identifier, each.function,
            hashlib.sha256(each.SerializeToString(deterministic=True)).hexdigest(),
        )
        for each in request.consignments[:ROWS_MAX]
    ]  # fmt: skip
    return Filing(request.request_id, rows)


def _columns(raw: bytes) -> Filing:
    request = ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw)
    digest = hashlib.sha256(request.consignments.SerializeToString(deterministic=True)).hexdigest()
    table = Table.decode(request.consignments)
    names = ("local_reference", "house_document_number", "declarant_identifier")
    references, houses, declarants = (table.strings(name) for name in names)
    functions = table.ints("function").values
    rows = [
        Row(references[place], houses[place], declarants[place], int(functions[place]), digest)
        for place in range(min(table.rows, ROWS_MAX))
    ]
    return Filing(request.request_id, rows)
