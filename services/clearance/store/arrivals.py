"""Arrivals of master documents: recorded once, seen by who files under them at the same time, carried out until done."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from libs.customs.time import MICROS_PER_DAY
from libs.store import bulk
from libs.store.database import Transaction
from services.clearance.store.rows import Arrival

BUCKETS: Final = 256
HITS_BUCKET: Final = BUCKETS
"""The lock behind those of the documents: who records an early hit waits for all who insert filings right now."""
LOCK_CLASS: Final = 0x6C78  # "lx": apart from the one-key locks of the libs


class Arrivals:
    """What carriers told."""

    async def bar_arrivals(self, tx: Transaction, documents: Iterable[str]) -> None:
        """Keep arrivals of these documents, and early hits, from being recorded until this transaction ends.

        Who inserts a filing must see them or be seen.
        """
        await tx.raw.execute(
            "select pg_advisory_xact_lock_shared($1, b) from unnest($2::integer[]) as b",
            LOCK_CLASS,
            [*_buckets(documents), HITS_BUCKET],
        )

    async def record_arrivals(
        self, tx: Transaction, arrivals: Sequence[Arrival], *, request_id: str, at: int
    ) -> list[bool]:
        """Record arrivals, waiting for those who file under these documents right now; tells of each whether it counts as this request's."""
        await tx.raw.execute(
            "select pg_advisory_xact_lock($1, b) from unnest($2::integer[]) as b",
            LOCK_CLASS,
            _buckets(each.document_number for each in arrivals),
        )
        first = {each.document_number: each for each in reversed(arrivals)}
        ordered = [first[number] for number in sorted(first)]
        count = len(ordered)
        await bulk.insert(
            tx,
            "arrival",
            {
                "document_number": bulk.text([each.document_number for each in ordered]),
                "carrier": bulk.text([each.carrier for each in ordered]),
                "request_id": bulk.text([request_id] * count),
                "conveyance_reference": bulk.text([each.conveyance_reference for each in ordered]),
                "arrived_at": bulk.int8([each.arrived_at for each in ordered]),
                "place": bulk.text([each.place for each in ordered]),
                "recorded_at": bulk.int8([at] * count),
                "pending": bulk.boolean([True] * count),
                "day": bulk.int4([at // MICROS_PER_DAY] * count),
            },
            on_conflict="do nothing",
        )
        records = await tx.raw.fetch(
            "select document_number from arrival where document_number = any($1) and carrier = $2 and request_id = $3",
            list(first),
            arrivals[0].carrier,
            request_id,
        )
        own = {record["document_number"] for record in records}
        return [each.document_number in own and first[each.document_number] is each for each in arrivals]

    async def arrivals(self, tx: Transaction, documents: Iterable[str]) -> dict[str, Arrival]:
        """Give the arrivals known of these documents."""
        numbers = [number for number in dict.fromkeys(documents) if number]
        if not numbers:
            return {}
        records = await tx.raw.fetch("select * from arrival_find($1)", numbers)
        return {record["document_number"]: Arrival(*record) for record in records}

    async def pending_arrivals(self, tx: Transaction, before: int, limit: int) -> list[str]:
        """Give documents whose arrival was recorded before an instant and is not carried out yet."""
        records = await tx.raw.fetch(
            "select document_number from arrival where pending and recorded_at < $1 order by recorded_at limit $2",
            before,
            limit,
        )
        return [record["document_number"] for record in records]

    async def arrivals_done(self, tx: Transaction, documents: Sequence[str]) -> None:
        """Note that arrivals were carried out."""
        await tx.raw.execute(
            "update arrival set pending = false where document_number = any($1) and pending", sorted(documents)
        )


def _buckets(documents: Iterable[str]) -> list[int]:
    """Give the distinct locks of documents, ascending: taken in one order, and few enough for the server's table of locks."""
    return sorted({sha256(number.encode()).digest()[0] % BUCKETS for number in documents if number})
