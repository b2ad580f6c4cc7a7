"""News of revenue that come before the version of the filing that they concern is decided: kept until it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.columns import Table
from libs.store.database import Transaction
from libs.store.tables import bulk
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from services.clearance.store.rows import day_of


@dataclass(frozen=True, slots=True)
class EarlyDebtEvent:
    """One news of one consignment as revenue told it: a table of one row."""

    mrn: str
    news: Table
    trace: str


class EarlyDebtEvents:
    """What revenue told too early."""

    async def add(self, tx: Transaction, news: Sequence[EarlyDebtEvent]) -> None:
        """Keep news of what is not decided; the same again changes nothing."""
        if not news:
            return
        numbers = {name: [each.news.ints(name).filled(0)[0] for each in news] for name in ("number", "filing_version")}
        await bulk.insert(
            tx,
            "early_news",
            {
                "mrn": bulk.text([each.mrn for each in news]),
                "number": bulk.int8(numbers["number"]),
                "filing_version": bulk.int8(numbers["filing_version"]),
                "day": bulk.int4([day_of(each.mrn) for each in news]),
                "payload": bulk.Column(
                    "bytea[]", [each.news.encode(RevenueColumns).SerializeToString() for each in news]
                ),
                "traceparent": bulk.text([each.trace for each in news]),
            },
            on_conflict="do nothing",
        )

    async def take(self, tx: Transaction, versions: Mapping[str, int]) -> list[EarlyDebtEvent]:
        """Give the news kept of consignments up to a version of their filing, in their order, and keep them no more."""
        records = await tx.raw.fetch(
            "delete from early_news n using unnest($1::text[], $2::bigint[]) as w(mrn, version) "
            "where n.mrn = w.mrn and n.filing_version <= w.version returning n.mrn, n.number, n.payload, n.traceparent",
            list(versions),
            list(versions.values()),
        )
        return [
            EarlyDebtEvent(each["mrn"], Table.parse(RevenueColumns, each["payload"]), each["traceparent"])
            for each in sorted(records, key=lambda each: (each["mrn"], each["number"]))
        ]

    async def any_early(self, tx: Transaction) -> tuple[bool, bool]:
        """Tell whether hits of the screening and news of revenue are kept; hardly ever, and this is all that a decision pays for them."""
        record = await tx.raw.fetchrow(
            "select exists (select from early_hit) as hits, exists (select from early_news) as news"
        )
        return record["hits"], record["news"]
