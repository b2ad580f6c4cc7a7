"""Releases the goods of one transport in chunks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table
from libs.store.database import Transaction
from services.clearance.commands.act import Commands, Request
from services.clearance.commands.arrivals.transport import Transport, travels
from services.clearance.commands.bulk.chunks import CHUNK_ROWS, ChunkProgress, run_in_chunks
from services.clearance.consignment.inspection import not_releasable
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.state.hold_causes import HoldCause, Selection, endable, hold_causes, liftable
from services.clearance.consignment.transitions import FINAL, STAYING, Event, State
from services.clearance.store import Row, Store


@dataclass(frozen=True, slots=True)
class Order:
    """What an officer decides on the goods of one transport."""

    transport: Transport
    selection: Selection
    officer: str
    reason: str
    note: str
    page_size: int
    """Largest number of held consignments that the answer names."""


class Progress(ChunkProgress, frozen=True):
    """How far a bulk release has come."""

    released: int = 0
    awaiting_arrival: int = 0
    released_before: int = 0
    waiting_before: int = 0
    final_before: int = 0
    hold_counts: dict[int, int] = msgspec.field(default_factory=dict)
    """Consignments that stay held or seized, by HoldCause."""
    held: list[tuple[str, int]] = msgspec.field(default_factory=list)
    """The first of them, with the cause of each."""


class BulkRelease:
    """Carries out bulk releases."""

    def __init__(self, store: Store, *, chunk_rows: int = CHUNK_ROWS) -> None:
        """Work in a store, in transactions of at most `chunk_rows` consignments."""
        self._store = store
        self._chunk_rows = chunk_rows
        self._commands = Commands(store)

    async def run(self, order: Order, *, request: Request, encode: Callable[[Progress], bytes]) -> bytes:
        """Release what an order selects, once per request; return what `encode` made of the result, also when the request is repeated.

        Raises RequestReused.
        """
        return await run_in_chunks(
            self._store,
            order.transport,
            lambda tx, documents, progress: self._release(tx, order, documents, progress, request.trace),
            first=Progress(),
            request=request,
            encode=encode,
            chunk_rows=self._chunk_rows,
        )

    async def _release(
        self, tx: Transaction, order: Order, documents: Mapping[str, str], progress: Progress, trace: str
    ) -> Progress:
        """Release the selected consignments of a chunk, and return how far the request has come with it."""
        locked = await self._store.lock(tx, list(documents))
        # In the order in which they are stored, so that whole batches are read as they are.
        rows = sorted(locked.values(), key=lambda row: (row.ref, row.row))
        states = await self._store.states(tx, rows)
        under = np.flatnonzero(travels(states, order.transport, documents))
        states, rows = states.take(under), [rows[place] for place in under.tolist()]
        before, causes = states.ints("state").values, hold_causes(states)
        after = before.copy()
        at = await self._store.now(tx)
        # What a colleague works on stays the colleague's.
        claims = await self._store.claims.find(tx, [row.mrn for row in rows])
        own = np.array([row.mrn not in claims or claims[row.mrn].is_of(order.officer) for row in rows], np.bool_)
        # A finder releases after an adjustment only with a note, as in a single release.
        unexplained = np.array(not_releasable(states, order.officer, order.note), np.bool_)
        causes = np.where(unexplained & (causes > 0), np.maximum(causes, HoldCause.VIOLATION), causes)
        for event, chosen in (
            (Event.OFFICER_RELEASED, liftable(states, order.selection) & own),
            (Event.WAIT_ENDED, endable(states, order.selection)),
        ):
            places = np.flatnonzero(chosen & ~unexplained)
            if len(places):
                part = states.take(places)
                if event is Event.WAIT_ENDED:
                    part = _decided_by(part, order, at)
                after[places] = await self._apply(tx, order, event, part, [rows[place] for place in places], at, trace)
        return _counted(progress, order, states, before, after, causes)

    async def _apply(
        self, tx: Transaction, order: Order, event: Event, states: Table, rows: Sequence[Row], at: int, trace: str
    ) -> NDArray[np.int64]:
        """Apply an event to locked consignments, and return their states after it."""
        details = EventDetails(event=event, at=at, by=order.officer, reason=order.reason, note=order.note)
        acted = await self._commands.put(tx, states, details, rows, trace)
        return np.array([acted[row.mrn].state for row in rows], np.int64)


def _decided_by(states: Table, order: Order, at: int) -> Table:
    """Return states in which an officer decides to end a delay; the event alone would leave them as decided automatically."""
    rows = states.rows
    columns: dict[str, Column] = {
        "decided_by": Strings.constant(order.officer, rows),
        "decided_at": Ints.constant(at, rows),
        "note": Strings.constant(order.note, rows),
        "reasons": Ragged.of_lengths(np.ones(rows, np.int64), Strings.constant(order.reason, rows)),
    }
    return states.with_columns(columns)


def _counted(
    progress: Progress,
    order: Order,
    states: Table,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    causes: NDArray[np.int64],
) -> Progress:
    """Return the progress with the consignments of a chunk counted, by their states before and after it."""
    changed, stays = before != after, np.isin(after, STAYING)
    counts = dict(progress.hold_counts)
    for cause, count in zip(*np.unique(causes[stays], return_counts=True), strict=True):
        counts[int(cause)] = counts.get(int(cause), 0) + int(count)
    listed = np.flatnonzero(stays)[: max(0, order.page_size - len(progress.held))]
    mrns = states.strings("mrn").take(listed).tolist()
    return msgspec.structs.replace(
        progress,
        consignments=progress.consignments + states.rows,
        released=progress.released + int((changed & (after == State.RELEASED)).sum()),
        awaiting_arrival=progress.awaiting_arrival + int((changed & (after == State.AWAITING_ARRIVAL)).sum()),
        released_before=progress.released_before + int((before == State.RELEASED).sum()),
        waiting_before=progress.waiting_before + int((~changed & (after == State.AWAITING_ARRIVAL)).sum()),
        final_before=progress.final_before + int(np.isin(before, list(FINAL)).sum()),
        hold_counts=counts,
        held=[*progress.held, *zip(mrns, causes[listed].tolist(), strict=True)],
    )
