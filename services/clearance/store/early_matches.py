"""Hits of the screening that come before the consignment is decided: kept until it is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.clearance.store.arrivals import HITS_BUCKET, LOCK_CLASS
from services.clearance.store.rows import day_of


@dataclass(frozen=True, slots=True)
class EarlyMatch:
    """Hits of one consignment as risk told them: a table of one row."""

    mrn: str
    screened_at: int
    hits: Table
    trace: str


class EarlyMatches:
    """What risk told too early."""

    async def bar_decisions(self, tx: Transaction) -> None:
        """Wait for those who insert filings right now, and keep others from it until this transaction ends."""
        await tx.raw.execute("select pg_advisory_xact_lock($1, $2)", LOCK_CLASS, HITS_BUCKET)

    async def add(self, tx: Transaction, hits: Sequence[EarlyMatch]) -> None:
        """Keep hits of consignments that are not decided; the same again changes nothing."""
        await bulk.insert(
            tx,
            "early_hit",
            {
                "mrn": bulk.text([each.mrn for each in hits]),
                "screened_at": bulk.int8([each.screened_at for each in hits]),
                "day": bulk.int4([day_of(each.mrn) for each in hits]),
                "payload": bulk.Column(
                    "bytea[]", [each.hits.encode(ScreeningColumns).SerializeToString() for each in hits]
                ),
                "traceparent": bulk.text([each.trace for each in hits]),
            },
            on_conflict="do nothing",
        )

    async def take(self, tx: Transaction, mrns: Collection[str]) -> list[EarlyMatch]:
        """Give the hits kept of consignments, the oldest first, and keep them no more."""
        records = await tx.raw.fetch(
            "delete from early_hit where mrn = any($1) returning mrn, screened_at, payload, traceparent", list(mrns)
        )
        early = [
            EarlyMatch(
                each["mrn"], each["screened_at"], Table.parse(ScreeningColumns, each["payload"]), each["traceparent"]
            )
            for each in records
        ]
        return sorted(early, key=lambda each: (each.mrn, each.screened_at))
