"""A consumer that is restarted loses all its partitions until its effects are cleared, and two restarts never clear them at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.feed.consume.leases import LEASE_MILLIS, Leases, Move
from libs.feed.consume.restart import LEASE_SECONDS, RestartUnderWay, is_starting, restarting
from libs.feed.types import Cursor, LeaseLost
from tests.feed.frozen import Frozen, frozen_clock

_ROWS = "select partition, owner, token, ready, lease_until from feed_cursor where source = $1 order by partition"
_WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
_CLOCK = "(select at from frozen.clock)"


@pytest_asyncio.fixture
async def frozen(second_url: str) -> AsyncIterator[Frozen]:
    async with frozen_clock(second_url) as opened:
        yield opened


async def following(frozen: Frozen, source: str = "producer") -> Leases:
    """A replica that holds all partitions and has read their snapshot."""
    leases = Leases(frozen.database, source, "one", lease_millis=60_000)
    await leases.balance()
    await frozen.sql("update feed_cursor set ready = true where source = $1", source)
    return leases


async def starting(frozen: Frozen, source: str = "producer") -> bool:
    async with frozen.database.connection() as reading:
        return await is_starting(reading, source)


async def test_all_partitions_are_taken_at_once_and_given_back_without_their_start(frozen: Frozen) -> None:
    leases = await following(frozen)
    await following(frozen, "elsewhere")
    elsewhere = await frozen.sql(_ROWS, "elsewhere")
    async with restarting(frozen.database, "producer"):
        rows = await frozen.sql(_ROWS, "producer")
        now = await frozen.one(f"select {_CLOCK}")
        (owner,) = {each["owner"] for each in rows}
        assert owner.startswith("restart/")
        assert len(owner) > len("restart/") + 7
        assert {(each["token"], each["ready"]) for each in rows} == {(2, False)}
        assert {(each["lease_until"] - now).total_seconds() for each in rows} == {LEASE_SECONDS}
        with pytest.raises(LeaseLost):
            async with frozen.database.transaction() as tx:
                await leases.move(tx, {3: Move(1, Cursor(1, 1, 1, 1))})
    rows = await frozen.sql(_ROWS, "producer")
    assert len(rows) == 64
    assert {tuple(each)[1:] for each in rows} == {(None, 3, False, None)}
    assert await frozen.sql(_ROWS, "elsewhere") == elsewhere


def test_the_lease_of_a_restart_is_below_what_a_consumer_takes_for_a_clock_that_went_back() -> None:
    assert LEASE_SECONDS == 10
    assert LEASE_SECONDS < 2 * LEASE_MILLIS / 1000


async def test_the_partitions_are_given_back_although_the_clearing_fails(frozen: Frozen) -> None:
    await following(frozen)
    with pytest.raises(ZeroDivisionError):
        async with restarting(frozen.database, "producer"):
            raise ZeroDivisionError
    assert {each["owner"] for each in await frozen.sql(_ROWS, "producer")} == {None}


@pytest.mark.parametrize(
    ("change", "goes"),
    [
        ("owner = 'restart/other', lease_until = {} + interval '1 us'", False),
        ("owner = 'restart/other', lease_until = {}", True),
        ("owner = 'restart/other', lease_until = {} - interval '1 us'", True),
        ("owner = 'restart/other', lease_until = null", True),
        ("owner = 'one/other', lease_until = {} + interval '60 s'", True),
        ("owner = null, lease_until = null", True),
    ],
)
async def test_a_restart_gives_way_to_another_one_that_lasts_and_to_nothing_else(
    frozen: Frozen, change: str, *, goes: bool
) -> None:
    await following(frozen)
    await following(frozen, "elsewhere")
    await frozen.sql(
        f"update feed_cursor set owner = 'restart/other', lease_until = {_CLOCK} + interval '5 s' where source = 'elsewhere'"
    )
    await frozen.sql(f"update feed_cursor set {change.format(_CLOCK)} where source = 'producer' and partition = 63")
    before = await frozen.sql(_ROWS, "producer")
    if goes:
        async with restarting(frozen.database, "producer"):
            assert await frozen.sql(_ROWS, "producer") != before
    else:
        with pytest.raises(RestartUnderWay, match="producer"):
            async with restarting(frozen.database, "producer"):
                pass
        assert await frozen.sql(_ROWS, "producer") == before


@pytest.mark.parametrize("missing", ["partition >= 0", "partition = 63"])
async def test_a_consumer_that_never_began_is_not_restarted(frozen: Frozen, missing: str) -> None:
    await following(frozen)
    await following(frozen, "elsewhere")
    await frozen.sql(f"delete from feed_cursor where source = 'producer' and {missing}")
    with pytest.raises(RestartUnderWay):
        async with restarting(frozen.database, "producer"):
            pass


async def test_two_restarts_at_once_are_parted_by_the_locks_of_the_partitions(frozen: Frozen) -> None:
    await following(frozen)

    async def second() -> None:
        async with restarting(frozen.database, "producer"):
            pass

    async with frozen.database.transaction() as tx:
        await tx.raw.execute(
            f"update feed_cursor set owner = 'restart/first', token = token + 1, lease_until = {_CLOCK} + interval '10 s'"
        )
        waiting = asyncio.create_task(second())
        async with asyncio.timeout(10):
            while not await frozen.one(_WAITING):  # noqa: ASYNC110  # what is awaited is a session of the server
                await asyncio.sleep(0.01)
    with pytest.raises(RestartUnderWay):
        await waiting
    assert {each["owner"] for each in await frozen.sql(_ROWS, "producer")} == {"restart/first"}


async def test_each_part_that_is_cleared_prolongs_the_leases_of_this_source_alone(frozen: Frozen) -> None:
    await following(frozen)
    await following(frozen, "elsewhere")
    elsewhere = await frozen.sql(_ROWS, "elsewhere")
    async with restarting(frozen.database, "producer") as renew:
        await frozen.pass_by("9 s")
        async with frozen.database.transaction() as tx:
            await renew(tx)
        left = f"select distinct extract(epoch from lease_until - {_CLOCK})::float from feed_cursor where source = 'producer'"
        assert await frozen.one(left) == LEASE_SECONDS
        assert await frozen.sql(_ROWS, "elsewhere") == elsewhere


async def test_nothing_more_is_cleared_once_one_partition_was_taken_back(frozen: Frozen) -> None:
    leases = await following(frozen)
    async with restarting(frozen.database, "producer") as renew:
        await frozen.sql("update feed_cursor set lease_until = null where partition = 7")
        gained, _ = await leases.balance()
        assert gained == {7}
        with pytest.raises(LeaseLost, match="producer"):
            async with frozen.database.transaction() as tx:
                await renew(tx)
    rows = {each["partition"]: each for each in await frozen.sql(_ROWS, "producer")}
    assert (rows[7]["owner"], rows[7]["token"]) == (leases.owner, 3), "whoever took it back keeps it"
    assert (rows[8]["owner"], rows[8]["token"]) == (None, 3)


@pytest.mark.parametrize(("ready", "expected"), [(0, True), (63, True), (64, False)])
async def test_a_source_is_starting_until_the_last_partition_has_read_its_snapshot(
    frozen: Frozen, ready: int, *, expected: bool
) -> None:
    await following(frozen)
    await following(frozen, "elsewhere")
    await frozen.sql("update feed_cursor set ready = partition < $1 where source = 'producer'", ready)
    assert await starting(frozen) is expected


async def test_a_source_that_never_began_is_starting(frozen: Frozen) -> None:
    await following(frozen, "elsewhere")
    assert await starting(frozen)
