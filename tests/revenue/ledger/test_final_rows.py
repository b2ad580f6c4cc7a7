"""What is booked is never changed: the store refuses it, to its owner as to everybody else."""

from __future__ import annotations

import asyncpg
import pytest

from libs.store.database import Database, Transaction
from libs.store.tables import schema
from services.revenue.store.ledger.entries import PARTITIONED
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import State, mrn

ONE = mrn(1, 3)
CHANGES = ("update {} set day = day", "delete from {}", "truncate {}")


class Statements(list[str]):
    """Collects the statements of a migration."""

    def execute(self, sqltext: str) -> None:
        self.append(sqltext)


async def parts(tx: Transaction, table: str) -> list[str]:
    return [f"{table}_{day}" for day in await schema.day_partitions(tx, table)]


async def refused(tx: Transaction, statement: str) -> str:
    """The SQLSTATE with which a statement is refused; empty where it is not."""
    try:
        async with tx.savepoint():
            await tx.raw.execute(statement)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return ""


@pytest.mark.parametrize("table", PARTITIONED)
async def test_a_superuser_changes_nothing_that_is_booked_by_mistake(database: Database, table: str) -> None:
    books = Books(database)
    await books.take(State(ONE))
    async with database.transaction() as tx:
        today = await schema.today(tx)
        # Also of days for which room is made later.
        made = await schema.ensure_day_partitions(tx, table, [today + 40])
        assert made == [today + 40]
        await tx.raw.execute(
            f"insert into {table} select (jsonb_populate_record(t, jsonb_build_object('day', {today + 40}))).* from {table} t"
        )
        for each in (table, f"{table}_{today}", f"{table}_{today + 40}"):
            for change in CHANGES:
                assert await refused(tx, change.format(each)) == "23001", (each, change)
        for each in await parts(tx, table):
            assert await refused(tx, f"truncate {each}") == "23001", each


@pytest.mark.parametrize("table", PARTITIONED)
async def test_an_account_that_owns_the_tables_has_no_right_to_change_what_is_booked(
    database: Database, table: str
) -> None:
    async with database.transaction() as tx:
        role = f"owner_of_{table}"
        if not await tx.raw.fetchval("select exists(select from pg_roles where rolname = $1)", role):
            await tx.raw.execute(f"create role {role}")
        await tx.raw.execute(f"grant all on schema public to {role}; set local role {role}")

        op = Statements()
        schema.create_day_partitioned(op, "own", "day integer not null, kind integer not null", key="day, kind")
        schema.forbid_changes(op, "own")
        for statement in op:
            # The function is there already, and is another's.
            await tx.raw.execute(statement.replace("rows_are_final", "own_rows_are_final"))
        today = await schema.today(tx)
        await tx.raw.execute("insert into own values ($1, 1)", today)
        await schema.ensure_day_partitions(tx, "own", [today + 40])
        await tx.raw.execute("insert into own values ($1, 1)", today + 40)
        for each in ("own", f"own_{today}", f"own_{today + 40}"):
            for change in CHANGES:
                assert await refused(tx, change.format(each)) == "42501", (each, change)
        # A whole day goes all the same, as with every table that is cut by day.
        assert await schema.drop_day(tx, "own", today + 40)
        assert await tx.raw.fetchval("select count(*) from own") == 1
        await tx.raw.execute("drop table own; drop function own_rows_are_final; reset role")
        await tx.raw.execute(f"revoke all on schema public from {role}; drop role {role}")
