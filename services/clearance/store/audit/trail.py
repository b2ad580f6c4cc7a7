"""The audit trail: records that wait, the chain, its seals, and the days of both records and batches."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_bytes
from typing import Any, Final

from libs.chain.audit import (
    ACCESS,
    DECISION,
    DROPPED,
    NO_SUBJECTS,
    OPENING,
    Record,
    batch_digest,
    root,
    salted,
    subject_digests,
)
from libs.chain.hashing import START
from libs.columns import Table
from libs.columns.digest import row_digests
from libs.store.database import Transaction
from libs.store.tables.schema import day_partitions, drop_day, today
from libs.store.transaction import NOW_MICROS

AUTOMATIC: Final = "clearance"
"""The actor of what no call caused."""
_CONTENT: Final = (
    'kind, at, actor, method, reason, about, batch_day, batch_id, "rows", digest, row_digest, subjects, salt'
)
_SALT_BYTES: Final = 32
_ACCESS: Final = f"""
    insert into audit_pending ({_CONTENT})
    values ({ACCESS}, {NOW_MICROS}, $1, $2, $3, $4, 0, 0, 0, '', '', $5, $6)
"""  # noqa: S608  # our own names
# As many as fit: one with more consignments than that is taken alone.
_PENDING: Final = f"""
    select number, {_CONTENT} from (
        select *, sum(cardinality(subjects)) over (order by number) - cardinality(subjects) as before
        from (select * from audit_pending order by number limit $1) first
    ) each where before = 0 or before + cardinality(subjects) <= $2 order by number
"""  # noqa: S608  # our own names
_CHAIN: Final = f"""
    insert into audit_record (day, number, hash, {_CONTENT})
    select $1, given.number, given.hash, p.kind, p.at, p.actor, p.method, p.reason, p.about, p.batch_day, p.batch_id, p."rows", p.digest,
        p.row_digest, p.subjects, p.salt
    from unnest($2::bigint[], $3::bigint[], $4::bytea[]) as given(pending, number, hash)
    cross join lateral (select * from audit_pending where number = given.pending offset 0) p
"""  # noqa: S608  # our own names
_INSERT: Final = f"""
    insert into audit_record (day, number, hash, {_CONTENT}) values ($1, $2, $3, $4, $5, $6, '', '', '', $7, $8, $9, $10, '', '{{}}', '')
"""  # noqa: S608  # our own names
_OF_DAY: Final = f"""
    select day, number, hash, {_CONTENT} from audit_record where day = $1 and number > $2 order by number limit $3
"""  # noqa: S608  # our own names
_OF_BATCH: Final = f"""
    select * from (
        select day, number, hash, {_CONTENT} from audit_record
        where kind = {DECISION} and day >= $1 and day <= $2 and batch_day = $3 and batch_id = $4 offset 0
    ) found order by day, number limit 1
"""  # noqa: S608  # our own names
DAYS_OF_NUMBERS: Final = (
    "select day, first_number, last_number from audit_day where last_number > $1 and first_number <= $2 order by day"
)
"""The days of the records behind a number and up to another."""
# `offset 0`: the index of consignments is used, and not that of numbers from the end on.
_OF_SUBJECT: Final = f"""
    select * from (
        select day, number, hash, {_CONTENT} from audit_record where subjects @> array[$1::text] and day >= $2 offset 0
    ) found order by day desc, number desc limit $3
"""  # noqa: S608  # our own names
_BATCHES: Final = """
    select b.day, b.id, b.created_at, b.row_count, b.schema_version, b.schema, b.traceparent, b.payload
    from unnest((select $2::integer[]), (select $3::bigint[])) as r(day, id)
    cross join lateral (select * from batch where batch.day = any($1::integer[]) and batch.day = r.day and batch.id = r.id offset 0) b
"""
_BATCH_DAYS: Final = """
    select substring(part.relname from '_d(-?[0-9]+)$')::integer as day from pg_inherits join pg_class part on part.oid = inhrelid
    where inhparent = 'batch'::regclass order by 1
"""
_BATCH_IDS: Final = "select id from batch where day = $1 and id > $2 order by id limit $3"
_RECORDED: Final = f"""
    select batch_id, count(*) as count from audit_record
    where kind = {DECISION} and day >= $1 and day <= $2 and batch_day = $1 and batch_id > $3 and batch_id <= $4 group by batch_id
"""  # noqa: S608  # a number of our own
_WAITING: Final = f"select batch_id from audit_pending where kind = {DECISION} and batch_day = $1"  # noqa: S608
_SEALED: Final = "select numbers[1] from audit_seal order by number desc limit 1"
_UNSEALED: Final = """
    select h.number, coalesce((select numbers[1] from audit_seal order by number desc limit 1), 0) as sealed,
        (select at from audit_pending order by number limit 1) as pending_at
    from audit_head h
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who causes a decision or an access, by which RPC, and for what reason."""

    actor: str = AUTOMATIC
    method: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain, and where it begins since records of past days were dropped."""

    number: int
    hash: bytes
    day: int
    since: int
    """Last batch from before the trail; 0 once the first record was dropped."""
    dropped_number: int
    dropped_hash: bytes
    dropped_record: int
    """The record that states the deletion; 0 where nothing was dropped."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it is stored, and of an access what was asked for, the consignments of which it returned data, and the secret of their salts."""

    record: Record
    hash: bytes
    about: str
    subjects: list[str]
    salt: bytes


