"""What the sandbox reads of a call that files consignments, before a service checks it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from libs.columns import Table
from libs.sandbox.findings import Change
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, Consignment
from luxor.ingestion.v1 import ingestion_pb2

MESSAGES: Final = "/luxor.ingestion.v1.IngestionService/SubmitConsignments"
COLUMNS: Final = "/luxor.ingestion.v1.IngestionService/SubmitConsignmentColumns"
ROWS_MAX: Final = 1_000


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
    """Return a call in which some consignments, by their places, are changed. Columns lose fields that no release knows."""
    if method == COLUMNS:
        packed = ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw)
        rows = Table.decode(packed.consignments).to_messages(Consignment)
        _change(rows, changes)
        packed.consignments.CopyFrom(
            Table.from_messages(rows, ConsignmentColumns, Consignment).encode(ConsignmentColumns)
        )
        return packed.SerializeToString()
    request = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw)
    _change(request.consignments, changes)
    return request.SerializeToString()


def single_call(method: str, raw: bytes, place: int, change: Change, request_id: str) -> bytes:
    """Return a call of SubmitConsignments with one consignment of a call, changed, under another request_id."""
    if method == COLUMNS:
        columns = ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw).consignments
        row = Table.decode(columns).to_messages(Consignment)[place]
    else:
        row = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw).consignments[place]
    change(row)
    return ingestion_pb2.SubmitConsignmentsRequest(request_id=request_id, consignments=[row]).SerializeToString()


def _change(rows: Sequence[Consignment], changes: Mapping[int, Change]) -> None:
    for place, change in changes.items():
        change(rows[place])


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
