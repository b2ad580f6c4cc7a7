"""Records what versions of filings state about contradictions with parts of other parties."""

from collections.abc import Mapping, Sequence

import numpy as np

from libs.columns import among
from libs.store.database import Transaction
from services.clearance.consignment.contradictions.contradiction import (
    Statement,
    columns_of,
    contradictions_of,
    current_contradictions,
)
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import FINAL, Event
from services.clearance.store import Store


async def record_contradictions(
    store: Store, tx: Transaction, mrns: Sequence[str], stated: Mapping[int, Statement], *, at: int, trace: str
) -> None:
    """Record the contradictions of consignments that this transaction has decided and locked, after its decisions.

    `stated` has by place in `mrns` what the new versions state. Each change is an event of its own, which changes no state: what is released stays
    released. Final states stay as they are.
    """
    places = sorted(stated)
    if not places:
        return
    found = await store.find(tx, [mrns[place] for place in places])
    rows = [found[mrns[place]] for place in places]
    states = await store.states(tx, rows)
    former = contradictions_of(states)
    versions = states.ints("filing_version").values.tolist()
    final = among(states.ints("state").values, FINAL).tolist()
    now = [
        before if is_final else current_contradictions(before, stated[place], version)
        for place, before, version, is_final in zip(places, former, versions, final, strict=True)
    ]
    changed = [row for row, (one, other) in enumerate(zip(former, now, strict=True)) if not one.says_the_same(other)]
    if not changed:
        return
    table = states.with_columns(columns_of(now, states.ints("contradiction_count"))).take(np.array(changed, np.int64))
    table, outcome = apply_event(table, EventDetails(event=Event.CONTRADICTED, at=at))
    assert bool(outcome.effective.all()), "a contradiction is recorded in each state that is reached and not final"
    await store.succeed(tx, table, [rows[row] for row in changed], trace=trace)
