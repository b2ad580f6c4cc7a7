"""Screening matches that come before the decision on their consignment, stored until that decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.clearance.store.arrivals import LOCK_CLASS, MATCHES_BUCKET
from services.clearance.store.rows import day_of


@dataclass(frozen=True, slots=True)
class EarlyMatch:
    """Screening matches of one consignment as risk published them: a table of one row."""

    mrn: str
    screened_at: int
    matches: Table
    trace: str


class EarlyMatches:
    """Screening matches that came before the decision."""

    async def bar_decisions(self, tx: Transaction) -> None:
        """Wait for transactions that insert filings, and block new ones until this transaction ends."""
        await tx.raw.execute("select pg_advisory_xact_lock($1, $2)", LOCK_CLASS, MATCHES_BUCKET)

    async def add(self, tx: Transaction, matches: Sequence[EarlyMatch]) -> None:
        """Store matches of consignments that are not decided; a repetition changes nothing."""
        await bulk.insert(
            tx,
            "early_hit",
            {
                "mrn": bulk.text([each.mrn for each in matches]),
                "screened_at": bulk.int8([each.screened_at for each in matches]),
                "day": bulk.int4([day_of(each.mrn) for each in matches]),
                "payload": bulk.Column("bytea[]", [each.matches.serialize(ScreeningColumns) for each in matches]),
                "traceparent": bulk.text([each.trace for each in matches]),
            },
            on_conflict="do nothing",
        )

    async def take(self, tx: Transaction, mrns: Collection[str]) -> list[EarlyMatch]:
        """Delete the stored matches of consignments and return them, the oldest first."""
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
