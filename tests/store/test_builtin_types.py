"""Definitions of types: those that all servers have are asked for once in a process, those of a database on each connection."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from libs.store.database import Database


async def fetched_twice(url: str, query: str, *values: Any) -> tuple[list[Any], int]:
    """Return what a query returns on two connections, each with a pool of its own, and how often the driver asked for types."""
    results, asked = [], 0

    def count(logged: LoggedQuery) -> None:
        nonlocal asked
        asked += "typeinfo" in logged.query

    for _ in range(2):
        async with Database(url, name="test", pool_size=1) as database, database.connection() as reader:
            reader.raw.add_query_logger(count)
            results.append(await reader.raw.fetchval(query, *values))
            reader.raw.remove_query_logger(count)
    return results, asked


async def test_a_built_in_type_is_asked_for_once(database_url: str) -> None:
    """Arrays of money are used by nothing else here; where the driver never asks for them, asyncpg has changed."""
    assert await fetched_twice(database_url, "select array['1.5'::money]") == ([["$1.50"]] * 2, 1)


async def test_several_types_of_a_statement_arrive_whether_they_are_remembered_or_not(database_url: str) -> None:
    query = "select row($1::point[], $2::macaddr[])::text || array_length($3::macaddr[], 1)"
    values = [asyncpg.Point(1, 2)], ["08:00:2b:01:02:03"], ["08:00:2b:01:02:03"]
    (first, second), asked = await fetched_twice(database_url, query, *values)
    assert first == second == '("{""(1,2)""}",{08:00:2b:01:02:03})1'
    assert asked == 2, "once for each of the two types"


@pytest.mark.parametrize("letters", [10, 20_000])
async def test_a_statement_that_is_too_long_to_be_cached_works_as_a_short_one(database_url: str, letters: int) -> None:
    """The driver prepares long statements without a name, and asks for types by such a statement too."""
    query = f"select $1::box[] is null /* {'x' * letters} */"
    assert (await fetched_twice(database_url, query, None))[0] == [True, True]
    assert (await fetched_twice(database_url, query, [asyncpg.Box((3, 4), (1, 2))]))[0] == [False, False]


async def test_a_type_of_a_database_is_asked_for_on_each_connection(database_url: str, database: Database) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute("create type mood as enum ('calm')")
    assert await fetched_twice(database_url, "select array['calm'::mood]") == ([["calm"], ["calm"]], 2)
    async with database.transaction() as tx:
        await tx.raw.execute("drop type mood; create type mood as (calm boolean, level integer)")
    results, _ = await fetched_twice(database_url, "select array[row(true, 2)::mood]")
    assert results == [[(True, 2)], [(True, 2)]]
