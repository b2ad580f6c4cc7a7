"""Seals: at intervals the heads of all chains of a store are hashed together with the seal before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from libs.chain.hashing import START, seal
from libs.store.database import Database, Transaction
from libs.telemetry import get_logger

SEALS_AT_ONCE: Final = 1_000
"""Seals that are read in one statement; with 64 chains a row has some 2,700 bytes."""
HASH_BYTES: Final = 32
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


class SealTable:
    """Makes and compares the seals over the chains of a store.

    They are rows of `<name>_seal`, and the heads of the chains are rows of `<name>_head`. A subclass reads the stored hashes.
    """

    def __init__(self, database: Database, name: str, *, chains: int, event: str, entry: str, entries: str) -> None:
        """Use the tables of a database. The log calls a new seal `event`, and sentences about what is wrong what is chained `entry` and `entries`."""
        self._database = database
        self._event = event
        self._chains = chains
        self._entry = entry
        self._entries = entries
        table = f"{name}_seal"
        self._last = f"select number, hash, numbers from {table} order by number desc limit 1"  # noqa: S608
        self._heads = f"select partition, number, hash from {name}_head order by partition"  # noqa: S608
        self._store = f"insert into {table} (number, sealed_at, hash, numbers, hashes) values ($1, $2, $3, $4, $5)"  # noqa: S608
        self._newest = f"select number, sealed_at, hash from {table} order by number desc limit 1"  # noqa: S608
        self._hash = f"select hash from {table} where number = $1"  # noqa: S608
        self._named = f"select numbers[$2] from {table} where number = $1"  # noqa: S608
        # One that is missing hides none behind it.
        self._from = f"select number, numbers[$2] from {table} where number >= $1 order by number limit 1"  # noqa: S608
        self._greatest = f"select max(number) from {table}"  # noqa: S608
        # Of a chain those that name another entry, or another hash, than the seal before: each seal does so of some chain.
        self._read = f"""
            select s.number, s.sealed_at, s.hash, s.numbers, s.hashes, before.hash as before from {table} s
            left join {table} before on before.number = s.number - 1
            where s.number >= $1 and s.number < $2 and (
                s.numbers[$3] is distinct from before.numbers[$3]
                or substring(s.hashes from $4 for 32) is distinct from substring(before.hashes from $4 for 32)
            ) order by s.number limit $5
        """  # noqa: S608
        self._one = f"""
            select s.number, s.sealed_at, s.hash, s.numbers, s.hashes, before.hash as before from {table} s
            left join {table} before on before.number = s.number - 1 where s.number = $1
        """  # noqa: S608
        self._whole = f"""
            select count(*) as kept, coalesce(max(number), 0) as newest, coalesce(min(number), 1) as oldest,
                min(number) filter (where named > $2) as beyond, min(number) filter (where named < named_before) as fallen
            from (
                select number, numbers[$1] as named, lag(numbers[$1]) over (order by number) as named_before from {table}
            ) each
        """  # noqa: S608

    async def stored(
        self, reader: Transaction, chain: int, after: int, last: int, numbers: Sequence[int]
    ) -> dict[int, bytes]:
        """Return the stored hashes of entries of a chain by number, which are behind `after` and up to `last`."""
        raise NotImplementedError

    def _prefix(self, chain: int) -> str:
        return f"partition {chain}: " if self._chains > 1 else ""

    async def make(self, tx: Transaction) -> int | None:
        """Seal all heads as they are committed; return the seal's number, or None where nothing was added since the last."""
        last = await tx.raw.fetchrow(self._last)
        heads = [(row["number"], row["hash"]) for row in await tx.raw.fetch(self._heads)]
        numbers = [number for number, _ in heads]
        if numbers == (last["numbers"] if last else [0] * self._chains):
            return None
        number, before = (last["number"] + 1, last["hash"]) if last else (1, START)
        sealed_at = await tx.now()
        digest = seal(number, sealed_at, before, heads, chains=self._chains)
        await tx.raw.execute(self._store, number, sealed_at, digest, numbers, b"".join(each for _, each in heads))
        # Logs are stored outside of the database, so that nobody who can write all of it can replace its seals unnoticed.
        tx.after_commit(lambda: log.info(self._event, seal=number, sealed_at=sealed_at, hash=digest.hex()))
        return number

    async def newest(self) -> Seal | None:
        """Return the newest seal; None where there is none."""
        async with self._database.connection() as reader:
            row = await reader.raw.fetchrow(self._newest)
        return None if row is None else Seal(row["number"], row["hash"], row["sealed_at"])

    async def compare(self, chain: int, after: int, last: int) -> SealComparison:
        """Compare the seals that name an entry of a chain behind `after` and up to `last` with what is stored."""
        found = SealComparison()
        column = chain + 1
        async with self._database.connection(snapshot=True) as reader:
            first, end = (
                await self.first_behind(reader, chain, after),
                await self.first_behind(reader, chain, last),
            )
        while True:
            async with self._database.connection(snapshot=True) as reader:
                rows = await reader.raw.fetch(self._read, first, end, column, chain * HASH_BYTES + 1, SEALS_AT_ONCE)
                named = [row["numbers"][chain] for row in rows]
                stored = await self.stored(reader, chain, after, last, named) if rows else {}
            for row, number in zip(rows, named, strict=True):
                digest = row["hashes"][chain * HASH_BYTES : column * HASH_BYTES]
                if not is_sound(row, self._chains):
                    found.discrepancies.append(
                        f"seal {row['number']} was altered: its hash does not follow from what it seals"
                    )
                if stored.get(number) != digest:
                    found.discrepancies.append(
                        f"{self._prefix(chain)}seal {row['number']} has another hash of {self._entry} {number} than is stored"
                    )
            found.seals += len(rows)
            if len(rows) < SEALS_AT_ONCE:
                return found
            first = rows[-1]["number"] + 1

    async def first_behind(self, reader: Transaction, chain: int, after: int) -> int:
        """Return the first seal that covers an entry after `after`, by binary search, since numbers only rise; one past the last for none."""
        newest = await reader.raw.fetchval(self._greatest) or 0
        low, high = 1, newest + 1
        while low < high:
            middle = (low + high) // 2
            number, named = await reader.raw.fetchrow(self._from, middle, chain + 1)
            if named is not None and named <= after:
                low = number + 1
            else:
                high = middle
        return low

    async def covering(self, reader: Transaction, chain: int, number: int) -> Any:
        """Return the first seal that covers an entry, with the hash `before` it. Raises LookupError where no seal does."""
        row = await reader.raw.fetchrow(self._one, await self.first_behind(reader, chain, number - 1))
        if row is None:
            raise LookupError(f"no seal covers {self._entry} {number}")
        return {**dict(row), "before": row["before"] if row["number"] > 1 else START}

    async def compare_whole(self, reader: Transaction, chain: int, head: int) -> tuple[list[str], int, int]:
        """Return the errors of the seals as a whole if a chain ends with entry `head`, the newest seal, and the last entry that it names.

        Numbers are without gap, what is sealed of a chain never falls and is never beyond its end.
        """
        row = await reader.raw.fetchrow(self._whole, chain + 1, head)
        discrepancies = []
        if missing := row["newest"] - row["kept"]:
            discrepancies.append(f"{missing} of the {row['newest']} seals are missing")
        if row["oldest"] < 1:
            discrepancies.append(f"a seal has the number {row['oldest']}; they begin with 1")
        if row["beyond"] is not None:
            discrepancies.append(
                f"{self._prefix(chain)}seal {row['beyond']} seals {self._article} {self._entry} behind {self._entry} {head}, with which "
                "the chain ends: the end of the chain was cut off"
            )
        if row["fallen"] is not None:
            discrepancies.append(
                f"{self._prefix(chain)}seal {row['fallen']} seals fewer {self._entries} than the seal before; one of them was altered"
            )
        return discrepancies, row["newest"], await reader.raw.fetchval(self._named, row["newest"], chain + 1) or 0

    @property
    def _article(self) -> str:
        return "an" if self._entry[0] in "aeiou" else "a"

    async def compare_outside(self, outside: Seal) -> list[str]:
        """Return the discrepancies with a seal that was stored outside of the database."""
        async with self._database.connection() as reader:
            stored = await reader.raw.fetchval(self._hash, outside.number)
        if stored is None:
            return [
                f"seal {outside.number} was stored outside and is missing here: the {self._entries} that it seals were cut off or rewritten"
            ]
        if stored != outside.hash:
            return [
                f"seal {outside.number} has another hash than the one stored outside: the {self._entries} that it seals were rewritten"
            ]
        return []


def is_sound(row: Any, chains: int) -> bool:
    """Return whether a seal's hash is that of its content and the seal before; `before` is None where that seal is missing."""
    hashes = [row["hashes"][start : start + HASH_BYTES] for start in range(0, len(row["hashes"]), HASH_BYTES)]
    before = START if row["number"] == 1 else row["before"]
    if before is None or not len(hashes) == len(row["numbers"]) == chains:
        return False
    heads = list(zip(row["numbers"], hashes, strict=True))
    return seal(row["number"], row["sealed_at"], before, heads, chains=chains) == bytes(row["hash"])
