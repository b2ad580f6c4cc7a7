"""Arrivals that were recorded in error: their consignments, and their reversal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.server.identity import Role
from libs.server.requests import store_answer
from libs.telemetry import span
from luxor.clearance.v1 import carriers_pb2 as pb
from services.clearance.commands.arrivals.arrive import ArrivalCounts, Arrive
from services.clearance.commands.goods.referrals import store_referrals
from services.clearance.commands.summarize import under_document
from services.clearance.consignment.columns import was_moved
from services.clearance.consignment.state.arrivals import Arrivals, arrived_by
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.times import was_released
from services.clearance.consignment.state.transport_numbers import numbers_of
from services.clearance.consignment.transitions import HELD, Event, State
from services.clearance.pre_loading import recommendation
from services.clearance.pre_loading.parameters import Parameters, included
from services.clearance.presentation.law import PresentationLaw
from services.clearance.store import Store
from services.clearance.temporary_storage.limits import without_times

_AT_CUSTOMS = (State.SEIZED, State.CONFISCATED, State.DESTROYED, State.RE_EXPORTED, State.ABANDONED)


@dataclass(slots=True)
class Reversed:
    """The result of the reversal of an arrival."""

    consignments: int = 0
    """Consignments whose arrival was reversed."""
    not_reversed: int = 0
    """Those that were released, seized, disposed of, moved to another office or, where a carrier reverses, presented meanwhile; these stay so."""


class Reversal:
    """Returns the consignments of arrivals, and reverses arrivals."""

    def __init__(self, store: Store, parameters: Parameters | None = None, law: PresentationLaw | None = None) -> None:
        """Work in a store; `parameters` of the assessment before loading are by default those of this release, `law` as of `Arrive`."""
        self._store = store
        self._parameters = parameters or included()
        self._arrive = Arrive(store, law)

    async def finish(self, before: int, limit: int) -> int:
        """Complete reversals that were recorded before an instant and whose call ended early; return their number."""
        async with self._store.database.connection() as reading:
            due = await self._store.arrivals.pending_reversals(reading, before, limit)
        for document, carrier, by in due:
            with span("clearance.reversal") as told:
                await self.reverse(document, carrier, trace=told.traceparent, by=by)
        return len(due)

    async def begin(self, document: str, carrier: str, by: str, *, repeated: bool = False) -> None:
        """Record that an arrival is to be reversed, and by whom; `reverse` completes it, or `finish` if the call ends early.

        `repeated` reverses also one that was reversed: a carrier's reversal left the goods that were presented meanwhile.
        """
        async with self._store.database.transaction() as tx:
            await self._store.arrivals.lock_documents(tx, [document])
            await self._store.arrivals.reverse(tx, document, carrier, by, await self._store.now(tx), repeated=repeated)

    async def reverse(self, document: str, carrier: str, *, trace: str, by: str) -> Reversed:
        """Reverse an arrival that is recorded as being reversed, and then apply the arrivals of other carriers.

        `by` is who reverses it, as `begin` recorded: a carrier does not undo a presentation.
        """
        numbers: set[str] = set()
        result, by_carrier = Reversed(), by.startswith(f"{Role.CARRIER.value}/")
        async for mrns in under_document(self._store, document):
            await self._states(mrns)
            async with self._store.database.transaction() as tx:
                locked = await self._store.lock(tx, mrns)
                rows = [locked[mrn] for mrn in mrns if mrn in locked]
                table = await self._store.states(tx, rows)
                own = arrived_by(table, document, carrier)
                # Goods that were moved to another office have arrived.
                stays = own & (was_moved(table) | (table.ints("presented_at").valid & by_carrier))
                chosen = np.flatnonzero(own & ~stays)
                at = await self._store.now(tx)
                details = EventDetails(event=Event.ARRIVAL_REVERSED, at=at, arrivals=Arrivals.none(len(chosen)))
                after, outcome = apply_event(without_times(table.take(chosen)), details)
                after = recommendation.assessed_on_reversal(after)
                done = np.flatnonzero(outcome.effective)
                # Also the numbers of goods that an earlier call reversed before it ended early.
                waits = ~table.ints("arrived_at").valid
                waits[chosen[done]] = True
                numbers |= numbers_of(table.take(np.flatnonzero(waits)))
                if len(done):
                    known = [rows[place] for place in chosen[done].tolist()]
                    ref = await self._store.succeed(tx, after.take(done), known, trace=trace)
                    # The states after it name no carrier.
                    await self._store.notify_carriers(tx, ref, table.take(chosen[done]).strings("arrival_carrier"))
                    if recommendation.is_assessed(after):
                        found = recommendation.refer_on_reversal(after.take(done), at, self._parameters)
                        await store_referrals(self._store, tx, found, ref, trace, at)
            result.consignments += len(done)
            refused = ~outcome.effective & (was_released(after) | _at_customs(after))
            result.not_reversed += int(stays.sum() + refused.sum())
        async with self._store.database.transaction() as tx:
            await self._store.arrivals.reversal_done(tx, document, carrier)
            # Goods of a receptacle may have arrived by their master document as well, and the other way round.
            documents = {document, *await self._store.arrivals.find(tx, numbers)}
            await self._store.arrivals.mark(tx, repeat=documents)
        await self._arrive.run(sorted(documents), trace=trace)
        return result

    async def answer(
        self, request: pb.ReverseArrivalsRequest, answer: pb.ReverseArrivalsResponse
    ) -> pb.ReverseArrivalsResponse:
        """Store the answer of a request whose arrivals are reversed; return it, or the one that was stored before. Raise Refusal."""
        return await store_answer(self._store.database, request, answer)

    async def count(self, document: str, carrier: str) -> ArrivalCounts:
        """Return the numbers of consignments, by state, of a carrier's arrival of a master document; `released` includes those held again."""
        under = ArrivalCounts()
        async for mrns in under_document(self._store, document):
            table = await self._states(mrns)
            table = table.take(np.flatnonzero(arrived_by(table, document, carrier)))
            state = table.ints("state").values
            under.consignments += table.rows
            under.released += int(was_released(table).sum())
            under.held += int(np.isin(state, HELD).sum())
            under.presented += int((table.ints("presented_at").valid & ~was_released(table)).sum())
            under.waiting += int((state == State.AWAITING_ARRIVAL).sum())
        return under

    async def _states(self, mrns: Sequence[str]) -> Table:
        """Read states outside of a transaction, so that inside it the batches come from memory."""
        async with self._store.database.connection() as reading:
            return await self._store.states(reading, list((await self._store.find(reading, mrns)).values()))


def _at_customs(table: Table) -> NDArray[np.bool_]:
    """Return which goods are or were in the hands of customs, so that they have arrived."""
    return np.isin(table.ints("state").values, _AT_CUSTOMS)
