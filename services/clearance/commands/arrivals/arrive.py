"""Applies recorded arrivals to the consignments under their master documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Strings, Table, among
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from libs.telemetry import span
from services.clearance.carriage.binding import Arrival, Effective, Register, bound, effective
from services.clearance.commands.arrivals.carriage import report_without_effect
from services.clearance.consignment.lifecycle.machine import apply, situation
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.transport_numbers import carriage, numbers_of, partly_in, travels_under_each
from services.clearance.consignment.transitions import HELD, Change, Event, State
from services.clearance.presentation.law import PresentationLaw, included
from services.clearance.store import Row, Store

CHUNK_ROWS: Final = 1_000
"""Consignments that an arrival changes in one transaction: a longer one would delay the feed."""
_ENDED: Final = (State.INVALIDATED, State.EXPIRED)
"""States of declarations that ended without their goods."""
NOWHERE: Final = BatchRef(0, 0)
_BATCHES_A_LOOK: Final = 32


@dataclass(slots=True)
class ArrivalCounts:
    """Numbers of consignments under one master document that are bound to one carrier, by state."""

    consignments: int = 0
    released: int = 0
    held: int = 0
    waiting: int = 0
    """Arrived, and not released yet: to be presented, or in the time in which an officer may inspect them."""
    not_arrived: int = 0
    """In other receptacles as well, or bound by their master document alone: they arrive with that. Not in `held` and `waiting`."""
    presented: int = 0
    """Presented by an act of its own and not released; not counted by an arrival."""
    invalidated: list[tuple[str, str]] = field(default_factory=list)
    """MRN and carrier of goods that arrive although their declaration was invalidated or expired."""


class Arrive:
    """Changes the states of consignments whose goods have arrived."""

    def __init__(self, store: Store, law: PresentationLaw | None = None) -> None:
        """Work in a store; `law` says where presentation is an act of its own, by default as this release includes it."""
        self.store = store
        self.law = law or included()

    async def run(self, documents: Iterable[str], *, trace: str, carrier: str = "") -> dict[str, ArrivalCounts]:
        """Apply recorded arrivals to all consignments under these master documents or in these receptacles; a repetition changes nothing.

        Return for each document the numbers of consignments that are bound to `carrier`, by state.
        """
        counts = {document: ArrivalCounts() for document in documents}
        # Read first: marks and bindings that are made after this moment need another run.
        async with self.store.database.connection() as reading:
            bindings = await self.store.carriers.binding_revision(reading)
            revisions = await self.store.arrivals.revisions(reading, counts)
        unbound: set[str] = set()
        chunk: dict[str, str] = {}

        async def apply_rest(left: int) -> None:
            """Apply the arrivals of all but the last consignments of the chunk, at most CHUNK_ROWS in a transaction."""
            while len(chunk) > left:
                part = [(chunk.pop(mrn), mrn) for mrn in list(islice(chunk, CHUNK_ROWS))]
                unbound.update(await self.apply_chunk(part, counts, trace, carrier))

        for document in counts:
            after = NOWHERE
            while True:
                async with self.store.database.connection() as reading:
                    batches = await self.store.references.under_master(reading, document, after, _BATCHES_A_LOOK)
                for ref, mrns in batches:
                    if not chunk.keys().isdisjoint(mrns):
                        # Goods that are found under their master document and in their receptacle count in both.
                        await apply_rest(0)
                    chunk.update(dict.fromkeys(mrns, document))
                    after = ref
                await apply_rest(CHUNK_ROWS - 1)
                if len(batches) < _BATCHES_A_LOOK:
                    break
        await apply_rest(0)
        async with self.store.database.transaction() as tx:
            changed = bool(unbound) and await self.store.carriers.binding_revision(tx, lock=True) != bindings
            if any(each.invalidated for each in counts.values()):
                await self._notify_invalidated(tx, counts, revisions, trace)
            newly = await self.store.arrivals.done(tx, revisions, unbound, bindings_changed=changed)
            await report_without_effect(self.store, tx, newly)
        return counts

    async def apply_chunk(
        self, chunk: Sequence[tuple[str, str]], documents: Mapping[str, ArrivalCounts], trace: str, carrier: str
    ) -> frozenset[str]:
        """Apply the arrivals of some consignments, and return the documents of carriers that are not bound to them."""
        by_mrn = {mrn: document for document, mrn in chunk}
        async with self.store.database.connection() as reading:
            arrivals = await self.store.arrivals.find(reading, set(by_mrn.values()))
            found = await self.store.find(reading, list(by_mrn))
            # In the order in which they are stored, so that whole batches are read as they are.
            rows = {row.mrn: row for row in sorted(found.values(), key=lambda row: (row.ref, row.row))}
            table = _under(await self.store.states(reading, list(rows.values())), by_mrn)
            register = await self.store.carriers.register_of(reading, table)
        chosen = effective(*carriage(table), arrivals, register)
        own = self._own(table, arrivals, register, carrier)
        present = np.flatnonzero(chosen.present)
        outcome = apply(Event.ARRIVED, situation(table.take(present), 0))
        states = table.ints("state").values.copy()
        stopped = present[among(states[present], _ENDED) & ~table.ints("arrived_at").valid[present]]
        if len(stopped):
            carriers = chosen.columns().carrier.take(stopped).tolist()
            for mrn, each in zip(table.strings("mrn").take(stopped).tolist(), carriers, strict=True):
                documents[by_mrn[mrn]].invalidated.append((mrn, each))
        states[present] = outcome.state
        if outcome.effective.any():
            after = await self.apply_rows(rows, table.take(present), register, trace)
            places = {mrn: place for place, mrn in enumerate(table.strings("mrn").tolist())}
            changed = [places[mrn] for mrn in after.strings("mrn").tolist()]
            states[changed] = after.ints("state").values
        missing = ~chosen.present & ~table.ints("arrived_at").valid
        _count(documents, Strings.of([by_mrn[mrn] for mrn in table.strings("mrn").tolist()]), states, own, missing)
        return chosen.unbound | partly_in(table, missing, arrivals)

    async def _notify_invalidated(
        self,
        tx: Transaction,
        documents: Mapping[str, ArrivalCounts],
        revisions: Mapping[tuple[str, str], int],
        trace: str,
    ) -> None:
        """Notify carriers and filers, once for each arrival, of goods that arrive although their declaration ended before (ICS2, IE3N07)."""
        unapplied = await self.store.arrivals.unapplied(tx, revisions)
        due = {
            mrn: carrier
            for document, under in documents.items()
            for mrn, carrier in under.invalidated
            if (document, carrier) in unapplied
        }
        mrns = list(due)
        for begin in range(0, len(mrns), CHUNK_ROWS):
            rows = await self.store.find(tx, mrns[begin : begin + CHUNK_ROWS])
            table = await self.store.states(tx, list(rows.values()))
            count = table.rows
            expired = table.ints("state").values == State.EXPIRED
            # As the version that invalidated it or in which it expired; later ones are about refunds.
            states = table.with_columns(
                {
                    "change": Ints.of(np.where(expired, Change.EXPIRED, Change.INVALIDATED)),
                    "changed_at": Ints.constant(await self.store.now(tx), count),
                    "public_change": Ints.absent(count),
                    "public_changed_at": Ints.absent(count),
                }
            )
            carriers = Strings.of([due[mrn] for mrn in table.strings("mrn").tolist()])
            await self.store.notify(tx, states, trace=trace, carriers=carriers)
            arrived = {"change": Ints.constant(Change.ARRIVED, count)}
            await self.store.notify(tx, states.with_columns(arrived), trace=trace)

    def _own(
        self, table: Table, arrivals: Mapping[str, Sequence[Arrival]], register: Register, carrier: str
    ) -> NDArray[np.bool_]:
        """Return which consignments are bound to a carrier on the day of its arrival."""
        days = {each.day for found in arrivals.values() for each in found if each.carrier == carrier}
        if not days:
            return np.zeros(table.rows, np.bool_)
        return bound(*carriage(table), register, carrier, max(days))

    async def apply_rows(self, previous: Mapping[str, Row], table: Table, register: Register, trace: str) -> Table:
        """Lock the consignments, apply their arrivals and return the new states."""
        mrns = table.strings("mrn").tolist()
        async with self.store.database.transaction() as tx:
            locked = await self.store.lock(tx, mrns)
            rows = [locked[mrn] for mrn in mrns]
            if any(row != previous[row.mrn] for row in rows):
                table = await self.store.states(tx, rows)
                register = await self.store.carriers.register_of(tx, table)
            # The lock excludes reversals: an arrival that is being reversed is not returned, and a returned one is not reversed before the commit.
            arrivals = await self.store.arrivals.find(tx, numbers_of(table), lock=True)
            chosen = effective(*carriage(table), arrivals, register)
            present = np.flatnonzero(chosen.present)
            details = _arriving(chosen, present, await self.store.now(tx))
            assert details.arrivals is not None
            arriving = self.law.arriving(table.take(present), details.arrivals.arrived_at, details.at)
            after, outcome = apply_event(arriving, details)
            done = np.flatnonzero(outcome.effective)
            if len(done):
                previous_rows = [rows[place] for place in present[done].tolist()]
                # What awaited its arrival was not held, and a delay is in its list only once the goods have arrived.
                in_lists = np.array([row.state != State.AWAITING_ARRIVAL for row in previous_rows])
                await self.store.succeed(tx, after.take(done), previous_rows, trace=trace, in_lists=in_lists)
        return after

    async def finish(self, before: int, limit: int) -> int:
        """Apply arrivals whose call ended early, and those that later bindings or filings affect; return the number of their documents."""
        async with self.store.database.connection() as reading:
            documents = await self.store.arrivals.pending(reading, before, limit)
        if documents:
            with span("clearance.arrivals", attributes={"luxor.documents": len(documents)}) as work:
                await self.run(documents, trace=work.traceparent)
        return len(documents)


def _arriving(chosen: Effective, rows: NDArray[np.int64], at: int) -> EventDetails:
    return EventDetails(event=Event.ARRIVED, at=at, arrivals=replace(chosen, places=chosen.places[rows]).columns())


def _count(
    documents: Mapping[str, ArrivalCounts],
    found_by: Strings,
    states: NDArray[np.int64],
    own: NDArray[np.bool_],
    missing: NDArray[np.bool_],
) -> None:
    """Add consignments that are bound to the carrier to the numbers of their documents."""

    def numbers(chosen: NDArray[np.bool_]) -> list[int]:
        found: list[int] = np.bincount(found_by.indices[chosen], minlength=len(found_by.dictionary)).tolist()
        return found

    awaits, holds = among(states, (State.AWAITING_ARRIVAL,)), among(states, HELD)
    chosen = (among(states, (State.RELEASED,)), holds & ~missing, awaits & ~missing, (awaits | holds) & missing)
    counted = (numbers(own & each) for each in (np.ones(len(own), np.bool_), *chosen))
    for document, total, released, held, waiting, not_arrived in zip(found_by.dictionary, *counted, strict=True):
        if total:
            under = documents[document]
            under.consignments += total
            under.released += released
            under.held += held
            under.waiting += waiting
            under.not_arrived += not_arrived


def _under(table: Table, documents: Mapping[str, str]) -> Table:
    """Return the consignments that still travel under the document by which they were found: an amendment may have moved them."""
    under = travels_under_each(table, [documents[mrn] for mrn in table.strings("mrn").tolist()])
    return table if under.all() else table.take(np.flatnonzero(under))
