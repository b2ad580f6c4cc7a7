"""Screening again: batches that were screened against other versions of lists, the hits that it found, and risk's feed of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Ragged, Strings, Table
from libs.columns.stored import reading
from libs.customs.partitions import PARTITIONS, partition_of
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.service import StatePage, text_of
from libs.store.database import Database, Transaction
from libs.store.errors import StoreError
from libs.store.monitoring.gauges import COUNTED_MAX
from libs.store.tables.assessment_pages import references
from libs.store.tables.inputs import BatchPlace
from libs.store.tables.schema import TODAY, today
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.risk.screening.new_matches import Earlier, earlier_of
from services.risk.store.assessment_inputs import StoredBatch

MATCHES_MAX: Final = 100
"""Maximum number of later matches returned for one consignment."""

# Of each day, the newest first: two looks at the index of lists, which find nothing where nothing is to be done.
_STALE: Final = """
select stale.* from unnest((select $1::integer[])) as wanted(day) cross join lateral (
    (select day, batch, purpose, count, lists, columns, history, null::bytea as answers from assessed_input kept
    where kept.day = any($1::integer[]) and kept.day = wanted.day and kept.lists < $2 and kept.lists <> all($3) and kept.batch <> all($4)
    order by kept.lists, kept.batch limit $5)
    union all
    (select day, batch, purpose, count, lists, columns, history, null::bytea as answers from assessed_input kept
    where kept.day = any($1::integer[]) and kept.day = wanted.day and kept.lists > $2 and kept.lists <> all($3) and kept.batch <> all($4)
    order by kept.lists, kept.batch limit $5)
) stale limit $5
"""
_LEFT: Final = f"""
select count(*) from (
    (select from assessed_input where day >= {TODAY} - $1::integer and lists < $2 limit {COUNTED_MAX})
    union all
    (select from assessed_input where day >= {TODAY} - $1::integer and lists > $2 limit {COUNTED_MAX})
) stale
"""  # noqa: S608  # expressions of our own
_ANSWERS: Final = "select payload from assessment_batch where day = $1 and batch = $2"
_LAST: Final = """
select given.place, last.payload
from unnest($1::text[], $2::integer[]) with ordinality as given(mrn, version, place) cross join lateral (
    select payload from screening_hit
    where mrn = given.mrn and filing_version = given.version order by screened_at desc limit 1
) last
"""
_MOVE: Final = """
with moved as (
    update assessed_input kept set lists = $5 where kept.day = any($1::integer[]) and kept.batch = any($3::bigint[]) and exists (
        select from unnest((select $2::integer[]), (select $3::bigint[]), (select $4::text[])) as given(day, batch, lists)
        where given.day = kept.day and given.batch = kept.batch and given.lists = kept.lists
    ) returning 1
) select count(*) from moved
"""
_NEWEST_LISTS: Final = """
select (select number from lists_in_force where lists = $1) as number, other.lists as other, other.number as other_number
from (values (1)) as one left join (
    select lists, number from lists_in_force
    where lists <> $1 and seen_at > clock_timestamp() - make_interval(secs => $2) order by number desc limit 1
) other on true
"""
_COME: Final = """
with gone as (delete from lists_in_force where seen_at < clock_timestamp() - interval '400 days' and lists <> $1)
insert into lists_in_force (lists) values ($1)
on conflict (lists) do update set number = default, seen_at = clock_timestamp()
"""
_TOUCH: Final = """
update lists_in_force set seen_at = clock_timestamp()
where lists = $1 and seen_at not between clock_timestamp() - interval '1 minute' and clock_timestamp()
"""
_INSERT: Final = f"""
insert into screening_hit (mrn, filing_version, screened_at, day, payload)
select given.mrn, given.version, given.screened_at, {TODAY}, given.payload
from unnest($1::text[], $2::integer[], $3::bigint[], $4::bytea[]) as given(mrn, version, screened_at, payload)
"""  # noqa: S608  # an expression of our own
_SELECT: Final = "select payload from screening_hit where mrn = $1 order by filing_version, screened_at limit $2"
_SCAN: Final = """
select distinct on (mrn) mrn, payload from screening_hit where mrn > $1
order by mrn, filing_version desc, screened_at desc limit $2
"""


class SliceTaken(StoreError):
    """Batches of a slice were screened by somebody else meanwhile, or dropped; nothing of the slice was written."""


@dataclass(frozen=True, slots=True)
class NewMatches:
    """Consignments with new or cleared matches: a value each."""

    mrns: list[str]
    versions: list[int]
    last: list[int]
    """When each was told of last, microseconds; 0 for never."""
    findings: Ragged
    cleared: Ragged
    """Hits that were found to be of another party."""
    lanes_left: list[int | None]
    """The lane that is left without them; None where nothing was cleared."""


@dataclass(frozen=True, slots=True)
class NewestLists:
    """Where lists stand in the order in which they came into force; a higher number is newer."""

    number: int | None
    """Their own; None where they were never in force."""
    other: str | None
    """The newest of the others that some replica has; None where none has."""
    other_number: int | None


class ScreeningMatchStore:
    """The part of risk's database that screening again works on."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = Outbox(database, ScreeningColumns.DESCRIPTOR.full_name)

    async def newest_lists(self, lists: str, seconds: float) -> NewestLists:
        """Where `lists` stand among what was in force on some replica in the last seconds."""
        async with self.database.connection() as reader:
            return NewestLists(**dict(await reader.raw.fetchrow(_NEWEST_LISTS, lists, seconds)))

    async def lists_seen(self, tx: Transaction, lists: str, *, are_new: bool) -> None:
        """Note that `lists` are in force; those that have come into force are the newest from now on."""
        await tx.raw.execute(_COME if are_new else _TOUCH, lists)

    async def stale(
        self, lists: str, days: int, batches_max: int, *, leave: Sequence[str] = (), broken: Sequence[int] = ()
    ) -> list[StoredBatch]:
        """Batches of the last days whose parties were screened by anything else than `lists`, the newest day first.

        Those screened by anything in `leave`, and those with a number in `broken`, are left out.
        """
        async with self.database.connection() as reader:
            newest = await today(reader)
            wanted = list(range(newest, newest - days - 1, -1))
            rows = await reader.raw.fetch(_STALE, wanted, lists, list(leave), list(broken), batches_max)
        found = []
        for row in rows:
            fields = dict(row)
            found.append(StoredBatch(BatchPlace(fields.pop("day"), fields.pop("batch")), **fields))
        return found

    async def left(self, lists: str, days: int) -> int:
        """How many such batches there are."""
        async with self.database.connection() as reader:
            return int(await reader.raw.fetchval(_LEFT, days, lists))

    async def answers(self, place: BatchPlace) -> bytes | None:
        """The stored answers of a batch; None where they are kept no more."""
        async with self.database.connection() as reader:
            payload: bytes | None = await reader.raw.fetchval(_ANSWERS, place.day, place.batch)
        return payload

    async def newest(self, mrns: Sequence[str]) -> Mapping[str, int]:
        """The newest version of each consignment that was assessed."""
        async with self.database.connection() as reader:
            return {each.mrn: each.version for each in sorted(await references(reader, mrns))}

    async def earlier(self, mrns: Sequence[str], versions: Sequence[int]) -> Mapping[int, Earlier]:
        """What was announced last of filings after their answers, by place. Raises InputError."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_LAST, list(mrns), list(versions))

        def read() -> dict[int, Earlier]:
            with reading("what was announced before"):
                return {row["place"] - 1: earlier_of(Table.parse(ScreeningColumns, row["payload"])) for row in rows}

        return await asyncio.to_thread(read)

    async def move(self, tx: Transaction, batches: Sequence[StoredBatch], by: str) -> None:
        """Mark batches as screened `by` lists. Raises SliceTaken where a batch is no more as it was read."""
        days = [each.place.day for each in batches]
        moved = await tx.raw.fetchval(
            _MOVE,
            sorted(set(days)),
            days,
            [each.place.batch for each in batches],
            [each.lists for each in batches],
            by,
        )
        if moved != len(batches):
            raise SliceTaken(
                f"database {tx.database}: {len(batches) - moved} of {len(batches)} batches have changed since they were read",
                database=tx.database,
            )

    async def announce(self, tx: Transaction, announcement: Announcement) -> None:
        """Publish an event of screening again, and store what it says of each consignment."""
        event = announcement.event
        await self.outbox.append(tx, event, ScreeningColumns, announcement.partitions)
        await tx.raw.execute(
            _INSERT,
            event.strings("mrn").tolist(),
            event.ints("filing_version").tolist(),
            event.ints("screened_at").tolist(),
            announcement.payloads,
        )

    async def announced(self, mrn: str) -> list[ScreeningColumns]:
        """What screening again found of a consignment, by version and time: one row each."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_SELECT, mrn, MATCHES_MAX)
        return [ScreeningColumns.FromString(row["payload"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event, and what is stored of each of its rows."""

    event: Table
    partitions: npt.NDArray[np.int64]
    payloads: list[bytes]

    @classmethod
    def from_matches(cls, matches: Sequence[NewMatches], lists: str, threshold: int, now: int) -> Announcement:
        """Prepare what a transaction writes of matches with lists, from a score on, found at an instant (microseconds)."""
        event = _event(matches, lists, threshold, now)
        return cls(
            event,
            np.array([partition_of_mrn(mrn) for mrn in event.strings("mrn").tolist()], np.int64),
            [event.take(np.array([row])).serialize(ScreeningColumns) for row in range(event.rows)],
        )


def _event(matches: Sequence[NewMatches], lists: str, threshold: int, now: int) -> Table:
    mrns = [mrn for each in matches for mrn in each.mrns]
    last = np.array([moment for each in matches for moment in each.last], np.int64)
    left = [lane for each in matches for lane in each.lanes_left]
    rows = len(mrns)
    return Table.of(
        ScreeningColumns,
        rows,
        {
            "mrn": Strings.of(mrns),
            "filing_version": Ints.of([version for each in matches for version in each.versions]),
            # Later than the one before also where the clock was set back: the later one is what counts.
            "screened_at": Ints.of(np.maximum(last + 1, now)),
            "lists": Strings.constant(lists, rows),
            "match_threshold": Ints.constant(threshold, rows),
            "findings": Ragged.concat([each.findings for each in matches]),
            "cleared": Ragged.concat([each.cleared for each in matches]),
            "remaining_lane": Ints.of([lane or 0 for lane in left], [lane is not None for lane in left]),
        },
    )


def partition_of_mrn(mrn: str) -> int:
    """The partition that an MRN names; of one that Luxor did not give, any that is always the same."""
    told = mrn[4:6]
    return int(told) if told.isascii() and told.isdigit() and int(told) < PARTITIONS else partition_of("", mrn)


class ScreeningMatchSnapshot:
    """What a new reader of risk's feed begins with: of each consignment the last hits told of its newest filing that has any."""

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        """Read about `max_rows` consignments of these partitions after `token`, the MRN of the last one looked at."""
        wanted = set(partitions)
        rows = await tx.raw.fetch(_SCAN, text_of(token), max_rows)
        kept = [row for row in rows if partition_of_mrn(row["mrn"]) in wanted]
        tables = [Table.parse(ScreeningColumns, row["payload"]) for row in kept]
        return StatePage(
            Table.concat(tables) if tables else Table.of(ScreeningColumns, 0, {}),
            np.array([partition_of_mrn(row["mrn"]) for row in kept], np.int64),
            rows[-1]["mrn"].encode() if len(rows) == max_rows else b"",
        )
