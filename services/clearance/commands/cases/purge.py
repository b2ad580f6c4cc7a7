"""Delete closed cases whose retention is over."""

from libs.customs.time import MICROS_PER_DAY
from libs.store.errors import StoreError, StoreUnavailable
from services.clearance.store import Store


async def purge_cases(store: Store, days: int) -> int:
    """Delete the cases that were closed more than `days` days ago, each in short transactions of its own; return how many there were.

    Open cases stay, however old they are. The audit trail states each deletion. A case that cannot be deleted does not stop the others; its
    error is raised behind them.
    """
    deleted = 0
    failed: dict[int, StoreError] = {}
    while True:
        number, whole = None, False
        try:
            async with store.database.transaction() as tx:
                before = await store.now(tx) - days * MICROS_PER_DAY
                number = await store.cases.closed_before(tx, before, failed)
                whole = number is not None and await store.cases.delete(tx, number)
                if number is not None and whole:
                    await store.contents.detach(tx, number)
                    await store.audit.note_access(tx, store.origin(), f"case {number} DELETED", [])
        except StoreUnavailable:
            raise
        except StoreError as error:
            if number is None:
                raise
            failed[number] = error
            continue
        deleted += whole
        if number is None:
            if failed:
                raise next(iter(failed.values()))
            return deleted
