"""Rows of seals and of the entries that they name, written without the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libs.chain.hashing import START, seal
from libs.store.database import Database

PARTITIONS = 64
NOTHING = dict.fromkeys(range(PARTITIONS), 0)


def hash_of(partition: int, number: int) -> bytes:
    """The hash of an entry, as these tests store it."""
    return bytes([partition, number]) + bytes(30)


class Row:
    """A seal that follows from the one before; a test changes what it wants to."""

    def __init__(self, number: int, heads: Mapping[int, int], before: bytes = START) -> None:
        self.number, self.sealed_at, self.before = number, 1_000 + number, before
        self.numbers = [heads.get(each, 0) for each in range(PARTITIONS)]
        self.hashes = b"".join(hash_of(place, each) if each else START for place, each in enumerate(self.numbers))
        heads_ = [(each, self.hashes[32 * place : 32 * place + 32]) for place, each in enumerate(self.numbers)]
        self.hash = seal(number, self.sealed_at, before, heads_, chains=PARTITIONS)

    def shown(self, **more: Any) -> dict[str, Any]:
        names = ("number", "sealed_at", "hash", "numbers", "hashes")
        first = {"before": None if self.number == 1 else self.before}
        return {name: getattr(self, name) for name in names} | first | more


def chained(*heads: Mapping[int, int]) -> list[Row]:
    rows: list[Row] = []
    for number, each in enumerate(heads, 1):
        rows.append(Row(number, each, rows[-1].hash if rows else START))
    return rows


async def put(database: Database, *rows: Row) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute("delete from ledger_seal")
        for row in rows:
            await tx.raw.execute(
                "insert into ledger_seal (number, sealed_at, hash, numbers, hashes) values ($1, $2, $3, $4, $5)",
                row.number, row.sealed_at, row.hash, row.numbers, row.hashes,
            )  # fmt: skip


async def entries(database: Database, *places: tuple[int, int], age_micros: int = 0) -> None:
    """Entries of today by partition and number, from 1 on; with the day in which they stand."""
    async with database.transaction() as tx:
        now = await tx.now()
        day = now // 86_400_000_000
        for partition, number in places:
            await tx.raw.execute(
                "insert into ledger_entry (day, partition, number, kind, reverses, booked_at, mrn, version, reference, currency, destination, hash) "
                "values ($1, $2, $3, 1, 0, $4, '', 0, '', 'EUR', '', $5)",
                day, partition, number, now - age_micros, hash_of(partition, number),
            )  # fmt: skip
        for partition in {each for each, _ in places}:
            numbers = [number for each, number in places if each == partition]
            await tx.raw.execute(
                "insert into ledger_day values ($1, $2, $3, $4)", partition, day, min(numbers), max(numbers)
            )
