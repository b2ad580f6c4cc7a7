"""The table amendment: the versions of filings after the first, each with the batch that has its content.

Who files, and the first version, are in the submission that the MRN leads to. The key makes each version unique: of two calls that replace
the same version at the same time, one waits for the other and then finds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Table
from libs.customs.identifiers import mrn
from libs.feed.types import BatchRef
from libs.store.database import NOW_MICROS, Transaction
from libs.store.tables import schema
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.trace.v1 import trace_pb2
from services.ingestion.store import scorecards
from services.ingestion.store.filings import BATCHES_AT_ONCE, Store

# The requested version, and the newest one, each at most once. The days are in sight, so that a plan has their partitions alone.
_FIND = """
    select w.place, a.version, a.accepted_at, a.batch_day, a.batch, a.changed_by
    from unnest((select $2::integer[]), (select $3::integer[]), (select $4::text[]), (select $5::integer[])) as w(place, day, mrn, version)
    cross join lateral (
        (select * from amendment t where t.day = any($1::integer[]) and t.day = w.day and t.mrn = w.mrn and t.version = w.version offset 0)
        union
        (select * from amendment t where t.day = any($1::integer[]) and t.day = w.day and t.mrn = w.mrn order by t.version desc limit 1)
    ) a order by w.place, a.version
"""
# One order everywhere, so that two calls with the same versions wait for each other without a deadlock.
_ADD = """
    insert into amendment (day, mrn, version, accepted_at, batch_day, batch, changed_by, quality, is_joined)
    select u.day, u.mrn, u.version, $4, $5, $6, u.changed_by, u.quality, $9
    from unnest($1::integer[], $2::text[], $3::integer[], $7::text[], $8::bytea[]) as u(day, mrn, version, changed_by, quality)
    order by u.day, u.mrn, u.version
    on conflict do nothing
    returning version
"""
_OF_FILING = (
    "select version, accepted_at, batch_day, batch from amendment where day = $1 and mrn = $2 order by version limit $3"
)
FACTS_MAX = 100
"""Versions of a filing in the trace of a consignment, at most."""
_CLOCK = f"select {NOW_MICROS} + $1::bigint as now, pg_current_xact_id()::text::bigint as xid"


class VersionStored(Exception):
    """A version was stored by another call meanwhile; the caller rolls back, reads again and decides again."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of a filing after the first."""

    version: int
    accepted_at: int
    """Microseconds since 1970-01-01 UTC."""
    batch: BatchRef
    """Where its content is."""
    changed_by: str
    """Who filed it; empty: the filer of the first version."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One version of a filing: when it was accepted, and the row of a table that has its content."""

    accepted_at: int
    table: Table
    row: int


@dataclass(slots=True)
class StoredFiling:
    """A stored filing."""

    filer: str
    """Who filed the first version."""
    current: int = 1
    """Its newest version."""
    versions: dict[int, StoredRow] = field(default_factory=dict)
    """The first version, the newest and those that were requested."""
    changed_by: dict[int, str] = field(default_factory=dict)
    """Who filed a version, where it was not the filer of the first one."""


