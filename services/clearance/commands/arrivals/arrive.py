"""Applies recorded arrivals to the consignments under their master documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.feed.types import BatchRef
from libs.telemetry import span
from services.clearance.carriage.binding import Arrival, Effective, Register, bound, effective
from services.clearance.commands.arrivals.carriage import bindings_of, carriage, report_without_effect
from services.clearance.consignment.state import Happening, evolve
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import Row, Store

CHUNK_ROWS: Final = 1_000
"""Consignments that an arrival changes in one transaction: a longer one would delay the feed."""
NOWHERE: Final = BatchRef(0, 0)
_BATCHES_A_LOOK: Final = 32


@dataclass(slots=True)
class ArrivalCounts:
    """Numbers of consignments under one master document that are bound to one carrier, by state."""

    consignments: int = 0
    released: int = 0
    held: int = 0
    waiting: int = 0
    """Arrived, and not released yet: the time in which an officer may inspect them."""


class Arrive:
    """Changes the states of consignments whose goods have arrived."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def run(self, documents: Iterable[str], *, trace: str, carrier: str = "") -> dict[str, ArrivalCounts]:
        """Carry recorded arrivals out on all that is known under these master documents; doing it again changes nothing.

        Tells how the consignments stand that are bound to `carrier`.
        """
        found = {document: ArrivalCounts() for document in documents}
        # Read first: marks and bindings that are made after this moment need another run.
        async with self.store.database.connection() as reading:
            bindings = await self.store.carriers.binding_revision(reading)
            revisions = await self.store.arrivals.revisions(reading, found)
        unbound: set[str] = set()
        chunk: list[tuple[str, str]] = []
        for document in found:
            after = NOWHERE
            while True:
                async with self.store.database.connection() as reading:
                    batches = await self.store.references.under_master(reading, document, after, _BATCHES_A_LOOK)
                for ref, mrns in batches:
                    chunk.extend((document, mrn) for mrn in mrns)
                    after = ref
                while len(chunk) >= CHUNK_ROWS:
                    unbound |= await self.carry_out_chunk(chunk[:CHUNK_ROWS], found, trace, carrier)
                    del chunk[:CHUNK_ROWS]
                if len(batches) < _BATCHES_A_LOOK:
                    break
        if chunk:
            unbound |= await self.carry_out_chunk(chunk, found, trace, carrier)
        async with self.store.database.transaction() as tx:
            changed = bool(unbound) and await self.store.carriers.binding_revision(tx, lock=True) != bindings
            newly = await self.store.arrivals.done(tx, revisions, unbound, bindings_changed=changed)
            await report_without_effect(self.store, tx, newly)
        return found

    async def carry_out_chunk(
        self, chunk: Sequence[tuple[str, str]], documents: Mapping[str, ArrivalCounts], trace: str, carrier: str
    ) -> frozenset[str]:
        """Carry out the arrivals of some consignments; returns the documents of carriers that are not bound to them."""
        by_mrn = {mrn: document for document, mrn in chunk}
        mrns = sorted(by_mrn)
        async with self.store.database.connection() as reading:
            arrivals = await self.store.arrivals.find(reading, set(by_mrn.values()))
            rows = await self.store.find(reading, mrns)
            table = _under(await self.store.states(reading, list(rows.values())), by_mrn)
            register = await bindings_of(self.store, reading, table)
        chosen = effective(*carriage(table), arrivals, register)
        own = self._own(table, arrivals, register, carrier)
        there = np.flatnonzero(chosen.present)
        after, outcome = evolve(table.take(there), _arriving(chosen, there, 0))
        states = table.ints("state").values.copy()
        states[there] = after.ints("state").values
        if outcome.effective.any():
            after = await self.carry_out_rows(rows, table.take(there), register, trace)
            places = {mrn: place for place, mrn in enumerate(table.strings("mrn").tolist())}
            now = [places[mrn] for mrn in after.strings("mrn").tolist()]
            states[now] = after.ints("state").values
        masters = table.strings("master_document_number").tolist()
        for row in np.flatnonzero(own).tolist():
            under, state = documents[masters[row]], states[row]
            under.consignments += 1
            under.released += bool(state == State.RELEASED)
            under.held += bool(state == State.HELD)
            under.waiting += bool(state == State.AWAITING_ARRIVAL)
        return chosen.unbound

    def _own(
        self, table: Table, arrivals: Mapping[str, Sequence[Arrival]], register: Register, carrier: str
    ) -> NDArray[np.bool_]:
        """Tell which consignments are bound to a carrier on the day of its arrival."""
        days = {each.day for found in arrivals.values() for each in found if each.carrier == carrier}
        if not days:
            return np.zeros(table.rows, np.bool_)
        return bound(*carriage(table), register, carrier, max(days))

    async def carry_out_rows(self, previous: Mapping[str, Row], table: Table, register: Register, trace: str) -> Table:
        """Lock the consignments, carry out their arrivals and return the states that follow."""
        mrns = table.strings("mrn").tolist()
        async with self.store.database.transaction() as tx:
            locked = await self.store.lock(tx, mrns)
            rows = [locked[mrn] for mrn in mrns]
            if any(row != previous[row.mrn] for row in rows):
                table = await self.store.states(tx, rows)
                register = await bindings_of(self.store, tx, table)
            masters, named = carriage(table)
            # The lock excludes reversals: an arrival that is being reversed is not returned, and a returned one is not reversed before the commit.
            arrivals = await self.store.arrivals.find(tx, masters.dictionary, lock=True)
            chosen = effective(masters, named, arrivals, register)
            there = np.flatnonzero(chosen.present)
            after, outcome = evolve(table.take(there), _arriving(chosen, there, await self.store.now(tx)))
            done = np.flatnonzero(outcome.effective)
            if len(done):
                known = [rows[place] for place in there[done].tolist()]
                await self.store.succeed(tx, after.take(done), known, trace=trace)
        return after

    async def finish(self, before: int, limit: int) -> int:
        """Carry out arrivals whose call died, and those that bindings or filings changed since; gives how many."""
        async with self.store.database.connection() as reading:
            documents = await self.store.arrivals.pending(reading, before, limit)
        if documents:
            with span("clearance.arrivals", attributes={"luxor.documents": len(documents)}) as told:
                await self.run(documents, trace=told.traceparent)
        return len(documents)


def _arriving(chosen: Effective, rows: NDArray[np.int64], at: int) -> Happening:
    return Happening(event=Event.ARRIVED, at=at, arrivals=replace(chosen, places=chosen.places[rows]).columns())


def _under(table: Table, documents: Mapping[str, str]) -> Table:
    """Keep what still travels under the document that it was found by: an amendment may have moved it to another."""
    numbers, mrns = table.strings("master_document_number").tolist(), table.strings("mrn").tolist()
    rows = [place for place, mrn in enumerate(mrns) if numbers[place] == documents[mrn]]
    return table if len(rows) == table.rows else table.take(np.array(rows, np.int64))
