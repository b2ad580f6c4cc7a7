"""Returns the goods of many consignments under one transport document."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from libs.columns import Strings, Table
from libs.server.identity import Identity
from libs.store.database import Transaction
from services.clearance.commands.act import VERSION_CHANGED, Acted, ExpectedVersions
from services.clearance.commands.bulk.chunks import CHUNK_ROWS
from services.clearance.commands.bulk.goods import GoodsCommand, GoodsProgress, SelectedGoods
from services.clearance.consignment.disposal import disposing
from services.clearance.consignment.returns import BulkOrder, returning, unfit_in_bulk
from services.clearance.consignment.state.transport_numbers import numbers_of, travels_under
from services.clearance.consignment.transitions import State
from services.clearance.store import Row, Store


class ReturnProgress(GoodsProgress, frozen=True):
    """What a bulk return did so far."""

    returned: int = 0
    re_exported: int = 0
    invalidated: int = 0
    final_before: int = 0


class BulkReturn(GoodsCommand[ReturnProgress]):
    """Carries out a bulk return."""

    first = ReturnProgress()
    idle = frozenset({"ALREADY_RETURNED", "STATE_FINAL"})

    def __init__(self, store: Store, order: BulkOrder, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Carry out an order; the rest as of GoodsCommand."""
        super().__init__(store, chunk_rows=chunk_rows)
        self._order = order

    async def carry_out(self, tx: Transaction, goods: SelectedGoods, caller: Identity, trace: str) -> dict[str, Acted]:
        """Return consignments; return the result of each that the caller reaches."""
        order = self._order
        viewed = {mrn for mrn, version in goods.expected_versions if version is not None}

        def unfit(states: Table) -> list[str]:
            return goods.reasons(states, unfit_in_bulk(states, order, viewed))

        outside = None if order.officer else caller
        blocked: set[str] = set()
        if order.officer and not order.departed:
            # Declarations may be invalidated: an arrival is recorded before, and seen here, or after. Its documents are locked before consignments.
            blocked = await self._numbers(tx, goods.expected_versions)
            await self._store.arrivals.block_recording(tx, blocked)
        # In the order in which they are stored, so that whole batches are read as they are.
        found = await self._commands.fit(tx, goods.expected_versions, unfit, outside, claimant=order.officer)
        states, rows = found.states, found.rows
        values = states.ints("state").values
        waiting = ~states.ints("arrived_at").valid & (values != State.RELEASED)
        if waiting.any():
            # What was reported as arrived waits for the arrival's work or for a binding: the goods came.
            numbers = numbers_of(states.take(np.flatnonzero(waiting)))
            came = waiting & travels_under(states, set(await self._store.arrivals.find(tx, numbers)))
            # An amendment that moved the declaration to another document in between changed its version.
            moved = waiting & travels_under(states, numbers - blocked)
            for chosen, refusal in ((came, "ARRIVAL_WITHOUT_EFFECT"), (moved, VERSION_CHANGED)):
                for place in np.flatnonzero(chosen).tolist():
                    row = rows[place]
                    found.results[row.mrn] = Acted(row.mrn, row.state, row.version, refusal)
            stays = ~(came | moved)
            states, rows, values = states.take(np.flatnonzero(stays)), _chosen(rows, stays), values[stays]
        at = await self._store.now(tx) if rows else 0
        released = values == State.RELEASED
        for chosen in (released, ~released):
            if not chosen.any():
                continue
            part = states.take(np.flatnonzero(chosen))
            if chosen is released:
                returns = dict.fromkeys(part.strings("mrn").tolist(), order.returned)
                part, details = returning(part, at, returns, caller.id)
                if order.note:
                    part = part.with_columns({"note": Strings.constant(order.note, part.rows)})
            else:
                part, details = disposing(part, at, order.disposals(part), caller.id)
            found.results |= await self._commands.put(tx, part, details, _chosen(rows, chosen), trace, outside)
        return found.results

    def counts(self, results: Sequence[Acted]) -> Mapping[str, int]:
        """Return how many were returned after their release, re-exported or invalidated without one, and final before."""
        counts: Counter[str] = Counter()
        for each in results:
            if each.refusal in self.idle:
                counts["final_before"] += 1
            elif not each.refusal and each.former_state == State.RELEASED:
                counts["returned"] += 1
            elif not each.refusal:
                counts["re_exported" if each.state == State.RE_EXPORTED else "invalidated"] += 1
        return counts

    async def _numbers(self, tx: Transaction, goods: ExpectedVersions) -> set[str]:
        """Return the master documents and receptacles of consignments as they are now; nothing is locked."""
        rows = list((await self._store.find(tx, [mrn for mrn, _ in goods])).values())
        states = await self._store.states(tx, rows)
        return numbers_of(states) if rows else set()


def _chosen(rows: Sequence[Row], chosen: np.ndarray) -> list[Row]:
    return [rows[place] for place in np.flatnonzero(chosen).tolist()]
