"""Stores referrals before loading that follow from what risk recommended, as a further version in the transaction of the version before it."""

from collections.abc import Sequence

from libs.feed.types import BatchRef
from libs.store.database import Transaction
from services.clearance.consignment.columns import with_previous
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.pre_loading.recommendation import Referred
from services.clearance.store import Row, Store


async def store_referrals(
    store: Store, tx: Transaction, referred: Referred, stored: BatchRef | Sequence[Row], trace: str, at: int
) -> None:
    """Store the referrals of states that this transaction stored: all in one batch, or as these rows."""
    if not len(referred.places):
        return
    states, outcome = apply_event(referred.states, EventDetails(event=referred.events, at=at))
    assert bool(outcome.effective.all()), "referrals have an effect on goods that have not arrived and are not final"
    places = [
        (stored, place) if isinstance(stored, BatchRef) else (stored[place].ref, stored[place].row)
        for place in referred.places.tolist()
    ]
    refs = [ref for ref, _ in places]
    states = with_previous(states, [ref.day for ref in refs], [ref.id for ref in refs], [row for _, row in places])
    await store.update(tx, states, trace=trace)