def note_of(table: Table, origin: Origin) -> str:
    """Return what a transaction says of a batch of states, for the trigger on batches: who, why, and the root over the digests of the rows."""
    note = {
        "actor": origin.actor,
        "method": origin.method,
        "reason": origin.reason,
        "row_digest": root(row_digests(table)).hex(),
    }
    return json.dumps(note)


def read_record(row: Any, day: int, number: int) -> Record:
    """Return the record that a row of `audit_pending` or `audit_record` is at a place of the chain."""
    subjects, salt = row["subjects"], row["salt"]
    # Records of the former form have no secret, and nothing is hashed before their consignments.
    if salt is None:
        digests, cause = [salted(b"", each) for each in subjects], row["about"]
    else:
        digests, cause = subject_digests(bytes(salt), row["about"], subjects), None
    return Record(
        day, number, row["kind"], row["at"], row["actor"], row["method"], row["reason"], row["batch_day"],
        row["batch_id"], row["rows"], bytes(row["digest"]), bytes(row["row_digest"]), len(subjects),
        root(digests), cause,
    )  # fmt: skip


def _stored(row: Any) -> StoredRecord:
    record = read_record(row, row["day"], row["number"])
    return StoredRecord(record, bytes(row["hash"]), row["about"], list(row["subjects"]), bytes(row["salt"] or b""))


