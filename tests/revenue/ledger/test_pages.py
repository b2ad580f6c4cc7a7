"""Both forms of the ledger, pages and the rows of former releases, give the same answers; lines and numbers of pages."""

from __future__ import annotations

import pytest

from libs.customs.partitions import PARTITIONS
from libs.store.tables.schema import ensure_day_partitions, today
from services.revenue.commands.sum_days import sum_days
from services.revenue.ledger.entry import LedgerError
from services.revenue.ledger.page import ENTRIES_MAX
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_checks import PARTITION, book_at, one_entry
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.ledger_answers import answers, history, lines_of
from tests.revenue.ledger.states import State, mrn


async def test_rows_of_former_releases_and_pages_give_the_same_answers_also_on_the_day_of_the_change(
    books: Books,
) -> None:
    await history(books, 100)
    by_pages = await answers(books, (100,))
    await as_rows(books)
    async with books.database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from ledger_page") == 0
        assert await reader.raw.fetchval("select count(*) from ledger_entry") > 30
    assert await answers(books, (100,)) == by_pages
    # The release after the rows goes on with pages, on the same day, of the same consignments too.
    await books.take(*(State(mrn(100 + number, number % 5), version=3) for number in range(6)))
    await history(books, 200)
    both = await answers(books, (100, 200))
    await as_rows(books)
    assert await answers(books, (100, 200)) == both


async def test_sums_of_a_day_are_the_same_from_rows_and_from_pages(books: Books) -> None:
    async with books.database.transaction() as tx:
        now = await today(tx)
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, [now - 3])
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    for partition, amount in ((3, 5), (4, 7), (3, 11)):
        await book_at(
            books, (now - 3) * MICROS_A_DAY, [one_entry(partition, ids["deferred:a"], ids["treasury:EU:tax"], amount)]
        )
    sums = []
    for form in range(2):
        if form:
            await as_rows(books)
        async with books.database.transaction() as tx:
            await tx.raw.execute("delete from ledger_turnover")
            await tx.raw.execute("delete from ledger_turnover_day")
        await sum_days(books.database)
        async with books.database.connection() as reader:
            rows = await reader.raw.fetch("select * from ledger_turnover order by account")
        sums.append([tuple(row) for row in rows])
    assert sums[0] == sums[1]
    assert [(row[-3], row[-2], row[-1]) for row in sums[0]] == [(3, 23, 0), (0, 0, 23)]


@pytest.mark.parametrize("rows_max", [1, 2, 3, 100])
async def test_lines_of_one_moment_come_in_the_order_of_partitions_whoever_booked_them(
    books: Books, rows_max: int
) -> None:
    """A clock that was set back gives several transactions the same time."""
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    account, treasury = ids["deferred:a"], ids["treasury:EU:tax"]
    async with books.database.connection() as reader:
        now = await today(reader)
    moment = now * MICROS_A_DAY + 5
    for at, amounts in (
        (moment, {63: 1, 1: 2}),
        (moment, {0: 4, 40: 8}),
        (moment, {1: 16}),
        (moment, {63: 32}),
        (moment + 1, {0: 64}),
        (moment + 1, {2: 128, 1: 256}),
        (moment + 2, {1: 512}),
    ):
        await book_at(
            books, at, [one_entry(partition, account, treasury, amount) for partition, amount in amounts.items()]
        )
    found = await lines_of(books, account, "EUR", (now, now), rows_max)
    assert [line.amount for line in found] == [4, 2, 16, 8, 1, 32, 64, 256, 128, 512]
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)
    for partition in (0, 1, 2, 40, 63):
        assert (await books.chain.check(partition, entries_max=10)).discrepancies == []
    # What an account came to by a moment has all of it.
    (holding,) = await books.balances.holdings(names=["deferred:a"], rows_max=1)
    for at, minor in ((moment - 1, 0), (moment, 63), (moment + 1, 63 + 448), (moment + 2, 1_023)):
        assert [each.minor for each in await books.balances.at([holding], at)] == [minor]


async def test_a_partition_s_entries_beyond_one_page_are_in_the_next(books: Books) -> None:
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    pair = (ids["deferred:a"], ids["treasury:EU:tax"])
    async with books.database.connection() as reader:
        moment = await reader.now()
    await book_at(books, moment, [one_entry(PARTITION, *pair, amount) for amount in range(1, ENTRIES_MAX + 1)])
    await book_at(books, moment, [one_entry(PARTITION, *pair, amount) for amount in range(1, ENTRIES_MAX + 2)])
    async with books.database.connection(snapshot=True) as reader:
        bounds = await reader.raw.fetch("select first_number, last_number from ledger_page order by 1")
        assert [tuple(row) for row in bounds] == [(1, 500), (501, 1_000), (1_001, 1_001)]
        day = moment // MICROS_A_DAY
        wanted = (1, 2, 499, 500, 501, 999, 1_000, 1_001)
        read = await books.chain.read_entries(reader, [(day, PARTITION, number) for number in wanted])
    assert [(entry.number, entry.postings[0].amount) for entry in read] == [
        (1, 1), (2, 2), (499, 499), (500, 500), (501, 1), (999, 499), (1_000, 500), (1_001, 501),
    ]  # fmt: skip
    for entries_max in (1, 300, 2_000):
        found = await books.chain.check(PARTITION, entries_max=entries_max)
        assert (found.entries, found.end, found.discrepancies) == (min(entries_max, 1_001), entries_max == 2_000, [])


async def test_a_balance_that_one_request_would_carry_beyond_64_bits_is_refused_in_our_words(books: Books) -> None:
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    pair = (ids["deferred:a"], ids["treasury:EU:tax"])
    parts = [one_entry(number % PARTITIONS, *pair, 10**16) for number in range(923)]
    async with books.database.connection() as reader:
        moment = await reader.now()
    with pytest.raises(LedgerError) as raised:
        await book_at(books, moment, parts)
    assert raised.value.reason == "BALANCE_OUT_OF_BOUNDS"
    assert sum(10**16 for _ in parts) >= 2**63 > sum(10**16 for _ in parts[1:])
