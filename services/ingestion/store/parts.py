"""The tables of parts: parts by day, links of consignments, what was joined, and what is due. References are those of filings.

A consignment without a link and a batch without one cost nothing here. Parts are rows of their own: they come one by one, from many parties.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from libs.customs.identifiers import mrn
from libs.customs.partitions import partitions_of
from libs.store.database import NOW_MICROS, Database, Transaction
from libs.store.tables import bulk, schema
from libs.store.tables.schema import TODAY
from luxor.ingestion.v1 import parts_pb2 as pb
from services.ingestion.store.filings import GENERATION_DAYS, GENERATIONS_STORED, MICROS_A_DAY

SPAN_DAYS: Final = 64
"""Days of one partition: parts and links are looked up by keys, in each partition."""
WAIT_DAYS: Final = 60
"""Days after its own on which a part waits for its consignment."""
PARTS_A_DAY_MAX: Final = 1_000_000
"""Parts of one filer on a day."""
PARTS_OF_LINK_MAX: Final = 5
"""Parts of one filer with one link."""
CONSIGNMENTS_MAX: Final = 20
"""Consignments of a part that are shown."""
EXPIRED_AT_ONCE: Final = 1_000
"""Parts that expire in one transaction."""
_PREFIX: Final = "part/"
"""Before the filer in the table of references: no filer of consignments has a slash in its id."""

_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('luxor parts of ' || $1, 0))"
_COUNT: Final = f"select {TODAY} as day, {NOW_MICROS} as now, coalesce((select filed from part_count where filer = $1 and day = {TODAY}), 0) as filed"  # noqa: S608  # expressions of our own
_COUNTED: Final = """
    insert into part_count as c (filer, day, filed) values ($1, $2, $3)
    on conflict (filer, day) do update set filed = c.filed + excluded.filed
"""
_FIND_REFERENCES: Final = "select place, digest, mrn, accepted_at from reference_find($1, $2, $3, $4, $5, $6)"
_RESOLVE: Final = """
    with taken as (
        delete from part_due where id = any(array(
            select id from part_due where key is not null order by id limit $1 for update skip locked)) returning key
    )
    insert into part_due (mrn) select distinct l.mrn from part_link l join taken on taken.key = l.key
"""
_LINKED: Final = f"""
    select p.day, p.number, p.filer, p.role, p.key, p.consignment_filer, p.content, j.mrn is not null as is_joined from part p
    left join part_join j on j.day = $2 and j.mrn = $3 and j.part_day = p.day and j.part_number = p.number
    where p.key = any($1::bytea[]) and (p.day >= {TODAY} - {WAIT_DAYS} or j.mrn is not null) order by p.number
"""  # noqa: S608  # numbers and expressions of our own
_FILED: Final = f"""
    select distinct consignment_filer, key, filer, role from part
    where key = any($1::bytea[]) and consignment_filer = any($2::text[]) and (day >= {TODAY} - {WAIT_DAYS} or state = {pb.PART_STATE_JOINED})
"""  # noqa: S608  # numbers and expressions of our own
_PARTS: Final = "p.day, p.number, p.filer, p.reference, p.role, p.filed_at, p.state"
_OF_FILER: Final = f"select {_PARTS} from part p where p.filer = $1 and p.number > $2 order by p.number limit $3"  # noqa: S608  # names of our own
_OF_MRN: Final = f"""
    select {_PARTS}, j.result from part_join j join part p on p.day = j.part_day and p.number = j.part_number
    where j.day = $1 and j.mrn = $2 and p.number > $3 and ($4::text = '' or p.filer = $4) order by p.number limit $5
"""  # noqa: S608  # names of our own
_JOINS: Final = """
    select w.day, w.number, j.result from unnest($1::integer[], $2::bigint[]) as w(day, number)
    cross join lateral (
        select result from part_join t where t.part_day = w.day and t.part_number = w.number order by t.day, t.mrn limit $3) j
