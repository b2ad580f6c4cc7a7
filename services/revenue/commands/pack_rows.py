"""Pack entries and postings that were booked before there were pages, chain by chain, in short transactions.

What is left to do is what is left in rows, so a kill loses at most the part that it cuts off. A day is packed from its end: behind the rows
of a day stand its pages, as on the day on which pages began. Rows are never changed, so nothing holds the head of a chain.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from libs.chain.hashing import START
from libs.store.database import Database, Transaction
from libs.store.errors import StoreConflict, StoreError
from libs.store.tables.leases import require_lease
from libs.store.tables.schema import day_partitions, drop_day, ensure_day_partitions, today
from libs.telemetry import get_logger
from services.revenue.store.ledger import former_rows
from services.revenue.store.ledger.entries import PARTITIONED
from services.revenue.store.ledger.former_rows import DayRows
from services.revenue.store.ledger.names import Names
from services.revenue.store.proofs.chain import Chain, ChainCheck
from services.revenue.store.proofs.seals import Seals, stored_hashes

ENTRIES_MAX: Final = 100
"""Entries of one transaction, and so of a page."""
VERIFIED_MAX: Final = 1_000
"""Entries that are verified at once."""
_READ_MILLIS: Final = 60_000
log = get_logger()


class RowsDiffer(StoreError):
    """Rows that are not packed, because they do not verify as pages; the message says why."""


@dataclass(frozen=True, slots=True)
class Packed:
    """How far packing came by one of its parts."""

    entries: int
    """Entries that this part packed; 0 where it verified or looked."""
    left: int
    """Entries that are still in rows."""


class Packing:
    """Packs former rows."""

    def __init__(self, database: Database, names: Names) -> None:
        """Pack the rows of a database."""
        self._database = database
        self._chain = Chain(database, names)
        self._seals = Seals(database)

    async def parts(self, lease: str, token: int) -> AsyncGenerator[Packed, None]:
        """Pack all rows that verify, part by part, under a lease. Raises LeaseLost.

        Of each chain all rows that are left are verified before the first of them is packed; a chain with a discrepancy is reported and
        stays as it is.
        """
        async with self._database.connection(timeout_millis=_READ_MILLIS) as reader:
            days = await day_partitions(reader, former_rows.TABLES[0])
            rows = await former_rows.left(reader, days) if days else []
        left = sum(map(len, rows))
        for partition, group in groupby(rows, lambda each: each.partition):
            own = list(group)
            try:
                async for _ in self._verify(partition, own):
                    yield Packed(0, left)
                for each in own:
                    async for entries in self._pack_day(each, lease, token):
                        left -= entries
                        yield Packed(entries, left)
            except (RowsDiffer, StoreConflict) as error:
                log.error(
                    "LEDGER_ROWS_NOT_PACKED", partition=partition, sentence=str(error), runbook="LuxorLedgerFault"
                )
        await self._drop_packed_days()

    async def _drop_packed_days(self) -> None:
        """Drop the tables of days before yesterday of which nobody sees a row."""
        async with self._database.connection() as reader:
            now = await today(reader)
            days = {day for table in former_rows.TABLES for day in await day_partitions(reader, table)}
        for day in sorted(day for day in days if day < now - 1):
            async with self._database.connection(timeout_millis=_READ_MILLIS) as reader:
                unused = await former_rows.emptied(reader, day)
            for table in former_rows.TABLES if unused else ():
                async with self._database.transaction() as tx:
                    await drop_day(tx, table, day)

    async def _verify(self, partition: int, rows: Sequence[DayRows]) -> AsyncIterator[None]:
        """Compute the chain from the first row that is left to the last. Raises RowsDiffer."""
        first, last = rows[0].first, rows[-1].last
        checked = ChainCheck(last=first - 1)
        async with self._database.connection() as reader:
            checked.hash = await _hash_before(reader, partition, first)
        while checked.last < last:
            async with self._database.connection(snapshot=True, timeout_millis=_READ_MILLIS) as reader:
                entries_max = min(VERIFIED_MAX, last - checked.last)
                found = await self._chain.check_entries(reader, partition, checked, entries_max)
            if found is None:
                checked.discrepancies.append(
                    f"partition {partition}: entries {checked.last + 1} to {last} stand in no day"
                )
            if checked.discrepancies:
                raise RowsDiffer(checked.discrepancies[0], database=self._database.name)
            yield

    async def _pack_day(self, rows: DayRows, lease: str, token: int) -> AsyncIterator[int]:
        """Pack the rows of a partition's day from the last to the first; yield how many entries each part had."""
        for table in PARTITIONED:
            async with self._database.transaction() as tx:
                await ensure_day_partitions(tx, table, [rows.day])
        async with self._database.connection(timeout_millis=_READ_MILLIS) as reader:
            sealed = await self._seals.named(reader, rows.partition, rows.first - 1, rows.last)
        last = rows.last
        while last >= rows.first:
            async with self._database.transaction() as tx:
                await require_lease(tx, lease, token)
                part = replace(rows, last=last)
                part = replace(part, first=await former_rows.first_of_part(tx, part, ENTRIES_MAX))
                await self._pack_part(tx, part, sealed)
            last = part.first - 1
            yield len(part)

    async def _pack_part(self, tx: Transaction, rows: DayRows, sealed: Sequence[int]) -> None:
        """Pack rows, and verify the pages that they became. Raises RowsDiffer."""
        before = await _hash_before(tx, rows.partition, rows.first)
        packed = await former_rows.pack(tx, rows, before, sealed)
        checked = ChainCheck(last=rows.first - 1, hash=before)
        await self._chain.check_pages(tx, rows.partition, rows.day, checked, rows.last, len(rows))
        if packed != (len(rows), checked.postings) or checked.entries != len(rows):
            checked.discrepancies.append(
                f"partition {rows.partition}, entries {rows.first} to {rows.last}: their rows and pages have other numbers of entries or postings"
            )
        if checked.discrepancies:
            raise RowsDiffer(checked.discrepancies[0], database=self._database.name)


async def _hash_before(reader: Transaction, partition: int, number: int) -> bytes:
    """Return the stored hash before an entry. Raises RowsDiffer where there is none."""
    if number == 1:
        return START
    found = await stored_hashes(reader, [partition], [number - 1])
    if partition not in found:
        raise RowsDiffer(
            f"partition {partition}: entry {number - 1} is missing, so that entry {number} cannot be verified",
            database=reader.database,
        )
    return found[partition]
