"""Reading risk's log costs the same however long it has grown: an index leads to the cursor."""

from __future__ import annotations

from libs.store.database import Database
from services.risk.store.assessment_log import KNOWN_QUERY, NEWEST_QUERY, READ_QUERY, STATE_QUERY


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
    async with database.connection(timeout_millis=20_000) as reader:
        await reader.raw.execute("analyze assessed")
        await reader.raw.execute("analyze assessment")
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
    looked = await plan(database, KNOWN_QUERY, [f"MRN{number}" for number in range(500)], 1)
    assert "Seq Scan" not in looked, looked
