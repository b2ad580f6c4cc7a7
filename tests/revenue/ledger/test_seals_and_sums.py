"""Seals, in the store and kept outside of it, and sums of days: what proves that an end was not cut off and history not written anew."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from libs.chain import seals as seals_of
from libs.chain.seals import Seal
from libs.store.tables.schema import ensure_day_partitions, today
from services.revenue.commands.sum_days import sum_days
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED, Heads
from services.revenue.store.proofs.chain import Chain
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_checks import PAGE, PARTITION, checked, forge, hash_of, one_entry
from tests.revenue.ledger.former_rows import as_rows


async def test_a_chain_whose_end_was_cut_off_with_its_balances_is_found_by_the_seal(books: Books) -> None:
    """Three consignments, sealed twice; then the last is taken out of everything but the seals."""
    seals = Seals(books.database)
    for states in (PAGE[:2], PAGE[2:3]):
        await books.take(*states)
        async with books.database.transaction() as tx:
            await seals.make(tx)
    await as_rows(books)
    async with books.database.connection() as reader:
        kept = await reader.raw.fetch("select number, hash from ledger_seal order by number")
    async with books.database.transaction() as tx:
        for change in (
            "delete from ledger_entry where number > 4", "delete from ledger_posting where number > 4",
            "update ledger_day set last_number = 4 where partition = 3",
            "update ledger_head set number = 4, hash = (select hash from ledger_entry where number = 4) where partition = 3",
            "update ledger_balance set debit = debit * 2 / 3, credit = credit * 2 / 3",
        ):  # fmt: skip
            await tx.raw.execute(change)
    assert await checked(books) == [
        "partition 3: seal 2 seals an entry behind entry 4, with which the chain ends: the end of the chain was cut off"
    ]
    async with books.database.transaction() as tx:
        await tx.raw.execute("delete from ledger_seal where number = 2")
    # Nothing in the store tells it any more; the seal that was kept outside does.
    assert await checked(books) == []
    assert await checked(books, outside=Seal(1, kept[0]["hash"])) == []
    assert await checked(books, outside=Seal(2, kept[1]["hash"])) == [
        "seal 2 was stored outside and is missing here: the entries that it seals were cut off or rewritten"
    ]


async def test_history_that_was_written_anew_with_its_seals_differs_from_a_seal_that_was_kept(books: Books) -> None:
    seals = Seals(books.database)
    await books.take(*PAGE)
    async with books.database.transaction() as tx:
        await seals.make(tx)
    kept = await seals.newest()
    assert kept is not None
    assert (await books.chain.check(PARTITION, entries_max=1_000, outside=kept)).newest == kept
    await forge(books)
    async with books.database.transaction() as tx:
        await tx.raw.execute("delete from ledger_seal")
        await seals.make(tx)
    assert await checked(books) == []
    assert await checked(books, outside=kept) == [
        "seal 1 has another hash than the one stored outside: the entries that it seals were rewritten"
    ]


async def test_a_seal_is_told_outside_of_the_store_once_it_is_committed(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(seals_of, "log", SimpleNamespace(info=lambda event, **what: told.append((event, what))))
    await books.take(*PAGE)
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)
        assert not told
    kept = await Seals(books.database).newest()
    assert kept is not None
    assert told == [("LEDGER_SEALED", {"seal": 1, "sealed_at": kept.sealed_at, "hash": kept.hash.hex()})]


async def test_entries_that_no_seal_names_in_time_are_a_fault(books: Books) -> None:
    seals = Seals(books.database)
    strict = Chain(books.database, books.ledger.names, late_seconds=0)
    await books.take(*PAGE[:3])
    assert await checked(books) == []
    assert (await strict.check(PARTITION, entries_max=1_000)).discrepancies == [
        "partition 3: entry 1 was booked over 0 minutes ago and no seal names it; there is no seal"
    ]
    async with books.database.transaction() as tx:
        await seals.make(tx)
    assert (await strict.check(PARTITION, entries_max=1_000)).discrepancies == []
    await books.take(*PAGE[3:])
    assert (await strict.check(PARTITION, entries_max=1_000)).discrepancies == [
        "partition 3: entry 7 was booked over 0 minutes ago and no seal names it; the newest seal is 1"
    ]


async def test_seals_are_compared_to_the_last_however_many_there_are(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals_of, "SEALS_AT_ONCE", 2)
    for state in PAGE:
        await books.take(state)
        async with books.database.transaction() as tx:
            await Seals(books.database).make(tx)
    found = await books.chain.check(PARTITION, entries_max=1_000)
    assert (found.seals, found.discrepancies) == (5, [])
    async with books.database.transaction() as tx:
        await tx.raw.execute(
            "update ledger_seal set hashes = set_byte(hashes, 100, get_byte(hashes, 100) # 1) where number = 5"
        )
    assert await checked(books) == [
        "seal 5 was altered: its hash does not follow from what it seals",
        "partition 3: seal 5 has another hash of entry 10 than is stored",
    ]
    async with books.database.transaction() as tx:
        await tx.raw.execute("delete from ledger_seal where number in (2, 3)")
    assert "2 of the 5 seals are missing" in await checked(books)


@pytest.mark.parametrize(
    "change",
    [
        "update ledger_turnover set debit = 0",
        "update ledger_turnover set consignments = consignments + 1",
        "update ledger_turnover set destination = 'FR'",
        "update ledger_turnover set day = day - 10",
        "update ledger_turnover set day = day + 10",
        "delete from ledger_turnover",
    ],
)
async def test_sums_of_days_that_are_over_are_compared(books: Books, change: str) -> None:
    async with books.database.transaction() as tx:
        now = await today(tx)
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, range(now - 4, now + 1))
    ids = await books.ledger.name_ids({"deferred:a", "treasury:EU:tax"})
    for partition, day in ((PARTITION, now - 3), (PARTITION + 1, now - 3), (PARTITION, now - 2)):
        async with books.database.transaction() as tx:
            heads = await books.ledger.book.lock(tx, [partition])
            heads = Heads(heads.last, {partition: day * MICROS_A_DAY})
            await books.ledger.book.post(tx, heads, one_entry(partition, ids["deferred:a"], ids["treasury:EU:tax"], 5))
    async with books.database.transaction() as tx:
        await Seals(books.database).make(tx)
    await sum_days(books.database)
    assert await checked(books) == await checked(books, after=1, before=await hash_of(books, 1)) == []
    async with books.database.transaction() as tx:
        await tx.raw.execute(change)
    faults = await checked(books)
    assert faults
    assert all("sums of" in fault for fault in faults)
