"""Confirms the exit of exported goods that left under a transport document."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Ints
from libs.customs.identifiers.mrn import is_export
from libs.filing_stages.direction import exports
from libs.server.identity import Identity, Role
from services.clearance.commands.arrivals.arrive import CHUNK_ROWS
from services.clearance.commands.arrivals.transport import Position, Transport, consignments_after
from services.clearance.commands.visibility import bound_to
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.state.transport_numbers import travels_under
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import Store

_BEGIN: Final = Position()


@dataclass(slots=True)
class Exits:
    """Numbers of exports that a departure concerns and that are bound to its reporter."""

    exited: int = 0
    """With a confirmed exit."""
    not_exited: int = 0
    """Without: not released, or arrived after the departure."""


class ConfirmExits:
    """Changes the states of exports whose goods left, in transactions of a bounded size; a repetition changes nothing."""

    def __init__(self, store: Store) -> None:
        """Work in a store."""
        self._store = store

    async def run(
        self, document: str, named: Iterable[str], departed_at: int, reporter: Identity, *, trace: str
    ) -> Exits:
        """Confirm the exit of the released exports under a document and of those that are named; imports are passed over."""
        counts, done = Exits(), set[str]()
        place = _BEGIN
        while True:
            under, place = await consignments_after(self._store, Transport((document,)), place, CHUNK_ROWS)
            await self._confirm(list(under), document, departed_at, reporter, counts, trace)
            done |= under.keys()
            if not place.document:
                break
        rest = sorted(set(named) - done)
        for begin in range(0, len(rest), CHUNK_ROWS):
            await self._confirm(rest[begin : begin + CHUNK_ROWS], "", departed_at, reporter, counts, trace)
        return counts

    async def _confirm(
        self, mrns: Sequence[str], document: str, departed_at: int, reporter: Identity, counts: Exits, trace: str
    ) -> None:
        """Confirm the exits of the exports among some consignments: where a document is given, of those that still travel under it."""
        mrns = [mrn for mrn in mrns if is_export(mrn)]
        if not mrns:
            return
        async with self._store.database.transaction() as tx:
            rows = list((await self._store.lock(tx, mrns)).values())
            if not rows:
                return
            states = await self._store.states(tx, rows)
            own = exports(states)
            if document:
                own &= travels_under(states, {document})
            if reporter.role is Role.CARRIER:
                own &= await bound_to(self._store, tx, states, reporter.id)
            state, arrived = states.ints("state").values, states.ints("arrived_at")
            leaving = own & (state == State.RELEASED) & arrived.valid & (arrived.values <= departed_at)
            counts.exited += int((leaving | (own & (state == State.EXITED))).sum())
            counts.not_exited += int((own & ~leaving & (state != State.EXITED)).sum())
            places = np.flatnonzero(leaving)
            if len(places):
                times = {"exited_at": Ints.constant(departed_at, len(places))}
                details = EventDetails(event=Event.EXITED, at=await self._store.now(tx), columns=times)
                after, outcome = apply_event(states.take(places), details)
                assert bool(outcome.effective.all()), "released exports leave"
                await self._store.succeed(tx, after, [rows[each] for each in places.tolist()], trace=trace)
