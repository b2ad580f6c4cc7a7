"""The report of arrivals without effect.

Every command that changes a consignment locks its row first, always in the order of (day, MRN), reads the state that the row refers to, and stores
the next version. So the consumer, arrivals and officers never lose each other's changes. A filing and its arrival meet because a command that
inserts filings blocks arrivals of their documents until it has committed, and reads the arrivals behind that lock.
"""

from collections.abc import Sequence

from libs.store.database import Transaction
from services.clearance.metrics import count_unbound
from services.clearance.store import Store


async def report_without_effect(store: Store, tx: Transaction, arrivals: Sequence[tuple[str, str]]) -> None:
    """Report arrivals, by document and carrier, that have no effect on some filings."""
    if arrivals:
        await store.carriers.note_refused(tx, arrivals, await store.now(tx), recorded=True)
        tx.after_commit(lambda: count_unbound("without_effect", len(arrivals)))
