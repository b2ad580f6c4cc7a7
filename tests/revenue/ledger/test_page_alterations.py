"""What is altered of pages, and of the lists of accounts that name them, is found by the proofs, whatever agrees with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pytest

from libs.chain.hashing import START
from libs.customs.partitions import PARTITIONS
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.schema import ensure_day_partitions, today
from services.revenue.store.ledger.entries import PARTITIONED
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_checks import PAGE, PARTITION, book_at, checked, one_entry
from tests.revenue.ledger.former_rows import as_rows

PAGE_CHANGES = {
    "day": ["day - 1", "day + 1"],
    "partition": ["partition + 1"],
    "first_number": ["first_number + 1", "first_number - 1"],
    "last_number": ["last_number + 1", "last_number - 1", "1, first_number = 3"],
    "booked_at": ["booked_at - 1"],
    "slot": ["slot + 1"],
    "batch": ["batch + 1"],
    "hash_before": ["set_byte(hash_before, 31, 1)"],
    "hash": ["set_byte(hash, 31, get_byte(hash, 31) # 1)"],
    "currencies": ["array['GBP']", "'{}'", "currencies || 'GBP'::text"],
    "destinations": ["array['FR']", "'{}'"],
}
"""New values of the columns that a page has once."""
VALUES = {
    "kind": "5", "reverses": "1", "version": "9", "mrn": "'x'", "reference": "'x'", "currency": "2", "destination": "2",
    "entry": "3", "place": "2", "account": "1 + {}[13]", "charge": "3", "amount": "1 + {}[13]", "posting_currency": "2",
}  # fmt: skip
"""New values of the thirteenth posting or the fourth entry; entry 4 owns the postings 13 to 16."""
FIRST_OF_POSTING = "entry"
LIST_CHANGES = {
    "day": ["day - 1", "day + 1"],
    "account": ["account + 100"],
    "currency": ["'GBP'"],
    "booked_at": ["booked_at - 1"],
    "slot": ["slot + 1"],
    "batch": ["batch + 1"],
    "partitions": ["partitions | 1", "0"],
    "lines": ["lines + 1"],
    "debit": ["debit + 1"],
    "credit": ["credit + 1"],
}


def changes() -> list[str]:
    names = list(VALUES)
    found = [f"update ledger_page set {name} = {value}" for name, each in PAGE_CHANGES.items() for value in each]
    for name, value in VALUES.items():
        place = 13 if names.index(name) >= names.index(FIRST_OF_POSTING) else 4
        found += [
            f"update ledger_page set {name}[{place}] = {value.format(name)}",
            f"update ledger_page set {name} = {name}[:array_length({name}, 1) - 1]",
            f"update ledger_page set {name} = {name} || {name}[{place}]",
            f"update ledger_page set {name} = '{{}}'",
            f"update ledger_page set {name}[{place}] = null",
            # The same values behind a place that the views do not read.
            f"update ledger_page set {name} = array_fill({name}[1], array[array_length({name}, 1)], array[0])",
        ]
    # An array of two dimensions, whose elements are lists.
    found += [f"update ledger_page set {name} = array[{name}]" for name in ("account", "currency", "currencies")]
    found += [
        f"update ledger_account_page set {name} = {value}" for name, each in LIST_CHANGES.items() for value in each
    ]
    copied = "insert into {0} select (jsonb_populate_record(t, jsonb_build_object('{1}', t.{1} {2}))).* from {0} t"
    return [
        *found,
        "delete from ledger_page",
        "delete from ledger_account_page where debit > 0",
        "delete from ledger_account_page",
        copied.format("ledger_page", "last_number", "+ 1"),
        copied.format("ledger_page", "day", "- 1"),
        copied.format("ledger_account_page", "batch", "+ 1"),
        copied.format("ledger_account_page", "day", "- 1"),
    ]


async def test_whatever_is_altered_of_a_page_or_of_the_list_of_an_account_is_found(books: Books) -> None:
    await books.take(*PAGE)
    async with books.database.transaction() as tx:
        for table, known in (("ledger_page", PAGE_CHANGES | VALUES), ("ledger_account_page", LIST_CHANGES)):
            columns = await tx.raw.fetch(
                "select column_name from information_schema.columns where table_name = $1", table
            )
            assert {row["column_name"] for row in columns} == set(known), "a column that no change alters"
            await ensure_day_partitions(tx, table, [await today(tx) - 1])
            await tx.raw.execute(f"create temporary table saved_{table} as select * from {table}")
        await Seals(books.database).make(tx)
        saved = {table: await tx.raw.fetch(f"select * from {table}") for table in PARTITIONED}
    assert [len(saved[table]) for table in PARTITIONED] == [1, 4], "one page, on four accounts"
    for change in changes():
        async with books.database.transaction() as tx:
            await tx.raw.execute(change)
        faults = await checked(Books(books.database))
        assert faults, change
        assert all(f"partition {PARTITION}" in fault or "seal" in fault for fault in faults), (change, faults)
        async with books.database.transaction() as tx:
            for table, rows in saved.items():
                await tx.raw.execute(f"delete from {table}")
                await tx.raw.copy_records_to_table(
                    table, records=[tuple(row) for row in rows], columns=list(rows[0].keys())
                )
    assert await checked(Books(books.database)) == []


async def test_what_is_altered_of_a_page_is_named_by_its_place(books: Books) -> None:
    await books.take(*PAGE)
    for change, expected in (
        ("amount[13] = amount[13] + 7", "partition 3, entry 4: its 4 postings sum to 7 minor units, not to nothing"),
        (
            "mrn[4] = 'x'",
            "partition 3, entries 1 to 10: their content or what stands before it was altered; the stored hash does not follow",
        ),
        (
            "hash_before = decode(repeat('11', 32), 'hex')",
            "partition 3, entries 1 to 10: their page was altered; it begins with another hash than that of the entry before",
        ),
        (
            "version = version[:9]",
            "partition 3, entries 1 to 10: their page was altered; it has 10 numbers and 9 values of version",
        ),
        ("last_number = 9, first_number = 0", "partition 3: entries 10 to 10 are missing"),
    ):
        async with books.database.transaction() as tx:
            (row,) = await tx.raw.fetch("select * from ledger_page")
            await tx.raw.execute(f"update ledger_page set {change}")
        assert expected in await checked(Books(books.database)), change
        async with books.database.transaction() as tx:
            await tx.raw.execute("delete from ledger_page")
            await tx.raw.copy_records_to_table("ledger_page", records=[tuple(row)], columns=list(row.keys()))


async def test_a_part_that_ends_within_a_page_goes_on_from_its_hash_alone(books: Books) -> None:
    await books.take(*PAGE)
    expected = [entry for state in PAGE for entry in await books.chain.of_mrn(state.mrn, rows_max=10)]
    hashes = {entry.number: entry.hash for entry in expected}
    for end in range(1, 10):
        first = await books.chain.check(PARTITION, entries_max=end)
        assert (first.entries, first.last, first.hash, first.end) == (end, end, hashes[end], False)
        rest = await books.chain.check(PARTITION, after=end, before=first.hash, entries_max=1_000)
        assert (rest.entries, rest.last, rest.end, rest.discrepancies) == (10 - end, 10, True, [])
        assert (await books.chain.check(PARTITION, after=end, before=START, entries_max=1_000)).discrepancies


async def test_a_number_that_no_entry_has_is_told_of_its_page(database: Database, books: Books) -> None:
    await books.take(*PAGE)
    async with database.transaction() as tx:
        await tx.raw.execute("update ledger_page set kind[2] = -1")
    (first, *_) = await checked(books)
    assert first.startswith(
        "partition 3, entries 1 to 10: their page was altered; entry 2 has a number that no entry has"
    )


PHANTOM = """
insert into ledger_page select day, partition, 2, 2, booked_at, slot, batch + 1, hash_before, hash, currencies, destinations, '{2}', '{0}', '{0}',
    array[''], array[''], '{1}', '{1}', '{1,1}', '{0,1}', account[1:2], charge[1:2], '{1000000,-1000000}', '{1,1}'
