"""Arrivals of master documents: recorded once for each carrier, applied to all filings under them, also to concurrent ones."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import asyncpg

from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Transaction
from libs.store.tables import bulk
from services.clearance.carriage.binding import Arrival

BUCKETS: Final = 256
MATCHES_BUCKET: Final = BUCKETS
"""The lock after those of the documents: a transaction that stores an early match waits for all that insert filings."""
ARRIVALS_MAX: Final = 100
"""Arrivals of one document that are listed."""
LOCK_CLASS: Final = 0x6C78  # "lx": apart from the one-key locks of the libs


class ArrivalTable:
    """The arrivals that carriers reported."""

    async def block_recording(self, tx: Transaction, documents: Iterable[str]) -> None:
        """Block the recording of arrivals of these documents and of early matches until this transaction ends.

        A transaction that inserts filings either sees an arrival, or the recording of that arrival sees its filings.
        """
        await tx.raw.execute(
            "select pg_advisory_xact_lock_shared($1, b) from unnest($2::integer[]) as b",
            LOCK_CLASS,
            [*_buckets(documents), MATCHES_BUCKET],
        )

    async def lock_documents(self, tx: Transaction, documents: Iterable[str]) -> None:
        """Wait for transactions that insert filings under these documents, and block new ones until this transaction ends."""
        await tx.raw.execute(
            "select pg_advisory_xact_lock($1, b) from unnest($2::integer[]) as b", LOCK_CLASS, _buckets(documents)
        )

    async def names_under(self, tx: Transaction, documents: Iterable[str]) -> dict[str, list[str]]:
        """Return the carriers that the filings under each document name, "" for filings that name none.

        Amended filings, and those of their batch, are not included: see `amended_under`.
        """
        records = await tx.raw.fetch("select * from master_document_names($1)", list(documents))
        return {record["document_number"]: record["names"] for record in records}

    async def amended_under(self, tx: Transaction, documents: Iterable[str]) -> dict[str, list[str]]:
        """Return the MRNs under each document of which some have newer filings, with another carrier or document."""
        found: dict[str, list[str]] = {}
        for record in await tx.raw.fetch("select * from master_document_amended($1)", list(documents)):
            found.setdefault(record["document_number"], []).extend(record["mrns"])
        return found

    async def record(
        self, tx: Transaction, arrivals: Sequence[Arrival], *, request_id: str, at: int
    ) -> list[bool | None]:
        """Record arrivals of one carrier whose documents are locked.

        Return for each whether it is this request's; None if the previous arrival is still being reversed.
        """
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
            # A reversed arrival is replaced by the correct one.
            on_conflict="(document_number, carrier) do update set request_id = excluded.request_id, "
            "conveyance_reference = excluded.conveyance_reference, arrived_at = excluded.arrived_at, place = excluded.place, "
            "recorded_at = excluded.recorded_at, pending = true, day = excluded.day, reversed_at = null, reversed_by = '', "
            "unbound = false, again = false, revision = t.revision + 1 "
            "where t.reversed_at is not null and not t.pending",
        )
        records = await tx.raw.fetch(
            "select document_number, request_id, reversed_at from arrival where document_number = any($1) and carrier = $2",
            list(first),
            arrivals[0].carrier,
        )
        own = {
            record["document_number"]: None if record["reversed_at"] else record["request_id"] == request_id
            for record in records
        }
        return [own[number] and first[number] is each for each in arrivals for number in (each.document_number,)]

    async def find(self, tx: Transaction, documents: Iterable[str], *, lock: bool = False) -> dict[str, list[Arrival]]:
        """Return the arrivals of these documents, the first recorded first; with `lock` none of them is reversed until this transaction ends."""
        numbers = sorted({number for number in documents if number})
        if not numbers:
            return {}
        if lock:
            await tx.raw.execute(
                "select from arrival where document_number = any($1) order by document_number, carrier for share",
                numbers,
            )
        found: dict[str, list[Arrival]] = {}
        for record in await tx.raw.fetch("select * from arrivals_find($1)", numbers):
            found.setdefault(record["document_number"], []).append(Arrival(*record))
        return found

    async def documents_after(
        self, tx: Transaction, conveyance: str, first: int, before: int, document: str, limit: int
    ) -> list[str]:
        """Return the documents that arrived on a conveyance from an instant on and before another one, by number, those after a document.

        All of the conveyance are read before they are sorted: the order of an index of documents would lead through the arrivals of all others.
        """
        records = await tx.raw.fetch(
            "select distinct document_number from (select a.document_number from arrival a where a.conveyance_reference = $1 "
            "and a.conveyance_reference <> '' and a.arrived_at >= $2 and a.arrived_at < $3 and a.reversed_at is null offset 0) d "
            "where document_number > $4 order by document_number limit $5",
            conveyance,
            first,
            before,
            document,
            limit,
        )
        return [record["document_number"] for record in records]

    async def of_document(self, tx: Transaction, document: str) -> list[asyncpg.Record]:
        """Return the rows of a document's arrivals, with the reversed ones, the first recorded first."""
        found: list[asyncpg.Record] = await tx.raw.fetch(
            "select * from arrival where document_number = $1 order by recorded_at, carrier limit $2",
            document,
            ARRIVALS_MAX,
        )
        return found

    async def pending(self, tx: Transaction, before: int, limit: int) -> list[str]:
        """Return documents whose arrivals are to be applied: recorded before an instant, or affected by new bindings."""
        records = await tx.raw.fetch(
            "(select document_number from arrival where pending and reversed_at is null and recorded_at < $1 order by recorded_at limit $2) "
            "union (select document_number from arrival where again and not pending and reversed_at is null limit $2)",
            before,
            limit,
        )
        return [record["document_number"] for record in records]

    async def pending_reversals(self, tx: Transaction, before: int, limit: int) -> list[tuple[str, str, str]]:
        """Return documents and carriers whose arrivals were to be reversed before an instant, and who reverses each."""
        records = await tx.raw.fetch(
            "select document_number, carrier, reversed_by from arrival where pending and reversed_at < $1 limit $2",
            before,
            limit,
        )
        return [(record["document_number"], record["carrier"], record["reversed_by"]) for record in records]

    async def revisions(self, tx: Transaction, documents: Iterable[str]) -> dict[tuple[str, str], int]:
        """Return the revision of each arrival of these documents, by document and carrier."""
        records = await tx.raw.fetch(
            "select document_number, carrier, revision from arrival where document_number = any($1) and reversed_at is null",
            list(documents),
        )
        return {(record["document_number"], record["carrier"]): record["revision"] for record in records}

    async def unapplied(self, tx: Transaction, revisions: Mapping[tuple[str, str], int]) -> set[tuple[str, str]]:
        """Lock arrivals, and return those that were not applied yet as of these revisions, or must be applied once more."""
        keys = sorted(revisions)
        records = await tx.raw.fetch(
            "select a.document_number, a.carrier, a.revision = w.revision and (a.pending or a.again) as due "
            "from unnest($1::text[], $2::text[], $3::bigint[]) as w(document_number, carrier, revision) "
            "join arrival a on a.document_number = w.document_number and a.carrier = w.carrier "
            "where a.reversed_at is null order by a.document_number, a.carrier for update of a",
            [document for document, _ in keys],
            [carrier for _, carrier in keys],
            [revisions[key] for key in keys],
        )
        return {(record["document_number"], record["carrier"]) for record in records if record["due"]}

    async def done(
        self,
        tx: Transaction,
        revisions: Mapping[tuple[str, str], int],
        unbound: Collection[str],
        *,
        bindings_changed: bool,
    ) -> list[tuple[str, str]]:
        """Record that arrivals were applied as of these revisions; later marks remain.

        `unbound` are the documents under which consignments are bound to no carrier that reported the arrival; where the
        bindings changed meanwhile their arrivals are carried out again. Returns arrivals (document, carrier) that are newly found
        without effect on some consignments.
        """
        keys = sorted(revisions)
        records = await tx.raw.fetch(
            "select * from arrivals_done($1, $2, $3, $4, $5)",
            [document for document, _ in keys],
            [carrier for _, carrier in keys],
            [revisions[key] for key in keys],
            sorted(unbound),
            bindings_changed,
        )
        return sorted((record["document_number"], record["carrier"]) for record in records)

    async def mark(self, tx: Transaction, *, unbound: Iterable[str] = (), repeat: Iterable[str] = ()) -> None:
        """Mark the arrivals of documents as without effect on some filings, or for repetition because filings changed."""
        await tx.raw.execute("select arrivals_mark($1, $2)", sorted(unbound), sorted(repeat))

    async def reverse(
        self, tx: Transaction, document: str, carrier: str, by: str, at: int, *, repeated: bool = False
    ) -> None:
        """Record that an arrival is being reversed, with `repeated` also one that was reversed; from now on it has no effect."""
        await tx.raw.execute(
            "update arrival set reversed_at = $3, reversed_by = $4, pending = true, unbound = false, again = false, revision = revision + 1 "
            "where document_number = $1 and carrier = $2 and (reversed_at is null or ($5 and not pending))",
            document,
            carrier,
            at,
            by,
            repeated,
        )

    async def reversal_done(self, tx: Transaction, document: str, carrier: str) -> None:
        """Record that an arrival was reversed."""
        await tx.raw.execute(
            "update arrival set pending = false where document_number = $1 and carrier = $2 and reversed_at is not null",
            document,
            carrier,
        )


def _buckets(documents: Iterable[str]) -> list[int]:
    """Return the distinct locks of documents, ascending: all transactions take them in one order, and the server's lock table is limited."""
    return sorted({sha256(number.encode()).digest()[0] % BUCKETS for number in documents if number})
