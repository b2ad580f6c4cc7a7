"""A chain of one partition: its check, and an entry that somebody alters."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.chain.hashing import START
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.entry import Entries
from services.revenue.store.ledger.entries import Heads
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.states import State, mrn

PARTITION = 3
PAGE = [State(mrn(number, PARTITION)) for number in range(5)]


async def checked(books: Books, **how: Any) -> list[str]:
    return (await books.chain.check(PARTITION, **{"entries_max": 1_000, **how})).discrepancies


async def hash_of(books: Books, number: int) -> bytes:
    async with books.database.connection() as reader:
        return bytes(
            await reader.raw.fetchval(
                "select hash from ledger_entry where partition = $1 and number = $2 "
                "union all select hash from ledger_page where partition = $1 and last_number = $2",
                PARTITION,
                number,
            )
        )


async def forge(books: Books) -> None:
    """Alter an entry and hash everything behind it anew, as one could who may write everything."""
    await as_rows(books)
    entries = [entry for state in PAGE for entry in await books.chain.of_mrn(state.mrn, rows_max=10)]
    before = START
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_entry set reference = 'forged' where number = 2")
        for entry in sorted(entries, key=lambda each: each.number):
            told = entry if entry.number != 2 else type(entry)(**{**_fields(entry), "reference": "forged"})
            before = told.hashed(before)
            await tx.raw.execute("update ledger_entry set hash = $1 where number = $2", before, entry.number)
        await tx.raw.execute("update ledger_head set hash = $1 where partition = $2", before, PARTITION)


def _fields(entry: Any) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__dataclass_fields__}


def one_entry(partition: int, account: int, treasury: int, amount: int) -> Entries:
    one = np.ones(1, np.int64)
    return Entries(
        one * partition, one * pb.ENTRY_KIND_ASSESSED, one * 0, ["m"], one, [""], ["EUR"], ["DE"],
        np.array([0, 2]), np.array([account, treasury]), np.array([2, 2]), np.array([amount, -amount]),
    )  # fmt: skip


async def book_at(books: Books, moment: int, parts: list[Entries]) -> None:
    """Book entries together at a moment."""
    async with books.database.transaction() as tx:
        entries = Entries.concat(parts)
        heads = await books.ledger.book.lock(tx, entries.partition.tolist())
        await books.ledger.book.post(tx, Heads(heads.last, dict.fromkeys(heads.last, moment)), entries)
