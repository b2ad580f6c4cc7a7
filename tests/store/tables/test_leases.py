# ruff: noqa: PT012 (what is refused is a transaction, so the block is a transaction)
import asyncio

import pytest

from libs.store.database import Database
from libs.store.tables import schema
from libs.store.tables.leases import LeaseLost, release_lease, require_lease, try_lease
from tests.support.databases import create_tables


@pytest.fixture
async def leased(database: Database) -> Database:
    """A database with a table of leases."""
    await create_tables(database, schema.create_job_lease)
    return database


async def _take(database: Database, owner: str, name: str = "purge") -> int | None:
    async with database.transaction() as tx:
        return await try_lease(tx, name, owner, 60)


async def _expire(database: Database) -> None:
    """Lets the database's clock pass the end of every lease."""
    async with database.transaction() as tx:
        await tx.raw.execute("update job_lease set lease_until = clock_timestamp() - interval '1 second'")


async def test_one_owner_at_a_time_holds_a_lease(leased: Database) -> None:
    assert await _take(leased, "one") == 1
    assert await _take(leased, "two") is None
    assert await _take(leased, "two", name="another job") == 1
    assert await _take(leased, "one") == 1, "a renewal keeps the token"


async def test_an_expired_lease_goes_to_whoever_comes_with_a_higher_token(leased: Database) -> None:
    await _take(leased, "one")
    await _expire(leased)
    assert await _take(leased, "two") == 2
    assert await _take(leased, "one") is None
    await _expire(leased)
    assert await _take(leased, "two") == 3, "whoever let it expire may not go on under the old token"


async def test_of_many_that_come_at_once_one_gets_the_lease(leased: Database) -> None:
    for round_number in range(1, 4):
        tokens = await asyncio.gather(*(_take(leased, f"replica {number}") for number in range(8)))
        assert [token for token in tokens if token is not None] == [round_number]
        await _expire(leased)


async def test_work_under_a_lost_lease_is_rolled_back(leased: Database) -> None:
    stale = await _take(leased, "one")
    assert stale is not None
    await _expire(leased)
    fresh = await _take(leased, "two")
    assert fresh is not None
    with pytest.raises(LeaseLost):
        async with leased.transaction() as tx:
            await tx.raw.execute("create table effect ()")
            await require_lease(tx, "purge", stale)
    async with leased.transaction() as tx:
        await require_lease(tx, "purge", fresh)
        assert await tx.raw.fetchval("select to_regclass('effect')") is None


async def test_a_lease_given_back_is_free_at_once_unless_it_was_lost_before(leased: Database) -> None:
    token = await _take(leased, "one")
    assert token is not None
    async with leased.transaction() as tx:
        await release_lease(tx, "purge", token)
    assert await _take(leased, "two") == token + 1
    async with leased.transaction() as tx:
        await release_lease(tx, "purge", token)
    assert await _take(leased, "three") is None


async def test_a_lease_that_a_clock_gone_back_left_in_the_future_is_taken_and_its_holder_kept_out(
    leased: Database,
) -> None:
    assert await _take(leased, "gone") == 1
    async with leased.transaction() as tx:
        await tx.raw.execute("update job_lease set lease_until = clock_timestamp() + interval '5 minutes'")
    assert await _take(leased, "here") == 2
    with pytest.raises(LeaseLost):
        async with leased.transaction() as tx:
            await require_lease(tx, "purge", 1)
