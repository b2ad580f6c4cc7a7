"""Seals: at intervals the heads of all partitions are hashed together with the seal before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from libs.chain.seals import HASH_BYTES, SealTable, is_sound
from libs.customs.partitions import PARTITIONS
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Database, Transaction
from services.revenue.store.ledger.pages import booked_first

LATE_SECONDS: Final = 1_800
"""An entry that no seal names after this time is a fault: seals come every ten minutes at the least. The alert has the same bound."""
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


class Seals(SealTable):
    """Reads and makes the seals of the ledger."""

    def __init__(self, database: Database) -> None:
        """Store them in a database."""
        super().__init__(database, "ledger", chains=PARTITIONS, event="LEDGER_SEALED", entry="entry", entries="entries")

    async def stored(
        self, reader: Transaction, chain: int, after: int, last: int, numbers: Sequence[int]
    ) -> dict[int, bytes]:
        """Return the stored hashes of entries of a partition by number, which are behind `after` and up to `last`."""
        days = [row["day"] for row in await reader.raw.fetch(_DAYS, chain, after, last)]
        return dict(await reader.raw.fetch(_STORED, days, chain, numbers))

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
            if len(numbers) != PARTITIONS or len(row["hashes"]) != PARTITIONS * HASH_BYTES:
                discrepancies.append(f"seal {row['number']} was altered: it does not name {PARTITIONS} partitions")
                break
            if any(number > proven[place] for place, number in enumerate(numbers)):
                break
            if row["number"] != after + 1:
                discrepancies.append(f"seals {after + 1} to {row['number'] - 1} are missing")
            if not is_sound({**dict(row), "before": before}, PARTITIONS):
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
                if hashes.get(place) != row["hashes"][place * HASH_BYTES : (place + 1) * HASH_BYTES]
            ]
            after, before, named = row["number"], bytes(row["hash"]), numbers
        return after, before, discrepancies

    async def named(self, reader: Transaction, partition: int, after: int, last: int) -> list[int]:
        """Return the entries of a partition behind `after` and up to `last` that seals name."""
        first, end = await self.first_behind(reader, partition, after), await self.first_behind(reader, partition, last)
        rows = await reader.raw.fetch(_NUMBERS, partition + 1, first, end)
        return [row["number"] for row in rows if row["number"] is not None]

    async def compare_end(self, reader: Transaction, partition: int, head: int, late_seconds: float) -> list[str]:
        """Return the errors of the seals as a whole if a partition's chain ends with entry `head`.

        Numbers are without gap, what is sealed of a partition never falls and is never beyond its end, and what was booked
        a while ago is sealed.
        """
        discrepancies, newest, named = await self.compare_whole(reader, partition, head)
        places = await reader.raw.fetch(_PLACES, [partition], [named + 1]) if named < head else []
        first = await booked_first(reader, places)
        if first is not None and await reader.now() - first > late_seconds * 1e6:
            sealed = f"the newest seal is {newest}" if newest else "there is no seal"
            discrepancies.append(
                f"partition {partition}: entry {named + 1} was booked over {late_seconds / 60:.0f} minutes ago and no seal names "
                f"it; {sealed}"
            )
        return discrepancies


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