"""
_EXPIRE: Final = f"""
    update part set state = 3 where (day, number) in (
        select day, number from part where state = 1 and day < {TODAY} - {WAIT_DAYS} order by day, number limit $1 for update skip locked)
"""  # noqa: S608  # numbers and expressions of our own


@dataclass(frozen=True, slots=True)
class NewPart:
    """A part that is to be stored."""

    reference: str
    role: int
    key: bytes
    consignment_filer: str
    content: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class StoredReference:
    """What is stored under the reference of a part."""

    digest: bytes
    filed_at: int


@dataclass(frozen=True, slots=True)
class LinkedPart:
    """A part that is linked to a consignment."""

    day: int
    number: int
    filer: str
    role: int
    consignment_filer: str
    content: bytes
    has_linking_key: bool
    """Whether its filer has a linking key of the consignment."""
    is_joined: bool
    """Whether it was joined with the consignment before."""


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A part with what became of it."""

    number: int
    filer: str
    reference: str
    role: int
    filed_at: int
    last_day: int
    state: int
    joined: tuple[bytes, ...]
    """Messages of JoinedConsignment."""


class PartStore:
    """Reads and writes parts."""

    def __init__(self, database: Database) -> None:
        """Store them in ingestion's database."""
        self.database = database
        self._days: set[int] = set()

    async def references(self, reader: Transaction, filer: str, names: Sequence[str]) -> dict[str, StoredReference]:
        """Return what is stored under references of a filer's parts."""
        if not names:
            return {}
        newest = await reader.now() // MICROS_A_DAY // GENERATION_DAYS + 1
        places, partitions = list(range(len(names))), partitions_of(filer, names).tolist()
        first = newest - GENERATIONS_STORED
        rows = await reader.raw.fetch(_FIND_REFERENCES, _PREFIX + filer, places, partitions, list(names), first, newest)
        return {names[row["place"]]: StoredReference(row["digest"], row["accepted_at"]) for row in rows}

    async def begin(self, tx: Transaction, filer: str) -> tuple[int, int, int]:
        """Wait for other calls of a filer; return the day, the number of its parts of the day, and the time in microseconds."""
        await tx.raw.execute(_LOCK, filer)
        row = await tx.raw.fetchrow(_COUNT, filer)
        return row["day"], row["filed"], row["now"]

    async def counts_of_links(self, tx: Transaction, filer: str, keys: Collection[bytes]) -> dict[bytes, int]:
        """Return how many parts of a filer have each of some links."""
        rows = await tx.raw.fetch(
            "select key, count(*) from part where key = any($1::bytea[]) and filer = $2 group by key",
            sorted(keys),
            filer,
        )
        return {row["key"]: row["count"] for row in rows}

    async def add(self, tx: Transaction, filer: str, parts: Sequence[NewPart], day: int, now: int) -> None:
        """Store new parts of a filer and mark their links as due."""
        count = len(parts)
        if not count:
            return
        await tx.raw.execute(_COUNTED, filer, day, count)
        names = bulk.text([each.reference for each in parts])
        references = {
            "generation": bulk.int4([now // MICROS_A_DAY // GENERATION_DAYS] * count),
            "partition": bulk.int2(partitions_of(filer, names.values)),
            "filer": bulk.text([_PREFIX + filer] * count),
            "local_reference": names,
            "digest": bulk.bytea([each.digest for each in parts]),
            "mrn": bulk.text([""] * count),
            "accepted_at": bulk.int8([now] * count),
        }
        await bulk.insert(tx, "reference", references)
        numbers = await tx.raw.fetch("select nextval('part_number') as number from generate_series(1, $1)", count)
        columns = {
            "day": bulk.int4([day] * count),
            "number": bulk.int8([row["number"] for row in numbers]),
            "filer": bulk.text([filer] * count),
            "reference": names,
            "role": bulk.int2([each.role for each in parts]),
            "key": bulk.bytea([each.key for each in parts]),
            "consignment_filer": bulk.text([each.consignment_filer for each in parts]),
            "filed_at": bulk.int8([now] * count),
            "content": bulk.bytea([each.content for each in parts]),
        }
        await bulk.insert(tx, "part", columns)
        await bulk.insert(tx, "part_due", {"key": bulk.bytea(sorted({each.key for each in parts}))})

    def missing_days(self, days: Collection[int]) -> set[int]:
        """Return those of the days of MRNs of which this process has not seen the partitions."""
        return set(days) - self._days

    async def add_days(self, tx: Transaction, days: set[int]) -> None:
        """Make the partitions of days that are missing."""
        for table in ("part_link", "part_join"):
            await schema.ensure_day_partitions(tx, table, days, span=SPAN_DAYS)
        tx.after_commit(lambda: self._days.update(days))

    async def link(self, tx: Transaction, keys: Mapping[str, Sequence[bytes]], *, is_secret: bool) -> None:
        """Store keys of consignments by MRN, and mark these as due. Their partitions are there (`make_days`)."""
        pairs = sorted((mrn.parse(number).day, number, key) for number, some in keys.items() for key in some)
        if not pairs:
            return
        days, numbers, some = zip(*pairs, strict=True)
        columns = {"day": bulk.int4(days), "mrn": bulk.text(numbers), "key": bulk.bytea(some)}
        columns["is_secret"] = bulk.boolean([is_secret] * len(pairs))
        await bulk.insert(tx, "part_link", columns, on_conflict="do nothing", order_by=("day", "mrn", "key"))
        await bulk.insert(tx, "part_due", {"mrn": bulk.text(sorted(keys))})

    async def mark_amended(self, tx: Transaction, mrns: Collection[str]) -> None:
        """Mark those of these consignments as due that have links."""
        marked = "insert into part_due (mrn) select distinct mrn from part_link where day = any($1::integer[]) and mrn = any($2::text[])"
        await tx.raw.execute(marked, sorted({mrn.parse(each).day for each in mrns}), list(mrns))

    async def consignments_of(self, tx: Transaction, keys: Collection[bytes]) -> dict[bytes, set[str]]:
        """Return the MRNs that each of some keys links."""
        found: dict[bytes, set[str]] = {}
        for row in await tx.raw.fetch("select key, mrn from part_link where key = any($1::bytea[])", sorted(keys)):
            found.setdefault(row["key"], set()).add(row["mrn"])
        return found

    async def has_due(self) -> bool:
        """Return whether anything is due."""
        async with self.database.connection() as reader:
            return bool(await reader.raw.fetchval("select exists (select from part_due)"))

    async def resolve(self, tx: Transaction, limit: int) -> None:
        """Put the consignments that they link in the place of the first links of parts that are due."""
        await tx.raw.execute(_RESOLVE, limit)

    async def due(self, limit: int) -> dict[str, list[int]]:
        """Return consignments that are due by MRN, those that failed least first, with the entries that say so."""
        first = "select id, mrn from part_due where key is null order by tries, id limit $1"
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(first, limit)
        found: dict[str, list[int]] = {}
        for row in rows:
            found.setdefault(row["mrn"], []).append(row["id"])
        return found

    async def remove_due(self, tx: Transaction, ids: Sequence[int]) -> None:
        """Remove entries of what is due."""
        await tx.raw.execute("delete from part_due where id = any($1::bigint[])", list(ids))

    async def postpone(self, tx: Transaction, ids: Sequence[int]) -> None:
        """Put entries of what is due behind the others."""
        postponed = "update part_due set tries = least(tries + 1, 1000) where id = any($1::bigint[])"
        await tx.raw.execute(postponed, list(ids))

    async def filed(self, links: Collection[tuple[str, bytes]]) -> dict[tuple[str, bytes], set[tuple[str, int]]]:
        """Return who filed a part, and in which role, by the filer of the consignments that it is for and the key of their link."""
        found: dict[tuple[str, bytes], set[tuple[str, int]]] = {}
        filers, keys = ({each[place] for each in links} for place in (0, 1))
        async with self.database.connection() as reader:
            for row in await reader.raw.fetch(_FILED, sorted(keys), sorted(filers)):
                found.setdefault((row["consignment_filer"], row["key"]), set()).add((row["filer"], row["role"]))
        return found

    async def linked(self, number: str, keys: Sequence[bytes]) -> list[LinkedPart]:
        """Return the parts that are linked to a consignment by keys of its content or by its linking keys, in the order of filing."""
        day = mrn.parse(number).day
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                "select key from part_link where day = $1 and mrn = $2 and is_secret", day, number
            )
            secret = {row["key"] for row in rows}
            rows = await reader.raw.fetch(_LINKED, [*keys, *secret], day, number)
        return [
            LinkedPart(
                day=row["day"],
                number=row["number"],
                filer=row["filer"],
                role=row["role"],
                consignment_filer=row["consignment_filer"],
                content=row["content"],
                has_linking_key=row["key"] in secret,
                is_joined=row["is_joined"],
            )
            for row in rows
        ]

    async def add_joined(self, tx: Transaction, number: str, joined: Sequence[tuple[LinkedPart, int, bytes]]) -> None:
        """Replace what became of the parts of a consignment: each with the version and the message of its result."""
        day = mrn.parse(number).day
        await tx.raw.execute("delete from part_join where day = $1 and mrn = $2", day, number)
        parts = [part for part, _, _ in joined]
        columns = {
            "day": bulk.int4([day] * len(joined)),
            "mrn": bulk.text([number] * len(joined)),
            "part_day": bulk.int4([each.day for each in parts]),
            "part_number": bulk.int8([each.number for each in parts]),
            "version": bulk.int4([version for _, version, _ in joined]),
            "result": bulk.bytea([result for _, _, result in joined]),
        }
        await bulk.insert(tx, "part_join", columns)
        await tx.raw.execute(
            f"update part p set state = {pb.PART_STATE_JOINED} from unnest($1::integer[], $2::bigint[]) as u(day, number) "  # noqa: S608  # a number of our own
            f"where p.day = u.day and p.number = u.number and p.state <> {pb.PART_STATE_JOINED}",
            columns["part_day"].values,
            columns["part_number"].values,
        )

    async def has_joined(self, number: str) -> bool:
        """Return whether any part is joined with a consignment."""
        async with self.database.connection() as reader:
            found = "select exists (select from part_join where day = $1 and mrn = $2)"
            return bool(await reader.raw.fetchval(found, mrn.parse(number).day, number))

    async def of_filer(self, filer: str, after: int, limit: int) -> list[PartRecord]:
        """Return the parts of a filer behind a number, in the order of filing."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_OF_FILER, filer, after, limit)
            days, numbers = [row["day"] for row in rows], [row["number"] for row in rows]
            joins = await reader.raw.fetch(_JOINS, days, numbers, CONSIGNMENTS_MAX)
        results: dict[int, list[bytes]] = {}
        for _, number, result in joins:
            results.setdefault(number, []).append(result)
        return [_part_of(row, results.get(row["number"], ())) for row in rows]

    async def of_consignment(self, number: str, filer: str, after: int, limit: int) -> list[PartRecord]:
        """Return the parts that are joined with a consignment, of one filer or of all ("")."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(_OF_MRN, mrn.parse(number).day, number, after, filer, limit)
        return [_part_of(row, (row["result"],)) for row in rows]

    async def expire(self, tx: Transaction) -> int:
        """Let some parts expire that waited until their last day, and delete old counts; return the number of these parts."""
        status = await tx.raw.execute(_EXPIRE, EXPIRED_AT_ONCE)
        await tx.raw.execute(f"delete from part_count where day < {TODAY} - 1")  # noqa: S608  # an expression of our own
        return int(status.rpartition(" ")[2])


def _part_of(row: asyncpg.Record, joined: Iterable[bytes]) -> PartRecord:
    return PartRecord(
        number=row["number"],
        filer=row["filer"],
        reference=row["reference"],
        role=row["role"],
        filed_at=row["filed_at"],
        last_day=row["day"] + WAIT_DAYS,
        state=row["state"],
        joined=tuple(joined),
    )
