"""Rows of entries and postings: which of them a chain reads, and how long the oldest one stands unsealed, condition by condition."""

from __future__ import annotations

import pytest

from libs.telemetry.metrics import REGISTRY
from services.revenue.jobs.seals import unsealed
from services.revenue.store.proofs.chain import ChainCheck
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_rows import MICROS_A_DAY, Place, put

PLACES: list[Place] = [(0, 3, 1), (0, 3, 2), (0, 3, 3), (0, 4, 1), (1, 3, 1), (1, 3, 4), (1, 3, 5), (1, 4, 2)]


@pytest.mark.parametrize(
    "wanted", [[(0, 3, 1)], [(1, 3, 1)], [(0, 4, 1)], [(1, 4, 2), (0, 3, 2)], [(0, 3, 4)], [(0, 4, 2)], []]
)
async def test_entries_are_read_with_their_postings_by_day_partition_and_number(
    books: Books, wanted: list[Place]
) -> None:
    today = await put(books, PLACES)
    async with books.database.connection(snapshot=True) as reader:
        found = await books.chain.read_entries(
            reader, [(today + ahead, partition, number) for ahead, partition, number in wanted]
        )
    there = sorted(
        (partition, number, ahead) for ahead, partition, number in wanted if (ahead, partition, number) in PLACES
    )
    assert [(each.partition, each.number, each.day - today) for each in found] == there
    for (partition, number, ahead), each in zip(there, found, strict=True):
        amount = ahead * 100 + partition * 10 + number
        assert [(line.account, line.amount) for line in each.postings] == [("bank:EU", amount), ("?8", -amount)]


async def test_a_chain_is_read_day_by_day_behind_a_number(books: Books) -> None:
    places = [place for place in PLACES if place != (1, 3, 1)]
    today = await put(books, places)

    async def read(partition: int, after: int, most: int) -> tuple[tuple[int, int, int] | None, int, int]:
        checked = ChainCheck(last=after)
        async with books.database.connection(snapshot=True) as reader:
            part = await books.chain.check_entries(reader, partition, checked, most)
        day = None if part is None else (part[0] - today, *part[1:])
        assert checked.postings == 2 * checked.entries
        assert not [each for each in checked.discrepancies if "missing" in each or "belong to no entry" in each]
        return day, checked.entries, checked.last

    assert await read(3, 0, 9) == ((0, 1, 3), 3, 3)
    assert await read(3, 1, 9) == ((0, 1, 3), 2, 3)
    assert await read(3, 0, 2) == ((0, 1, 3), 2, 2), "so many at once"
    assert await read(3, 2, 1) == ((0, 1, 3), 1, 3)
    assert await read(3, 3, 9) == ((1, 4, 5), 2, 5), "the day before is read to its end"
    assert await read(4, 1, 9) == ((1, 2, 2), 1, 2)
    assert await read(3, 5, 9) == (None, 0, 5)
    assert await read(5, 0, 9) == (None, 0, 0)


async def test_a_chain_of_two_days_is_checked_up_to_so_many_entries(books: Books) -> None:
    await put(books, [place for place in PLACES if place != (1, 3, 1)])
    for most, last in ((2, 2), (3, 3), (4, 4), (5, 5), (9, 5)):
        found = await books.chain.check(3, entries_max=most)
        assert (found.entries, found.last) == (last, last), most


async def age(books: Books) -> int:
    await unsealed()(books.database)
    found = REGISTRY.get_sample_value("luxor_revenue_ledger_unsealed_seconds")
    assert found is not None
    return round(found / 10) * 10


async def test_the_oldest_entry_counts_that_no_seal_names(books: Books) -> None:
    database = books.database
    await put(books, [(0, 3, 1)], age_seconds=300)
    async with database.transaction() as tx:
        await tx.raw.execute("delete from ledger_day")
    today = await put(books, [(0, 3, 2), (0, 4, 1)], age_seconds=200)

    async def state(heads: dict[int, int], named: dict[int, int] | None = None, *, sealed: int = 0) -> int:
        """Set the ends of chains, and the newest of two seals, which was made some days from today."""
        async with database.transaction() as tx:
            await tx.raw.execute("update ledger_day set first_number = 1 where partition = 3")
            await tx.raw.execute("update ledger_head set number = 0")
            for partition, number in heads.items():
                await tx.raw.execute("update ledger_head set number = $2 where partition = $1", partition, number)
            await tx.raw.execute("delete from ledger_seal")
            for number, names in enumerate([{}, named] if named is not None else [], 1):
                numbers = [(names or {}).get(each, 0) for each in range(64)]
                at = (today + sealed) * MICROS_A_DAY
                await tx.raw.execute("insert into ledger_seal values ($1, $2, '', $3, '')", number, at, numbers)
        return await age(books)

    assert await state({}) == 0
    assert await state({3: 2, 4: 1}) == 300
    assert await state({3: 1}) == 300
    assert await state({4: 1}) == 200, "an entry behind the end of its chain is not there yet"
    assert await state({3: 2, 4: 1}, {}) == 300
    assert await state({3: 2, 4: 1}, {3: 1}) == 200
    assert await state({3: 2}, {3: 2}) == 0
    assert await state({3: 2, 4: 1}, {3: 2, 4: 1}) == 0
    assert await state({3: 2, 4: 1}, {4: 1}) == 300
    assert await state({3: 2}, {3: 1}, sealed=1) == 200, "from the day before the seal's"
    assert await state({3: 2}, {3: 1}, sealed=2) == 0, "what is older was sealed by then"


async def test_entries_that_are_missing_at_the_end_of_a_day_are_named(books: Books) -> None:
    await put(books, [(0, 3, 1), (0, 3, 2)])
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_day set last_number = 4")
    for most, last, missing in ((9, 4, ["partition 3: entries 3 to 4 are missing"]), (2, 2, [])):
        checked = ChainCheck()
        async with books.database.connection(snapshot=True) as reader:
            await books.chain.check_entries(reader, 3, checked, most)
        assert (checked.last, [each for each in checked.discrepancies if "missing" in each]) == (last, missing)
