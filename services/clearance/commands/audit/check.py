"""The proof of the audit trail, part by part: the chain with its batches and seals, and then all batches with their records.

Each part reads a bounded number of rows as of one instant, and states where something is wrong: day, number, batch.
"""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from libs.chain.audit import DECISION, DROPPED, OPENING, Record, root
from libs.chain.hashing import START
from libs.chain.seals import Seal
from libs.columns import Table
from libs.columns.digest import row_digests
from libs.customs.time import MICROS_PER_DAY, day_text
from libs.feed.publish.retention import Retention
from libs.store.database import Transaction
from libs.store.tables.schema import today
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.commands.audit.drop_record_days import RECORD_DAYS
from services.clearance.store import Store
from services.clearance.store.audit.seals import AuditSeals
from services.clearance.store.audit.trail import Head, StoredRecord, digest_of

VERSIONS_MAX: Final = 50_000
"""Versions of consignments whose batches one part compares."""
ERRORS_MAX: Final = 100
LATE_SECONDS: Final = 1_800
"""A record that is not chained and sealed after this time is an error; the alert has the same bound."""
_MILLIS: Final = 60_000
_KINDS: Final = frozenset(range(1, 5))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the check of the records goes on."""

    day: int = -1
    """Day of the record that was checked last; -1 before the first."""
    number: int = 0
    """Greatest number of that day that was checked."""
    last: int = 0
    """Number of the record that was checked last in the order of the chain."""
    hash: bytes = START
    """Its hash."""
    dropped: int = 0
    """The newest record of a deletion that was checked."""


@dataclass(slots=True)
class CheckedRecords:
    """What a part of the check found."""

    place: Place
    records: int = 0
    versions: int = 0
    seals: int = 0
    end: bool = False
    errors: list[str] = field(default_factory=list)


class CheckRecords:
    """Checks the chain of records."""

    def __init__(self, store: Store, *, late_seconds: float = LATE_SECONDS) -> None:
        """Check the trail of a store."""
        self._store = store
        self.seals = AuditSeals(store.database)
        self._late_seconds = late_seconds

    async def run(self, place: Place, records_max: int, outside: Seal | None = None) -> CheckedRecords:
        """Check the next records after a place, in the order of days and numbers.

        `outside` is a seal that was stored outside of the database. An error does not end the check: the stored hash replaces one that does
        not follow, so that each alteration is reported once.
        """
        checked = CheckedRecords(place)
        if outside is not None:
            checked.errors += await self.seals.compare_outside(outside)
        async with self._store.database.connection(snapshot=True, timeout_millis=_MILLIS) as reader:
            head = await self._store.audit.head(reader)
            if place.day < 0:
                checked.place = self._first(head)
            before = checked.place.last
            await self._records(reader, checked, records_max)
            if checked.end:
                checked.errors += await self._end(reader, head, checked.place)
        if checked.place.last > before:
            compared = await self.seals.compare(0, before, checked.place.last)
            checked.seals = compared.seals
            checked.errors += compared.discrepancies
        del checked.errors[ERRORS_MAX:]
        return checked

    @staticmethod
    def _first(head: Head | None) -> Place:
        if head is None or not head.dropped_number:
            return Place()
        return Place(last=head.dropped_number, hash=head.dropped_hash)

    async def _records(self, reader: Transaction, checked: CheckedRecords, records_max: int) -> None:
        now, current = await reader.now(), await today(reader)
        days = await self._store.audit.days(reader)
        batch_days = set(await self._store.audit.batch_days(reader))
        left = records_max
        while True:
            place = checked.place
            found: list[StoredRecord] = []
            day = place.day
            for day in (each for each in days if each >= place.day):
                after = place.number if day == place.day else -(2**63)
                found = await self._store.audit.of_day(reader, day, after, left)
                if found:
                    break
            if not found:
                checked.end = True
                return
            found = _bounded(found, VERSIONS_MAX - checked.versions)
            decisions = [each.record for each in found if each.record.kind == DECISION]
            batches = await self._store.audit.digests(reader, [(each.batch_day, each.batch_id) for each in decisions])
            wrong = await asyncio.to_thread(_batch_errors, decisions, batches, batch_days, current)
            for each in found:
                checked.place = _next(checked, each, now)
                checked.errors += wrong.pop(each.record.number, ())
                checked.records += 1
                checked.versions += each.record.rows if each.record.kind == DECISION else 0
            left -= len(found)
            if left <= 0 or checked.versions >= VERSIONS_MAX:
                return

    async def _end(self, reader: Transaction, head: Head | None, place: Place) -> list[str]:
        errors = []
        if head is None:
            errors.append("the head of the chain is missing")
        elif head.number != place.last or head.hash != place.hash:
            errors.append(
                f"the chain ends with record {place.last}, but its head has record {head.number} or another hash: "
                "records at the end were cut off or added"
            )
        if head is not None:
            errors += await self._beginning(reader, head, place)
        found, newest, sealed = await self.seals.compare_whole(reader, 0, place.last)
        errors += found
        oldest = await self._store.audit.oldest_unsealed(reader)
        if oldest is not None and await reader.now() - oldest > self._late_seconds * 1e6:
            errors.append(
                f"a record of over {self._late_seconds / 60:.0f} minutes ago is not chained or not sealed; the newest seal is {newest} "
                f"and covers {sealed} records"
            )
        return errors

    async def _beginning(self, reader: Transaction, head: Head, place: Place) -> list[str]:
        """Return what is wrong with the beginning of the chain: the first record, or the record of the newest deletion, states it."""
        stated = (0, START, head.since)
        number = place.dropped or int(place.last > 0)
        for each in await self._store.audit.between(reader, number, number):
            record = each.record
            stated = (record.batch_id, record.digest, 0) if record.kind == DROPPED else (0, START, record.batch_id)
        if (head.dropped_number, head.dropped_hash, head.since) == stated and head.dropped_record == place.dropped:
            return []
        return [
            f"the chain begins behind record {head.dropped_number} and batch {head.since} by its head, "
            f"and behind record {stated[0]} and batch {stated[2]} by its records: records at the beginning were cut off"
        ]


def _bounded(records: list[StoredRecord], versions: int) -> list[StoredRecord]:
    """Return the first records whose batches have so many versions, at least one."""
    total = 0

    def fits(each: StoredRecord) -> bool:
        nonlocal total
        total += max(0, each.record.rows) if each.record.kind == DECISION else 0
        return total <= versions

    return list(takewhile(fits, records)) or records[:1]


def _next(checked: CheckedRecords, stored: StoredRecord, now: int) -> Place:
    """Check a record behind those before it; add what is wrong and return its place."""
    record, place, errors = stored.record, checked.place, checked.errors
    name = f"record {record.number} of {day_text(record.day)}"
    if record.number <= place.last:
        errors.append(f"{name} was inserted or moved: record {place.last} stands before it")
        return Place(record.day, record.number, place.last, place.hash, place.dropped)
    if record.number != place.last + 1:
        missing = (
            f"record {place.last + 1} is"
            if record.number == place.last + 2
            else f"records {place.last + 1} to {record.number - 1} are"
        )
        errors.append(f"{missing} missing before {name}")
    try:
        follows = record.hashed(place.hash) == stored.hash
    except struct.error:  # a number that no record has
        follows = False
    # Behind records that are missing nothing is said of the one that follows: its own content is compared with its successor's seal.
    if not follows and record.number == place.last + 1:
        errors.append(f"{name} was altered, or what stands before it: its hash does not follow")
    if record.kind not in _KINDS or (record.kind == OPENING) != (record.number == 1):
        errors.append(f"{name} has the kind {record.kind}, which it cannot have")
    dropped = place.dropped
    if record.kind == DROPPED:
        dropped = record.number
        if record.at < (record.batch_day + RECORD_DAYS) * MICROS_PER_DAY or record.at > now:
            errors.append(
                f"{name} states that records up to {day_text(record.batch_day)} were dropped before their time"
            )
    return Place(record.day, record.number, record.number, stored.hash, dropped)


def _batch_errors(
    decisions: Sequence[Record], batches: Mapping[tuple[int, int], Any], batch_days: set[int], current: int
) -> dict[int, list[str]]:
    """Return what is wrong with the batches of decisions, by number of the record."""
    errors: dict[int, list[str]] = {}
    for record in decisions:
        name = f"batch {record.batch_id} of {day_text(record.batch_day)} (record {record.number})"
        row = batches.get((record.batch_day, record.batch_id))
        if row is None:
            stored_on = max(record.batch_day, record.at // MICROS_PER_DAY)
            is_old = stored_on <= current - Retention().payload_days and record.batch_day not in batch_days
            errors[record.number] = [] if is_old else [f"{name} is missing"]
        elif digest_of(row) != record.digest or (row["created_at"], row["row_count"]) != (record.at, record.rows):
            errors[record.number] = [f"{name} was altered"]
        elif record.has_rows and record.row_digest != root(row_digests(Table.parse(ClearanceColumns, row["payload"]))):
            errors[record.number] = [f"{name} has other versions than those under its root"]
    return errors


@dataclass(slots=True)
class CheckedBatches:
    """What a part of the check of batches found; `day` and `last` are where it goes on, `end` that it is over."""

    day: int
    last: int
    batches: int = 0
    end: bool = False
    errors: list[str] = field(default_factory=list)


class CheckBatches:
    """Checks that each stored batch has exactly one record."""

    def __init__(self, store: Store) -> None:
        """Check the batches of a store."""
        self._store = store

    async def run(self, day: int, after: int, batches_max: int) -> CheckedBatches:
        """Compare batches of a day after one, or of the next day, with their records."""
        audit = self._store.audit
        async with self._store.database.connection(snapshot=True, timeout_millis=_MILLIS) as reader:
            head = await audit.head(reader)
            for each in await audit.batch_days(reader):
                if each < day:
                    continue
                found = await audit.batch_ids(reader, each, after if each == day else -(2**63), batches_max)
                if found:
                    break
            else:
                return CheckedBatches(day, after, end=True)
            last_day = max(head.day if head else each, each + 1)
            recorded = await audit.recorded(reader, each, last_day, found[0] - 1, found[-1])
            waiting = await audit.waiting(reader, each)
        since = head.since if head else 0
        checked = CheckedBatches(each, found[-1], len(found))
        for number in found:
            count = recorded.get(number, 0) + (number in waiting)
            if count > 1:
                checked.errors.append(f"batch {number} of {day_text(each)} has {count} records")
            elif not count and number > since:
                checked.errors.append(f"batch {number} of {day_text(each)} has no record")
        del checked.errors[ERRORS_MAX:]
        return checked
