"""Presents goods to customs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.act import Acted
from services.clearance.commands.bulk.goods import GoodsCommand, GoodsProgress, SelectedGoods
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.times import was_released
from services.clearance.consignment.transitions import Event, State

PRESENTED_BEFORE: Final = "ALREADY_PRESENTED"
"""The refusal of goods that need no presentation any more: a repetition changes nothing and is no error."""


class PresentProgress(GoodsProgress, frozen=True):
    """What a presentation did so far."""

    presented: int = 0
    released: int = 0
    presented_before: int = 0


class Present(GoodsCommand[PresentProgress]):
    """Presents goods, of which each then continues as on an arrival that is the presentation."""

    first = PresentProgress()
    idle = frozenset({PRESENTED_BEFORE})

    async def carry_out(self, tx: Transaction, goods: SelectedGoods, caller: Identity, trace: str) -> dict[str, Acted]:
        """Present consignments, and return the result of each that the caller reaches."""
        outside = caller if caller.role is Role.CARRIER else None

        def unfit(states: Table) -> list[str]:
            return goods.reasons(states, [""] * states.rows)

        found = await self._commands.fit(tx, goods.expected_versions, unfit, outside, bound_alone=True)
        if found.rows:
            # In the order in which they are stored, so that whole batches are read as they are.
            order = sorted(range(len(found.rows)), key=lambda place: (found.rows[place].ref, found.rows[place].row))
            rows, states = [found.rows[place] for place in order], found.states.take(np.array(order, np.int64))
            details = EventDetails(event=Event.PRESENTED, at=await self._store.now(tx))
            results = await self._commands.put(tx, states, details, rows, trace, outside)
            found.results |= {
                mrn: replace(each, refusal=PRESENTED_BEFORE) if before and each.refusal == "STATE_FINAL" else each
                for (mrn, each), before in zip(results.items(), _presented_before(states).tolist(), strict=True)
            }
        return found.results

    def counts(self, results: Sequence[Acted]) -> Mapping[str, int]:
        """Return how many were presented, released by it, and presented before."""
        presented = [each for each in results if not each.refusal]
        return {
            "presented": len(presented),
            "released": sum(each.state == State.RELEASED for each in presented),
            "presented_before": sum(each.refusal == PRESENTED_BEFORE for each in results),
        }


def _presented_before(states: Table) -> NDArray[np.bool_]:
    """Return which goods were presented by an act of its own or by their arrival, or released, shape (n,)."""
    by_arrival = states.ints("arrived_at").valid & ~states.ints("presentation_due_at").valid
    return states.ints("presented_at").valid | was_released(states) | by_arrival