class AuditTables:
    """Notes accesses, chains what was noted, and reads the trail."""

    # ------------------------------------------------------------------------------------------ noting and chaining
    async def note_access(self, tx: Transaction, origin: Origin, about: str, subjects: Sequence[str]) -> None:
        """Note that a caller gets data about consignments."""
        salt = token_bytes(_SALT_BYTES)
        await tx.raw.execute(_ACCESS, origin.actor, origin.method, origin.reason, about, list(subjects), salt)

    async def head(self, tx: Transaction, *, lock: str = "") -> Head | None:
        """Return the head of the chain; `lock` is a locking clause, with which None means that another transaction has it."""
        row = await tx.raw.fetchrow(
            f"select number, hash, day, since, dropped_number, dropped_hash, dropped_record from audit_head {lock}"  # noqa: S608
        )
        return None if row is None else Head(**dict(row))

    async def chain(self, tx: Transaction, head: Head, *, records_max: int, subjects_max: int) -> int:
        """Chain what waits behind the head, which is locked; return how many records there were."""
        rows = await tx.raw.fetch(_PENDING, records_max, subjects_max)
        # Never before the day of a batch, even if the clock went back meanwhile.
        day = max([head.day, await today(tx), *(row["batch_day"] for row in rows)])
        first, number, digest = head.number + 1, head.number, head.hash
        if not number:
            number, at = 1, await tx.now()
            opening = Record(day, 1, OPENING, at, AUTOMATIC, "", "", 0, head.since, 0, b"", b"", 0, NO_SUBJECTS)
            digest = opening.hashed(START)
            await tx.raw.execute(_INSERT, day, 1, digest, OPENING, at, AUTOMATIC, 0, head.since, 0, b"")
        numbers, hashes = [], []
        for row in rows:
            number += 1
            digest = read_record(row, day, number).hashed(digest)
            numbers.append(number)
            hashes.append(digest)
        if rows:
            pending = [row["number"] for row in rows]
            await tx.raw.execute(_CHAIN, day, pending, numbers, hashes)
            await tx.raw.execute("delete from audit_pending where number = any($1)", pending)
        if number >= first:
            await self._move(tx, day, first, number, digest)
        return len(rows)

    async def _move(self, tx: Transaction, day: int, first: int, number: int, digest: bytes) -> None:
        await tx.raw.execute("update audit_head set number = $1, hash = $2, day = $3", number, digest, day)
        await tx.raw.execute(
            "insert into audit_day values ($1, $2, $3) on conflict (day) do update set last_number = excluded.last_number",
            day,
            first,
            number,
        )

    async def drop(self, tx: Transaction, head: Head, day: int) -> bool:
        """Drop the records of the oldest day, and chain a record that states it; False where the day has none. The head is locked."""
        last = await tx.raw.fetchrow(
            "select number, hash from audit_record where day = $1 order by number desc limit 1", day
        )
        if last is not None:
            now, at, number = max(head.day, await today(tx)), await tx.now(), head.number + 1
            record = Record(
                now, number, DROPPED, at, AUTOMATIC, "", "", day, last["number"], 0, bytes(last["hash"]), b"", 0, NO_SUBJECTS
            )  # fmt: skip
            digest = record.hashed(head.hash)
            await tx.raw.execute(
                _INSERT, now, number, digest, DROPPED, at, AUTOMATIC, day, last["number"], 0, last["hash"]
            )
            await self._move(tx, now, number, number, digest)
            await tx.raw.execute(
                "update audit_head set dropped_number = $1, dropped_hash = $2, dropped_record = $3, since = 0",
                last["number"],
                last["hash"],
                number,
            )
            await tx.raw.execute("delete from audit_day where day <= $1", day)
        await drop_day(tx, "audit_record", day)
        return last is not None

    # ------------------------------------------------------------------------------------------ reading
    async def days(self, reader: Transaction) -> list[int]:
        """Return the days that records have partitions for, in order."""
        return await day_partitions(reader, "audit_record")

    async def batch_days(self, reader: Transaction) -> list[int]:
        """Return the days that batches have partitions for, in order."""
        return [row["day"] for row in await reader.raw.fetch(_BATCH_DAYS)]

    async def of_day(self, reader: Transaction, day: int, after: int, rows_max: int) -> list[StoredRecord]:
        """Return records of a day by number, after one."""
        return [_stored(row) for row in await reader.raw.fetch(_OF_DAY, day, after, rows_max)]

    async def between(self, reader: Transaction, first: int, last: int) -> list[StoredRecord]:
        """Return the records from one number to another."""
        found: list[StoredRecord] = []
        for row in await reader.raw.fetch(DAYS_OF_NUMBERS, first - 1, last):
            begin, end = max(first, row["first_number"]), min(last, row["last_number"])
            # Where one is missing, there are further ones.
            rows = await self.of_day(reader, row["day"], begin - 1, end - begin + 1)
            found += [each for each in rows if each.record.number <= end]
        return found

    async def of_batch(self, reader: Transaction, day: int, number: int, last_day: int) -> StoredRecord | None:
        """Return the record of a batch that was chained up to a day; None where there is none. It was nearly always chained within a day."""
        row = await reader.raw.fetchrow(_OF_BATCH, day, day + 1, day, number) or await reader.raw.fetchrow(
            _OF_BATCH, day + 2, last_day, day, number
        )
        return None if row is None else _stored(row)

    async def of_subject(self, reader: Transaction, mrn: str, from_day: int, rows_max: int) -> list[StoredRecord]:
        """Return the newest accesses to a consignment since a day, the oldest of them first."""
        rows = await reader.raw.fetch(_OF_SUBJECT, mrn, from_day, rows_max)
        return await asyncio.to_thread(lambda: [_stored(row) for row in reversed(rows)])

    async def digests(self, reader: Transaction, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Any]:
        """Return what is stored of batches by day and number: its digest, when it was created, its number of rows, schema and payload."""
        if not places:
            return {}
        columns = [[day for day, _ in places], [number for _, number in places]]
        rows = await reader.raw.fetch(_BATCHES, sorted(set(columns[0])), *columns)
        return {(row["day"], row["id"]): row for row in rows}

    async def batch_ids(self, reader: Transaction, day: int, after: int, rows_max: int) -> list[int]:
        """Return numbers of batches of a day after one."""
        return [row["id"] for row in await reader.raw.fetch(_BATCH_IDS, day, after, rows_max)]

    async def recorded(self, reader: Transaction, day: int, last_day: int, after: int, last: int) -> dict[int, int]:
        """Return for batches of a day, of which the numbers are behind one and up to another, the number of their chained records."""
        return dict(await reader.raw.fetch(_RECORDED, day, last_day, after, last))

    async def waiting(self, reader: Transaction, day: int) -> set[int]:
        """Return the batches of a day whose record is not chained yet."""
        return {row["batch_id"] for row in await reader.raw.fetch(_WAITING, day)}

    async def sealed(self, reader: Transaction) -> int:
        """Return the last record that a seal covers; 0 for none."""
        return int(await reader.raw.fetchval(_SEALED) or 0)

    async def outstanding(self, reader: Transaction) -> tuple[int, bool]:
        """Return how many chained records no seal covers, and whether records wait for the chain."""
        row = await reader.raw.fetchrow(_UNSEALED)
        return row["number"] - row["sealed"], row["pending_at"] is not None

    async def oldest_unsealed(self, reader: Transaction) -> int | None:
        """Return when the oldest record happened that waits for the chain or that no seal covers, microseconds since 1970-01-01 UTC.

        None where there is none.
        """
        row = await reader.raw.fetchrow(_UNSEALED)
        oldest: int | None = row["pending_at"]
        if row["number"] > row["sealed"]:
            first = await self.between(reader, row["sealed"] + 1, row["sealed"] + 1)
            if first:
                oldest = min(first[0].record.at, oldest if oldest is not None else first[0].record.at)
        return oldest


def digest_of(row: Any) -> bytes:
    """Return the digest of a stored batch."""
    return batch_digest(
        day=row["day"], number=row["id"], created_at=row["created_at"], rows=row["row_count"], schema_version=row["schema_version"],
        schema=row["schema"], trace=row["traceparent"], payload=row["payload"],
    )  # fmt: skip
