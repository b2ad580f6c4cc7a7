"""The ledger by pages: what is altered in one is found, and both forms of the ledger give the same answers."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from libs.customs.partitions import PARTITIONS
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.schema import ensure_day_partitions, today
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.commands.sum_days import sum_days
from services.revenue.ledger.entry import Entries, LedgerError
from services.revenue.ledger.hash_chain import START
from services.revenue.ledger.page import ENTRIES_MAX, Page, PageError, Pages, pages_of
from services.revenue.store.ledger.balances import BEGINNING, Statement, StatementLine
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED, Heads
from services.revenue.store.ledger.pages import ENTRY_COLUMNS
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books, emptied, unguarded
from tests.revenue.ledger.chain_checks import PAGE, PARTITION, checked, one_entry
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.states import TAX, Charge, State, mrn

PAGE_CHANGES = {
    "day": ["day - 1", "day + 1"],
    "partition": ["partition + 1"],
    "first_number": ["first_number + 1", "first_number - 1"],
    "last_number": ["last_number + 1", "last_number - 1"],
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
    for change, told in (
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
        assert told in await checked(Books(books.database)), change
        async with books.database.transaction() as tx:
            await tx.raw.execute("delete from ledger_page")
            await tx.raw.copy_records_to_table("ledger_page", records=[tuple(row)], columns=list(row.keys()))


async def test_a_part_that_ends_within_a_page_goes_on_from_its_hash_alone(books: Books) -> None:
    await books.take(*PAGE)
    told = [entry for state in PAGE for entry in await books.chain.of_mrn(state.mrn, rows_max=10)]
    hashes = {entry.number: entry.hash for entry in told}
    for end in range(1, 10):
        first = await books.chain.check(PARTITION, entries_max=end)
        assert (first.entries, first.last, first.hash, first.end) == (end, end, hashes[end], False)
        rest = await books.chain.check(PARTITION, after=end, before=first.hash, entries_max=1_000)
        assert (rest.entries, rest.last, rest.end, rest.discrepancies) == (10 - end, 10, True, [])
        assert (await books.chain.check(PARTITION, after=end, before=START, entries_max=1_000)).discrepancies


async def history(books: Books, start: int) -> None:
    """Consignments of several partitions, currencies and states, paid, sent back, in part paid out again."""
    await books.take(
        *(State(mrn(start + number, number % 5)) for number in range(12)),
        State(mrn(start + 20, 9), currency="SEK", destination="SE", rulebook="NO/2026.1/1f0c9a2b"),
        State(mrn(start + 21, 2), charges=(Charge(300, account="border:DE"),), debt_account=""),
        State(mrn(start + 22, 2), charges=(Charge(5), Charge(6, TAX)), debt=6, debt_account=""),
    )
    await books.take(*(State(mrn(start + number, number % 5), version=2, returned=(1,)) for number in range(3)))
    await books.pay(
        Payment(f"b{start}", mrn(start + 21, 2), "EU", "EUR", 400),
        Payment(f"c{start}", "deferred:carrier-7", "EU", "EUR", 2_000),
        Payment(f"d{start}", "nobody", "EU", "EUR", 7),
    )
    await books.pay(Payment(f"e{start}", "", "EU", "EUR", 2_000, f"c{start}"))
    await Payouts(books.ledger).record([Payout(f"o{start}", mrn(start + 21, 2), "EU", "EUR", 100)], "officer-1")


async def lines_of(
    books: Books, account: int, currency: str, days: tuple[int, int], rows_max: int
) -> list[StatementLine]:
    found: list[StatementLine] = []
    after = BEGINNING
    while lines := (await books.balances.statement(account, currency, *days, after=after, rows_max=rows_max)).lines:
        assert len(lines) <= rows_max
        found += lines
        after = lines[-1].at
    return found


async def answers(books: Books, starts: tuple[int, ...]) -> dict[str, Any]:
    """All that the ledger tells, by question."""
    async with books.database.connection() as reader:
        now = await today(reader)
        times = [
            row["at"] for row in await reader.raw.fetch("select distinct booked_at as at from all_entries order by 1")
        ]
    holdings = await books.balances.holdings(rows_max=1_000)
    told: dict[str, Any] = {"current": await books.balances.at(holdings)}
    for moment in (*times, times[0] - 1, times[-1] + 1):
        told[f"at {moment}"] = await books.balances.at(holdings, moment)
    days = (now - 1, now)
    for each in holdings:
        statement = await books.balances.statement(each.account, each.currency, *days, rows_max=1_000)
        assert isinstance(statement, Statement)
        told[f"statement of {each.name} {each.currency}"] = statement
        for rows_max in (1, 3):
            assert await lines_of(books, each.account, each.currency, days, rows_max) == statement.lines
        entries, last = await books.chain.of_account(each.account, each.currency, *days, rows_max=1_000)
        told[f"entries of {each.name} {each.currency}"] = (entries, last)
    for start in starts:
        for number, partition in [*((number, number % 5) for number in range(12)), (20, 9), (21, 2), (22, 2)]:
            told[f"entries of {start + number}"] = await books.chain.of_mrn(
                mrn(start + number, partition), rows_max=100
            )
    for partition in range(10):
        found = await books.chain.check(partition, entries_max=1_000)
        assert found.discrepancies == []
        told[f"chain {partition}"] = (found.entries, found.postings, found.last, found.hash, found.end, found.mrns)
    return told


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


async def book_at(books: Books, moment: int, parts: list[Entries]) -> None:
    """Book entries together at a moment."""
    async with books.database.transaction() as tx:
        entries = Entries.concat(parts)
        heads = await books.ledger.book.lock(tx, entries.partition.tolist())
        await books.ledger.book.post(tx, Heads(heads.last, dict.fromkeys(heads.last, moment)), entries)


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


def entries_with(*lengths: int, partitions: tuple[int, ...] = ()) -> Entries:
    """Entries with so many postings each."""
    count, total = len(lengths), sum(lengths)
    zeros = np.zeros(count, np.int64)
    return Entries(
        np.array(partitions or [1] * count, np.int64), zeros + pb.ENTRY_KIND_PAID, zeros, ["m"] * count, zeros, ["r"] * count,
        ["EUR"] * count, ["DE"] * count, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.ones(total, np.int64), np.zeros(total, np.int64), np.arange(total, dtype=np.int64),
    )  # fmt: skip


def each_of(pages: Pages) -> list[Page]:
    """The pages one by one, as they are read from the store."""
    found = []
    for place in range(len(pages)):
        values = {}
        for field in fields(Page):
            column = getattr(pages, field.name)
            if field.name in ENTRY_COLUMNS:
                column = column[pages.entry_offsets[place] : pages.entry_offsets[place + 1]]
            elif isinstance(column, np.ndarray):
                column = column[pages.posting_offsets[place] : pages.posting_offsets[place + 1]].tolist()
            else:
                column = column[place]
            values[field.name] = column.tolist() if isinstance(column, np.ndarray) else column
        found.append(Page(**values))
    return found


@pytest.mark.parametrize(
    ("lengths", "pages"),
    [
        ((5_000, 5_000), [(1, 2)]),
        ((5_000, 5_001), [(1, 1), (2, 2)]),
        ((10_000,), [(1, 1)]),
        ((10_000, 2), [(1, 1), (2, 2)]),
        ((2, 10_000, 2, 2), [(1, 1), (2, 2), (3, 4)]),
        ((2,) * 500, [(1, 500)]),
        ((2,) * 501, [(1, 500), (501, 501)]),
    ],
)
def test_a_page_has_no_more_entries_and_postings_than_its_limits(
    lengths: tuple[int, ...], pages: list[tuple[int, int]]
) -> None:
    numbers = list(range(1, len(lengths) + 1))
    hashes = [bytes([number % 251]) * 32 for number in numbers]
    found = each_of(pages_of(entries_with(*lengths), numbers, hashes, {1: START}))
    assert [(page.first_number, page.last_number) for page in found] == pages
    assert [page.hash for page in found] == [hashes[last - 1] for _, last in pages]
    assert [page.hash_before for page in found] == [START, *(page.hash for page in found[:-1])]
    assert [amount for page in found for amount in page.amount] == list(range(sum(lengths)))
    for page in found:
        page.bounds()


def test_entries_of_each_partition_are_a_page_in_their_order() -> None:
    partitions = (5, 1, PARTITIONS - 1, 1, 5)
    numbers, hashes = [7, 3, 1, 4, 8], [bytes([place]) * 32 for place in range(5)]
    befores = {5: b"a", 1: b"b", PARTITIONS - 1: b"c"}
    found = each_of(pages_of(entries_with(2, 3, 2, 2, 4, partitions=partitions), numbers, hashes, befores))
    assert [(p.partition, p.first_number, p.last_number, p.hash_before, p.hash, p.amount) for p in found] == [
        (1, 3, 4, b"b", hashes[3], [2, 3, 4, 7, 8]),
        (5, 7, 8, b"a", hashes[4], [0, 1, 9, 10, 11, 12]),
        (63, 1, 1, b"c", hashes[2], [5, 6]),
    ]
    assert [page.bounds() for page in found] == [[0, 3, 5], [0, 2, 6], [0, 2]]


def test_each_page_lists_its_own_currencies_and_destinations() -> None:
    entries = replace(
        entries_with(2, 3, 2, 2, partitions=(5, 1, 5, 1)),
        currency=["EUR", "SEK", "USD", "SEK"],
        destination=["DE", "", "DE", "FR"],
    )
    found = each_of(pages_of(entries, [1, 1, 2, 2], [START] * 4, {5: START, 1: START}))
    told = [
        [
            (page.currencies[code - 1], page.destinations[place - 1])
            for code, place in zip(page.currency, page.destination, strict=True)
        ]
        for page in found
    ]
    assert told == [[("SEK", ""), ("SEK", "FR")], [("EUR", "DE"), ("USD", "DE")]]
    assert [page.currencies for page in found] == [["SEK"], ["EUR", "USD"]]
    assert [page.bounds() for page in found] == [[0, 3, 5], [0, 2, 4]]
    assert [[page.currencies[code - 1] for code in page.posting_currency] for page in found] == [
        ["SEK"] * 5, ["EUR", "EUR", "USD", "USD"],
    ]  # fmt: skip


SOUND = Page(
    1, 4, 5, START, START, ["EUR", "SEK"], ["DE"], [1, 2], [0, 0], [1, 1], ["m", "n"], ["", "r"], [1, 2], [1, 1],
    [1, 1, 2, 2], [0, 1, 0, 1], [7, 8, 7, 8], [1, 1, 0, 0], [5, -5, 6, -6], [1, 1, 2, 2],
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *(
            ({name: []}, f"it has 2 numbers and 0 values of {name}")
            for name in ("kind", "reverses", "version", "mrn", "reference")
        ),
        ({"currency": [1]}, "it has 2 numbers and 1 values of currency"),
        ({"destination": [1, 1, 1]}, "it has 2 numbers and 3 values of destination"),
        ({"last_number": 503}, "it has 500 numbers and 2 values of kind"),
        ({"last_number": 504}, "it has 501 numbers; a page has 1 to 500"),
        ({"last_number": 3}, "it has 0 numbers; a page has 1 to 500"),
        ({"last_number": 6}, "it has 3 numbers and 2 values of kind"),
        *(
            ({name: [0]}, f"it has 4 postings and 1 values of {name}")
            for name in ("place", "account", "charge", "amount")
        ),
        ({"posting_currency": [1] * 5}, "it has 4 postings and 5 values of posting_currency"),
        *(
            ({name: [None, 1, 1, 1]}, "one of its values is missing")
            for name in ("place", "account", "charge", "amount")
        ),
        ({"mrn": ["m", None]}, "one of its values is missing"),
        ({"currencies": ["EUR", None]}, "one of its values is missing"),
        ({"currency": [0, 2]}, "an entry names a currency that the page does not have"),
        ({"currency": [1, 3]}, "an entry names a currency that the page does not have"),
        ({"destination": [0, 1]}, "an entry names a destination that the page does not have"),
        ({"destination": [1, 2]}, "an entry names a destination that the page does not have"),
        ({"currencies": ["EUR", "SEK", "NOK"]}, "its list of currency has a value that no entry has, or one twice"),
        ({"currencies": ["EUR", "EUR"]}, "its list of currency has a value that no entry has, or one twice"),
        ({"destinations": ["DE", "FR"]}, "its list of destination has a value that no entry has, or one twice"),
        ({"entry": [0, 1, 2, 2]}, "its postings are not in the order of its entries"),
        ({"entry": [1, 1, 2, 3]}, "its postings are not in the order of its entries"),
        ({"entry": [1, 2, 1, 2]}, "its postings are not in the order of its entries"),
        ({"place": [1, 0, 0, 1]}, "its postings are not in the order of their places"),
        ({"place": [0, 1, 1, 2]}, "its postings are not in the order of their places"),
        ({"posting_currency": [1, 2, 2, 2]}, "a posting has another currency than its entry"),
    ],
)
def test_columns_that_do_not_fit_together_are_no_page(change: dict[str, Any], told: str) -> None:
    assert SOUND.bounds() == [0, 2, 4]
    with pytest.raises(PageError, match=told):
        replace(SOUND, **change).bounds()


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


async def booked(books: Books) -> None:
    """Three entries of partition 3 in two batches, one of partition 9; sealed."""
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    pair = (ids["deferred:a"], ids["treasury:EU:tax"])
    async with books.database.connection() as reader:
        moment = await reader.now()
    for parts in ([(3, 100), (3, 50)], [(3, 7)], [(9, 11)]):
        await book_at(books, moment, [one_entry(partition, *pair, amount) for partition, amount in parts])
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)
    assert await proven(books) == []


async def change(books: Books, *statements: str) -> None:
    async with books.database.transaction() as tx:
        for each in statements:
            await tx.raw.execute(each)


async def test_a_page_beside_another_is_found_though_balances_and_lists_agree_with_it(books: Books) -> None:
    await booked(books)
    await change(books, PHANTOM, *WITH_BALANCES)
    (told,) = [each for each in await proven(books) if "numbers" in each]
    assert told.startswith("partition 3: 3 entries were booked on ")
    assert told.endswith("and pages and rows have 4 numbers")


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
    for slot, batch in ((50, 1), (3, 4), (3, 0)):
        await emptied(books.database)
        await unguarded(books.database)
        await booked(Books(books.database))
        await change(
            books,
            f"update ledger_page set slot = {slot}, batch = {batch} where partition = 9",
            "delete from ledger_balance where slot = 9",
            "delete from ledger_account_page where slot = 9",
        )
        assert any(each.startswith("partition 9: 1 pages of") for each in await proven(books)), (slot, batch)


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
    for statement, table in ((page.format(64, 9), "ledger_page"), (listed.format(0, -1), "ledger_account_page")):
        await change(books, statement)
        told = "1 pages or rows of lists" if table == "ledger_page" else "2 pages or rows of lists"
        assert any(each.startswith(told) for each in await proven(books)), statement
        await change(
            books,
            f"delete from {table} where slot not between 0 and 63 {'or partition = 64' if table == 'ledger_page' else ''}",
        )
    assert await proven(books) == []


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
