"""Seal the ledger's chains, under the lease of the replica that does so."""

from __future__ import annotations

from libs.store.database import Database
from libs.store.tables.leases import require_lease
from services.revenue.store.proofs.seals import Seals


async def seal(database: Database, lease: str, token: int) -> None:
    """Seal what was booked since the last seal, in one transaction. Raises LeaseLost."""
    async with database.transaction() as tx:
        await require_lease(tx, lease, token)
        await Seals(database).make(tx)
