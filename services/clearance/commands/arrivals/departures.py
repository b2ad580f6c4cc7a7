"""Makes return orders due whose transport document left, as a departure or an arrival under it shows."""

from collections.abc import Sequence

from services.clearance.store import Store


async def touch_orders(store: Store, documents: Sequence[str], at: int) -> None:
    """Make the open return orders under documents due, in transactions of a bounded size.

    If it ends early, a repeat of the report continues it; otherwise the orders are looked at when their validity ends, and the departure counts then.
    """
    touched = bool(documents)
    while touched:
        async with store.database.transaction() as tx:
            touched = await store.return_orders.touch(tx, documents, at) > 0
