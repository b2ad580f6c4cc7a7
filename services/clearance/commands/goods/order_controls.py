"""Orders what controls of goods require of consignments, and requests for licences that they lack, in the transaction that decides on them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Table
from libs.store.database import Transaction
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.goods_controls.law import GoodsLaw
from services.clearance.goods_controls.requirements import concerned, ordered
from services.clearance.store import Store


async def order_controls(
    store: Store,
    tx: Transaction,
    mrns: Sequence[str],
    law: GoodsLaw,
    *,
    at: int,
    trace: str,
) -> None:
    """Order the controls of consignments that this transaction has locked or inserted, before their arrival takes effect, as further versions."""
    found = await store.find(tx, mrns)
    rows = [found[mrn] for mrn in mrns]
    states = await store.states(tx, rows)
    orders = ordered(states, law, at)
    if not len(orders.places):
        return
    after, outcome = apply_event(orders.states, EventDetails(event=orders.events, at=at))
    assert bool(outcome.effective.all()), (
        "controls have an effect on goods that are decided, not released and not final"
    )
    await store.succeed(tx, after, [rows[place] for place in orders.places.tolist()], trace=trace)


def waiting_for_orders(states: Table, law: GoodsLaw, rows: NDArray[np.bool_]) -> Table:
    """Return states of presented goods before a version that releases those in `rows`: what controls may concern is not released before the orders.

    It waits for a microsecond, after which the job that ends waits releases it, unless a control was ordered.
    """
    waits = np.zeros(states.rows, np.bool_)
    waits[concerned(states, law)] = True
    waits[states.ragged("licences").lengths > 0] = True
    delay = states.ints("release_not_before")
    waits &= rows & ~delay.valid
    if not waits.any():
        return states
    column = Ints.of(np.where(waits, np.int64(1), delay.values), delay.valid | waits)
    return states.with_columns({"release_not_before": column})
