"""All SQL of ingestion: references that make a filing idempotent, submissions that an MRN leads to, and the outbox.

A consignment costs one row in `reference`; its content is stored once, in the batch that the feed announces. An MRN leads to its
batch by its own sequence number: the block (its thousands) identifies the submission. Batches are stored longer than references count,
so a filing under a reference that exists is compared with the stored one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Strings, Table
from libs.columns.arrays import BoolArray
from libs.customs.identifiers import mrn
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.representation import Mandate
from libs.feed.publish.outbox import Outbox
from libs.feed.types import BatchRef
from libs.filing_stages.direction import exports
from libs.store.database import NOW_MICROS, Database, Transaction
from libs.store.tables import schema
from libs.store.tables.requests import RequestLog
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.trace.v1 import trace_pb2
from services.ingestion.quality.scores import Array
from services.ingestion.store.filers import Filers

BLOCK = 1000
"""Number of serials that are reserved at once: as many as a batch may have consignments."""
MICROS_A_DAY = 86_400_000_000
GENERATION_DAYS = 100
"""Days that share one generation of references. The two earlier generations are valid too, so a reference is unique for at least
200 days."""
GENERATIONS_STORED = 3
SUBMISSION_DAYS = 398
"""Days for which an MRN leads to its filing: somewhat fewer than those for which the feed stores payloads."""
NO_DIGEST = b""
"""In the place of the digest of a reference whose content is compared with its stored batch."""
BATCHES_AT_ONCE = 8
"""Stored batches that are read at once: a batch has up to some megabytes."""
_SERIAL_DAYS = 3
"""Days for which serial numbers of a day may still be taken, for calls that began before midnight and for a shifted clock."""
_BOUNDARY_MICROS = 600_000_000
"""Around the change of generations, the transactions of one filer wait for each other: a key is unique in one generation only."""

_TAKE_BLOCK = f"""
    with clock as materialized (select {NOW_MICROS} + $1::bigint as micros)
    select serial_block_take((micros / {MICROS_A_DAY})::integer, micros % {MICROS_A_DAY} / 1000000), micros,
        pg_current_xact_id()::text::bigint
    from clock
"""  # noqa: S608  # numbers and expressions of our own
_FIND = "select place, digest, mrn, accepted_at from reference_find($1, $2, $3, $4, $5, $6)"
_TAKE = """
    insert into reference (generation, partition, filer, local_reference, digest, mrn, accepted_at)
    select $1, u.partition, $2, u.local_reference, u.digest, u.mrn, $3
    from unnest($4::smallint[], $5::text[], $6::bytea[], $7::text[]) as u(partition, local_reference, digest, mrn)
    on conflict do nothing
    returning mrn
"""
SUMMARY = """
    select array_agg(g.partition), array_agg(g.count), array_agg(g.digest) from (
        select u.partition, count(*)::smallint as count, bit_xor(hashtextextended(u.mrn collate "C", 0)) as digest
        from unnest({mrns}::text[], {partitions}::smallint[]) as u(mrn, partition) group by u.partition
    ) g
"""
"""SQL: partitions, counts and digests of MRNs and their partitions."""
_SUBMIT = f"""
    insert into submission (day, block, filer, accepted_at, batch_day, batch, quality, partitions, counts, digests)
    select $1::integer, $2::bigint, $3::text, $4::bigint, $5::integer, $6::bigint, $9::bytea, s.*
    from ({SUMMARY.format(mrns="$7", partitions="$8")}) s
"""  # noqa: S608  # our own statement
# The days are in sight, so that a plan has their partitions alone.
_SUBMISSIONS = """
    select w.place, s.filer, s.accepted_at, s.batch_day, s.batch
    from unnest((select $2::integer[]), (select $3::integer[]), (select $4::bigint[])) as w(place, day, block)
    cross join lateral (select * from submission t where t.day = any($1::integer[]) and t.day = w.day and t.block = w.block offset 0) s
