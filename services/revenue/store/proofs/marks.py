"""Up to where the ledger is proven, what that covers, and what the proofs found: rows that each proof moves on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from libs.chain.hashing import START
from libs.store.database import Transaction
from libs.store.transaction import NOW_MICROS
from services.revenue.ledger.reconciliation import Difference
from services.revenue.store.ledger.pages import booked_first

ALTERED: Final = "ALTERED"
"""Reason of a fault of a chain, a seal or what is computed from postings; those of consignments have the reason of their difference."""
DISCREPANCIES_STORED_MAX: Final = 10_000
"""So many faults are stored; a ledger with more of them is proven wrong by the first."""
_MARKS: Final = "select partition, number, hash, day from ledger_proof order by partition"
_STATE: Final = "select * from ledger_proof_state"
_MOVE_STATE: Final = """
update ledger_proof_state set moves = moves + 1, entries = $2, postings = $3, comparisons = $4, assessed_day = $5,
    assessed_batch = $6, seal = $7, seal_hash = $8, complete_at = $9, positions = $10, full_partition = $11,
    full_number = $12, full_hash = $13, full_day = $14, full_after = $15, full_began_at = $16, full_ended_at = $17
where moves = $1
"""
_MOVE: Final = """
update ledger_proof kept set number = given.number, hash = given.hash, day = given.day
from unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::integer[]) as given(partition, number, hash, day)
where kept.partition = given.partition
"""
_FORGET_CHAIN: Final = """
delete from ledger_fault kept using unnest($1::smallint[], $2::bigint[], $3::bigint[]) as given(partition, after, last)
where kept.mrn = '' and kept.partition = given.partition and kept.number > given.after and kept.number <= given.last
"""
_FORGET_MRNS: Final = "delete from ledger_fault where mrn = any($1::text[])"
_INSERT_DISCREPANCIES: Final = f"""
insert into ledger_fault (partition, number, mrn, reason, sentence, currency, assessed, posted, found_at)
select given.*, {NOW_MICROS} from unnest($1::smallint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::bigint[], $8::bigint[]) as given(partition, number, mrn, reason, sentence, currency, assessed, posted)
where (select count(*) from ledger_fault) < {DISCREPANCIES_STORED_MAX}
    and not exists (select from ledger_fault f where f.mrn = given.mrn and f.sentence = given.sentence)
