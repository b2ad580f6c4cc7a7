"""Note an access to consignments in the audit trail."""

from collections.abc import Sequence

from services.clearance.store import Store
from services.clearance.store.audit.trail import Origin


async def note_access(store: Store, origin: Origin, about: Sequence[str], mrns: Sequence[str]) -> None:
    """Note that a caller gets data about consignments, each once, and `about` which documents or carriers, in a transaction of its own.

    Each text is a record, and the first one names the consignments.
    """
    subjects = list(dict.fromkeys(mrns))
    async with store.database.transaction() as tx:
        for place, text in enumerate(about or [""]):
            await store.audit.note_access(tx, origin, text, [] if place else subjects)
