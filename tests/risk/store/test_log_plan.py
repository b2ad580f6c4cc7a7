"""Reading risk's log costs the same however long it has grown: an index leads to the cursor."""

from __future__ import annotations

from libs.store.database import Database
from libs.store.tables.assessment_pages import ENTRIES_QUERY, PAGES_QUERY, ROWS_QUERY
from services.risk.store.assessment_log import NEWEST_QUERY, READ_QUERY, STATE_QUERY


async def plan(database: Database, statement: str, *arguments: object) -> str:
    async with database.connection(timeout_millis=20_000) as reader:
        rows = await reader.raw.fetch(f"explain {statement}", *arguments)
    return "\n".join(row[0] for row in rows)


async def test_the_log_is_read_and_consignments_are_looked_up_by_index(database: Database) -> None:
    async with database.transaction(timeout_millis=20_000) as tx:
        await tx.raw.execute(
            "insert into assessed (day, epoch, xid, count, record, tally) select floor(extract(epoch from now()) / 86400)::integer, 1, n, 1, '', '' "
            "from generate_series(1, 20000) n"
        )
        await tx.raw.execute(
            "insert into assessment select 'MRN' || n, 1, 1, 20000, n, 0 from generate_series(1, 20000) n"
        )
        await tx.raw.execute(
            "insert into assessment_page select 1, n, n, 20000, 1, 0, 0, 1, array['MRN' || n], array[1], array[0] "
            "from generate_series(1, 20000) n"
        )
    async with database.connection(timeout_millis=20_000) as reader:
        await reader.raw.execute("analyze assessed")
        await reader.raw.execute("analyze assessment")
        await reader.raw.execute("analyze assessment_page")
        today = await reader.raw.fetchval("select floor(extract(epoch from now()) / 86400)::integer")
        stamp = await reader.raw.fetchval("select stamp::text from assessed where xid = 19990")
    told = await plan(database, READ_QUERY, today - 1, 1, 19_990, 1, [], 64, today, stamp)
    # Days that are still empty may be scanned.
    assert f"Seq Scan on assessed_{today} " not in told, told
    assert any("ROW(epoch, xid) >" in line for line in told.splitlines() if "Index Cond" in line), told
    state = await plan(database, STATE_QUERY, today, 1, 19_990, stamp)
    assert f"Seq Scan on assessed_{today} " not in state, state
    newest = await plan(database, NEWEST_QUERY)
    assert f"Seq Scan on assessed_{today} " not in newest, newest
    mrns, blocks = [f"MRN{number}" for number in range(500)], (1, [1] * 500, list(range(500)), [0] * 500)
    looked = await plan(database, ENTRIES_QUERY, *blocks, mrns) + await plan(database, PAGES_QUERY, *blocks, [0] * 500)
    looked += await plan(database, ROWS_QUERY, 1, mrns)
    assert "Seq Scan" not in looked, looked
    assert "Bitmap" not in looked, f"pages that a purge has emptied are read: {looked}"
