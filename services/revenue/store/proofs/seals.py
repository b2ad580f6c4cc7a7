"""Seals: at intervals the heads of all partitions are hashed together with the seal before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from libs.customs.partitions import PARTITIONS
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Database, Transaction
from libs.telemetry import get_logger
from services.revenue.ledger.hash_chain import START, seal
from services.revenue.store.ledger.pages import booked_first

SEALS_AT_ONCE: Final = 1_000
"""Seals that are read in one statement; a row has some 2,700 bytes."""
LATE_SECONDS: Final = 1_800
"""An entry that no seal names after this time is a fault: seals come every ten minutes at the least. The alert has the same bound."""
_HASH: Final = 32
_LAST: Final = "select number, hash, numbers from ledger_seal order by number desc limit 1"
_HEADS: Final = "select partition, number, hash from ledger_head order by partition"
_STORE: Final = "insert into ledger_seal (number, sealed_at, hash, numbers, hashes) values ($1, $2, $3, $4, $5)"
# Of each partition the first entry behind the last seal. It was booked about when that seal was made, or later, so earlier days are not looked at.
_UNSEALED: Final = f"""
select days.day, head.partition, behind.number from ledger_head head
left join (select number, numbers, sealed_at from ledger_seal order by number desc limit 1) last on true
cross join lateral (select coalesce(last.numbers[head.partition + 1], 0) + 1 as number) behind
cross join lateral (
    select day from ledger_day where partition = head.partition and day >= coalesce(last.sealed_at / {MICROS_PER_DAY} - 1, 0)
        and behind.number between first_number and last_number offset 0
) days where head.number >= behind.number
"""  # noqa: S608  # a number of our own
_SEALED_AT: Final = "select sealed_at from ledger_seal where number = $1"
# The first seal behind these may name the last of them.
_NUMBERS: Final = "select distinct numbers[$1] as number from ledger_seal where number >= $2 and number <= $3"
_NUMBER: Final = "select numbers[$2] from ledger_seal where number = $1"
# One that is missing hides none behind it.
_FROM: Final = "select number, numbers[$2] from ledger_seal where number >= $1 order by number limit 1"
# Of a partition those that name another entry, or another hash, than the seal before: each seal does so of some partition.
_READ: Final = """
select s.number, s.sealed_at, s.hash, s.numbers, s.hashes, before.hash as before from ledger_seal s
left join ledger_seal before on before.number = s.number - 1
where s.number >= $1 and s.number < $2 and (
    s.numbers[$3] is distinct from before.numbers[$3]
    or substring(s.hashes from $4 for 32) is distinct from substring(before.hashes from $4 for 32)
) order by s.number limit $5
"""
_DAYS: Final = "select day from ledger_day where partition = $1 and last_number > $2 and first_number <= $3"
# Of the days in which a part of a chain stands; the hash of a page is that of its last entry.
_STORED: Final = """
select number, hash from ledger_entry where day = any($1::integer[]) and partition = $2 and number = any($3::bigint[])
union all
select last_number, hash from ledger_page where day = any($1::integer[]) and partition = $2 and last_number = any($3::bigint[])
"""
_FOLLOW: Final = """
select number, sealed_at, hash, numbers, hashes from ledger_seal where number > $1 order by number limit $2
"""
_PLACES: Final = """
select d.day, given.partition, given.number from unnest($1::smallint[], $2::bigint[]) as given(partition, number)
join ledger_day d on d.partition = given.partition and given.number between d.first_number and d.last_number
"""
_NAMED: Final = """
select given.partition, e.hash
from unnest((select $2::integer[]), (select $3::smallint[]), (select $4::bigint[])) as given(day, partition, number)
cross join lateral (
    select hash from ledger_entry
    where day = any($1::integer[]) and day = given.day and partition = given.partition and number = given.number
    union all
    select hash from ledger_page
    where day = any($1::integer[]) and day = given.day and partition = given.partition and last_number = given.number offset 0
) e
"""
_WHOLE: Final = """
select count(*) as kept, coalesce(max(number), 0) as newest, coalesce(min(number), 1) as oldest,
    min(number) filter (where named > $2) as beyond, min(number) filter (where named < named_before) as fallen
from (
    select number, numbers[$1] as named, lag(numbers[$1]) over (order by number) as named_before from ledger_seal
) each
"""
log = get_logger()


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it is stored outside of the database: enough to prove later that no entry before it was altered."""

    number: int
    hash: bytes
    sealed_at: int = 0
    """Microseconds since 1970-01-01 UTC."""


@dataclass(slots=True)
class SealComparison:
    """What comparing seals with a part of a chain found."""

    seals: int = 0
    discrepancies: list[str] = field(default_factory=list)


