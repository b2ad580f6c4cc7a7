"""The table submission: summaries of each submission, by which days are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.columns import Table
from libs.feed.publish.outbox import Outbox
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.store.filings import SUMMARY

_UNSUMMARIZED: Final = """
    select day, block, batch_day, batch from submission where day between $1 and $2 and digests is null order by day, block limit $3
"""
_SUMMARIZE: Final = (
    f"update submission set (partitions, counts, digests) = ({SUMMARY.format(mrns='$3', partitions='$4')}) "  # noqa: S608
    "where day = $1 and block = $2"
)


@dataclass(frozen=True, slots=True)
class Unsummarized:
    """A submission whose summary is not stored."""

    day: int
    block: int
    batch: BatchRef


async def unsummarized(reader: Transaction, from_day: int, to_day: int, rows_max: int) -> list[Unsummarized]:
    """Return submissions of some days whose summary is not stored, in order."""
    rows = await reader.raw.fetch(_UNSUMMARIZED, from_day, to_day, rows_max)
    return [Unsummarized(row["day"], row["block"], BatchRef(row["batch_day"], row["batch"])) for row in rows]


async def summarize(tx: Transaction, outbox: Outbox, submission: Unsummarized) -> None:
    """Store the summary of a submission, made of its batch."""
    stored = await outbox.payloads.fetch(tx.raw, [submission.batch])
    table = Table.parse(ConsignmentColumns, stored[submission.batch].payload)
    partitions = table.ints("partition").values.tolist()
    await tx.raw.execute(_SUMMARIZE, submission.day, submission.block, table.strings("mrn").tolist(), partitions)
