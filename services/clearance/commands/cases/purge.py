"""Delete closed cases whose retention is over."""

from libs.customs.time import MICROS_PER_DAY
from services.clearance.store import Store


async def purge_cases(store: Store, days: int) -> int:
    """Delete the cases that were closed more than `days` days ago, each in a transaction of its own; return how many there were.

    Open cases stay, however old they are. The audit trail states each deletion.
    """
    deleted = 0
    while True:
        async with store.database.transaction() as tx:
            number = await store.cases.closed_before(tx, await store.now(tx) - days * MICROS_PER_DAY)
            if number is None:
                return deleted
            await store.contents.detach(tx, number)
            await store.cases.delete(tx, number)
            await store.audit.note_access(tx, store.origin(), f"case {number} DELETED", [])
            deleted += 1