from ledger_page where partition = 3 and last_number = 2
"""
"""A page that ends where another does, with the postings of a payment that nobody made."""
WITH_BALANCES = (
    "insert into ledger_account_page select day, account, currency, booked_at, slot, batch + 1, partitions, 1, "
    "1000000 * (debit > 0)::integer, 1000000 * (credit > 0)::integer from ledger_account_page where slot = 3 and batch = 1",
    "update ledger_balance set debit = debit + 1000000 where slot = 3 and debit > 0",
    "update ledger_balance set credit = credit + 1000000 where slot = 3 and credit > 0",
)


async def proven(books: Books) -> list[str]:
    fresh = Books(books.database)
    return [
        each
        for place in range(PARTITIONS)
        for each in (await fresh.chain.check(place, entries_max=100_000)).discrepancies
    ]


async def booked(books: Books, *, accounts: Sequence[str] = ("deferred:a",), others: Sequence[int] = (9,)) -> None:
    """Three entries of each account in partition 3 in two batches, one in each other partition; sealed."""
    ids = await books.ledger.name_ids({*accounts, "treasury:EU:tax"})
    pairs = [(ids[account], ids["treasury:EU:tax"]) for account in accounts]
    async with books.database.connection() as reader:
        moment = await reader.now()
    for parts in ([(3, 100), (3, 50)], [(3, 7)], *([(other, 11)] for other in others)):
        await book_at(
            books, moment, [one_entry(partition, *pair, amount) for pair in pairs for partition, amount in parts]
        )
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)


async def change(books: Books, *statements: str) -> None:
    async with books.database.transaction() as tx:
        for each in statements:
            await tx.raw.execute(each)


async def test_a_page_beside_another_is_found_though_balances_and_lists_agree_with_it(books: Books) -> None:
    await booked(books)
    assert await proven(books) == []
    await change(books, PHANTOM, *WITH_BALANCES)
    (expected,) = [each for each in await proven(books) if "numbers" in each]
    assert expected.startswith("partition 3: 3 entries were booked on ")
    assert expected.endswith("and pages and rows have 4 numbers")


async def test_the_list_of_an_account_that_differs_is_named_with_day_and_batch(books: Books) -> None:
    statements = (
        "delete from ledger_account_page where {}",
        "insert into ledger_account_page select (jsonb_populate_record(l, jsonb_build_object('batch', 2))).* "
        "from ledger_account_page l where {}",
        "update ledger_account_page set debit = debit + 1 where {}",
        "update ledger_account_page set credit = credit + 1 where {}",
        "update ledger_account_page set lines = lines - 1 where {}",
        "update ledger_account_page set partitions = partitions | 1 << 9 where {}",
        "update ledger_account_page set partitions = partitions & ~(1 << 3) where {}",
    )
    # Each statement has an account of its own; one account is left as it is.
    accounts = [f"deferred:{number}" for number in range(len(statements) + 1)]
    await booked(books, accounts=accounts)
    second = 2 * len(accounts) + 1
    ids = await books.ledger.name_ids(set(accounts))
    async with books.database.connection() as reader:
        day = date.fromordinal(date(1970, 1, 1).toordinal() + await today(reader))
    await change(
        books,
        *(
            statement.format(f"slot = 3 and batch = {second} and account = {ids[account]}")
            for statement, account in zip(statements, accounts, strict=False)
        ),
    )
    assert sorted(each for each in await proven(books) if "list of pages" in each) == [
        f"partition 3: the list of pages of {account} in EUR differs from the pages of 1 batches by the end of {day}; "
        f"the first batch begins with entry {2 if statement.startswith('insert') else second}"
        for statement, account in zip(statements, accounts, strict=False)
    ]


async def test_a_page_over_rows_of_former_releases_is_found_though_balances_agree_with_it(books: Books) -> None:
    await booked(books)
    async with books.database.connection() as reader:
        (page,) = await reader.raw.fetch("select * from ledger_page where partition = 3 and last_number = 2")
    await as_rows(books)
    assert await proven(books) == []
    async with books.database.transaction() as tx:
        await tx.raw.copy_records_to_table("ledger_page", records=[tuple(page)], columns=list(page.keys()))
        await tx.raw.execute(PHANTOM)
        await tx.raw.execute("delete from ledger_page where first_number = 1")
        for statement in WITH_BALANCES[1:]:
            await tx.raw.execute(statement)
        await tx.raw.execute(
            "insert into ledger_account_page select day, unnest(account), 'EUR', booked_at, 3, batch, 8, 1, "
            "unnest(array[1000000, 0]), unnest(array[0, 1000000]) from ledger_page"
        )
    assert any("pages and rows have 4 numbers" in each for each in await proven(books))


async def test_a_former_posting_of_no_entry_is_found_on_a_day_of_pages(books: Books) -> None:
    await booked(books)
    await change(
        books,
        "insert into ledger_posting (day, booked_at, number, amount, account, partition, place, kind, currency) "
        "select day, booked_at, 1, amount[1], account[1], partition, 0, charge[1], 'EUR' from ledger_page where partition = 9",
    )
    assert any("partition 9: 1 postings of" in each and "belong to no entry" in each for each in await proven(books))


async def test_a_page_whose_slot_booked_nothing_that_day_is_found(books: Books) -> None:
    places = {9: (50, 1), 10: (3, 4), 11: (3, 0)}
    await booked(books, others=[*places, 12])
    for partition, (slot, batch) in places.items():
        await change(
            books,
            f"update ledger_page set slot = {slot}, batch = {batch} where partition = {partition}",
            f"delete from ledger_balance where slot = {partition}",
            f"delete from ledger_account_page where slot = {partition}",
        )
    assert [
        each.partition(" of ")[0] for each in await proven(books) if " pages of " in each and "list" not in each
    ] == [f"partition {partition}: 1 pages" for partition in places]


async def test_partitions_that_do_not_exist_are_refused_by_the_store_and_found_without_its_checks(books: Books) -> None:
    await booked(books)
    page = (
        "insert into ledger_page select (jsonb_populate_record(p, jsonb_build_object('partition', {0}, 'slot', {1}))).* "
        "from ledger_page p where partition = 9"
    )
    listed = (
        "insert into ledger_account_page select (jsonb_populate_record(l, jsonb_build_object('slot', {1}))).* "
        "from ledger_account_page l where slot = 9"
    )
    for statement in (
        page.format(64, 9),
        page.format(9, 64),
        page.format(-1, 9),
        listed.format(0, 64),
        listed.format(0, -1),
    ):
        with pytest.raises(StoreError, match="23514"):
            await change(books, statement)
    async with books.database.transaction() as tx:
        for table, name in (
            ("ledger_page", "ledger_page_partition_check"), ("ledger_page", "ledger_page_slot_check"),
            ("ledger_account_page", "ledger_account_page_slot_check"),
        ):  # fmt: skip
            await tx.raw.execute(f"alter table {table} drop constraint {name}")
    # One page and, of the two accounts, two rows of lists.
    await change(books, page.format(64, 9), listed.format(0, -1))
    assert any(each.startswith("3 pages or rows of lists") for each in await proven(books))
    await change(
        books,
        "delete from ledger_page where partition = 64",
        "delete from ledger_account_page where slot not between 0 and 63",
    )
    assert await proven(books) == []
