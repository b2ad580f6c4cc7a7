"""The evidence of one consignment: its stored versions, who saw it, and the parts of the chain that lead from both to seals."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

import numpy as np

from libs.chain.audit import Record, path_to, salt_of, subject_digests
from libs.chain.hashing import START
from libs.columns import Table, row_digests
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.store import Row, Store, day_of
from services.clearance.store.audit.seals import AuditSeals
from services.clearance.store.audit.trail import Origin, StoredRecord

VERSIONS_MAX: Final = 1_000
ACCESSES_MAX: Final = 1_000
RECORDS_MAX: Final = 100_000
"""Records of all parts of the chain together: 3.6 MB of digests, which an answer has room for beside 1,000 versions."""
_MILLIS: Final = 30_000


class EvidenceTooLarge(Exception):
    """The versions lead to their seals by more records than one answer may contain."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a digest is under the root of a record: see `libs.chain.audit.path_to`."""

    place: int
    group: bytes
    groups: bytes


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version: its record (0 for none), its place, its path and itself."""

    record: int
    ref: BatchRef
    row: int
    path: Path | None
    state: Table


@dataclass(frozen=True, slots=True)
class Access:
    """One access: its record, and where the consignment is under its root, with the salt of that place."""

    record: int
    path: Path
    salt: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive records up to the last one of a seal; `disclosed` are the numbers of those that are shown."""

    before: bytes
    records: Sequence[Record]
    disclosed: frozenset[int]
    seal: Any
    """The row of the seal, with the hash `before` it."""


@dataclass(slots=True)
class Evidence:
    """What is stored of a consignment, with its proofs."""

    versions: list[Version] = field(default_factory=list)
    versions_left_out: bool = False
    accesses: list[Access] = field(default_factory=list)
    accesses_left_out: bool = False
    parts: list[Part] = field(default_factory=list)


