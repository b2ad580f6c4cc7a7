"""All SQL of clearance: the state in force, references, arrivals, and the batches that hold whole states."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final

import asyncpg
import numpy as np

from libs.columns import Strings, Table
from libs.customs.mrn import MrnError, check_digit, parse
from libs.customs.time import MICROS_PER_DAY
from libs.feed.outbox import KeyedOutbox, Outbox
from libs.feed.payloads import Payloads
from libs.feed.types import BatchRef
from libs.store import bulk
from libs.store.database import NOW_MICROS, Database, Transaction
from libs.store.requests import RequestLog, purge_before
from libs.store.schema import checked, day_partitions
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.gauges import count_states
from services.clearance.lifecycle import State

SCHEMA: Final = "luxor.clearance.v1.ClearanceColumns"
BUCKETS: Final = 256
PURGED_MAX: Final = 2_000
_LOCK_CLASS: Final = 0x6C78  # "lx": apart from the one-key locks of the libs
_PAYLOAD_BYTES_MAX: Final = 48 * 1024 * 1024
_FILER, _CARRIER = "filer:", "carrier:"


@dataclass(frozen=True, slots=True)
class Row:
    """What the table of states says of one consignment."""

    mrn: str
    day: int
    partition: int
    filer: str
    version: int
    filing_version: int
    state: int
    lane: int
    ref: BatchRef
    row: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a carrier told of one master document; `arrived_at` is microseconds since 1970-01-01 UTC."""

    document_number: str
    carrier: str
    conveyance_reference: str
    arrived_at: int
    place: str


STATE_DAYS = 390
"""Days after acceptance for which a consignment is known; its states' batches are kept somewhat longer."""


def day_of(mrn: str) -> int:
    """Give the day of acceptance that an MRN tells; raises MrnError where it is none of Luxor's. The check digit is the edge's matter."""
    return _day(mrn[:2], mrn[4:9])


@lru_cache(maxsize=4096)
def _day(year: str, place: str) -> int:
    # Any number of that day tells it, so one with the right check digit is made up.
    first = f"{year}XX{place}0000000R"
    return parse(f"{first}{check_digit(first)}").day


def filer_key(filer: str) -> str:
    """The key of a filer's notices."""
    return _FILER + filer


def carrier_key(carrier: str) -> str:
    """The key of a carrier's notices; nobody's where there is no carrier."""
    return _CARRIER + carrier if carrier else ""