class Seals:
    """Reads and makes seals."""

    def __init__(self, database: Database) -> None:
        """Store them in a database."""
        self._database = database

    async def make(self, tx: Transaction) -> int | None:
        """Seal all heads as they are committed; return the seal's number, or None where nothing was booked since the last."""
        last = await tx.raw.fetchrow(_LAST)
        heads = [(row["number"], row["hash"]) for row in await tx.raw.fetch(_HEADS)]
        numbers = [number for number, _ in heads]
        if numbers == (last["numbers"] if last else [0] * PARTITIONS):
            return None
        number, before = (last["number"] + 1, last["hash"]) if last else (1, START)
        sealed_at = await tx.now()
        digest = seal(number, sealed_at, before, heads)
        await tx.raw.execute(_STORE, number, sealed_at, digest, numbers, b"".join(each for _, each in heads))
        # Logs are stored outside of the database, so that nobody who can write all of it can replace its seals unnoticed.
        tx.after_commit(lambda: log.info("LEDGER_SEALED", seal=number, sealed_at=sealed_at, hash=digest.hex()))
        return number

    async def newest(self) -> Seal | None:
        """Return the newest seal; None where there is none."""
        async with self._database.connection() as reader:
            row = await reader.raw.fetchrow(
                "select number, sealed_at, hash from ledger_seal order by number desc limit 1"
            )
        return None if row is None else Seal(row["number"], row["hash"], row["sealed_at"])

    async def compare(self, partition: int, after: int, last: int) -> SealComparison:
        """Compare the seals that name an entry of a partition behind `after` and up to `last` with what is stored."""
        found = SealComparison()
        column = partition + 1
        async with self._database.connection(snapshot=True) as reader:
            first, end = (
                await self.first_behind(reader, partition, after),
                await self.first_behind(reader, partition, last),
            )
        while True:
            async with self._database.connection(snapshot=True) as reader:
                rows = await reader.raw.fetch(_READ, first, end, column, partition * _HASH + 1, SEALS_AT_ONCE)
                named = [row["numbers"][partition] for row in rows]
                days = [row["day"] for row in await reader.raw.fetch(_DAYS, partition, after, last)] if rows else []
                stored = dict(await reader.raw.fetch(_STORED, days, partition, named)) if rows else {}
            for row, number in zip(rows, named, strict=True):
                digest = row["hashes"][partition * _HASH : column * _HASH]
                if not is_sound(row):
                    found.discrepancies.append(
                        f"seal {row['number']} was altered: its hash does not follow from what it seals"
                    )
                if stored.get(number) != digest:
                    found.discrepancies.append(
                        f"partition {partition}: seal {row['number']} has another hash of entry {number} than is stored"
                    )
            found.seals += len(rows)
            if len(rows) < SEALS_AT_ONCE:
                return found
            first = rows[-1]["number"] + 1

    async def follow(
        self, reader: Transaction, after: int, before: bytes, proven: Mapping[int, int], seals_max: int
    ) -> tuple[int, bytes, list[str]]:
        """Compare the seals behind `after`, of which `before` is the proven hash, as far as all that they seal is proven.

        `proven` has the last proven entry by partition. Returns the last seal compared, its hash and what is wrong.
        """
        discrepancies: list[str] = []
        last = await reader.raw.fetchval("select numbers from ledger_seal where number = $1", after)
        named = list(last or [0] * PARTITIONS)
        for row in await reader.raw.fetch(_FOLLOW, after, seals_max):
            numbers = list(row["numbers"])
            if len(numbers) != PARTITIONS or len(row["hashes"]) != PARTITIONS * _HASH:
                discrepancies.append(f"seal {row['number']} was altered: it does not name {PARTITIONS} partitions")
                break
            if any(number > proven[place] for place, number in enumerate(numbers)):
                break
            if row["number"] != after + 1:
                discrepancies.append(f"seals {after + 1} to {row['number'] - 1} are missing")
            if not is_sound({**dict(row), "before": before}):
                discrepancies.append(f"seal {row['number']} was altered: its hash does not follow from what it seals")
            changed = [place for place in range(PARTITIONS) if numbers[place] != named[place]]
            if any(numbers[place] < named[place] for place in changed):
                discrepancies.append(
                    f"seal {row['number']} seals fewer entries than the seal before; one of them was altered"
                )
            hashes = await stored_hashes(reader, changed, [numbers[place] for place in changed])
            discrepancies += [
                f"partition {place}: seal {row['number']} names another hash of entry {numbers[place]} than is stored"
                for place in changed
                if hashes.get(place) != row["hashes"][place * _HASH : (place + 1) * _HASH]
            ]
            after, before, named = row["number"], bytes(row["hash"]), numbers
        return after, before, discrepancies

    async def named(self, reader: Transaction, partition: int, after: int, last: int) -> list[int]:
        """Return the entries of a partition behind `after` and up to `last` that seals name."""
        first, end = await self.first_behind(reader, partition, after), await self.first_behind(reader, partition, last)
        rows = await reader.raw.fetch(_NUMBERS, partition + 1, first, end)
        return [row["number"] for row in rows if row["number"] is not None]

    async def first_behind(self, reader: Transaction, partition: int, after: int) -> int:
        """Return the first seal that covers an entry after `after`, by binary search, since numbers only rise; one past the last for none."""
        newest = await reader.raw.fetchval("select max(number) from ledger_seal") or 0
        low, high = 1, newest + 1
        while low < high:
            middle = (low + high) // 2
            number, named = await reader.raw.fetchrow(_FROM, middle, partition + 1)
            if named is not None and named <= after:
                low = number + 1
            else:
                high = middle
        return low

    async def compare_end(self, reader: Transaction, partition: int, head: int, late_seconds: float) -> list[str]:
        """Return the errors of the seals as a whole if a partition's chain ends with entry `head`.

        Numbers are without gap, what is sealed of a partition never falls and is never beyond its end, and what was booked
        a while ago is sealed.
        """
        row = await reader.raw.fetchrow(_WHOLE, partition + 1, head)
        discrepancies = []
        if missing := row["newest"] - row["kept"]:
            discrepancies.append(f"{missing} of the {row['newest']} seals are missing")
        if row["oldest"] < 1:
            discrepancies.append(f"a seal has the number {row['oldest']}; they begin with 1")
        if row["beyond"] is not None:
            discrepancies.append(
                f"partition {partition}: seal {row['beyond']} seals an entry behind entry {head}, with which the chain ends: "
                "the end of the chain was cut off"
            )
        if row["fallen"] is not None:
            discrepancies.append(
                f"partition {partition}: seal {row['fallen']} seals fewer entries than the seal before; one of them was altered"
            )
        named = await reader.raw.fetchval(_NUMBER, row["newest"], partition + 1) or 0
        places = await reader.raw.fetch(_PLACES, [partition], [named + 1]) if named < head else []
        first = await booked_first(reader, places)
        if first is not None and await reader.now() - first > late_seconds * 1e6:
            newest = f"the newest seal is {row['newest']}" if row["newest"] else "there is no seal"
            discrepancies.append(
                f"partition {partition}: entry {named + 1} was booked over {late_seconds / 60:.0f} minutes ago and no seal names "
                f"it; {newest}"
            )
        return discrepancies

    async def compare_outside(self, outside: Seal) -> list[str]:
        """Return the discrepancies with a seal that was stored outside of the database."""
        async with self._database.connection() as reader:
            stored = await reader.raw.fetchval("select hash from ledger_seal where number = $1", outside.number)
        if stored is None:
            return [
                f"seal {outside.number} was stored outside and is missing here: the entries that it seals were cut off or rewritten"
            ]
        if stored != outside.hash:
            return [
                f"seal {outside.number} has another hash than the one stored outside: the entries that it seals were rewritten"
            ]
        return []


