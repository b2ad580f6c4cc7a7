"""A database that is used again is as its migrations left it, or is told to be beyond that."""

from __future__ import annotations

import asyncpg
import pytest

from tests.support.pristine import cleared, remember

MIGRATED = """
create table seeded (id bigint generated always as identity primary key, name text not null);
insert into seeded (name) values ('one'), ('two');
create view names as select name from seeded;
create table held (seed bigint references seeded (id), day integer not null) partition by range (day);
create table held_1 partition of held for values from (1) to (2);
create sequence numbers;
create function refuse() returns trigger language plpgsql as 'begin raise exception ''never''; end';
create trigger kept before update or delete or truncate on seeded for each statement execute function refuse();
"""
USED = """
insert into seeded (name) values ('three');
insert into held values (1, 1);
create table held_2 partition of held for values from (2) to (3);
insert into held values (2, 2);
create table other (x integer);
select nextval('numbers'), nextval('numbers');
"""


async def test_what_came_since_is_gone(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(MIGRATED)
    await remember(connection)
    for _ in range(2):
        await connection.execute(USED)
        assert await cleared(connection)
        assert [tuple(row) for row in await connection.fetch("select * from seeded")] == [(1, "one"), (2, "two")]
        assert await connection.fetchval("select count(*) from held") == 0
        assert await connection.fetchval("select to_regclass('other') is null and to_regclass('held_2') is null")
        assert await connection.fetchval("select nextval('numbers')") == 1
        assert await connection.fetchval("insert into seeded (name) values ('new') returning id") == 3
    await connection.close()


async def test_rows_alone_are_gone_without_a_look_at_the_definitions(database_url: str) -> None:
    """The hash of the definitions is replaced by another: it would be compared if a definition had been noted as changed."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(MIGRATED)
    await remember(connection)
    await connection.execute("update pristine.hashes set hash = hash + 1")
    for _ in range(2):
        await connection.execute("insert into seeded (name) values ('three'); insert into held values (1, 1)")
        await connection.execute("create table if not exists seeded (x integer)")
        assert await cleared(connection)
        assert await connection.fetchval("select count(*) from seeded") == 2
    await connection.execute("create table other (x integer)")
    assert not await cleared(connection)
    await connection.close()


@pytest.mark.parametrize(
    "change",
    [
        "alter table seeded add column more text",
        "alter table seeded alter column name drop not null",
        "alter table seeded alter column name set default 'other'",
        "create or replace view names as select upper(name) as name from seeded",
        "grant select on seeded to public",
        "alter table seeded disable trigger kept",
        "alter table held detach partition held_1",
        "drop table held_1",
        "create index another on seeded (name)",
        "create or replace function refuse() returns trigger language plpgsql as 'begin return null; end'",
    ],
)
async def test_a_changed_definition_cannot_be_brought_back(database_url: str, change: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(MIGRATED)
    await remember(connection)
    assert await cleared(connection)
    await connection.execute(change)
    assert not await cleared(connection)
    await connection.close()


async def test_what_was_never_remembered_is_not_cleared(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert not await cleared(connection)
    await connection.close()
