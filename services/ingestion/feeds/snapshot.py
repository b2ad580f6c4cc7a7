"""The present state of ingestion for readers of its feed: every filing that is stored, batch by batch, and summaries of days."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.identifiers import mrn
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.service import DaySummary, StatePage, TokenMalformed
from libs.feed.types import BatchRef
from libs.store.database import Database, Transaction
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.ingestion.commands.housekeeping import summarize_submission
from services.ingestion.store.filings import BLOCK, MICROS_A_DAY
from services.ingestion.store.submissions import unsummarized

_NEXT = """
    select b.day, b.id, b.row_count from batch b
    where (b.day, b.id) > ($1, $2) and b.day >= $1 order by b.day, b.id limit $3
"""
# In the order of the key, so that a page reads no more of the index than it gives. A submission of the release before has no partitions yet.
_NEXT_OF_DAY = """
    select s.block, s.batch_day, s.batch, (select sum(u.count) from unnest(s.counts) as u(count)) as rows from submission s
    where s.day = $1 and s.block > $2 and (s.partitions is null or s.partitions && $3::smallint[]) order by s.block limit $4
"""
# One version of filings of a page, which is in other batches than the first.
_AMENDED = """
    select a.mrn, a.batch_day, a.batch from unnest((select $2::text[])) as w(mrn)
    cross join lateral (select * from amendment t where t.day = $1 and t.mrn = w.mrn and t.version = $3 offset 0) a order by a.batch_day, a.batch
"""
PLACE = struct.Struct("<qq")
AMENDED_PLACE = struct.Struct("<qqq")
"""Day, block and version: of this submission, the versions after that one are still to be read."""
SUBMISSIONS_AT_ONCE = 64
"""Submissions whose payloads are read at once, unless they have more than ROWS_AT_ONCE rows."""
ROWS_AT_ONCE = 5_000
PAGE_SECONDS = 5.0
"""A page ends with a token after so long, however few of its rows were found: far before the caller's deadline."""
SETTLED_MICROS = 30_000_000
"""Age from which no call that took serials is still at work: its transaction has ended, whatever became of it."""
BACKFILLED_MAX = 200
"""Submissions of the release before, which stored no summary, that are summarized by one call."""
# Serials are taken in the order of time, so nothing is added below those of calls that may be at work ($3: since when), nor to a day before $4.
_SUMMARIES = """
    with days as (
        select s.day, bool_or(s.digests is null) as unknown, case when s.day >= $4 then
            coalesce(min(s.block) filter (where s.accepted_at > $3), max(s.block) + 1) end as below
        from submission s where s.day between $1 and $2 group by s.day
    ), counted as (
        select s.day, u.partition, sum(u.count)::bigint as count, bit_xor(u.digest) as digest
        from days join submission s on s.day = days.day and s.day between $1 and $2 and (days.below is null or s.block < days.below)
        cross join lateral unnest(s.partitions, s.counts, s.digests) as u(partition, count, digest)
        where not days.unknown group by s.day, u.partition
    )
    select days.day, days.unknown, days.below, array_remove(array_agg(c.partition order by c.partition), null) as partitions,
        array_remove(array_agg(c.count order by c.partition), null) as counts, array_remove(array_agg(c.digest order by c.partition), null) as digests
    from days left join counted c on c.day = days.day group by days.day, days.unknown, days.below order by days.day
"""


