"""Rows of seals: what is wrong with one, with all of them, and with what they name, condition by condition."""

from __future__ import annotations

from typing import Any

import pytest

from libs.chain.hashing import START
from libs.chain.seals import Seal, is_sound
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.seal_rows import NOTHING, PARTITIONS, Row, chained, entries, hash_of, put


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True), ({"number": 3}, False), ({"sealed_at": 7}, False), ({"before": START}, False), ({"before": None}, False),
        ({"hash": START}, False), ({"numbers": [2] + [0] * 63}, False), ({"numbers": [1] + [0] * 62}, False), ({"numbers": [1] + [0] * 64}, False),
        ({"hashes": bytes(32 * 64)}, False), ({"hashes": bytes(32 * 63)}, False), ({"hashes": bytes(32 * 64 + 1)}, False),
    ],
)  # fmt: skip
def test_a_seal_follows_from_its_number_time_heads_and_the_seal_before(change: dict[str, Any], *, good: bool) -> None:
    first, second = chained(NOTHING, {0: 1})
    assert is_sound(second.shown(**change), PARTITIONS) is good
    assert is_sound(first.shown(), PARTITIONS), "the first one follows from the start"
    assert is_sound(first.shown(before=second.hash), PARTITIONS), "whatever stands before it"


async def test_seals_as_a_whole_are_without_gap_never_fall_and_never_go_beyond_the_end(books: Books) -> None:
    seals = Seals(books.database)

    async def wrong(head: int, *rows: Row) -> list[str]:
        await put(books.database, *rows)
        async with books.database.connection() as reader:
            return await seals.compare_end(reader, 3, head, 60)

    one, two, three, four = chained({3: 1}, {3: 2}, {3: 2, 4: 9}, {3: 4})
    assert await wrong(0) == []
    assert await wrong(4, one, two, three, four) == []
    assert await wrong(9, one, two, three, four) == [], "what is not sealed yet is no fault before its time"
    (missing,) = await wrong(4, one, two, four)
    assert "1 of the 4 seals are missing" in missing
    (beyond,) = await wrong(3, one, two, three, four)
    assert "seal 4 seals an entry behind entry 3" in beyond
    (both,) = await wrong(1, one, two, three, four)
    assert "seal 2 seals an entry behind entry 1" in both, "the first of them"
    assert await wrong(4, *chained({3: 2, 4: 9}, {3: 2, 4: 1})) == [], (
        "what another partition has is told with that one"
    )
    (fallen,) = await wrong(4, *chained({3: 2}, {3: 1}, {3: 3}))
    assert "seal 2 seals fewer entries" in fallen
    zero = Row(0, {3: 1})
    faults = await wrong(4, zero, one)
    assert any("begin with 1" in each for each in faults)


@pytest.mark.parametrize(("age_seconds", "sealed", "late"), [(50, 1, False), (70, 1, True), (70, 2, False)])
async def test_an_entry_is_named_by_a_seal_in_time(books: Books, age_seconds: int, sealed: int, *, late: bool) -> None:
    await entries(books.database, (3, 1), (3, 2), (4, 1), age_micros=age_seconds * 1_000_000)
    await put(books.database, *chained({3: sealed}))
    async with books.database.connection() as reader:
        found = await Seals(books.database).compare_end(reader, 3, 2, 60)
        assert [each for each in found if "entry 2 was booked over 1 minutes ago" in each] == found
        assert len(found) == late


