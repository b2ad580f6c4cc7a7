"""Notifies filers that a return order of theirs ended without a return."""

from collections.abc import Sequence

from libs.columns import Ints
from libs.store.database import Transaction
from services.clearance.consignment.transitions import Change
from services.clearance.store import Row, Store


async def notify_ended(store: Store, tx: Transaction, rows: Sequence[Row], at: int, trace: str) -> None:
    """Write a notice to the filer of each of these consignments. It makes no version of the state."""
    if not rows:
        return
    states = await store.states(tx, rows)
    count = states.rows
    columns = {
        "change": Ints.constant(Change.RETURN_ORDER_ENDED, count),
        "changed_at": Ints.constant(at, count),
        "public_change": Ints.absent(count),
        "public_changed_at": Ints.absent(count),
    }
    await store.notify(tx, states.with_columns(columns), trace=trace)