"""


@dataclass(frozen=True)
class Filing:
    """Accepted consignments of one call, each with a reference of its own; all columns have as many rows."""

    filer: str
    table: Table
    digests: Sequence[bytes]
    """Digest of the content of each, as the release before compares it; NO_DIGEST where that release no longer runs."""
    references: list[str]
    partitions: npt.NDArray[np.int64]
    countries: list[str]
    """The country in the MRN of each: of destination, for exports of dispatch."""
    quality: Array | None = None
    """Of each, None where they are not scored."""
    trusted_until: Ints | None = None
    """Last day on which the filer, or a declarant that it may name, is a trusted operator, days since 1970-01-01 UTC, shape (n,); None: nobody is."""


@dataclass(frozen=True)
class Taken:
    """The result of the store for each consignment of a filing."""

    mrns: list[str]
    """The MRN of its reference, assigned now or before."""
    accepted_at: npt.NDArray[np.int64]
    """Time of acceptance, microseconds."""
    conflicts: BoolArray
    """Whether the reference was filed before with other content."""
    fresh: BoolArray
    """Whether it was accepted by this call."""
    xid: int
    """The number of the transaction, as in the feed's cursors."""


@dataclass(frozen=True)
class PriorReference:
    """A reference that was filed before."""

    mrn: str
    digest: bytes
    """Of its content; NO_DIGEST where none was stored."""


class Uncompared(Exception):
    """References of a filing were filed before, and nobody has compared their content yet: by place in the filing."""

    def __init__(self, prior: Mapping[int, PriorReference]) -> None:
        """Report prior references by their place in the filing."""
        super().__init__(f"{len(prior)} references were filed before")
        self.prior = prior


@dataclass(frozen=True)
class StoredRows:
    """Consignments of one stored batch."""

    filer: str
    accepted_at: int
    table: Table
    """The whole batch."""
    rows: dict[str, int]
    """The row of each requested MRN in `table`."""


@dataclass(frozen=True)
class StoredReceipt:
    """A stored receipt."""

    filer: str
    local_reference: str
    mrn: str
    accepted_at: int