class Store:
    """Clearance's own database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = Outbox(database, SCHEMA, 1, payloads=Payloads(bytes_max=_PAYLOAD_BYTES_MAX))
        self.notices = KeyedOutbox(self.outbox)
        self.requests = RequestLog()
        self._days: set[int] = set()

    # ------------------------------------------------------------------------------------------ days
    async def ensure_days(self, mrns: Iterable[str]) -> None:
        """Make the partitions for the days of acceptance that these MRNs tell, in a transaction of its own; known days cost nothing."""
        missing = {day_of(mrn) for mrn in {mrn[:9]: mrn for mrn in mrns}.values()} - self._days
        if not missing:
            return
        async with self.database.transaction(timeout_millis=2_000) as tx:
            await tx.raw.execute(
                "select pg_advisory_xact_lock(hashtext('luxor day partitions'), hashtext('consignment'))"
            )
            for day in sorted(missing):
                part = checked(f"consignment_{day}")
                if await tx.raw.fetchval("select to_regclass($1) is null", part):
                    await tx.raw.execute(
                        f"create table {part} (like consignment including defaults including constraints including storage); "
                        f"alter table consignment attach partition {part} for values from ({day}) to ({day + 1})"
                    )
        self._days |= missing

    # ------------------------------------------------------------------------------------------ reading states
    async def lock(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, Row]:
        """Lock the consignments that exist, always in the order of (day, MRN), so that nobody waits in a circle."""
        by_day: dict[int, list[str]] = {}
        for mrn in mrns:
            by_day.setdefault(day_of(mrn), []).append(mrn)
        found: dict[str, Row] = {}
        for day in sorted(by_day):
            for record in await tx.raw.fetch("select * from consignment_lock($1, $2)", day, by_day[day]):
                found[record["mrn"]] = _row(record, record["mrn"], day)
        return found

    async def find(self, tx: Transaction, mrns: Sequence[str]) -> dict[str, Row]:
        """Give the consignments that exist, by MRN; what is no MRN of Luxor's is not there."""
        known: list[str] = []
        days: list[int] = []
        for mrn in dict.fromkeys(mrns):
            try:
                days.append(day_of(mrn))
            except MrnError:
                continue
            known.append(mrn)
        if not known:
            return {}
        records = await tx.raw.fetch("select * from consignment_find($1, $2)", days, known)
        return {(mrn := known[r["place"] - 1]): _row(r, mrn, days[r["place"] - 1]) for r in records}

    async def states(self, tx: Transaction, rows: Sequence[Row]) -> Table:
        """Give the whole states of these rows, in their order."""
        return await self.read(tx, [(row.ref, row.row) for row in rows])

    async def read(self, tx: Transaction, places: Sequence[tuple[BatchRef, int]]) -> Table:
        """Give the states that stand at these places, in their order."""
        if not places:
            return Table.of(ClearanceColumns, 0, {})
        groups: dict[BatchRef, list[int]] = {}
        for place, (ref, _) in enumerate(places):
            groups.setdefault(ref, []).append(place)
        stored = await self.outbox.payloads.fetch(tx.raw, groups)
        parts: list[Table] = []
        order: list[int] = []
        for ref, members in groups.items():
            table = self.outbox.payloads.table(stored[ref])
            numbers = np.array([places[member][1] for member in members], np.int64)
            whole = len(numbers) == table.rows and bool((numbers == np.arange(table.rows)).all())
            parts.append(table if whole else table.take(numbers))
            order.extend(members)
        table = Table.concat(parts)
        if order == list(range(len(order))):
            return table
        return table.take(np.argsort(np.array(order, np.int64), kind="stable"))

    # ------------------------------------------------------------------------------------------ writing states
    async def insert(self, tx: Transaction, table: Table, *, trace: str) -> BatchRef:
        """Store first versions, with their references and notices, and announce them."""
        ref = await self._append(tx, table, trace)
        mrns = table.strings("mrn").tolist()
        days = [day_of(mrn) for mrn in mrns]
        filers = table.strings("filer").tolist()
        partitions = table.ints("partition").values
        rows = table.rows
        await bulk.copy(
            tx,
            "consignment",
            {
                "day": bulk.int4(days),
                "mrn": bulk.text(mrns),
                "partition": bulk.int2(partitions),
                "filer": bulk.text(filers),
                "version": bulk.int4(table.ints("version").values),
                "filing_version": bulk.int4(table.ints("filing_version").values),
                "state": bulk.int2(table.ints("state").values),
                "lane": bulk.int2(table.ints("lane").values),
                "batch_day": bulk.int4([ref.day] * rows),
                "batch_id": bulk.int8([ref.id] * rows),
                "batch_row": bulk.int4(list(range(rows))),
            },
        )
        await bulk.insert(
            tx,
            "local_reference",
            {
                "partition": bulk.int2(partitions),
                "filer": bulk.text(filers),
                "local_reference": bulk.text(table.strings("local_reference").tolist()),
                "mrn": bulk.text(mrns),
                "day": bulk.int4(days),
            },
            # A reference may be used again when its time is over; then it names the later consignment.
            on_conflict="(partition, filer, local_reference) do update set mrn = excluded.mrn, day = excluded.day where t.day <= excluded.day",
        )
        await self.add_documents(tx, table, ref, mrns, days)
        await self._held(tx, table, mrns, days, new=True)
        return ref

    async def add_documents(
        self, tx: Transaction, table: Table, ref: BatchRef, mrns: list[str], days: list[int]
    ) -> None:
        """Note under which documents consignments travel."""
        houses = table.strings("house_document_number").tolist()
        there = [place for place, number in enumerate(houses) if number]
        await bulk.insert(
            tx,
            "house_document",
            {
                "document_number": bulk.text([houses[place] for place in there]),
                "mrn": bulk.text([mrns[place] for place in there]),
                "day": bulk.int4([days[place] for place in there]),
            },
            on_conflict="do nothing",
        )
        masters = _grouped(table.strings("master_document_number"), mrns)
        await bulk.copy(
            tx,
            "master_document",
            {
                "document_number": bulk.text(list(masters)),
                "batch_day": bulk.int4([ref.day] * len(masters)),
                "batch_id": bulk.int8([ref.id] * len(masters)),
                "mrns": bulk.Column("text[]", list(masters.values())),
                "day": bulk.int4([ref.day] * len(masters)),
            },
        )

    async def update(self, tx: Transaction, table: Table, *, trace: str, carriers: Sequence[str] = ()) -> BatchRef:
        """Store next versions of consignments that are locked, with notices to filers and to `carriers` (one a row), and announce them."""
        ref = await self._append(tx, table, trace)
        mrns = table.strings("mrn").tolist()
        days = [day_of(mrn) for mrn in mrns]
        done = await tx.raw.fetchval(
            "select consignment_update($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            days,
            mrns,
            table.ints("version").values.tolist(),
            table.ints("filing_version").values.tolist(),
            table.ints("state").values.tolist(),
            table.ints("lane").values.tolist(),
            ref.day,
            ref.id,
            list(range(table.rows)),
        )
        if done != table.rows:
            raise AssertionError(f"{done} of {table.rows} locked consignments were there to be updated")
        await self._held(tx, table, mrns, days, new=False)
        await self.tell_carriers(tx, ref, carriers)
        return ref

    async def tell_carriers(self, tx: Transaction, ref: BatchRef, carriers: Sequence[str]) -> None:
        """Give carriers notice of the rows of a batch of this transaction, one carrier a row, "" for nobody."""
        if any(carriers):
            await self.notices.append(tx, ref, [carrier_key(carrier) for carrier in carriers])

    async def notify(self, tx: Transaction, table: Table, *, trace: str) -> None:
        """Give filers notice of something that made no version."""
        ref = await self.outbox.store(tx, table, ClearanceColumns, trace=trace)
        await self.notices.append(tx, ref, table.strings("filer").map(filer_key))

    async def _append(self, tx: Transaction, table: Table, trace: str) -> BatchRef:
        ref = await self.outbox.append(tx, table, ClearanceColumns, table.ints("partition").values, trace=trace)
        tx.after_commit(lambda: count_states(table))
        await self.notices.append(tx, ref, table.strings("filer").map(filer_key))
        return ref

    async def _held(self, tx: Transaction, table: Table, mrns: list[str], days: list[int], *, new: bool) -> None:
        held = (table.ints("state").values == State.HELD).tolist()
        lanes = table.ints("lane").values.tolist()
        if not new:
            gone = [place for place, is_held in enumerate(held) if not is_held]
            await tx.raw.execute(
                "delete from held h using unnest($1::integer[], $2::text[]) as w(day, mrn) where h.day = w.day and h.mrn = w.mrn",
                [days[place] for place in gone],
                [mrns[place] for place in gone],
            )
        there = [place for place, is_held in enumerate(held) if is_held]
        await bulk.insert(
            tx,
            "held",
            {
                "day": bulk.int4([days[place] for place in there]),
                "mrn": bulk.text([mrns[place] for place in there]),
                "lane": bulk.int2([lanes[place] for place in there]),
            },
            on_conflict="(day, mrn) do update set lane = excluded.lane",
        )

    # ------------------------------------------------------------------------------------------ arrivals
    async def bar_arrivals(self, tx: Transaction, documents: Iterable[str]) -> None:
        """Keep arrivals of these documents from being recorded until this transaction ends: who inserts a filing must see them or be seen."""
        await tx.raw.execute(
            "select pg_advisory_xact_lock_shared($1, b) from unnest($2::integer[]) as b",
            _LOCK_CLASS,
            _buckets(documents),
        )

    async def record_arrivals(
        self, tx: Transaction, arrivals: Sequence[Arrival], *, request_id: str, at: int
    ) -> list[bool]:
        """Record arrivals, waiting for those who file under these documents right now; tells of each whether it counts as this request's."""
        await tx.raw.execute(
            "select pg_advisory_xact_lock($1, b) from unnest($2::integer[]) as b",
            _LOCK_CLASS,
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

    async def under_master(
        self, tx: Transaction, document: str, after: BatchRef, batches: int
    ) -> list[tuple[BatchRef, list[str]]]:
        """Give the MRNs under a master document, by the batches in which they were filed, after a batch."""
        records = await tx.raw.fetch(
            "select * from master_document_find($1, $2, $3, $4)", document, after.day, after.id, batches
        )
        return [(BatchRef(record["batch_day"], record["batch_id"]), record["mrns"]) for record in records]

    # ------------------------------------------------------------------------------------------ other references
    async def by_local_references(
        self, tx: Transaction, partitions: Sequence[int], filers: Sequence[str], references: Sequence[str]
    ) -> dict[int, str]:
        """Give the MRN of each local reference that is known, by place."""
        records = await tx.raw.fetch("select * from local_reference_find($1, $2, $3)", partitions, filers, references)
        return {record["place"] - 1: record["mrn"] for record in records}

    async def by_house_documents(
        self, tx: Transaction, numbers: Sequence[str], after: Sequence[str], limits: Sequence[int]
    ) -> dict[int, list[str]]:
        """Give the MRNs under each house document after an MRN, ascending, by place."""
        found: dict[int, list[str]] = {}
        for record in await tx.raw.fetch("select * from house_document_find($1, $2, $3)", numbers, after, limits):
            found.setdefault(record["place"] - 1, []).append(record["mrn"])
        return found

    async def held(self, tx: Transaction, after: tuple[int, str], lane: int, limit: int) -> list[str]:
        """Give the MRNs of what is held, by day and MRN, after a place."""
        records = await tx.raw.fetch(
            "select mrn from held where (day, mrn) > ($1, $2) and ($3 = 0 or lane = $3) order by day, mrn limit $4",
            after[0],
            after[1],
            lane,
            limit,
        )
        return [record["mrn"] for record in records]

    async def scan(self, tx: Transaction, after: tuple[int, str], limit: int) -> list[Row]:
        """Give consignments in the order of day and MRN, after a place."""
        days = await self._days_from(tx, after[0])
        rows: list[Row] = []
        for day in days:
            records = await tx.raw.fetch(
                "select mrn, partition, filer, version, filing_version, state, lane, batch_day, batch_id, batch_row "
                "from consignment where day = $1 and mrn > $2 order by mrn limit $3",
                day,
                after[1] if day == after[0] else "",
                limit - len(rows),
            )
            rows.extend(_row(record, record["mrn"], day) for record in records)
            if len(rows) >= limit:
                break
        return rows

    async def _days_from(self, tx: Transaction, day: int) -> list[int]:
        return [each for each in await day_partitions(tx, "consignment") if each >= day]

    # ------------------------------------------------------------------------------------------ the rest
    async def purge(self, before_day: int) -> None:
        """Forget the references, arrivals and holds of days before `before_day`, in chunks, each a transaction of its own."""
        for table in ("local_reference", "house_document", "master_document", "arrival"):
            await purge_before(self.database, table, before_day, rows_max=PURGED_MAX)
        gone = PURGED_MAX
        while gone == PURGED_MAX:
            async with self.database.transaction() as tx:
                done = await tx.raw.execute(
                    "delete from held where ctid = any(array(select ctid from held where day < $1 limit $2))",
                    before_day,
                    PURGED_MAX,
                )
            gone = int(done.rpartition(" ")[2])

    async def now(self, tx: Transaction) -> int:
        """The database's clock, microseconds since 1970-01-01 UTC."""
        return int(await tx.raw.fetchval(f"select {NOW_MICROS}"))


def _row(record: asyncpg.Record, mrn: str, day: int) -> Row:
    return Row(
        mrn,
        day,
        record["partition"],
        record["filer"],
        record["version"],
        record["filing_version"],
        record["state"],
        record["lane"],
        BatchRef(record["batch_day"], record["batch_id"]),
        record["batch_row"],
    )


def _grouped(numbers: Strings, mrns: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for number, mrn in zip(numbers.tolist(), mrns, strict=True):
        if number:
            groups.setdefault(number, []).append(mrn)
    return groups


def _buckets(documents: Iterable[str]) -> list[int]:
    """Give the distinct locks of documents, ascending: taken in one order, and few enough for the server's table of locks."""
    return sorted({sha256(number.encode()).digest()[0] % BUCKETS for number in documents if number})