def is_sound(row: Any) -> bool:
    """Return whether a seal's hash is that of its content and the seal before."""
    hashes = [row["hashes"][start : start + _HASH] for start in range(0, len(row["hashes"]), _HASH)]
    before = START if row["number"] == 1 else row["before"]
    if before is None or not len(hashes) == len(row["numbers"]) == PARTITIONS:
        return False
    heads = list(zip(row["numbers"], hashes, strict=True))
    return seal(row["number"], row["sealed_at"], before, heads) == bytes(row["hash"])


async def stored_hashes(reader: Transaction, partitions: Sequence[int], numbers: Sequence[int]) -> dict[int, bytes]:
    """Return by partition the stored hash of an entry; partitions without that entry, or where it is within a page, are omitted."""
    places = await reader.raw.fetch(_PLACES, partitions, numbers)
    columns = [[each[name] for each in places] for name in ("day", "partition", "number")]
    rows = await reader.raw.fetch(_NAMED, sorted(set(columns[0])), *columns)
    return {row["partition"]: row["hash"] for row in rows}


async def oldest_unsealed(reader: Transaction) -> int | None:
    """Return when the oldest entry was booked that no seal covers, microseconds since 1970-01-01 UTC; None where all are covered."""
    return await booked_first(reader, await reader.raw.fetch(_UNSEALED))


async def sealed_at(reader: Transaction, number: int) -> int:
    """Return when a seal was made; 0 where there is none of that number."""
    return int(await reader.raw.fetchval(_SEALED_AT, number) or 0)
