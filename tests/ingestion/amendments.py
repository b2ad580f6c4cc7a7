"""Amendments and invalidations of the good consignment, and what the feed announces of them."""

from __future__ import annotations

from libs.columns import Ints, Table
from libs.customs.partitions import PARTITIONS
from libs.feed.publish.outbox import Outbox
from libs.store.database import Database
from luxor.consignment.v1 import consignment_pb2 as consignments
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as pb
from services.ingestion.feeds.snapshot import Snapshot
from tests.ingestion.consignments import consignment

AMEND, INVALIDATE = consignments.MESSAGE_FUNCTION_AMEND, consignments.MESSAGE_FUNCTION_INVALIDATE


def amendment(number: int, replaced: int, mass: int = 0, *, mrn: str = "") -> Consignment:
    """Return an amendment of the good consignment of a number, by its MRN alone if there is one."""
    row = consignment(number)
    row.function, row.amended_version, row.gross_mass_mg = AMEND, replaced, row.gross_mass_mg + mass
    if mrn:
        row.amended_mrn = mrn
        row.ClearField("local_reference")
    return row


def invalidation(number: int, replaced: int, document: str = "", *, mrn: str = "") -> Consignment:
    row = Consignment(function=INVALIDATE, amended_version=replaced)
    if mrn:
        row.amended_mrn = mrn
    else:
        row.local_reference = f"REF-{number}"
    if document:
        row.return_document.number, row.return_document.type = document, "N703"
    return row


def reasons(answer: pb.SubmitConsignmentsResponse) -> list[list[str]]:
    return [[each.reason for each in result.errors] for result in answer.results]


async def announced_table(url: str) -> Table:
    """Return all that the feed announces."""
    async with Database(url, name="test") as database, database.connection() as reader:
        outbox = Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name)
        return (await Snapshot(outbox).page(reader, range(PARTITIONS), b"", 1_000_000)).table


async def completed_versions(url: str) -> dict[tuple[str, int], list[int]]:
    """Return the versions that each announced version completes, by reference and version."""
    table = await announced_table(url)
    lists, values = table.ragged("completed_versions"), table.ragged("completed_versions").values
    assert isinstance(values, Ints)
    keys = zip(table.strings("local_reference").tolist(), table.ints("version").values.tolist(), strict=True)
    return {key: values.values[lists.span(row)].tolist() for row, key in enumerate(keys)}


async def announced(url: str) -> list[Consignment]:
    """Return the same by reference and version, with the version in place of the time of export."""
    table = await announced_table(url)
    rows = table.to_messages(Consignment)
    for row, version in zip(rows, table.ints("version").values.tolist(), strict=True):
        row.export_time.seconds = version
    return sorted(rows, key=lambda row: (row.local_reference, row.export_time.seconds))


def version_of(row: Consignment) -> int:
    return row.export_time.seconds