class CollectEvidence:
    """Collects evidence from a store."""

    def __init__(self, store: Store) -> None:
        """Read from a store."""
        self._store = store
        self._chain = ChainRecords(store)
        self._seals = AuditSeals(store.database)

    async def find(self, mrn: str) -> Row | None:
        """Return the current row of a consignment; None where there is none."""
        async with self._store.database.connection() as reading:
            return (await self._store.find(reading, [mrn])).get(mrn)

    async def run(self, mrn: str, export: Origin | None = None) -> Evidence | None:
        """Chain and seal what is committed by now, and return the evidence of a consignment; None where there is none.

        What is stored or chained meanwhile is left out: versions behind the newest seal, and accesses behind the newest `export` before it,
        which is an access that was noted before. Raises EvidenceTooLarge.
        """
        await self._chain.finish()
        found = Evidence()
        async with self._store.database.connection(snapshot=True, timeout_millis=_MILLIS) as reader:
            row = (await self._store.find(reader, [mrn])).get(mrn)
            if row is None:
                return None
            last_day = (await self._store.audit.days(reader))[-1]
            sealed = await self._store.audit.sealed(reader)
            records = await self._versions(reader, row, last_day, sealed, found)
            accesses = await self._store.audit.of_subject(reader, mrn, day_of(mrn) - 1, ACCESSES_MAX + 1)
            found.accesses_left_out = len(accesses) > ACCESSES_MAX
            while accesses and (accesses[-1].record.number > sealed or not _is_by(accesses[-1].record, export)):
                accesses.pop()
            # Without salts, digests of the other consignments could be found by counting up.
            salted = [each for each in accesses if each.salt]
            found.accesses_left_out |= len(salted) < len(accesses)
            # The first record states up to which batch there are versions without one.
            opening = {1} if any(not each.record for each in found.versions) else set()
            needed = _numbers(records) | opening
            accesses = salted[-ACCESSES_MAX:]
            seals = await self._covering(reader, sorted(needed | _numbers(accesses)))
            while _size(seals, needed | _numbers(accesses)) > RECORDS_MAX:
                if len(accesses) <= 1:
                    raise EvidenceTooLarge
                del accesses[: max(1, (len(accesses) - 1) // 8)]
                found.accesses_left_out = True
            found.accesses = await asyncio.to_thread(lambda: [_access(each, mrn) for each in accesses])
            found.parts = await self._parts(reader, seals, sorted(needed | _numbers(accesses)))
        return found

    async def _versions(
        self, reader: Transaction, row: Row, last_day: int, sealed: int, evidence: Evidence
    ) -> list[StoredRecord]:
        records: list[StoredRecord] = []
        place: tuple[BatchRef, int] | None = (row.ref, row.row)
        payloads = self._store.outbox.payloads
        while place is not None:
            ref, number = place
            if len(evidence.versions) == VERSIONS_MAX:
                break
            try:
                batch = payloads.table((await payloads.fetch(reader.raw, [ref]))[ref])
            except LookupError:  # older than the stored batches
                break
            record = await self._store.audit.of_batch(reader, ref.day, ref.id, last_day)
            state = batch.take(np.array([number], np.int64))
            is_later = (
                record.record.number > sealed if record else ref.id in await self._store.audit.waiting(reader, ref.day)
            )
            if not is_later:
                path = None
                if record is not None:
                    records.append(record)
                    if record.record.has_rows:
                        path = _path(await asyncio.to_thread(row_digests, batch), number)
                evidence.versions.append(Version(record.record.number if record else 0, ref, number, path, state))
            before = [state.ints(f"previous_batch_{name}") for name in ("day", "id", "row")]
            place = None
            # Those before it follow, or are not stored, or are of version 0.2, whose states do not say where the one before them is.
            evidence.versions_left_out = int(state.ints("version").values[0]) > 1
            if before[1].valid[0]:
                day, batch_id, batch_row = (int(each.values[0]) for each in before)
                place = BatchRef(day, batch_id), batch_row
        return records

    async def _covering(self, reader: Transaction, numbers: Sequence[int]) -> dict[int, Any]:
        """Return the seals that cover these records, which are in order, by number of the record."""
        seals: dict[int, Any] = {}
        seal = None
        for number in numbers:
            if seal is None or number > seal["numbers"][0]:
                seal = await self._seals.covering(reader, 0, number)
            seals[number] = seal
        return seals

    async def _parts(self, reader: Transaction, seals: Mapping[int, Any], numbers: Sequence[int]) -> list[Part]:
        """Return for each seal that covers some of these records, which are in order, the records from the first of them on."""
        parts: list[Part] = []
        for last, group in groupby(numbers, lambda number: int(seals[number]["numbers"][0])):
            disclosed = list(group)
            begin = max(1, disclosed[0] - 1)
            records = await self._store.audit.between(reader, begin, last)
            before = START
            if begin < disclosed[0]:
                is_there = bool(records) and records[0].record.number == begin
                before = records.pop(0).hash if is_there else await self._dropped(reader)
            parts.append(Part(before, [each.record for each in records], frozenset(disclosed), seals[disclosed[0]]))
        return parts

    async def _dropped(self, reader: Transaction) -> bytes:
        head = await self._store.audit.head(reader)
        return head.dropped_hash if head else START


def _numbers(records: Sequence[StoredRecord]) -> set[int]:
    return {each.record.number for each in records}


def _size(seals: Mapping[int, Any], numbers: Iterable[int]) -> int:
    """Return how many records lead from these to their seals."""
    firsts = {seals[number]["numbers"][0]: number for number in sorted(numbers, reverse=True)}
    return sum(last - first + 1 for last, first in firsts.items())


def _is_by(record: Record, export: Origin | None) -> bool:
    return export is None or (record.actor, record.method, record.reason) == (
        export.actor,
        export.method,
        export.reason,
    )


def _access(stored: StoredRecord, mrn: str) -> Access:
    place = stored.subjects.index(mrn) + 1
    path = _path(subject_digests(stored.salt, stored.about, stored.subjects), place)
    return Access(stored.record.number, path, salt_of(stored.salt, place))


def _path(leaves: Sequence[bytes], place: int) -> Path:
    return Path(place, *path_to(leaves, place))
