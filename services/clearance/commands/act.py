"""What officers do to consignments, and what filers and carriers tell of them: each act once a request, all of it in one transaction.

Locks are taken in the order that arrivals/carriage.py states.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.visibility import bound_to
from services.clearance.consignment.state import Happening, evolve
from services.clearance.consignment.transitions import REFUSALS
from services.clearance.store import Row, Store

UNKNOWN = "CONSIGNMENT_UNKNOWN"
VERSION_CHANGED = "VERSION_CHANGED"

What = Callable[[Table, int], tuple[Table, Happening]]
"""Prepares states for an event at an instant, and gives it."""
Unfit = Callable[[Table], Sequence[str]]
"""Tells for each state why nothing can be done to it, "" where something can."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What an act did to one consignment; `refusal` is "" where it had its effect."""

    mrn: str
    state: int
    version: int
    refusal: str


@dataclass(frozen=True, slots=True)
class Request:
    """What makes an act idempotent, and the work that it belongs to."""

    caller: str
    request_id: str
    digest: bytes
    trace: str

    @property
    def key(self) -> tuple[str, str, bytes]:
        """What the log of requests knows it by."""
        return self.caller, self.request_id, self.digest


Wanted = Sequence[tuple[str, int | None]]
"""MRNs, each with the version that the caller saw or None."""


class Acts:
    """Acts on consignments."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def act(
        self,
        wanted: Wanted,
        what: What,
        *,
        request: Request,
        encode: Callable[[Sequence[Acted]], bytes],
        unfit: Unfit | None = None,
        outside: Identity | None = None,
    ) -> bytes:
        """Apply an event to consignments once per request; what is `unfit` is refused.

        A filer or carrier acts from `outside`: it reaches its own consignments alone, and knows the versions that it was told. Gives what `encode`
        made of the results, also when the request is repeated. Raises RequestReused.
        """
        mrns = [mrn for mrn, _ in wanted]
        async with self.store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self.store.states(reading, list((await self.store.find(reading, mrns)).values()))
        async with self.store.database.transaction() as tx:
            before = await self.store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            found = await self.fit(tx, wanted, unfit, outside)
            if found.rows:
                table, happening = what(found.states, await self.store.now(tx))
                found.results |= await self.put(tx, table, happening, found.rows, request.trace, outside)
            answer = encode([found.results.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn in mrns])
            await self.store.requests.remember(tx, *request.key, answer)
        return answer

    async def fit(self, tx: Transaction, wanted: Wanted, unfit: Unfit | None, outside: Identity | None) -> "Fit":
        """Lock consignments, and tell those that something can be done to from those that are refused."""
        locked = await self.store.lock(tx, [mrn for mrn, _ in wanted])
        if outside is not None and outside.role is Role.FILER:
            locked = {mrn: row for mrn, row in locked.items() if row.filer == outside.id}
        rows = [locked[mrn] for mrn, _ in wanted if mrn in locked]
        states = await self.store.states(tx, rows)
        if outside is not None and outside.role is Role.CARRIER and rows:
            # Those whose arrival it recorded (release 0.2 did not note by whom) and that it is still bound to.
            own = states.ints("arrived_at").valid & states.strings("arrival_carrier").isin({outside.id, ""})
            own &= await bound_to(self.store, tx, states, outside.id)
            rows, states = _kept(rows, states, own)
        told = versions_of(states, outside).tolist()
        expected = dict(wanted)
        why = list(unfit(states)) if unfit is not None and rows else [""] * len(rows)
        for place, (row, version) in enumerate(zip(rows, told, strict=True)):
            if expected[row.mrn] not in (None, version):
                why[place] = VERSION_CHANGED
        results = {
            row.mrn: Acted(row.mrn, row.state, version, reason)
            for row, version, reason in zip(rows, told, why, strict=True)
            if reason
        }
        rows, states = _kept(rows, states, np.array([not reason for reason in why], np.bool_))
        return Fit(rows, states, results)

    async def put(
        self,
        tx: Transaction,
        table: Table,
        happening: Happening,
        rows: Sequence[Row],
        trace: str,
        outside: Identity | None = None,
    ) -> dict[str, Acted]:
        """Apply an event to states that stand in `rows`, which are locked, and store what it makes of them; gives what became of each."""
        before = versions_of(table, outside)
        table, outcome = evolve(table, happening)
        done = np.flatnonzero(outcome.effective)
        if len(done):
            await self.store.succeed(tx, table.take(done), [rows[place] for place in done.tolist()], trace=trace)
        versions = np.where(outcome.effective, versions_of(table, outside), before).tolist()
        return {
            row.mrn: Acted(row.mrn, state, version, REFUSALS[refusal])
            for row, state, version, refusal in zip(
                rows, outcome.state.tolist(), versions, outcome.refusal.tolist(), strict=True
            )
        }


@dataclass(slots=True)
class Fit:
    """Consignments that something can be done to, locked, and what became of the others."""

    rows: list[Row]
    states: Table
    results: dict[str, Acted]


def versions_of(states: Table, outside: Identity | None) -> NDArray[np.int64]:
    """Give the versions as the caller knows them: those outside know what they were told."""
    version = states.ints("version").values
    if outside is None:
        return version
    told = states.ints("public_version")
    return np.where(told.valid, told.values, version)


def _kept(rows: list[Row], states: Table, kept: NDArray[np.bool_]) -> tuple[list[Row], Table]:
    if kept.all():
        return rows, states
    return [row for row, keeps in zip(rows, kept.tolist(), strict=True) if keeps], states.take(np.flatnonzero(kept))