async def test_seals_are_followed_as_far_as_what_they_seal_is_proven(books: Books) -> None:
    database, seals = books.database, Seals(books.database)
    await entries(database, (3, 1), (3, 2), (3, 3), (4, 1))
    rows = chained({3: 1}, {3: 2, 4: 1}, {3: 3, 4: 1})

    async def follow(
        proven: dict[int, int], *stored: Row, after: Row | None = None, most: int = 9
    ) -> tuple[int, bytes, list[str]]:
        await put(database, *stored)
        begun = (after.number, after.hash) if after else (0, START)
        async with database.connection() as reader:
            return await seals.follow(reader, *begun, NOTHING | proven, most)

    whole = {3: 3, 4: 1}
    assert await follow(whole, *rows) == (3, rows[2].hash, [])
    assert await follow(whole, *rows, most=2) == (2, rows[1].hash, [])
    assert await follow(whole, *rows, after=rows[1]) == (3, rows[2].hash, [])
    assert await follow({3: 2, 4: 1}, *rows) == (2, rows[1].hash, []), "the third one is not proven yet"
    assert await follow({3: 3, 4: 0}, *rows) == (1, rows[0].hash, []), "of any partition"
    assert await follow({}, *rows) == (0, START, [])
    number, _, faults = await follow(whole, rows[0], rows[2])
    assert (number, len(faults)) == (3, 2), "missing, and it does not follow from what stands before"
    assert "seals 2 to 2 are missing" in faults[0]
    _, _, faults = await follow(whole, *chained({3: 2, 4: 1}, {3: 1, 4: 1}))
    assert [each for each in faults if "seal 2 seals fewer entries" in each] == faults
    other = chained({3: 1}, {3: 2, 4: 1})
    other[1].hashes = other[1].hashes[:-32] + hash_of(9, 9)
    _, _, faults = await follow(whole, *other)
    assert ["seal 2 was altered" in each for each in faults] == [True]
    short = chained({3: 1}, {3: 2})
    short[1].numbers = short[1].numbers[:-1]
    number, _, faults = await follow(whole, *short)
    assert (number, faults) == (1, [f"seal 2 was altered: it does not name {PARTITIONS} partitions"])


async def test_a_seal_names_the_entry_that_is_stored(books: Books) -> None:
    database, seals = books.database, Seals(books.database)
    await entries(database, (3, 1), (3, 2), (4, 2))
    first = chained({3: 1})[0]
    for partition, number, faults in ((3, 2, 0), (4, 2, 0), (4, 1, 1), (5, 2, 1)):
        second = Row(2, {3: 1} | {partition: number}, first.hash)
        await put(database, first, second)
        async with database.connection() as reader:
            _, _, found = await seals.follow(reader, 1, first.hash, dict.fromkeys(range(PARTITIONS), 9), 9)
        assert len(found) == faults, (partition, number)
        assert all(f"partition {partition}: seal 2 names another hash of entry {number}" in each for each in found)


async def test_a_seal_that_was_kept_outside_is_there_with_its_hash(books: Books) -> None:
    one, two = chained({3: 1}, {3: 2})
    await put(books.database, one, two)
    seals = Seals(books.database)
    assert await seals.newest() == Seal(2, two.hash, two.sealed_at)
    assert await seals.compare_outside(Seal(1, one.hash)) == []
    assert "another hash" in (await seals.compare_outside(Seal(2, one.hash)))[0]
    assert "is missing here" in (await seals.compare_outside(Seal(3, one.hash)))[0]


async def test_seals_are_compared_that_name_an_entry_behind_one_and_up_to_another(books: Books) -> None:
    database, seals = books.database, Seals(books.database)
    await entries(database, *((partition, number) for partition in (2, 3, 4) for number in range(1, 6)))
    rows = chained({3: 1}, {3: 2}, {3: 2, 4: 7}, {3: 3}, {3: 5})
    await put(database, *rows)
    for after, last, first, end in (
        (0, 5, 1, 6),
        (1, 5, 2, 6),
        (2, 5, 4, 6),
        (2, 3, 4, 5),
        (3, 5, 5, 6),
        (5, 9, 6, 6),
        (0, 1, 1, 2),
    ):
        async with database.connection() as reader:
            assert (await seals.first_behind(reader, 3, after), await seals.first_behind(reader, 3, last)) == (
                first,
                end,
            )
        found = await seals.compare(3, after, last)
        # The third one names the same entry as the second, and is not read.
        assert (found.seals, found.discrepancies) == (len([each for each in (1, 2, 4, 5) if first <= each < end]), [])
    rows[3].hashes = rows[3].hashes[: 3 * 32] + hash_of(9, 9) + rows[3].hashes[4 * 32 :]
    await put(database, *rows)
    assert len((await seals.compare(3, 0, 5)).discrepancies) == 2, (
        "it was altered, and names another hash than is stored"
    )
    assert (await seals.compare(3, 0, 2)).discrepancies == []
