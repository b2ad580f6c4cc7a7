"""Seals: at intervals the heads of all partitions are hashed together with the seal before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from libs.customs.partitions import PARTITIONS
from libs.store.database import Database, Transaction
from libs.store.errors import StoreError
from libs.store.leases import hold_lease, release_lease, try_lease
from libs.telemetry import gauge, get_logger
from services.revenue.ledger.chain import START, seal

LEASE: Final = "ledger-seals"
SEALS_MAX: Final = 10_000
"""Seals that are compared with one part of a chain."""
_HASH: Final = 32
_LAST: Final = "select number, hash, numbers from ledger_seal order by number desc limit 1"
_HEADS: Final = "select partition, number, hash from ledger_head order by partition"
_KEEP: Final = "insert into ledger_seal (number, sealed_at, hash, numbers, hashes) values ($1, $2, $3, $4, $5)"
_NUMBER: Final = "select numbers[$2] from ledger_seal where number = $1"
_READ: Final = """
select s.number, s.sealed_at, s.hash, s.numbers, s.hashes, before.hash as before from ledger_seal s
left join ledger_seal before on before.number = s.number - 1
where s.number >= $1 and s.numbers[$2] <= $3 order by s.number limit $4
"""
_sealed = gauge("luxor_revenue_ledger_sealed_timestamp_seconds", "When the ledger's chains were last found sealed")
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it is stored, compared with what it seals."""

    number: int
    sealed_at: int
    hash: bytes
    numbers: list[int]
    """Number of the last entry, by partition."""
    hashes: list[bytes]
    holds: bool
    """Whether its hash follows from what it seals and the seal before."""


class Seals:
    """Reads and makes seals."""

    def __init__(self, database: Database) -> None:
        """Keep them in a database."""
        self._database = database

    async def make(self, tx: Transaction) -> int | None:
        """Seal all heads as they are committed; gives the seal's number, or None where nothing was booked since the last."""
        last = await tx.raw.fetchrow(_LAST)
        heads = [(row["number"], row["hash"]) for row in await tx.raw.fetch(_HEADS)]
        numbers = [number for number, _ in heads]
        if numbers == (last["numbers"] if last else [0] * PARTITIONS):
            return None
        number, before = (last["number"] + 1, last["hash"]) if last else (1, START)
        sealed_at = await tx.now()
        digest = seal(number, sealed_at, before, heads)
        await tx.raw.execute(_KEEP, number, sealed_at, digest, numbers, b"".join(each for _, each in heads))
        return number

    async def between(self, partition: int, after: int, last: int) -> list[Seal]:
        """Give the seals that name an entry of a partition whose number is above `after` and at most `last`."""
        async with self._database.connection(snapshot=True) as reader:
            first = await self._first(reader, partition, after)
            rows = await reader.raw.fetch(_READ, first, partition + 1, last, SEALS_MAX) if first else []
        return [_seal(row) for row in rows]

    async def _first(self, reader: Transaction, partition: int, after: int) -> int:
        """The first seal that names an entry behind `after`, found by halving, since numbers only rise; 0 for none."""
        newest = await reader.raw.fetchval("select max(number) from ledger_seal") or 0
        low, high = 1, newest + 1
        while low < high:
            middle = (low + high) // 2
            named = await reader.raw.fetchval(_NUMBER, middle, partition + 1)
            if named is not None and named <= after:
                low = middle + 1
            else:
                high = middle
        return low if low <= newest else 0


def _seal(row: Any) -> Seal:
    hashes = [row["hashes"][start : start + _HASH] for start in range(0, len(row["hashes"]), _HASH)]
    heads = list(zip(row["numbers"], hashes, strict=False))
    before = START if row["number"] == 1 else row["before"]
    holds = before is not None and len(heads) == PARTITIONS and len(hashes) == PARTITIONS
    holds = holds and seal(row["number"], row["sealed_at"], before, heads) == row["hash"]
    return Seal(row["number"], row["sealed_at"], row["hash"], row["numbers"], hashes, holds)


class Sealing:
    """Seals at intervals; of all replicas one at a time."""

    def __init__(self, database: Database, replica: str, *, interval_seconds: float) -> None:
        """Seal every so many seconds what was booked since."""
        self._database = database
        self._seals = Seals(database)
        self._replica = replica
        self._interval = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        token: int | None = None
        while not stop.is_set():
            try:
                token = await self.step()
            except StoreError as error:
                _log.warning("LEDGER_SEAL_POSTPONED", store=self._database.name, why=str(error))
            try:
                async with asyncio.timeout(self._interval):
                    await stop.wait()
            except TimeoutError:
                continue
        if token is not None:
            await self._give_back(token)

    async def step(self) -> int | None:
        """Seal once; gives the lease's token, None where another replica seals."""
        async with self._database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, 3 * self._interval)
        if token is None:
            return None
        async with self._database.transaction() as tx:
            await hold_lease(tx, LEASE, token)
            await self._seals.make(tx)
        _sealed.set_to_current_time()
        return token

    async def _give_back(self, token: int) -> None:
        try:
            async with self._database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        except StoreError as error:
            _log.warning("LEDGER_SEAL_LEASE_NOT_RELEASED", store=self._database.name, why=str(error))