class Snapshot:
    """Reads stored batches in their order; the token is the last one read."""

    def __init__(self, outbox: Outbox) -> None:
        """Read the batches of an outbox."""
        self._outbox = outbox

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read whole batches until about `max_rows` rows of these partitions are there."""
        return await _read(self._outbox, tx, partitions, token, max_rows, _NEXT)


class Days:
    """Reads stored batches by the day of acceptance, and summarizes days."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Read the submissions of a database, and the batches of its outbox."""
        self._database = database
        self._outbox = outbox

    async def summaries(self, first: int, last: int) -> list[DaySummary]:
        """See DaySource."""
        async with self._database.connection() as reading:
            unknown = await unsummarized(reading, first, last, BACKFILLED_MAX)
        for each in unknown:
            await summarize_submission(self._database, self._outbox, each)
        async with self._database.connection() as reading:
            settled = await reading.now() - SETTLED_MICROS
            rows = await reading.raw.fetch(_SUMMARIES, first, last, settled, settled // MICROS_A_DAY)
        found = {row["day"]: row for row in rows}
        nothing = mrn.serial_text(0)
        summaries = []
        for day in range(first, last + 1):
            row = found.get(day)
            if row is None:
                # Of a day that may still begin nothing is said; one that is over without any has none.
                summaries.append(DaySummary(day, "" if day < settled // MICROS_A_DAY else nothing, [], [], []))
            elif not row["unknown"]:
                below = "" if row["below"] is None else mrn.serial_text(row["below"] * BLOCK)
                summaries.append(DaySummary(day, below, row["partitions"], row["counts"], row["digests"]))
        return summaries

    async def page_of_day(
        self, tx: Transaction, day: int, partitions: Sequence[int], token: bytes, max_rows: int
    ) -> StatePage:
        """See DaySource. The token is the block of the last submission read, with the last version read where its filings have later ones."""
        last, begun = _places_of(day, token)
        clock = asyncio.get_running_loop().time
        ends_at = clock() + PAGE_SECONDS
        wanted = np.asarray(partitions, np.int64)
        parts: list[Table] = []
        rows = 0
        while True:
            found = await tx.raw.fetch(_NEXT_OF_DAY, day, last, list(partitions), SUBMISSIONS_AT_ONCE)
            chosen: list[Any] = []
            weight = 0
            for row in found:
                weight += row["rows"] or BLOCK
                if chosen and weight > ROWS_AT_ONCE:
                    break
                chosen.append(row)
            refs = [BatchRef(row["batch_day"], row["batch"]) for row in chosen]
            stored = await self._outbox.payloads.fetch(tx.raw, refs)
            read = [_rows_of(stored[ref].payload, wanted) for ref in refs]
            amended = {row["mrn"] for row in await self._amended(tx, day, _mrns(*read), 2)}
            for row, some in zip(chosen, read, strict=True):
                last = row["block"]
                version = begun.get(last, 0)
                if not version:
                    version, tables = 1, [] if some is None else [some]
                    parts += tables
                    rows += sum(each.rows for each in tables)
                later = amended & _mrns(some)
                # A page gives at least one further version of what an earlier page began.
                while later and (rows < max_rows or version == begun.get(last)):
                    version += 1
                    tables = await self._versions(tx, day, later, version)
                    later = _mrns(*tables)
                    parts += tables
                    rows += sum(each.rows for each in tables)
                    if clock() >= ends_at:
                        break
                if later:
                    return _page(parts, AMENDED_PLACE.pack(day, last, version))
                if rows >= max_rows:
                    return _page(parts, PLACE.pack(day, last))
            if len(chosen) == len(found) < SUBMISSIONS_AT_ONCE:
                return _page(parts, b"")
            if clock() >= ends_at:
                return _page(parts, PLACE.pack(day, last))

    async def _amended(self, tx: Transaction, day: int, mrns: Collection[str], version: int) -> Sequence[Any]:
        """Return which of these filings of a day have a version after the first, each with its batch."""
        rows: Sequence[Any] = await tx.raw.fetch(_AMENDED, day, list(mrns), version) if mrns else ()
        return rows

    async def _versions(self, tx: Transaction, day: int, mrns: Collection[str], version: int) -> list[Table]:
        """Return a version after the first of these filings of a day, of those that have it."""
        batches: dict[BatchRef, set[str]] = {}
        for row in await self._amended(tx, day, mrns, version):
            batches.setdefault(BatchRef(row["batch_day"], row["batch"]), set()).add(row["mrn"])
        tables = []
        for ref, wanted in batches.items():
            stored = await self._outbox.payloads.fetch(tx.raw, [ref])
            table = Table.parse(ConsignmentColumns, stored[ref].payload)
            chosen = table.strings("mrn").isin(wanted) & (table.ints("version").values == version)
            tables.append(table.take(np.flatnonzero(chosen)))
        return tables


async def _read(
    outbox: Outbox, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int, following: str
) -> StatePage:
    """Read whole batches, as `following` finds them, until about `max_rows` rows of these partitions are there."""
    day, number = _place_of(token) if token else (0, 0)
    wanted = np.asarray(partitions, np.int64)
    parts: list[Table] = []
    rows = 0
    while rows < max_rows:
        found = await tx.raw.fetch(following, day, number, 8)
        if not found:
            break
        refs = [BatchRef(row["day"], row["id"]) for row in found]
        stored = await outbox.payloads.fetch(tx.raw, refs)
        for ref in refs:
            some = _rows_of(stored[ref].payload, wanted)
            if some is not None:
                parts.append(some)
                rows += some.rows
            day, number = ref
            if rows >= max_rows:
                break
    else:
        return _page(parts, PLACE.pack(day, number))
    return _page(parts, b"")


def _places_of(day: int, token: bytes) -> tuple[int, dict[int, int]]:
    """Return the block that a token of this day names as read, -1 without one, and by block the version up to which one is read.

    Raises TokenMalformed.
    """
    if len(token) == AMENDED_PLACE.size:
        *_, version = AMENDED_PLACE.unpack(token)
        of_day, block = _place_of(token[: PLACE.size])
        last, begun = block - 1, {block: version}
        is_wrong = not 1 <= version < 2**31 - 1
    else:
        of_day, last = _place_of(token) if token else (day, -1)
        begun, is_wrong = {}, False
    if of_day != day or is_wrong:
        raise TokenMalformed
    return last, begun


def _place_of(token: bytes) -> tuple[int, int]:
    """Read a token: a day and a number within it; raise TokenMalformed."""
    if len(token) != PLACE.size:
        raise TokenMalformed
    day, number = PLACE.unpack(token)
    if not 0 <= day < 2**31 or number < 0:
        raise TokenMalformed
    return day, number


def _rows_of(payload: bytes, partitions: NDArray[np.int64]) -> Table | None:
    """Return the rows of these partitions in a batch."""
    table = Table.parse(ConsignmentColumns, payload)
    chosen = np.flatnonzero(np.isin(table.ints("partition").values, partitions))
    return table.take(chosen) if len(chosen) else None


def _mrns(*tables: Table | None) -> set[str]:
    return {mrn for table in tables if table is not None for mrn in table.strings("mrn").tolist()}


def _page(parts: list[Table], token: bytes) -> StatePage:
    table = Table.concat(parts) if parts else Table.of(ConsignmentColumns, 0, {})
    return StatePage(table, table.ints("partition").values, token)