class Store:
    """Ingestion's own database."""

    def __init__(self, database: Database, outbox: Outbox, requests: RequestLog) -> None:
        """Use an open database; `outbox` announces ConsignmentColumns."""
        self.database = database
        self.outbox = outbox
        self.requests = requests
        self.filers = Filers(database)

    async def digest_seconds(self) -> float:
        """Return the seconds for which digests of filings are still stored; none of them is left if it is not above 0."""
        async with self.database.connection() as reader:
            micros = await reader.raw.fetchval(f"select max(until_micros) - {NOW_MICROS} from digest_upgrade")  # noqa: S608
        return int(micros) / 1_000_000

    async def accept(
        self, tx: Transaction, filing: Filing, equal: Mapping[str, bool], *, trace: str, shift_micros: int = 0
    ) -> Taken:
        """Accept new consignments and find known ones, in the caller's transaction, whose commit is the acceptance.

        `equal` says of MRNs whether their content is that of the filing. Raises Uncompared for known references without an entry
        there: the caller rolls back, compares them outside of a transaction, and calls again. What was accepted never changes.
        `shift_micros` moves the time of acceptance away from the database's clock (for tests of other days).
        """
        block, now, xid = await tx.raw.fetchrow(_TAKE_BLOCK, shift_micros)
        generation = now // MICROS_A_DAY // GENERATION_DAYS
        await self._guard_boundary(tx, filing.filer, now)
        rows = filing.table.rows
        prior: dict[int, PriorReference] = {}
        mrns = [""] * rows
        times = np.full(rows, now, np.int64)

        async def find(places: list[int], first: int, last: int) -> None:
            parts = [int(filing.partitions[place]) for place in places]
            names = [filing.references[place] for place in places]
            found = await tx.raw.fetch(_FIND, filing.filer, places, parts, names, first, last)
            for place, digest, number, accepted_at in found:
                prior[place] = PriorReference(number, digest)
                mrns[place], times[place] = number, accepted_at

        await find(list(range(rows)), generation - GENERATIONS_STORED + 1, generation - 1)
        new = [place for place in range(rows) if place not in prior]
        fresh = np.zeros(rows, np.bool_)
        if new:
            given = make_mrns(
                [filing.countries[place] for place in new],
                filing.partitions[new],
                now // MICROS_A_DAY,
                np.asarray(new, np.int64) + block * BLOCK,
                exported=exports(filing.table)[new],
            )
            # One order everywhere, so that two calls with the same references wait for each other without a deadlock.
            order = sorted(range(len(new)), key=lambda at: filing.references[new[at]])
            taken = await tx.raw.fetch(
                _TAKE,
                generation,
                filing.filer,
                now,
                [int(filing.partitions[new[at]]) for at in order],
                [filing.references[new[at]] for at in order],
                [filing.digests[new[at]] for at in order],
                [given[at] for at in order],
            )
            won = {row[0] for row in taken}
            lost = []
            for place, number in zip(new, given, strict=True):
                if number in won:
                    fresh[place], mrns[place] = True, number
                else:
                    lost.append(place)
            if lost:
                await find(lost, generation, generation)
        if uncompared := {place: each for place, each in prior.items() if each.mrn not in equal}:
            raise Uncompared(uncompared)
        if fresh.any():
            await self._announce(tx, filing, mrns, fresh, now, int(block), trace)
        conflicts = np.zeros(rows, np.bool_)
        conflicts[[place for place, each in prior.items() if not equal[each.mrn]]] = True
        return Taken(mrns, times, conflicts, fresh, int(xid))

    async def _guard_boundary(self, tx: Transaction, filer: str, now: int) -> None:
        span = GENERATION_DAYS * MICROS_A_DAY
        if min(now % span, span - now % span) < _BOUNDARY_MICROS:
            await tx.raw.execute("select pg_advisory_xact_lock(hashtextextended('luxor filer ' || $1, 0))", filer)

    async def _announce(
        self, tx: Transaction, filing: Filing, mrns: list[str], fresh: BoolArray, now: int, block: int, trace: str
    ) -> None:
        places = np.flatnonzero(fresh)
        rows = len(places)
        partitions = filing.partitions[places]
        table = filing.table if rows == filing.table.rows else filing.table.take(places)
        table = table.with_columns(
            {
                "mrn": Strings.of([mrns[place] for place in places.tolist()]),
                "version": Ints.constant(1, rows),
                "filer": Strings.constant(filing.filer, rows),
                "accepted_at": Ints.constant(now, rows),
                "partition": Ints.of(partitions),
            }
        )
        if filing.trusted_until is not None and filing.trusted_until.valid.any():
            table = table.with_columns({"filer_trusted_until": filing.trusted_until.take(places)})
        ref = await self.outbox.append(tx, table, ConsignmentColumns, partitions, trace=trace)
        given = [mrns[place] for place in places.tolist()]
        day = now // MICROS_A_DAY
        # By the serial numbers of the block, so that an MRN leads to its own.
        quality = None if filing.quality is None else filing.quality.tobytes()
        values = day, block, filing.filer, now, ref.day, ref.id, given, partitions.tolist(), quality
        await tx.raw.execute(_SUBMIT, *values)

    async def by_reference(
        self, filer: str, references: Sequence[str], partitions: npt.NDArray[np.int64]
    ) -> list[StoredReceipt | None]:
        """Return receipts by the filer's references; None if there is none."""
        found: list[StoredReceipt | None] = [None] * len(references)
        async with self.database.connection() as reader:
            newest = await reader.now() // MICROS_A_DAY // GENERATION_DAYS + 1
            rows = await reader.raw.fetch(
                _FIND, filer, list(range(len(references))), partitions.tolist(), list(references),
                newest - GENERATIONS_STORED, newest,
            )  # fmt: skip
        for place, _, number, accepted_at in rows:
            found[place] = StoredReceipt(filer, references[place], number, accepted_at)
        return found

    async def stored(self, mrns: Sequence[str], filer: str | None = None) -> AsyncIterator[StoredRows]:
        """Yield the stored consignments of MRNs of Luxor, batch by batch; those that do not exist are left out.

        With `filer` so are those of other filers, except those that a representation entrusts to it. Nothing is read of filings of filers that it
        neither represents nor is represented by: the time of an answer does not depend on them. An MRN's day and the block of its sequence
        identify the batch. The reads are no part of any transaction.
        """
        parsed = [mrn.parse(text) for text in mrns]
        days, blocks = [number.day for number in parsed], [number.sequence // BLOCK for number in parsed]
        async with self.database.connection() as reader:
            found = await reader.raw.fetch(_SUBMISSIONS, sorted(set(days)), list(range(len(mrns))), days, blocks)
        others = {row["filer"] for row in found} - {filer}
        mandates: Mapping[str, Sequence[Mandate]] = {}
        if filer is not None and (others or len(found) < len(mrns)):
            mandates = await self.filers.mandates(filer, others)
        batches: dict[BatchRef, tuple[str, int, list[str]]] = {}
        for place, owner, accepted_at, batch_day, batch in found:
            if filer in (None, owner) or owner in mandates:
                batches.setdefault(BatchRef(batch_day, batch), (owner, accepted_at, []))[2].append(mrns[place])
        refs = list(batches)
        for start in range(0, len(refs), BATCHES_AT_ONCE):
            some = refs[start : start + BATCHES_AT_ONCE]
            async with self.database.connection() as reader:
                payloads = await self.outbox.payloads.fetch(reader.raw, some)
            for ref in some:
                owner, accepted_at, wanted = batches[ref]
                table = self.outbox.payloads.table(payloads[ref])
                rows = {number: row for row, number in enumerate(table.strings("mrn").tolist())}
                chosen = {each: rows[each] for each in wanted if each in rows}
                if filer not in (None, owner):
                    chosen = _covered(table, chosen, mandates[owner])
                yield StoredRows(owner, accepted_at, table, chosen)

    async def by_mrn(self, mrns: Sequence[str], filer: str | None = None) -> list[StoredReceipt | None]:
        """Return receipts by MRN; None if there is none, or none that `filer` may read if it is given. Each text is a well-formed MRN of Luxor."""
        found: dict[str, StoredReceipt] = {}
        async for batch in self.stored(mrns, filer):
            references = batch.table.strings("local_reference")
            for number, row in batch.rows.items():
                found[number] = StoredReceipt(batch.filer, references[row], number, batch.accepted_at)
        return [found.get(number) for number in mrns]

    async def trail(self, number: str) -> list[trace_pb2.Fact]:
        """Return when a consignment was accepted, and the trace of the call."""
        try:
            parsed = mrn.parse(number)
        except mrn.MrnError:
            return []
        facts = []
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_SUBMISSIONS, [parsed.day], [0], [parsed.day], [parsed.sequence // BLOCK])
            batches = await self.outbox.payloads.fetch(reader.raw, {BatchRef(row[3], row[4]) for row in rows})
        for _, _, accepted_at, batch_day, batch in rows:
            stored = batches[BatchRef(batch_day, batch)]
            if number in self.outbox.payloads.table(stored).strings("mrn").dictionary:
                facts.append(
                    trace_pb2.Fact(
                        kind=trace_pb2.FACT_KIND_ACCEPTED,
                        version=1,
                        happened_at_micros=accepted_at,
                        traceparent=stored.trace,
                    )
                )
        return facts


def _covered(table: Table, rows: Mapping[str, int], mandates: Sequence[Mandate]) -> dict[str, int]:
    """Return the rows of filings that one of the mandates covers, by what they named when they were first filed."""
    declarants, representatives = table.strings("declarant_identifier"), table.strings("representative_identifier")
    return {
        number: row
        for number, row in rows.items()
        if any(each.covers(declarants[row], representatives[row]) for each in mandates)
    }


async def drop_serials(tx: Transaction) -> None:
    """Drop the sequences of serial numbers of past days."""
    before = await schema.today(tx) - _SERIAL_DAYS
    rows = await tx.raw.fetch(
        "select sequencename as name from pg_sequences where sequencename ~ '^serial_block_[0-9]+_[0-9]+$'"
    )
    for name in (row["name"] for row in rows):
        if int(name.split("_")[2]) < before:
            await tx.raw.execute(f"drop sequence {schema.checked(name)}")


async def make_generations(tx: Transaction) -> list[int]:
    """Create the next generations of references; return those that are no longer valid."""
    await tx.raw.execute("select reference_make_generations($1)", GENERATION_DAYS)
    newest = await schema.today(tx) // GENERATION_DAYS
    rows = await tx.raw.fetch(
        "select substring(c.relname from 'reference_g([0-9]+)$')::integer as generation from pg_inherits i "
        "join pg_class c on c.oid = i.inhrelid where i.inhparent = 'reference'::regclass"
    )
    return [each for each in sorted(row["generation"] for row in rows) if each <= newest - GENERATIONS_STORED]


async def drop_generation(tx: Transaction, generation: int) -> None:
    """Drop a generation of references."""
    await tx.raw.execute(f"set local lock_timeout = 30; drop table reference_g{generation:d}")
