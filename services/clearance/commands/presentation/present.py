"""Presents goods to customs: consignments that are named, or in chunks all under a master document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.act import UNKNOWN, Acted, Commands, ExpectedVersions, Request
from services.clearance.commands.arrivals.transport import Transport, travels
from services.clearance.commands.bulk_release import CHUNK_ROWS, ChunkProgress, run_in_chunks
from services.clearance.commands.visibility import Viewer
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.times import was_released
from services.clearance.consignment.transitions import Event, State
from services.clearance.store import Store

PRESENTED_BEFORE: Final = "ALREADY_PRESENTED"
"""The refusal of goods that need no presentation any more: a repetition changes nothing and is no error."""


class PresentProgress(ChunkProgress, frozen=True):
    """What a presentation did so far."""

    presented: int = 0
    released: int = 0
    presented_before: int = 0
    refused: int = 0
    refusals: tuple[tuple[str, int, int, str], ...] = ()
    """The first refused consignments under a master document: MRN, state, version and reason."""


class Present:
    """Presents goods, of which each then continues as on an arrival that is the presentation."""

    def __init__(self, store: Store, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Work in a store, under a master document in transactions of at most `chunk_rows` consignments."""
        self._store = store
        self._chunk_rows = chunk_rows
        self._commands = Commands(store)

    async def named(
        self,
        goods: ExpectedVersions,
        *,
        caller: Identity,
        request: Request,
        encode: Callable[[PresentProgress, Sequence[Acted]], bytes],
    ) -> bytes:
        """Present named consignments in one transaction, once per request; return what `encode` made of the counts and of the result of each.

        Raises RequestReused.
        """
        mrns = [mrn for mrn, _ in goods]
        async with self._store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self._store.states(reading, list((await self._store.find(reading, mrns)).values()))
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            acted = await self._carry_out(tx, goods, caller, request.trace)
            results = [acted.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn in mrns]
            answer = encode(_counted(PresentProgress(), results, 0), results)
            await self._store.requests.remember(tx, *request.key, answer)
        return answer

    async def under(
        self,
        master: str,
        *,
        caller: Identity,
        refusals_max: int,
        request: Request,
        encode: Callable[[PresentProgress], bytes],
    ) -> bytes:
        """Present all consignments under a master document that the caller reaches, once per request; return what `encode` made of the counts.

        Raises RequestReused.
        """
        transport, viewer = Transport((master,)), Viewer(self._store, caller)

        async def chunk(tx: Transaction, documents: Mapping[str, str], progress: PresentProgress) -> PresentProgress:
            # Consignments of others are not even locked.
            visible = set(await viewer.visible(tx, list(documents)))
            goods = [(mrn, None) for mrn in documents if mrn in visible]

            def unfit(states: Table) -> list[str]:
                return ["" if under else UNKNOWN for under in travels(states, transport, documents).tolist()]

            acted = await self._carry_out(tx, goods, caller, request.trace, unfit)
            return _counted(progress, [each for each in acted.values() if each.state], refusals_max)

        return await run_in_chunks(
            self._store,
            transport,
            chunk,
            first=PresentProgress(),
            request=request,
            encode=encode,
            chunk_rows=self._chunk_rows,
        )

    async def _carry_out(
        self,
        tx: Transaction,
        goods: ExpectedVersions,
        caller: Identity,
        trace: str,
        unfit: Callable[[Table], list[str]] | None = None,
    ) -> dict[str, Acted]:
        """Present consignments, and return the result of each that the caller reaches."""
        outside = caller if caller.role is Role.CARRIER else None
        found = await self._commands.fit(tx, goods, unfit, outside, bound_alone=True)
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


def _presented_before(states: Table) -> NDArray[np.bool_]:
    """Return which goods were presented by an act of its own or by their arrival, or released, shape (n,)."""
    by_arrival = states.ints("arrived_at").valid & ~states.ints("presentation_due_at").valid
    return states.ints("presented_at").valid | was_released(states) | by_arrival


def _counted(progress: PresentProgress, results: Sequence[Acted], refusals_max: int) -> PresentProgress:
    """Return the progress with these results counted."""
    known = [each for each in results if each.refusal != UNKNOWN]
    presented = [each for each in known if not each.refusal]
    refused = [each for each in results if each.refusal not in ("", PRESENTED_BEFORE)]
    listed = refused[: max(0, refusals_max - len(progress.refusals))]
    return msgspec.structs.replace(
        progress,
        consignments=progress.consignments + len(known),
        presented=progress.presented + len(presented),
        released=progress.released + sum(each.state == State.RELEASED for each in presented),
        presented_before=progress.presented_before + sum(each.refusal == PRESENTED_BEFORE for each in known),
        refused=progress.refused + len(refused),
        refusals=(*progress.refusals, *((each.mrn, each.state, each.version, each.refusal) for each in listed)),
    )