"""  # noqa: S608  # expressions of our own
_DISCREPANCIES: Final = """
select reason, mrn, sentence, currency, assessed, posted, found_at from ledger_fault order by id limit $1
"""

_HEADS: Final = "select partition, number, hash from ledger_head order by partition"
_CURSORS: Final = (
    "select partition, epoch, day, xid, seq from feed_cursor where source = 'clearance' order by partition"
)
# Days that are over, and proven to their last entry, but not their balances.
_CLOSED: Final = """
select d.partition, d.day, d.first_number, d.last_number from ledger_proof m
cross join lateral (
    select * from ledger_day where partition = m.partition and day > m.day and day < $1 order by day limit 1
) d where d.last_number <= m.number order by d.day, d.partition limit $2
"""
_UNPROVEN: Final = """
select d.day, d.partition, greatest(m.number + 1, d.first_number) as number
from ledger_proof m cross join lateral (
    select * from ledger_day where partition = m.partition and last_number > m.number order by day limit 1
) d
"""
_LEFT: Final = "select sum(h.number - m.number)::bigint from ledger_head h join ledger_proof m using (partition)"


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a partition."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one partition is proven."""

    number: int = 0
    hash: bytes = START
    day: int = -1
    """Last day whose balances are proven, days since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class ProofState:
    """What is proven in all partitions together, what that covers, and how far the periodic proof has come."""

    moves: int
    entries: int
    postings: int
    comparisons: int
    """Of a consignment with its assessment, one each time that entries of it were booked."""
    assessed_day: int
    assessed_batch: int
    """Last batch of assessments, of a day that is over, whose consignments were looked for in the ledger."""
    seal: int
    seal_hash: bytes
    complete_at: int
    """When last everything that was booked was proven, microseconds since 1970-01-01 UTC; 0 for never."""
    positions: bytes
    """Of the feed that the ledger follows, what had been read then: epoch, day, xid and seq of each partition, as JSON."""
    full_partition: int
    """Partition that the periodic proof is in; that of all partitions where it compares consignments."""
    full_number: int
    full_hash: bytes
    full_day: int
    full_after: str
    full_began_at: int
    full_ended_at: int

    def restarted(self, now: int) -> ProofState:
        """Return it with the periodic proof at its beginning."""
        return replace(
            self, full_partition=0, full_number=0, full_hash=START, full_day=0, full_after="", full_began_at=now
        )


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """What a proof found."""

    partition: int
    number: int
    """Last entry of the part of the chain in which it was found; 0 with an MRN."""
    mrn: str
    reason: str
    sentence: str
    currency: str = ""
    assessed: int | None = None
    posted: int | None = None
    found_at: int = 0

    @staticmethod
    def from_difference(difference: Difference) -> Discrepancy:
        """Return what does not agree of a consignment."""
        return Discrepancy(
            -1, 0, difference.mrn, difference.reason, difference.sentence, difference.currency, difference.assessed,
            difference.posted,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProofPart:
    """What a part of the proof looked at, so that faults found there before are forgotten unless they were found again."""

    ranges: Sequence[tuple[int, int, int]] = ()
    """Partition, the number behind which it began, and the last."""
    mrns: Collection[str] = ()
    discrepancies: Sequence[Discrepancy] = ()


async def read_marks(reader: Transaction) -> dict[int, Mark]:
    """Return the mark of each partition."""
    return {row["partition"]: Mark(row["number"], row["hash"], row["day"]) for row in await reader.raw.fetch(_MARKS)}


async def read_state(reader: Transaction) -> ProofState:
    """Return what is proven in all."""
    row = dict(await reader.raw.fetchrow(_STATE))
    row.pop("one")
    return ProofState(**row)


async def move(tx: Transaction, state: ProofState, marks: Mapping[int, Mark], checked: ProofPart) -> bool:
    """Store a part of the proof; False, and nothing is changed, where another replica has moved the proof on since `state` was read."""
    values = [getattr(state, name) for name in ProofState.__slots__]
    if await tx.raw.execute(_MOVE_STATE, *values) != "UPDATE 1":
        return False
    if marks:
        places = sorted(marks)
        columns = [[getattr(marks[place], name) for place in places] for name in ("number", "hash", "day")]
        await tx.raw.execute(_MOVE, places, *columns)
    if checked.ranges:
        await tx.raw.execute(_FORGET_CHAIN, *(list(column) for column in zip(*checked.ranges, strict=True)))
    if checked.mrns:
        await tx.raw.execute(_FORGET_MRNS, list(checked.mrns))
    if checked.discrepancies:
        names = ("partition", "number", "mrn", "reason", "sentence", "currency", "assessed", "posted")
        await tx.raw.execute(
            _INSERT_DISCREPANCIES, *([getattr(each, name) for each in checked.discrepancies] for name in names)
        )
    return True


async def discrepancies(reader: Transaction, rows_max: int) -> tuple[int, list[Discrepancy]]:
    """Return how many faults stand, and the first of them."""
    count = await reader.raw.fetchval("select count(*) from ledger_fault")
    rows: Sequence[Any] = await reader.raw.fetch(_DISCREPANCIES, rows_max)
    return int(count), [Discrepancy(-1, 0, **dict(row)) for row in rows]


async def heads(reader: Transaction) -> dict[int, Head]:
    """Return the last entry of each partition."""
    return {row["partition"]: Head(row["number"], row["hash"]) for row in await reader.raw.fetch(_HEADS)}


async def feed_positions(reader: Transaction) -> list[list[int]]:
    """Return how far clearance's feed is read: partition, epoch, day, xid and seq each."""
    return [list(row) for row in await reader.raw.fetch(_CURSORS)]


async def closed_days(reader: Transaction, before: int, days_max: int) -> Sequence[Any]:
    """Return days of partitions that are over and proven to their last entry, but not their balances, the earliest first:
    partition, day, first_number and last_number each.
    """
    rows: Sequence[Any] = await reader.raw.fetch(_CLOSED, before, days_max)
    return rows


async def oldest_unproven(reader: Transaction) -> int | None:
    """Return when the oldest entry was booked that is not proven, microseconds since 1970-01-01 UTC; None where all are."""
    return await booked_first(reader, await reader.raw.fetch(_UNPROVEN))


async def entries_left(reader: Transaction) -> int:
    """Return how many entries are booked and not proven."""
    return int(await reader.raw.fetchval(_LEFT) or 0)