class Amendments:
    """Reads and writes the versions of filings after the first."""

    def __init__(self, store: Store) -> None:
        """Use the store of ingestion."""
        self.store = store
        self._days: set[int] = set()

    async def versions(self, requested: Sequence[tuple[str, int]]) -> list[list[StoredVersion]]:
        """Return for each MRN and version that version and the newest one, oldest first; none where there is only the first."""
        found: list[list[StoredVersion]] = [[] for _ in requested]
        days = [mrn.parse(number).day for number, _ in requested]
        async with self.store.database.connection() as reader:
            rows = await reader.raw.fetch(
                _FIND, sorted(set(days)), list(range(len(requested))), days, *map(list, zip(*requested, strict=True))
            )
        for place, version, accepted_at, batch_day, batch, changed_by in rows:
            found[place].append(StoredVersion(version, accepted_at, BatchRef(batch_day, batch), changed_by))
        return found

    async def newest(self, number: str) -> tuple[int, int]:
        """Return the newest version of a filing, and the newest one that a filer stated as a whole."""
        newest = (
            "select max(version), max(version) filter (where not is_joined) from amendment where day = $1 and mrn = $2"
        )
        async with self.store.database.connection() as reader:
            row = await reader.raw.fetchrow(newest, mrn.parse(number).day, number)
        return row[0] or 1, row[1] or 1

    async def filings(self, filer: str | None, requested: Sequence[tuple[str, int]]) -> dict[str, StoredFiling]:
        """Return the filings of MRNs of Luxor that a filer may change: its own and those entrusted to it; None: all of them.

        Each has the content of its first, its newest and the requested versions. The reads are no part of any transaction.
        """
        found: dict[str, StoredFiling] = {}
        async for batch in self.store.stored(sorted({number for number, _ in requested}), filer):
            rows = batch.table.take(np.fromiter(batch.rows.values(), np.int64, len(batch.rows)))
            for row, number in enumerate(batch.rows):
                first = StoredRow(batch.accepted_at, rows, row)
                found[number] = StoredFiling(batch.filer, versions={1: first})
        pairs = [each for each in requested if each[0] in found]
        requested_times: dict[BatchRef, dict[tuple[str, int], int]] = {}
        for (number, _), versions in zip(pairs, await self.versions(pairs) if pairs else (), strict=True):
            for each in versions:
                found[number].current = max(found[number].current, each.version)
                if each.changed_by:
                    found[number].changed_by[each.version] = each.changed_by
                requested_times.setdefault(each.batch, {})[number, each.version] = each.accepted_at
        for batch_ref, keys, rows in await self._contents(requested_times):
            for row, key in enumerate(keys):
                found[key[0]].versions[key[1]] = StoredRow(requested_times[batch_ref][key], rows, row)
        return found

    async def _contents(
        self, requested_times: Mapping[BatchRef, Mapping[tuple[str, int], int]]
    ) -> list[tuple[BatchRef, list[tuple[str, int]], Table]]:
        """Return of each batch the requested MRNs and versions, with a table of their rows."""
        contents = []
        refs = list(requested_times)
        payloads = self.store.outbox.payloads
        for start in range(0, len(refs), BATCHES_AT_ONCE):
            some = refs[start : start + BATCHES_AT_ONCE]
            async with self.store.database.connection() as reader:
                stored = await payloads.fetch(reader.raw, some)
            for ref in some:
                table = payloads.table(stored[ref])
                keys = zip(table.strings("mrn").tolist(), table.ints("version").values.tolist(), strict=True)
                rows = {key: row for row, key in enumerate(keys) if key in requested_times[ref]}
                contents.append((ref, list(rows), table.take(np.fromiter(rows.values(), np.int64, len(rows)))))
        return contents

    async def trail(self, number: str) -> list[trace_pb2.Fact]:
        """Return when each version of a consignment was accepted, and the trace of the call."""
        facts = await self.store.trail(number)
        if not facts:
            return facts
        async with self.store.database.connection() as reader:
            rows = await reader.raw.fetch(_OF_FILING, mrn.parse(number).day, number, FACTS_MAX)
            stored = await self.store.outbox.payloads.fetch(reader.raw, {BatchRef(row[2], row[3]) for row in rows})
        for version, accepted_at, batch_day, batch in rows:
            trace = stored[BatchRef(batch_day, batch)].trace
            kind = trace_pb2.FACT_KIND_ACCEPTED
            facts.append(trace_pb2.Fact(kind=kind, version=version, happened_at_micros=accepted_at, traceparent=trace))
        return facts

    def missing_days(self, mrns: Iterable[str]) -> set[int]:
        """Return the days of these MRNs of which this process has not seen the partitions."""
        return {mrn.parse(number).day for number in mrns} - self._days

    async def add_days(self, tx: Transaction, days: set[int]) -> None:
        """Make the partitions of days that are missing, also those of scorecards, which amendments change."""
        for table in ("amendment", *scorecards.TABLES):
            await schema.ensure_day_partitions(tx, table, days)
        tx.after_commit(lambda: self._days.update(days))

    async def add(
        self,
        tx: Transaction,
        table: Table,
        partitions: npt.NDArray[np.int64],
        changed_by: Sequence[str],
        quality: Sequence[bytes | None],
        *,
        trace: str,
        shift_micros: int,
        is_joined: bool = False,
    ) -> tuple[int, int]:
        """Store and announce versions, complete but for the time of acceptance; return this time and the transaction's number.

        `changed_by` has for each version who filed it, "" for the filer of the first one, `quality` its quality as stored; `is_joined`: they add
        parts. Raises VersionStored.
        """
        now, xid = await tx.raw.fetchrow(_CLOCK, shift_micros)
        table = table.with_columns({"accepted_at": Ints.constant(now, table.rows)})
        ref = await self.store.outbox.append(tx, table, ConsignmentColumns, partitions, trace=trace)
        numbers = table.strings("mrn").tolist()
        days, versions = [mrn.parse(each).day for each in numbers], table.ints("version").values.tolist()
        columns = list(changed_by), quality, is_joined
        added = await tx.raw.fetch(_ADD, days, numbers, versions, now, ref.day, ref.id, *columns)
        if len(added) < table.rows:
            raise VersionStored
        return int(now), int(xid)
