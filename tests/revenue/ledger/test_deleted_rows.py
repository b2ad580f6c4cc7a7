"""Former rows are deleted only where a page has the same content, whoever deletes them."""

from __future__ import annotations

import contextlib

from libs.store.database import Database
from libs.store.tables.schema import day_partitions, ensure_day_partitions, today
from services.revenue.store.ledger import former_rows
from tests.revenue.ledger.books import Books, guarded
from tests.revenue.ledger.row_packing import FORMER, TABLES, Killed, fill, stored

REFUSED = "23001"


async def sqlstate(database: Database, *statements: str) -> str:
    """The SQLSTATE with which the last of some statements is refused; empty where none is. All of it is undone."""
    try:
        async with database.transaction() as tx:
            for each in statements:
                await tx.raw.execute(each)
            raise Killed
    except Killed:
        return ""
    except Exception as error:
        return str(getattr(error, "sqlstate", error))


async def test_former_rows_are_deleted_only_where_a_page_has_them(database: Database) -> None:
    books = Books(database)
    async with database.transaction() as tx:
        day = await today(tx)
        await tx.raw.execute(
            f"""
            insert into ledger_entry values ({day}, 3, 1, 1, 0, 5, 'm', 2, 'r', 'EUR', 'DE', 'x'),
                ({day}, 3, 2, 1, 0, 5, 'n', 2, 'r', 'SEK', 'SE', 'y');
            insert into ledger_posting (day, booked_at, number, amount, account, partition, place, kind, currency)
            values ({day}, 5, 1, 10, 1, 3, 0, 2, 'EUR'), ({day}, 5, 1, -10, 2, 3, 1, 2, 'EUR'),
                ({day}, 5, 2, 20, 1, 3, 0, 2, 'SEK'), ({day}, 5, 2, -20, 2, 3, 1, 2, 'SEK')
            """
        )
    page = (
        f"insert into ledger_page values ({day}, 3, 1, 2, 5, 3, 1, '', 'y', '{{EUR,SEK}}', '{{DE,SE}}', '{{1,1}}', '{{0,0}}', '{{2,2}}', "
        "'{m,n}', '{r,r}', '{1,2}', '{1,2}', '{1,1,2,2}', '{0,1,0,1}', '{1,2,1,2}', '{2,2,2,2}', '{10,-10,20,-20}', '{1,1,2,2}')"
    )
    deletes = ("delete from ledger_entry", "delete from ledger_posting")
    for table, delete in zip(FORMER, deletes, strict=True):
        assert await sqlstate(database, delete) == REFUSED
        assert await sqlstate(database, f"{delete} where number = 2") == REFUSED
        assert await sqlstate(database, page, delete) == ""
        assert await sqlstate(database, page, f"{delete} where number = 1") == ""
        for change in (f"update {table} set day = day", f"truncate {table}", f"update {table}_{day} set day = day"):
            assert await sqlstate(database, page, change) == REFUSED, change
        for change in (f"delete from {table}_{day}", f"truncate {table}_{day}"):
            assert await sqlstate(database, page, change) == REFUSED, change
        # A temporary table of the same name is no page.
        shadow = "create temp table ledger_page (like public.ledger_page) on commit drop"
        assert await sqlstate(database, shadow, page, "select from pg_temp.ledger_page", delete) == REFUSED
    columns = [each.strip() for each in page.partition("values (")[2].rstrip(")").split(", ")]
    assert len(columns) == 24
    entry = {"kind": 11, "reverses": 12, "version": 13, "mrn": 14, "reference": 15, "currency": 16, "destination": 17}
    posting = {"place": 19, "account": 20, "charge": 21, "amount": 22, "posting_currency": 23}
    once = {"day": 0, "partition": 1, "first_number": 2, "booked_at": 4, "currencies": 9}
    altered = {"currencies": "'{EUR,GBP}'", "mrn": "'{m,x}'", "reference": "'{r,x}'"}
    for delete, names in zip(deletes, (once | entry, once | posting), strict=True):
        for name, at in names.items():
            found = list(columns)
            is_list = found[at].startswith("'")
            found[at] = altered.get(name) or (found[at].replace("}'", "7}'") if is_list else f"{found[at]} + 1")
            other = f"insert into ledger_page values ({', '.join(found)})"
            assert await sqlstate(database, other, delete) == REFUSED, (name, delete)
    assert await stored(books, "ledger_page") == {"ledger_page": []}
    assert [len(rows) for rows in (await stored(books, *FORMER)).values()] == [2, 4]


async def test_a_service_that_does_not_own_the_tables_packs_with_the_rights_that_the_documentation_names(
    books: Books,
) -> None:
    await fill(books)
    await guarded(books.database)
    role = "packs_rows"
    async with books.database.connection() as reader:
        rows = (await former_rows.left(reader, await day_partitions(reader, "ledger_entry")))[0]
        place = (rows.day, rows.partition)
        postings = await reader.raw.fetchval(
            "select count(*) from ledger_posting where day = $1 and partition = $2", *place
        )
    with contextlib.suppress(Killed):
        async with books.database.transaction() as tx:
            await ensure_day_partitions(tx, "ledger_page", [rows.day])
            await tx.raw.execute(
                f"create role {role}; grant usage on schema public to {role}; grant select, insert on {', '.join(TABLES)} to {role}; "
                f"grant select on all_entries, all_postings, page_postings, row_postings to {role}; "
                f"grant delete on {', '.join(FORMER)} to {role}; set local role {role}"
            )
            assert await former_rows.pack(tx, rows, bytes(32), []) == (len(rows), postings)
            for each in FORMER:
                assert not await tx.raw.fetchval(
                    f"select exists(select from {each} where day = $1 and partition = $2)", *place
                )
            raise Killed
