"""The days of clearance's store: partitions are made before they are written to, and rows of old days are forgotten."""

from collections.abc import Iterable

from libs.store.database import Database
from libs.store.tables.requests import purge_before
from libs.store.tables.schema import drop_days_before, tables_with_pages
from services.clearance.store import STATE_DAYS, Store
from services.clearance.store.carriers import REFUSED_DAYS
from services.clearance.store.references import WEEK_DAYS, WEEKLY
from services.clearance.store.store import PURGED, PURGED_BY_HASH, PURGED_MAX


async def ensure_days(store: Store, mrns: Iterable[str]) -> None:
    """Make the partitions for the days of acceptance of these MRNs, in a transaction of its own; known days cost nothing."""
    missing = store.missing_days(mrns)
    if missing:
        async with store.database.transaction(timeout_millis=2_000) as tx:
            await store.add_days(tx, missing)


async def purge(store: Store, before_day: int) -> None:
    """Forget references, arrivals, holds, waits and early events of days before `before_day`, a transaction for each chunk, and ended claims."""
    database: Database = store.database
    for table in WEEKLY:
        await drop_days_before(database, table, before_day, span=WEEK_DAYS)
    for table in PURGED_BY_HASH:
        await purge_before(database, table, before_day, rows_max=PURGED_MAX)
    async with database.connection() as reader:
        filled = await tables_with_pages(reader, PURGED)
    for table in filled:
        deleted = PURGED_MAX
        while deleted == PURGED_MAX:
            async with database.transaction() as tx:
                deleted = await store.purge(tx, table, before_day)
    deleted = PURGED_MAX
    while deleted:
        async with database.transaction() as tx:
            # Whatever used these licences was accepted before, and is deleted.
            deleted = await store.licences.purge(tx, before_day, PURGED_MAX)
    async with database.transaction() as tx:
        await store.claims.purge(tx)
    async with database.transaction() as tx:
        await store.carriers.forget_refused(tx, before_day + STATE_DAYS - REFUSED_DAYS)
