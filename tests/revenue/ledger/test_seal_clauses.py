"""Seals: both sides of each bound, what is told of those that are missing or altered, and the replica that makes them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from libs.chain import seals as seals_of
from libs.chain.hashing import START
from libs.chain.seals import Seal, SealComparison
from libs.store.database import Database, Transaction
from libs.store.errors import StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from services.revenue.jobs import seals as seal_job
from services.revenue.jobs.seals import SealJob, unsealed
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.chain_rows import put as put_entries
from tests.revenue.ledger.seal_rows import NOTHING, PARTITIONS, Row, chained, entries, hash_of, put
from tests.revenue.ledger.states import State, mrn

NO_DATABASE = cast(Database, None)
NAME = "luxor_revenue_ledger_unsealed_seconds"


def test_of_a_seal_that_was_kept_no_time_need_be_known() -> None:
    assert Seal(1, START).sealed_at == 0
    assert (SealComparison().seals, SealComparison().discrepancies) == (0, [])


async def test_nothing_is_sealed_before_anything_is_booked(books: Books) -> None:
    async with books.database.transaction() as tx:
        assert await Seals(books.database).make(tx) is None
    assert await Seals(books.database).newest() is None
    await books.take(State(mrn(1, 3)))
    async with books.database.transaction() as tx:
        assert await Seals(books.database).make(tx) == 1
        assert await Seals(books.database).make(tx) is None
    async with books.database.connection() as reader:
        row = await reader.raw.fetchrow("select numbers, hashes from ledger_seal")
        heads = await reader.raw.fetch("select number, hash from ledger_head order by partition")
    assert row["numbers"] == [each["number"] for each in heads]
    assert row["hashes"] == b"".join(each["hash"] for each in heads)
    for serial, number in ((2, 2), (3, 3)):
        await books.take(State(mrn(serial, 3)))
        async with books.database.transaction() as tx:
            assert await Seals(books.database).make(tx) == number
    found = await books.chain.check(3, entries_max=9)
    assert (found.seals, found.discrepancies) == (3, []), "each follows from the one before"


class Reader:
    """A store of one partition: what its seals say as a whole, what the newest of them names, and the first entry that none names."""

    def __init__(self, named: int | None, booked_at: int | None, now: int, newest: int = 2) -> None:
        self.raw = self
        self._named, self._booked_at, self._now, self._newest = named, booked_at, now, newest
        self.asked: list[int] = []

    async def fetchrow(self, _: str, *values: int) -> dict[str, Any]:
        assert values == (4, 9)
        return {"kept": self._newest, "newest": self._newest, "oldest": 1, "beyond": None, "fallen": None}

    async def fetch(self, _: str, partitions: list[int], numbers: list[int]) -> list[tuple[int, int, int]]:
        self.asked += numbers
        return [(7, partition, number) for partition, number in zip(partitions, numbers, strict=True)]

    async def fetchval(self, _: str, *values: object) -> int | None:
        if values == (self._newest, 4):
            return self._named
        assert values == ([7], [7], [3], self.asked)
        return self._booked_at

    async def now(self) -> int:
        return self._now


@pytest.mark.parametrize(
    ("named", "booked_at", "now", "newest", "told"),
    [
        (5, 100, 6_000_000_100, 2, ""),
        (
            5,
            100,
            6_000_000_101,
            2,
            "entry 6 was booked over 100 minutes ago and no seal names it; the newest seal is 2",
        ),
        (None, 100, 6_000_000_101, 0, "entry 1 was booked over 100 minutes ago and no seal names it; there is no seal"),
        (
            8,
            100,
            6_000_000_101,
            2,
            "entry 9 was booked over 100 minutes ago and no seal names it; the newest seal is 2",
        ),
        (9, 100, 6_000_000_101, 2, ""),
        (10, 100, 6_000_000_101, 2, ""),
        (5, None, 6_000_000_101, 2, ""),
    ],
)
async def test_an_entry_that_no_seal_names_is_late_after_so_many_seconds(
    named: int | None, booked_at: int | None, now: int, newest: int, told: str
) -> None:
    """The chain ends with entry 9, and 6,000 seconds are the time."""
    reader = Reader(named, booked_at, now, newest)
    found = await Seals(NO_DATABASE).compare_end(cast(Transaction, reader), 3, 9, 6_000)
    assert found == ([f"partition 3: {told}"] if told else [])
    assert reader.asked == ([(named or 0) + 1] if (named or 0) < 9 else [])


async def test_seals_that_are_followed_are_compared_with_the_one_before_them(books: Books) -> None:
    database, seals = books.database, Seals(books.database)
    await entries(database, (3, 1), (3, 2), (4, 1), (63, 1))
    proven = NOTHING | {3: 2, 4: 1, 63: 1}

    async def follow(after: Row | None, *rows: Row) -> tuple[int, list[str]]:
        await put(database, *rows)
        begun = (after.number, after.hash) if after else (0, START)
        async with database.connection() as reader:
            number, _, faults = await seals.follow(reader, *begun, proven, 9)
        return number, faults

    fallen = chained({3: 2, 4: 1}, {3: 1, 4: 1})
    told = "seal 2 seals fewer entries than the seal before; one of them was altered"
    assert await follow(fallen[0], *fallen) == (2, [told])
    assert await follow(None, *fallen) == (2, [told])
    one, two, three, four = chained({3: 1}, {3: 2}, {3: 2, 4: 1}, {3: 2, 4: 1, 63: 1})
    assert await follow(None, one, two, three, four) == (4, [])
    assert await follow(one, one, four) == (
        4, ["seals 2 to 3 are missing", "seal 4 was altered: its hash does not follow from what it seals"],
    )  # fmt: skip
    for place in (3, 4, 63):
        other = Row(4, {3: 2, 4: 1, 63: 1}, three.hash)
        other.hashes = other.hashes[: 32 * place] + hash_of(9, 9) + other.hashes[32 * place + 32 :]
        number, faults = await follow(three, one, two, three, other)
        named = ["partition 63: seal 4 names another hash of entry 1 than is stored"] if place == 63 else []
        assert (number, faults) == (4, ["seal 4 was altered: its hash does not follow from what it seals", *named])


@pytest.mark.parametrize("change", ["numbers", "more numbers", "hashes", "more hashes"])
async def test_a_seal_that_does_not_name_each_partition_once_is_altered_and_the_last(books: Books, change: str) -> None:
    one, two, three = chained({3: 1}, {3: 2}, {3: 2, 4: 1})
    if "numbers" in change:
        two.numbers = [*two.numbers, 0] if "more" in change else two.numbers[:-1]
    else:
        two.hashes = two.hashes + bytes(32) if "more" in change else two.hashes[:-32]
    await entries(books.database, (3, 1), (3, 2), (4, 1))
    await put(books.database, one, two, three)
    async with books.database.connection() as reader:
        found = await Seals(books.database).follow(reader, 0, START, dict.fromkeys(range(65), 9), 9)
    assert found == (1, one.hash, [f"seal 2 was altered: it does not name {PARTITIONS} partitions"])


@pytest.mark.parametrize("count", range(7))
async def test_the_first_seal_behind_an_entry_is_found_wherever_it_is(books: Books, count: int) -> None:
    await put(books.database, *chained(*({3: 2 * number} for number in range(1, count + 1))))
    async with books.database.connection() as reader:
        for after in range(2 * count + 2):
            first = await Seals(books.database).first_behind(reader, 3, after)
            assert first == min(after // 2, count) + 1, after


async def test_seals_are_compared_with_their_entries_to_the_last_partition(books: Books) -> None:
    await entries(books.database, (0, 1), (63, 1))
    rows = chained({0: 1}, {0: 1, 63: 1})
    await put(books.database, *rows)
    for partition, seals in ((0, 1), (63, 1), (5, 0)):
        found = await Seals(books.database).compare(partition, 0, 9)
        assert (found.seals, found.discrepancies) == (seals, []), partition


@pytest.mark.parametrize(
    ("partition", "byte", "read"),
    [(3, 32 * 3, 2), (3, 32 * 4 - 1, 2), (3, 32 * 3 - 1, 1), (3, 32 * 4, 1), (0, 0, 2), (0, 31, 2), (0, 32, 1), (63, 2_016, 2), (63, 2_047, 2)],
)  # fmt: skip
async def test_a_seal_that_names_the_entry_of_the_one_before_with_another_hash_is_compared_as_well(
    books: Books, partition: int, byte: int, read: int
) -> None:
    await entries(books.database, (partition, 1), (9, 1))
    first, second = chained({partition: 1}, {partition: 1, 9: 1})
    second.hashes = second.hashes[:byte] + b"\xff" + second.hashes[byte + 1 :]
    await put(books.database, first, second)
    found = await Seals(books.database).compare(partition, 0, 9)
    told = [
        "seal 2 was altered: its hash does not follow from what it seals",
        f"partition {partition}: seal 2 has another hash of entry 1 than is stored",
    ]
    assert (found.seals, found.discrepancies) == (read, told if read == 2 else [])


async def test_an_entry_from_the_time_to_come_is_not_older_than_nothing(books: Books) -> None:
    """A clock that was set back leaves such entries."""
    await unsealed()(books.database)
    assert REGISTRY.get_sample_value(NAME) == 0, "nothing is booked"
    await put_entries(books, [(0, 3, 1)], age_seconds=-100)
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_head set number = 1 where partition = 3")
    await unsealed()(books.database)
    assert REGISTRY.get_sample_value(NAME) == 0
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_entry set booked_at = booked_at - 300000000")
    await unsealed()(books.database)
    assert 200 <= (REGISTRY.get_sample_value(NAME) or 0) < 260


async def test_a_replica_that_seals_has_the_lease_for_three_intervals_and_gives_it_back(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.take(State(mrn(1, 3)))
    asked: list[tuple[str, float]] = []
    lease = seal_job.try_lease

    async def noted(tx: Transaction, name: str, replica: str, seconds: float) -> int | None:
        asked.append((replica, seconds))
        return await lease(tx, name, replica, seconds)

    monkeypatch.setattr(seal_job, "try_lease", noted)
    one, two = (SealJob(books.database, name, interval_seconds=60) for name in ("one", "two"))
    stop = asyncio.Event()
    running = asyncio.create_task(one.run(stop))
    while await Seals(books.database).newest() is None:
        assert not running.done()
    assert await two.step() is None
    stop.set()
    async with asyncio.timeout(10):
        await running
    assert await two.step() is not None
    assert asked == [("one", 180), ("two", 180), ("two", 180)]


async def test_sealing_is_tried_again_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, steps = asyncio.Event(), 0

    async def step(self: SealJob) -> int | None:
        nonlocal steps
        steps += 1
        if steps == 3:
            stop.set()
        raise StoreUnavailable("down", reason="connection")

    monkeypatch.setattr(SealJob, "step", step)
    work = SealJob(cast(Database, SimpleNamespace(name="revenue")), "one", interval_seconds=0.01)
    async with asyncio.timeout(10):
        await work.run(stop)
        await work.run(stop)
    assert steps == 3, "and without a lease nothing is given back"


@pytest.mark.parametrize(
    "change",
    [
        "delete from ledger_day where partition = 4",
        "update ledger_day set first_number = 2, last_number = 2 where partition = 4",
    ],
)
async def test_an_entry_that_no_day_of_its_partition_names_is_none_that_a_seal_names(books: Books, change: str) -> None:
    database = books.database
    await entries(database, (3, 1), (3, 2), (4, 1))
    await put(database, *chained({3: 1, 4: 1}))
    for faults in ([], ["partition 4: seal 1 names another hash of entry 1 than is stored"]):
        async with database.connection() as reader:
            found = await Seals(database).follow(reader, 0, START, dict.fromkeys(range(PARTITIONS), 9), 9)
        assert found[2] == faults
        async with database.transaction() as tx:
            await tx.raw.execute(change)


@pytest.mark.parametrize(("own", "others", "late"), [(70, 10, True), (10, 70, False)])
async def test_how_old_an_entry_is_is_read_of_it_and_of_no_other(
    books: Books, own: int, others: int, *, late: bool
) -> None:
    await entries(books.database, (2, 2), (3, 1), (4, 1), (5, 2), age_micros=others * 1_000_000)
    async with books.database.transaction() as tx:
        await tx.raw.execute("delete from ledger_day where partition = 3")
    await entries(books.database, (3, 2), age_micros=own * 1_000_000)
    await put(books.database, *chained({3: 1}))
    async with books.database.connection() as reader:
        found = await Seals(books.database).compare_end(reader, 3, 2, 60)
    assert len(found) == late


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 6])
async def test_each_seal_is_compared_once_however_many_are_read_at_once(
    books: Books, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(seals_of, "SEALS_AT_ONCE", at_once)
    await entries(books.database, *((3, number) for number in range(1, 6)))
    await put(books.database, *chained(*({3: number} for number in range(1, 6))))
    async with asyncio.timeout(10):
        found = await Seals(books.database).compare(3, 0, 9)
    assert (found.seals, found.discrepancies) == (5, [])


@pytest.mark.parametrize("missing", range(1, 6))
async def test_seals_are_compared_also_where_one_before_them_is_missing(books: Books, missing: int) -> None:
    await entries(books.database, *((3, number) for number in range(1, 6)))
    rows = [each for each in chained(*({3: number} for number in range(1, 6))) if each.number != missing]
    await put(books.database, *rows)
    seals = Seals(books.database)
    for after, last in ((0, 9), (0, 5), (2, 5), (3, 4), (4, 5), (5, 9), (0, 2)):
        found = await seals.compare(3, after, last)
        read = [each.number for each in rows if after < each.number <= last]
        told = "was altered: its hash does not follow from what it seals"
        assert found.seals == len(read), (after, last)
        assert found.discrepancies == [f"seal {number} {told}" for number in read if number - 1 == missing], (
            after,
            last,
        )


async def test_a_seal_that_lacks_a_partition_is_looked_for_behind_all_entries_of_it(books: Books) -> None:
    first, second = chained({63: 1}, {63: 2})
    second.numbers = second.numbers[:-1]
    await put(books.database, first, second)
    async with books.database.connection() as reader:
        assert [await Seals(books.database).first_behind(reader, 63, after) for after in (0, 1, 9)] == [1, 2, 2]
