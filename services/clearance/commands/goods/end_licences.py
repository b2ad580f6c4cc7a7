"""Notifies agencies that a licence of their register ends soon, and that it has ended."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from libs.columns import Strings
from libs.store.database import Transaction
from services.clearance.licences.last_day import is_notified, next_notice_at, notices
from services.clearance.store import Store

_PARTS: Final = 3


class EndLicences:
    """Writes the notices about the last days of licences; all times are the database's."""

    chunk_rows: Final = 500
    """Licences of one transaction, which filings that cite them wait for."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def due(self, reading: Transaction, until: int, limit: int) -> list[str]:
        """Return licences of which a notice is due before an instant, the longest due first: authority, type and number, with spaces between them."""
        return [" ".join(key) for key in await self._store.licences.due(reading, until, limit)]

    async def run(self, names: Sequence[str], until: int, at: int | None, trace: str) -> int:
        """Notify the agencies of these licences, each as it stands now; return how many notices there were. `at` replaces the database's clock.

        One transaction: a second replica at the same rows waits for the locks and finds nothing due.
        """
        async with self._store.database.transaction() as tx:
            # Numbers of licences may have spaces, ids of agencies and types have none.
            keys = [
                (authority, kind, number) for authority, kind, number in (each.split(" ", _PARTS - 1) for each in names)
            ]
            locked = await self._store.licences.find(tx, keys, lock=True)
            # A clock that was set back since the look-up must not leave what is due undone.
            now = at if at is not None else max(until, await self._store.now(tx))
            due = [each for each in locked.values() if each.next_at is not None and each.next_at <= now]
            notified = [each for each in due if is_notified(each, now)]
            if notified:
                agencies = Strings.of([each.authority for each in notified])
                await self._store.notify(tx, notices(notified, now), trace=trace, agencies=agencies)
            await self._store.licences.note_next(tx, [replace(each, next_at=next_notice_at(each, now)) for each in due])
        return len(notified)
