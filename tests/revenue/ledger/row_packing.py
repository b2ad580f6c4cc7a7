"""Packing of former rows, part by part, and what is stored of them."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from libs.store.tables.leases import try_lease
from libs.store.tables.schema import ensure_day_partitions, today
from services.revenue.commands.pack_rows import Packed, Packing
from services.revenue.jobs.packing import LEASE
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books, guarded, unguarded
from tests.revenue.ledger.chain_checks import book_at, one_entry
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.ledger_answers import history

FORMER = ("ledger_entry", "ledger_posting")
TABLES = (*FORMER, *PARTITIONED)


class Killed(Exception):
    """The process ends here."""


async def seal(books: Books) -> None:
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)


async def fill(books: Books, days: int = -1) -> None:
    """Rows of today and of a day before it, in partitions 0 to 9, in two currencies; the clock of the first day stood still between two seals."""
    async with books.database.transaction() as tx:
        first = await today(tx) + days
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, [first])
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    account, treasury = ids["deferred:a"], ids["treasury:EU:tax"]
    moment = first * MICROS_A_DAY + 5_000_000
    for amount in (5, 7, 11):
        await book_at(books, moment, [one_entry(partition, account, treasury, amount) for partition in (3, 3, 4)])
        await seal(books)
    await book_at(books, moment + 1, [one_entry(3, account, treasury, 13)])
    await history(books, 100)
    await seal(books)
    await as_rows(books)


async def alter(books: Books, change: str) -> None:
    """Change rows as an intruder with all rights could."""
    await unguarded(books.database)
    async with books.database.transaction() as tx:
        await tx.raw.execute(change)
    await guarded(books.database)


async def token_of(books: Books, replica: str = "a") -> int:
    """Take the lease of the job."""
    async with books.database.transaction() as tx:
        token = await try_lease(tx, LEASE, replica, 300)
    assert token is not None
    return token


async def pack(books: Books, parts_max: int = 1_000) -> list[Packed]:
    """Pack by up to so many parts that pack anything, as a replica that is stopped behind them would."""
    found = []
    async with aclosing(Packing(books.database, books.ledger.names).parts(LEASE, await token_of(books))) as parts:
        async for part in parts:
            if part.entries:
                found.append(part)
            if len(found) == parts_max:
                break
    return found


async def stored(books: Books, *tables: str) -> dict[str, list[Any]]:
    """Return all rows of tables, in an order."""
    async with books.database.connection() as reader:
        return {
            each: sorted((tuple(row) for row in await reader.raw.fetch(f"select * from {each}")), key=repr)
            for each in tables
        }


async def rows_left(books: Books) -> int:
    """Return how many entries are in rows."""
    return len((await stored(books, "ledger_entry"))["ledger_entry"])
