"""Chain the records that wait, and seal the chain.

Decisions and accesses only note a record each, so that no transaction waits for the head of the chain. What waits is chained in the order in
which it was noted, as far as it is committed; a record that is committed later comes later.
"""

from typing import Final

from libs.store.database import Transaction
from services.clearance.store import Store
from services.clearance.store.audit.seals import AuditSeals
from services.clearance.store.audit.trail import Head

RECORDS_MAX: Final = 200
SUBJECTS_MAX: Final = 2_000
"""Consignments of accesses that are chained in one transaction; the records of an access with more are chained alone."""
SEAL_RECORDS: Final = 1_000
"""Records that one seal covers at most, so that evidence proves each of them by few others; a backlog has many seals."""
_LOCK: Final = "for update"
_TRY: Final = "for update skip locked"


class ChainRecords:
    """Chains and seals, at any replica: the lock of the head admits one transaction at a time."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store
        self._seals = AuditSeals(store.database)

    async def chain(self, *, wait: bool = False) -> int:
        """Chain what waits, in one transaction that also seals once SEAL_RECORDS are not covered; return how many records there were.

        Without `wait`, 0 where another replica is at it.
        """
        async with self._store.database.transaction() as tx:
            head = await self._head(tx, wait=wait)
            if head is None:
                return 0
            # The record that begins the chain is one more.
            unsealed = head.number - await self._store.audit.sealed(tx) if head.number else 1
            room = max(1, min(RECORDS_MAX, SEAL_RECORDS - unsealed))
            count = await self._store.audit.chain(tx, head, records_max=room, subjects_max=SUBJECTS_MAX)
            if unsealed + count >= SEAL_RECORDS:
                await self._seals.make(tx)
            return count

    async def seal(self, *, wait: bool = False) -> int | None:
        """Seal the chain; return the number of the seal, None where there is nothing new or another replica is at it."""
        async with self._store.database.transaction() as tx:
            if await self._head(tx, wait=wait) is None:
                return None
            return await self._seals.make(tx)

    async def chain_all(self, *, wait: bool = False) -> None:
        """Chain all that waits by now; without `wait`, as long as no other replica is at it."""
        async with self._store.database.connection() as reading:
            last = await reading.raw.fetchval("select max(number) from audit_pending") or 0
        while await self._is_left(last):
            if not await self.chain(wait=wait) and not wait:
                return

    async def finish(self) -> None:
        """Chain and seal all that is committed by now."""
        await self.chain_all(wait=True)
        await self.seal(wait=True)

    async def _is_left(self, last: int) -> bool:
        async with self._store.database.connection() as reading:
            return bool(await reading.raw.fetchval("select exists(select from audit_pending where number <= $1)", last))

    async def _head(self, tx: Transaction, *, wait: bool) -> Head | None:
        return await self._store.audit.head(tx, lock=_LOCK if wait else _TRY)
