"""Former rows become pages: every answer stays the same meanwhile and afterwards, and nothing is lost, doubled or hidden."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from libs.store.tables.leases import LeaseLost, release_lease
from libs.store.tables.schema import day_partitions, ensure_day_partitions, today
from services.revenue.commands import pack_rows
from services.revenue.commands.pack_rows import Packing
from services.revenue.jobs import packing
from services.revenue.jobs.packing import LEASE, PackingJob
from services.revenue.store.ledger import former_rows
from tests.revenue.ledger.books import Books, guarded, unguarded
from tests.revenue.ledger.chain_checks import one_entry
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.ledger_answers import answers, history
from tests.revenue.ledger.row_packing import FORMER, TABLES, Killed, alter, fill, pack, rows_left, stored, token_of
from tests.revenue.ledger.saved_rows import restore, save
from tests.revenue.ledger.states import State, mrn


@pytest_asyncio.fixture
async def filled(books: Books) -> AsyncIterator[Books]:
    await fill(books)
    await guarded(books.database)
    yield books


def entry_pages(rows: list[Any], sealed: set[tuple[int, int]]) -> Iterator[list[Any]]:
    """Cut entries by the definition of a page of former rows; columns as of ledger_entry, with day, partition, number and time first."""
    page: list[Any] = []
    for row in sorted(rows, key=lambda each: each[1:3]):
        if page:
            last = page[-1]
            if (last[1], last[0], last[5]) != (row[1], row[0], row[5]) or (last[1], last[2]) in sealed:
                yield page
                page = []
        page.append(row)
    yield page


async def test_every_answer_is_the_same_before_midway_and_after(filled: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await answers(filled, (100,))
    total = await rows_left(filled)
    monkeypatch.setattr(pack_rows, "ENTRIES_MAX", 4)
    packed = 0
    while parts := await pack(filled, 6):
        packed += sum(each.entries for each in parts)
        assert (await rows_left(filled), parts[-1].left) == (total - packed, total - packed)
        assert await answers(filled, (100,)) == before
    assert packed == total > 40
    assert (await stored(filled, *FORMER)) == {"ledger_entry": [], "ledger_posting": []}
    assert await answers(Books(filled.database), (100,)) == before
    # What is booked behind them follows, in the same partitions and on the same day.
    await filled.take(*(State(mrn(100 + number, number % 5), version=3) for number in range(6)))
    await history(filled, 200)
    after = await answers(filled, (100, 200))
    await unguarded(filled.database)
    await as_rows(filled)
    assert await answers(filled, (100, 200)) == after


async def test_a_page_has_consecutive_entries_of_one_time_and_ends_where_a_seal_does(filled: Books) -> None:
    rows = await stored(filled, *FORMER)
    async with filled.database.connection() as reader:
        sealed = {
            (partition, number)
            for row in await reader.raw.fetch("select numbers from ledger_seal")
            for partition, number in enumerate(row["numbers"])
        }
    expected, lists = [], []
    for page in entry_pages(rows["ledger_entry"], sealed):
        day, partition, first = page[0][:3]
        last = page[-1][2]
        expected.append((day, partition, first, last, page[0][5], partition, first, page[-1][-1]))
        own = [
            row for row in rows["ledger_posting"] if (row[0], row[5]) == (day, partition) and first <= row[2] <= last
        ]
        for account, currency in {(row[4], row[8]) for row in own}:
            amounts = [row[3] for row in own if (row[4], row[8]) == (account, currency)]
            debit, credit = sum(each for each in amounts if each > 0), -sum(each for each in amounts if each < 0)
            lists.append(
                (day, account, currency, page[0][5], partition, first, 1 << partition, len(amounts), debit, credit)
            )
    await pack(filled)
    async with filled.database.connection() as reader:
        pages = await reader.raw.fetch(
            "select day, partition, first_number, last_number, booked_at, slot, batch, hash from ledger_page"
        )
    assert sorted(map(tuple, pages)) == sorted(expected)
    # The clock stood still over the first three seals of partition 3: two entries behind each other, three times, and one with a time of its own.
    assert [each[2:4] for each in sorted(expected) if each[:2] == (min(expected)[0], 3)] == [
        (1, 2),
        (3, 4),
        (5, 6),
        (7, 7),
    ]
    assert (await stored(filled, "ledger_account_page"))["ledger_account_page"] == sorted(lists, key=repr)


async def test_a_kill_before_any_statement_loses_and_doubles_nothing(
    filled: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await answers(filled, (100,), lines_a_page=(3,))
    monkeypatch.setattr(pack_rows, "ENTRIES_MAX", 20)
    statements = 0
    limit = 0

    def counted(name: str) -> Any:
        plain = getattr(asyncpg.Connection, name)

        async def call(self: Any, *values: Any, **how: Any) -> Any:
            nonlocal statements
            statements += 1
            if statements > limit:
                raise Killed
            return await plain(self, *values, **how)

        return call

    total = left = await rows_left(filled)
    killed = packed_parts = 0
    content = await stored(filled, *CHANGED)
    while packed_parts < 2:
        statements, limit = 0, limit + 1
        with monkeypatch.context() as patch:
            for name in ("execute", "fetch", "fetchrow", "fetchval"):
                patch.setattr(asyncpg.Connection, name, counted(name))
            with pytest.raises(Killed):
                await pack(filled)
        killed += 1
        now, kept = await rows_left(filled), await stored(filled, *CHANGED)
        if now != left:
            assert await answers(filled, (100,), lines_a_page=(3,)) == before, limit
        else:
            assert kept == content, limit
        content, left, packed_parts = kept, now, packed_parts + (now != left)
    assert killed > 20
    assert 0 < left < total
    await pack(filled)
    assert await answers(filled, (100,), lines_a_page=(3,)) == before
    async with filled.database.connection() as reader:
        assert await reader.raw.fetchval("select sum(last_number - first_number + 1) from ledger_page") == total


async def test_a_reader_of_an_earlier_instant_reads_the_rows_of_that_instant(filled: Books) -> None:
    before = await stored(filled, "all_entries", "all_postings")
    async with filled.database.connection(snapshot=True) as reader:
        assert await reader.raw.fetchval("select count(*) from ledger_page") == 0
        await pack(filled)
        for view, rows in before.items():
            assert len(await reader.raw.fetch(f"select * from {view}")) == len(rows)
        assert await reader.raw.fetchval("select count(*) from ledger_page") == 0


async def test_posting_does_not_wait_for_a_part_that_is_being_packed(filled: Books) -> None:
    ids = await filled.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    before = await filled.standing()
    parts = Packing(filled.database, filled.ledger.names)
    entered, go_on = asyncio.Event(), asyncio.Event()
    plain = former_rows.pack

    async def slow(*values: Any) -> tuple[int, int]:
        found: tuple[int, int] = await plain(*values)
        entered.set()
        await go_on.wait()
        return found

    async def all_parts() -> None:
        async for _ in parts.parts(LEASE, await token_of(filled)):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(former_rows, "pack", slow)
        running = asyncio.ensure_future(all_parts())
        await entered.wait()
        total = await rows_left(filled)
        for partition in range(10):
            async with filled.database.transaction() as tx:
                entries = one_entry(partition, ids["deferred:a"], ids["treasury:EU:tax"], 100 + partition)
                heads = await filled.ledger.book.lock(tx, [partition])
                await filled.ledger.book.post(tx, heads, entries)
        assert (await rows_left(filled), running.done()) == (total, False)
        go_on.set()
        await running
    assert await rows_left(filled) == 0
    posted = sum(range(100, 110))
    assert await filled.standing() == {
        **before, "deferred:a": before["deferred:a"] + posted, "treasury:EU:tax": before["treasury:EU:tax"] - posted
    }  # fmt: skip
    await answers(filled, (100,))  # all chains verify


CHANGED = (*TABLES, "ledger_day", "ledger_balance")
"""What an alteration and the packing behind it change."""
ALTERED = {
    "update ledger_posting set amount = amount * 2 where partition = 3 and number = 4": "partition 3, entry 4: its content",
    "update ledger_posting set account = account + 1 where partition = 3 and number = 4 and place = 1": "partition 3, entry 4: its content",
    "update ledger_posting set currency = 'GBP' where partition = 3 and number = 8 and place = 0": "partition 3, entry 8: its posting 0",
    "update ledger_posting set booked_at = booked_at + 1 where partition = 3 and number = 8 and place = 0": "partition 3, entry 8: its posting 0",
    "delete from ledger_posting where partition = 3 and number = 9": "partition 3, entry 9: its 0 postings",
    "update ledger_entry set mrn = 'x' where partition = 3 and number = 1": "partition 3, entry 1: its content",
    "update ledger_entry set hash = set_byte(hash, 0, get_byte(hash, 0) # 1) where partition = 3 and number = 9": "partition 3, entry 9: its content",
    "delete from ledger_entry where partition = 3 and number = 2": "partition 3: entries 2 to 2 are missing",
    "delete from ledger_entry where partition = 3 and number = 1": "partition 3: entry 1 is missing",
    "insert into ledger_posting select day, booked_at, number, 5, account, partition, 9, kind, currency from ledger_posting "
    "where partition = 3 and number = 9 and place = 0": "partition 3, entry 9: its 5 postings sum to 5",
    "insert into ledger_entry select day, partition, 999, kind, reverses, booked_at, mrn, version, reference, currency, destination, hash "
    "from ledger_entry where partition = 3 and number = 9": "partition 3: entries",
    "update ledger_day set first_number = 100, last_number = 100 where partition = 3": "partition 3",
}


async def test_a_chain_that_does_not_verify_is_reported_and_stays_as_it_is(
    filled: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(pack_rows.log, "error", lambda code, **values: told.append((code, values)))
    saved = await save(filled.database, CHANGED)
    for change, sentence in ALTERED.items():
        await alter(filled, change)
        before = await stored(filled, *FORMER)
        own = (
            [row for row in before["ledger_entry"] if row[1] == 3],
            [row for row in before["ledger_posting"] if row[5] == 3],
        )
        parts = await pack(Books(filled.database))
        after = await stored(filled, *FORMER)
        assert (after["ledger_entry"], after["ledger_posting"]) == own, change
        assert [(code, values["partition"]) for code, values in told] == [("LEDGER_ROWS_NOT_PACKED", 3)], change
        assert told[0][1]["sentence"].startswith(sentence), (change, told)
        assert parts, change
        async with filled.database.connection() as reader:
            assert not await reader.raw.fetchval("select exists(select from ledger_page where partition = 3)"), change
        told.clear()
        await restore(filled.database, saved)


async def test_what_is_altered_behind_the_verification_is_not_packed(
    filled: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(pack_rows.log, "error", lambda _, **values: told.append(values["sentence"]))
    parts = Packing(filled.database, filled.ledger.names)
    verified = False
    async for part in parts.parts(LEASE, await token_of(filled)):
        if not verified and not part.entries:
            verified = True  # partition 0, which is packed next
            await alter(filled, "update ledger_entry set version = 77 where partition = 0 and number = 1")
    assert len(told) == 1
    assert told[0].startswith("partition 0, entries 1 to ")
    assert {row[1] for row in (await stored(filled, *FORMER))["ledger_entry"]} == {0}


async def test_one_replica_packs_at_a_time_and_one_that_lost_its_lease_packs_nothing(filled: Books) -> None:
    stop = asyncio.Event()
    token = await token_of(filled, "first")
    second = PackingJob(filled.database, filled.ledger.names, "second")
    assert not await second.round(stop)
    assert await stored(filled, "ledger_page") == {"ledger_page": []}
    async with filled.database.transaction() as tx:
        await release_lease(tx, LEASE, token)
    stop.set()  # ends the round behind its first part
    assert await second.round(stop)
    before = await stored(filled, *TABLES)
    with pytest.raises(LeaseLost):
        async for _ in Packing(filled.database, filled.ledger.names).parts(LEASE, token):
            pass
    assert await stored(filled, *TABLES) == before


async def test_the_job_packs_all_and_reports_what_is_left(filled: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(packing.log, "info", lambda code, **values: told.append((code, values)))
    monkeypatch.setattr(packing, "SHARE", 1.0)
    monkeypatch.setattr(packing, "REPORT_SECONDS", -1.0)
    total, stop = await rows_left(filled), asyncio.Event()
    assert await PackingJob(filled.database, filled.ledger.names, "a").round(stop)
    assert {code for code, _ in told} == {"LEDGER_ROWS_PACKED"}
    assert {values["entries"] + values["left"] for _, values in told} == {total}
    assert told[-1][1] == {"entries": total, "left": 0}
    assert await rows_left(filled) == 0
    told.clear()
    assert await PackingJob(filled.database, filled.ledger.names, "b").round(stop)
    assert told == []


async def test_a_store_without_former_rows_has_nothing_to_pack(books: Books) -> None:
    await history(books, 100)
    before = await stored(books, *TABLES)
    assert await pack(books) == []
    assert await stored(books, *TABLES) == before


async def days_of(books: Books) -> list[list[int]]:
    """Return the days before today for which the former tables have tables."""
    async with books.database.connection() as reader:
        now = await today(reader)
        return [[day - now for day in await day_partitions(reader, table) if day < now] for table in FORMER]


async def test_the_tables_of_a_day_are_dropped_once_nobody_sees_a_row_of_them(books: Books) -> None:
    await fill(books, days=-3)
    async with books.database.transaction() as tx:
        now = await today(tx)
        for table in FORMER:
            await ensure_day_partitions(tx, table, [now - 4, now - 2])
    assert await days_of(books) == [[-4, -3, -2, -1]] * 2
    before = await answers(books, (100,))
    async with books.database.connection(snapshot=True) as reader:
        rows = len((await stored(books, "ledger_posting"))["ledger_posting"])
        await reader.now()  # takes the snapshot, and no lock
        await pack(books)
        # The reader's rows are deleted, and it sees them nevertheless. Other days never had any; that of yesterday may get some.
        assert await days_of(books) == [[-3, -1]] * 2
        assert await reader.raw.fetchval("select count(*) from ledger_posting") == rows
    assert await pack(books) == []
    assert await days_of(books) == [[-1]] * 2
    assert await answers(books, (100,)) == before
    await history(books, 200)


async def test_the_tables_of_a_day_with_rows_stay(books: Books) -> None:
    await fill(books, days=-3)
    await alter(books, "update ledger_entry set mrn = 'x' where partition = 3 and number = 1")
    await pack(books)
    assert await days_of(books) == [[-3, -1]] * 2


async def test_numbers_of_pages_are_consecutive_whatever_fits_into_one(
    filled: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_rows, "ENTRIES_MAX", 1)
    total = await rows_left(filled)
    assert [each.left for each in await pack(filled)] == list(range(total - 1, -1, -1))
    async with filled.database.connection() as reader:
        rows = await reader.raw.fetch("select partition, first_number, last_number from ledger_page order by 1, 2")
    for one, other in pairwise(rows):
        assert other["first_number"] == (one["last_number"] + 1 if one["partition"] == other["partition"] else 1)
