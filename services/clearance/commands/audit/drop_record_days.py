"""Drop the records of days whose data are no longer stored; the chain states each deletion."""

from typing import Final

from libs.store.database import Database
from libs.store.tables.schema import today
from services.clearance.store import Store

RECORD_DAYS: Final = 430
"""Days for which records are stored: longer than the batches that they prove, and these longer than the consignments."""


async def drop_record_days(store: Store) -> int:
    """Drop the days that are over, the oldest first, each in a transaction of its own; return how many had records."""
    database: Database = store.database
    async with database.connection() as reading:
        before = await today(reading) - RECORD_DAYS
        batches = await store.audit.batch_days(reading)
        days = [day for day in await store.audit.days(reading) if day < min([before, *batches])]
    dropped = 0
    for day in days:
        async with database.transaction() as tx:
            head = await store.audit.head(tx, lock="for update")
            assert head is not None, "the chain has a head"
            dropped += await store.audit.drop(tx, head, day)
    return dropped
