"""A store with the rows of former releases gets pages: what was booked stays proven, and what is booked next follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.chain.hashing import START
from libs.store.database import Database
from libs.store.tables.migrate import migrate
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.entry import Entries
from services.revenue.store.proofs.seals import Seals
from services.revenue.store.proofs.stored_entry import StoredEntry, StoredPosting
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_checks import one_entry
from tests.revenue.ledger.row_packing import pack, rows_left, stored
from tests.support.earlier_schema import migrate_to

ACCOUNT, TREASURY = (1, "deferred:a"), (2, "treasury:EU:tax")


async def book(books: Books, *parts: Entries) -> None:
    async with books.database.transaction() as tx:
        entries = Entries.concat(parts)
        heads = await books.ledger.book.lock(tx, entries.partition.tolist())
        await books.ledger.book.post(tx, heads, entries)


async def proven(books: Books) -> list[str]:
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)
    return [each for place in range(64) for each in (await books.chain.check(place, entries_max=100)).discrepancies]


async def fill(database: Database) -> int:
    """Entries 1 to 3 of three partitions, as the release with revision 0009 stored them; returns the time of booking."""
    async with database.transaction() as tx:
        now = await tx.now()
        day = now // 86_400_000_000
        for number, name in (ACCOUNT, TREASURY):
            await tx.raw.execute(
                "insert into ledger_name (id, name) overriding system value values ($1, $2)", number, name
            )
            await tx.raw.execute(
                "insert into ledger_holding (name, currency, account) values ($1, 'EUR', $2)", name, number
            )
        for partition in (1, 3, 9):
            before = START
            for number in (1, 2, 3):
                amount = partition * 10 + number
                postings = [StoredPosting(ACCOUNT[1], amount, 2), StoredPosting(TREASURY[1], -amount, 2)]
                kind = pb.ENTRY_KIND_ASSESSED
                entry = StoredEntry(day, partition, number, kind, 0, now, "m", 1, "", "EUR", "DE", b"", postings)
                before = entry.hashed(before)
                await tx.raw.execute(
                    "insert into ledger_entry (day, partition, number, kind, reverses, booked_at, mrn, version, reference, currency, "
                    "destination, hash) values ($1, $2, $3, $4, 0, $5, 'm', 1, '', 'EUR', 'DE', $6)",
                    day, partition, number, kind, now, before,
                )  # fmt: skip
                for place, (account, minor) in enumerate(((1, amount), (2, -amount))):
                    await tx.raw.execute(
                        "insert into ledger_posting (day, booked_at, number, amount, account, partition, place, kind, currency) "
                        "values ($1, $2, $3, $4, $5, $6, $7, 2, 'EUR')",
                        day, now, number, minor, account, partition, place,
                    )  # fmt: skip
            await tx.raw.execute("insert into ledger_day values ($1, $2, 1, 3)", partition, day)
            await tx.raw.execute(
                "insert into ledger_balance (account, currency, partition, day, debit, credit) "
                "values (1, 'EUR', $1, $2, $3, 0), (2, 'EUR', $1, $2, 0, $3)",
                partition, day, 30 * partition + 6,
            )  # fmt: skip
            await tx.raw.execute(
                "update ledger_head set number = 3, hash = $2, booked_at = $3 where partition = $1",
                partition,
                before,
                now,
            )
    return int(now)


async def test_a_ledger_of_rows_goes_on_with_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.revenue", "0009", tmp_path, monkeypatch)
    booked_at = await fill(database)
    day = booked_at // 86_400_000_000
    assert await migrate(database, "services.revenue") == [
        "0010",
        "0011",
        "0012",
        "0013",
        "0014",
        "0015",
        "0016",
        "0017",
    ]
    books = Books(database)
    assert await proven(books) == []
    before = 3 * 6 + 30 * (1 + 3 + 9)
    assert await books.standing() == {ACCOUNT[1]: before, TREASURY[1]: -before}
    await book(books, one_entry(3, 1, 2, 1_000), one_entry(9, 1, 2, 100), one_entry(40, 1, 2, 7))
    await book(books, one_entry(9, 1, 2, 5))
    assert await proven(books) == []
    assert await books.standing() == {ACCOUNT[1]: before + 1_112, TREASURY[1]: -before - 1_112}
    assert await books.standing(booked_at) == {ACCOUNT[1]: before, TREASURY[1]: -before}
    statement = await books.balances.statement(1, "EUR", day, day, rows_max=100)
    assert (statement.opening, statement.closing) == (0, before + 1_112)
    assert [(each.kind, each.consignments, each.amount) for each in statement.totals] == [(2, 13, before + 1_112)]
    rows = [partition * 10 + number for partition in (1, 3, 9) for number in (1, 2, 3)]
    assert [line.amount for line in statement.lines] == [*rows, 1_000, 100, 7, 5]
    async with database.connection() as reader:
        assert await reader.raw.fetchval("select array_agg(number order by number) from all_entries where partition = 9") == [
            1, 2, 3, 4, 5,
        ]  # fmt: skip
    # What was booked before there were pages becomes pages, before those that were booked since.
    views = await stored(books, "all_entries", "all_postings")
    assert [(each.entries, each.left) for each in await pack(books)] == [(3, 6), (3, 3), (3, 0)]
    assert await rows_left(books) == 0
    packed = await stored(books, "all_entries", "all_postings")
    kept = [0, 1, 2, *range(5, 13)]  # all but the bounds of the page, which of a row are its own number
    assert [[row[place] for place in kept] for row in packed["all_entries"]] == [
        [row[place] for place in kept] for row in views["all_entries"]
    ]
    assert len(packed["all_postings"]) == len(views["all_postings"])
    assert await proven(Books(database)) == []
    assert await books.standing(booked_at) == {ACCOUNT[1]: before, TREASURY[1]: -before}
    assert await books.standing() == {ACCOUNT[1]: before + 1_112, TREASURY[1]: -before - 1_112}
    assert await books.balances.statement(1, "EUR", day, day, rows_max=100) == statement
