"""Counts and digests of the decided filings of each day, for the comparison with ingestion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.feed.consume.requests import request
from libs.store.database import Database, Transaction

SOURCE: Final = "ingestion"
SUMMARY_MILLIS: Final = 120_000
"""Limit for reading a day of millions of filings, which takes neither a lock nor the horizon."""

# Filings that ingestion does not know any more are subtracted from count and digest, so that only later changes differ.
_SUMMARY: Final = """
    select partition, count(*) as count, bit_xor(hashtextextended(mrn, 0)) as digest from consignment c
    where day = $1 and ($2 = '' or substr(mrn, 10, 7) collate "C" < $2)
        and not exists (select from filing_unknown u where u.day = $1 and u.mrn = c.mrn)
    group by partition
"""
_DECIDED: Final = """
    select mrn from consignment where day = $1 and partition = any($2::smallint[]) and ($3 = '' or substr(mrn, 10, 7) collate "C" < $3)
"""
_SET_ASIDE: Final = (
    "select key from dead_letter where source = $1 and partition = any($2::smallint[]) and key = any($3::text[])"
)
_REACHED: Final = """
    select count(*) from feed_cursor where source = $1 and ready and (epoch, xid, seq) >= ($2::bigint, $3::bigint, $4::bigint)
"""
_UNKNOWN: Final = """
    insert into filing_unknown (day, partition, mrn) select $1, u.partition, u.mrn from unnest($2::smallint[], $3::text[]) as u(partition, mrn)
    on conflict do nothing
"""
_DELETE_UNKNOWN: Final = "delete from filing_unknown where day = $1 and mrn = any($2::text[])"
_NOTED: Final = """
    insert into swept (day, digest, missing) values ($1, $2, $3) on conflict (day) do update set digest = excluded.digest,
        missing = excluded.missing, swept_at = clock_timestamp()
"""
_AGE: Final = "select extract(epoch from clock_timestamp() - max(swept_at))::float8 from swept"
_FINDINGS: Final = """
    select (select coalesce(sum(missing), 0) from swept)::bigint as missing,
        (select count(*) from filing_unknown where acknowledged_at is null) as unknown,
        (select extract(epoch from max(swept_at)) from swept)::float8 as swept_at
"""


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of the last sweep of each day."""

    missing: int
    """Accepted filings that are not decided, and were requested again."""
    unknown: int
    """Decided filings that ingestion does not know, and that no operator has acknowledged."""
    swept_at: float | None
    """When a day was compared last, seconds since 1970-01-01 UTC."""


class SweepTables:
    """The tables that a sweep compares and writes."""

    async def summary(self, tx: Transaction, day: int, below: str) -> dict[int, tuple[int, int]]:
        """Return count and digest of what is decided of a day, by partition."""
        rows = await tx.raw.fetch(_SUMMARY, day, below)
        return {row["partition"]: (row["count"], row["digest"]) for row in rows}

    async def decided(self, tx: Transaction, day: int, partitions: Sequence[int], below: str) -> set[str]:
        """Return the MRNs that are decided of a day and some partitions."""
        return {row["mrn"] for row in await tx.raw.fetch(_DECIDED, day, list(partitions), below)}

    async def set_aside(self, tx: Transaction, partitions: Sequence[int], mrns: Sequence[str]) -> set[str]:
        """Return which of these filings are among the dead letters."""
        return {row["key"] for row in await tx.raw.fetch(_SET_ASIDE, SOURCE, list(partitions), list(mrns))}

    async def seconds_ago(self, tx: Transaction) -> float | None:
        """Return how long ago a day was compared last, None before the first comparison."""
        found: float | None = await tx.raw.fetchval(_AGE)
        return found

    async def reached(self, tx: Transaction, place: tuple[int, int, int]) -> int:
        """Return how many partitions of ingestion's feed were read up to a place."""
        return int(await tx.raw.fetchval(_REACHED, SOURCE, *place))

    async def days(self, tx: Transaction) -> dict[int, bytes]:
        """Return what ingestion's summary was when a day was found complete, by day."""
        return {
            row["day"]: row["digest"] for row in await tx.raw.fetch("select day, digest from swept where missing = 0")
        }

    async def note(
        self, tx: Transaction, day: int, digest: bytes, missing: Sequence[tuple[int, int]], count: int
    ) -> None:
        """Store the comparison of a day, and request the (partition, day) with missing filings."""
        await tx.raw.execute(_NOTED, day, digest, count)
        await request(tx, SOURCE, missing)

    async def note_unknown(self, tx: Transaction, day: int, partitions: Sequence[int], mrns: Sequence[str]) -> None:
        """Store decided filings that ingestion does not know."""
        await tx.raw.execute(_UNKNOWN, day, list(partitions), list(mrns))

    async def note_known(self, tx: Transaction, day: int, mrns: Sequence[str]) -> None:
        """Delete the records of filings that ingestion knows again."""
        await tx.raw.execute(_DELETE_UNKNOWN, day, list(mrns))


async def findings(database: Database) -> Findings:
    """Read what the last sweeps found."""
    async with database.connection(timeout_millis=5_000) as reading:
        return Findings(**dict(await reading.raw.fetchrow(_FINDINGS)))
