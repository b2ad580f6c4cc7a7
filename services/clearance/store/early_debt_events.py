"""Debt events that come before the decision on their version of the filing, stored until that decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from services.clearance.store.rows import day_of


@dataclass(frozen=True, slots=True)
class EarlyDebtEvent:
    """A debt event of one consignment as revenue published it: a table of one row."""

    mrn: str
    event: Table
    trace: str


class EarlyDebtEvents:
    """Debt events that came before the decision."""

    async def add(self, tx: Transaction, events: Sequence[EarlyDebtEvent]) -> None:
        """Store events of filings that are not decided; a repetition changes nothing."""
        if not events:
            return
        numbers = {
            name: [each.event.ints(name).filled(0)[0] for each in events] for name in ("number", "filing_version")
        }
        await bulk.insert(
            tx,
            "early_news",
            {
                "mrn": bulk.text([each.mrn for each in events]),
                "number": bulk.int8(numbers["number"]),
                "filing_version": bulk.int8(numbers["filing_version"]),
                "day": bulk.int4([day_of(each.mrn) for each in events]),
                "payload": bulk.Column("bytea[]", [each.event.serialize(RevenueColumns) for each in events]),
                "traceparent": bulk.text([each.trace for each in events]),
            },
            on_conflict="do nothing",
        )

    async def take(self, tx: Transaction, versions: Mapping[str, int]) -> list[EarlyDebtEvent]:
        """Delete the stored events of consignments up to a version of their filing and return them in their order."""
        records = await tx.raw.fetch(
            "delete from early_news n using unnest($1::text[], $2::bigint[]) as w(mrn, version) "
            "where n.mrn = any(array[w.mrn]) and n.filing_version <= w.version returning n.mrn, n.number, n.payload, n.traceparent",
            list(versions),
            list(versions.values()),
        )
        return [
            EarlyDebtEvent(each["mrn"], Table.parse(RevenueColumns, each["payload"]), each["traceparent"])
            for each in sorted(records, key=lambda each: (each["mrn"], each["number"]))
        ]

    async def any_early(self, tx: Transaction) -> tuple[bool, bool]:
        """Return whether screening matches and whether debt events are stored; they rarely are, and the query is cheap."""
        record = await tx.raw.fetchrow(
            "select exists (select from early_hit) as hits, exists (select from early_news) as news"
        )
        return record["hits"], record["news"]
