"""Note an access to consignments in the audit trail."""

from collections.abc import Sequence

from services.clearance.store import Store
from services.clearance.store.audit.trail import Origin


async def note_access(store: Store, origin: Origin, about: str, mrns: Sequence[str]) -> None:
    """Note that a caller gets data about consignments, each once, and `about` which document or carrier, in a transaction of its own."""
    async with store.database.transaction() as tx:
        await store.audit.note_access(tx, origin, about, list(dict.fromkeys(mrns)))
