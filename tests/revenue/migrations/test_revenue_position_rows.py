"""A store with positions of former releases gets pages: rows stay rows, with their entries, and new consignments beside them have pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from libs.feed.consume.transient_errors import is_passing
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.migrate import migrate
from services.revenue.store.positions.pages import PAGE_MIN
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import DAY, State, mrn
from tests.support.earlier_schema import migrate_to

FORMER = [mrn(place, 3) for place in range(2 * PAGE_MIN)]
NEW = [mrn(100 + place, 3) for place in range(PAGE_MIN)]


async def fill(database: Database) -> None:
    """Positions without entries and lines, as the release with revision 0011 stored them of states that owe nothing."""
    async with database.transaction() as tx:
        await tx.raw.executemany(
            "insert into ledger_position (mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, "
            "announced, lines, standing, generation, adjusted, adjusted_at, paid_out, payee, entries, days) "
            "values ($1, 4, 1, $2, 'DE', 'EUR', 'EU', 0, 0, 0, 0, $3, 0, 0, 0, 0, 0, 0, '{}', '{}')",
            [(each, DAY, b"") for each in FORMER],
        )


async def stored(database: Database) -> tuple[list[tuple[str, int, bool]], int]:
    async with database.connection() as reader:
        rows = await reader.raw.fetch("select mrn, version, paged from ledger_position order by mrn")
        pages = await reader.raw.fetchval("select count(*) from ledger_position_page")
    return [tuple(row) for row in rows], int(pages)


async def test_positions_of_rows_go_on_as_rows_beside_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate_to(database, "services.revenue", "0011", tmp_path, monkeypatch)
    await fill(database)
    assert await migrate(database, "services.revenue") == ["0012", "0013", "0014", "0015", "0016", "0017"]
    books = Books(database)
    states = [State(each) for each in (*FORMER, *NEW)]
    # A version that is older than the stored one changes nothing of the former; the others are new.
    await books.take(*(replace(each, version=3) for each in states))
    former = sorted(FORMER)
    assert await stored(database) == ([(each, 4, False) for each in former], 1)
    await books.take(*(replace(each, version=5) for each in states))
    assert await stored(database) == ([(each, 5, False) for each in former], 1)
    held = await books.positions([*FORMER, *NEW])
    assert [row[:2] for row in held] == [(each, 5) for each in sorted((*FORMER, *NEW))]
    assert await books.kinds(FORMER[0]) == await books.kinds(NEW[0]) != []
    assert await books.unbalanced() == []


async def test_a_process_of_the_former_revision_is_refused_with_an_error_that_passes(database: Database) -> None:
    await migrate(database, "services.revenue")
    with pytest.raises(StoreError, match="an object is in use") as refused:
        await fill(database)
    assert is_passing(refused.value)
    assert await stored(database) == ([], 0)


async def test_pages_are_compressed_with_lz4_where_the_server_has_it(database: Database) -> None:
    await migrate(database, "services.revenue")
    async with database.connection() as reader:
        has_it = await reader.raw.fetchval(
            "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'"
        )
        found = await reader.raw.fetch(
            "select c.relname, array_agg(distinct a.attcompression::text) as compressions from pg_class c "
            "join pg_attribute a on a.attrelid = c.oid where c.relname ~ '^ledger_position_page(_h[0-9]+)?$' and c.relkind in ('r', 'p') "
            "and a.attnum > 0 and a.attstorage in ('m', 'x') group by c.relname"
        )
    assert len(found) == 17
    assert {tuple(row["compressions"]) for row in found} == {("l",) if has_it else ("",)}
