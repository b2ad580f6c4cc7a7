"""Commands of officers, filers and carriers on consignments: each is carried out once per request, in one transaction.

Locks are taken in the order that arrivals/carriage.py states.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table, among
from libs.server.identity import Identity, Role
from libs.store.database import Transaction
from services.clearance.commands.visibility import bound_to, filed_by, moved_by
from services.clearance.consignment.lifecycle.machine import REFUSALS
from services.clearance.consignment.proposals.proposal import Proposal, open_proposals, with_proposals
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import STAYING, Event, State
from services.clearance.store import Row, Store

UNKNOWN = "CONSIGNMENT_UNKNOWN"
VERSION_CHANGED = "VERSION_CHANGED"
CLAIMED = "CLAIMED"
PROPOSAL_OPEN = "PROPOSAL_OPEN"

Prepare = Callable[[Table, int], tuple[Table, EventDetails]]
"""Return the prepared states and the event, given states and an instant."""
Unfit = Callable[[Table], Sequence[str]]
"""Return for each state the reason why the command is refused, or ""."""
Propose = Callable[[Table], Sequence[Proposal | None]]
"""Return for each state the decision that a second person must confirm before the command takes effect, None where none must."""
Guarded = Callable[[Table], NDArray[np.bool_]]
"""Return which states only the officer who claims the goods may change so, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Acted:
    """The result of a command on one consignment; `refusal` is "" where the command took effect."""

    mrn: str
    state: int
    version: int
    refusal: str
    proposed: bool = False
    """Whether a second person is to confirm the command, so that it had no effect."""
    former_state: int = field(default=0, compare=False)
    """The state in which an event found the goods; 0 where none was applied to them."""


@dataclass(frozen=True, slots=True)
class Request:
    """The identity of a request, which makes a command idempotent, and its trace."""

    caller: str
    request_id: str
    digest: bytes
    trace: str

    @property
    def key(self) -> tuple[str, str, bytes]:
        """The key in the log of requests."""
        return self.caller, self.request_id, self.digest


class _NothingDoneError(Exception):
    """Rolls back the transaction of a request of which everything was refused; `answer` says why."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        super().__init__("everything was refused")


ExpectedVersions = Sequence[tuple[str, int | None]]
"""MRNs, each with the version that the caller saw or None."""


class Commands:
    """Carries out commands on consignments."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def act(
        self,
        consignments: ExpectedVersions,
        prepare: Prepare,
        *,
        request: Request,
        encode: Callable[[Sequence[Acted]], bytes],
        unfit: Unfit | None = None,
        outside: Identity | None = None,
        before_arrival: bool = False,
        claimant: str = "",
        guarded: Guarded | None = None,
        propose: Propose | None = None,
        forget_refused: bool = False,
    ) -> bytes:
        """Apply an event to consignments once per request; what is `unfit` is refused.

        `outside` is the filer, carrier or agency that calls, if one does: it names public versions. A filer reaches its own ones and those entrusted
        to it, a carrier those whose arrival it recorded, or `before_arrival` all that are bound to it. Return what `encode` made of the results,
        also when the request is repeated. Goods that another officer than `claimant` claims are refused, if one is named: all, or those that are
        `guarded`. What `propose` returns is proposed, and has no effect. With `forget_refused` a request of which everything is refused
        does not use up its id, so that it may be corrected under it. Raises RequestReused.
        """

        async def carry_out(tx: Transaction) -> bytes:
            found = await self.fit(
                tx, consignments, unfit, outside, before_arrival=before_arrival, claimant=claimant, guarded=guarded
            )
            at = await self.store.now(tx) if found.rows else 0
            if found.rows and propose is not None:
                await self._propose(tx, found, propose(found.states), prepare, at, request.trace)
            if found.rows:
                table, details = prepare(found.states, at)
                found.results |= await self.put(tx, table, details, found.rows, request.trace, outside)
            results = [found.results.get(mrn) or Acted(mrn, 0, 0, UNKNOWN) for mrn, _ in consignments]
            answer = encode(results)
            if forget_refused and all(each.refusal for each in results):
                raise _NothingDoneError(answer)
            return answer

        try:
            return await self.once([mrn for mrn, _ in consignments], request, carry_out)
        except _NothingDoneError as nothing:
            return nothing.answer

    async def once(
        self, mrns: Sequence[str], request: Request, carry_out: Callable[[Transaction], Awaitable[bytes]]
    ) -> bytes:
        """Carry out something on consignments in one transaction, once per request; return its answer, also when the request is repeated.

        Raises RequestReused.
        """
        async with self.store.database.connection() as reading:
            # Read outside of the transaction, so that inside it the batches come from memory.
            await self.store.states(reading, list((await self.store.find(reading, mrns)).values()))
        async with self.store.database.transaction() as tx:
            answer = await self.store.requests.recall(tx, *request.key)
            if answer is None:
                answer = await carry_out(tx)
                await self.store.requests.remember(tx, *request.key, answer)
        return answer

    async def fit(
        self,
        tx: Transaction,
        consignments: ExpectedVersions,
        unfit: Unfit | None,
        outside: Identity | None,
        *,
        before_arrival: bool = False,
        bound_alone: bool = False,
        moved: bool = False,
        own_alone: bool = False,
        claimant: str = "",
        guarded: Guarded | None = None,
    ) -> "Fit":
        """Lock consignments, and return those that the command fits and the results of those that are refused.

        With `bound_alone` a carrier reaches all that are bound to it, also those whose arrival another carrier recorded; with `moved` also those
        that it moves to another office. With `own_alone` a filer reaches nothing that is entrusted to it.
        """
        locked = await self.store.lock(tx, [mrn for mrn, _ in consignments])
        if outside is not None and outside.role is Role.FILER:
            named = [mrn for mrn, _ in consignments]
            locked = await filed_by(self.store, tx, named, locked, outside.id, own_alone=own_alone)
        rows = [locked[mrn] for mrn, _ in consignments if mrn in locked]
        states = await self.store.states(tx, rows)
        if outside is not None and outside.role is Role.CARRIER and rows:
            own = await bound_to(self.store, tx, states, outside.id)
            # Those whose arrival it recorded (release 0.2 did not note by whom) and that it is still bound to.
            if not bound_alone:
                own &= states.strings("arrival_carrier").isin({outside.id, ""})
            if not (before_arrival or bound_alone):
                own &= states.ints("arrived_at").valid
            if moved:
                own |= await moved_by(self.store, tx, states, outside.id)
            rows, states = _filtered(rows, states, own)
        known_versions = versions_of(states, outside).tolist()
        expected = dict(consignments)
        reasons = list(unfit(states)) if unfit is not None and rows else [""] * len(rows)
        claims = await self.store.claims.find(tx, [row.mrn for row in rows]) if claimant else {}
        guards = guarded(states).tolist() if claims and guarded is not None else [True] * len(rows)
        for place, (row, version) in enumerate(zip(rows, known_versions, strict=True)):
            if row.mrn in claims and not claims[row.mrn].is_of(claimant) and guards[place]:
                reasons[place] = CLAIMED
            if reasons[place] != UNKNOWN and expected[row.mrn] not in (None, version):
                reasons[place] = VERSION_CHANGED
        results = {
            row.mrn: Acted(row.mrn, row.state, version, reason) if reason != UNKNOWN else Acted(row.mrn, 0, 0, UNKNOWN)
            for row, version, reason in zip(rows, known_versions, reasons, strict=True)
            if reason
        }
        rows, states = _filtered(rows, states, np.array([not reason for reason in reasons], np.bool_))
        return Fit(rows, states, results)

    async def _propose(
        self,
        tx: Transaction,
        fit: "Fit",
        proposals: Sequence[Proposal | None],
        prepare: Prepare,
        at: int,
        trace: str,
    ) -> None:
        """Store proposals, and leave in `fit` the consignments that the command changes at once. What the transitions refuse is not proposed."""
        required = np.array([each is not None for each in proposals], np.bool_)
        if not required.any():
            return
        made = [each.made(at) for each in proposals if each is not None]
        rows, states = _filtered(fit.rows, fit.states, required)
        fit.rows, fit.states = _filtered(fit.rows, fit.states, ~required)
        _, outcome = apply_event(*prepare(states, at))
        versions = states.ints("version").values.tolist()
        refusals = [
            PROPOSAL_OPEN if there is not None else REFUSALS[refusal]
            for there, refusal in zip(open_proposals(states), outcome.refusal.tolist(), strict=True)
        ]
        fit.results |= {
            row.mrn: Acted(row.mrn, row.state, version, reason)
            for row, version, reason in zip(rows, versions, refusals, strict=True)
            if reason
        }
        fits = np.array([not reason for reason in refusals], np.bool_)
        rows, states = _filtered(rows, states, fits)
        if rows:
            states = with_proposals(
                states, [each for each, proposed in zip(made, fits.tolist(), strict=True) if proposed]
            )
            acted = await self.put(tx, states, EventDetails(event=Event.DECISION_PROPOSED, at=at), rows, trace)
            fit.results |= {mrn: replace(each, proposed=True) for mrn, each in acted.items()}

    async def put(
        self,
        tx: Transaction,
        table: Table,
        details: EventDetails,
        rows: Sequence[Row],
        trace: str,
        outside: Identity | None = None,
    ) -> dict[str, Acted]:
        """Apply an event to states of `rows`, which are locked, and store the new states; return the result of each."""
        before, states = versions_of(table, outside), table.ints("state").values
        table, outcome = apply_event(table, details)
        done = np.flatnonzero(outcome.effective)
        if len(done):
            await self.store.succeed(tx, table.take(done), [rows[place] for place in done.tolist()], trace=trace)
            was, now = states == State.SEIZED, outcome.state == State.SEIZED
            seized, ended = (
                [rows[place].mrn for place in np.flatnonzero(each).tolist()] for each in (now & ~was, was & ~now)
            )
            await self.store.work.note_seized(tx, seized, ended)
            fresh = among(outcome.state, STAYING) & ~among(states, STAYING)
            if fresh.any():
                # A replica of a release before claims may have left one of an earlier hold.
                await self.store.claims.end(tx, [rows[place].mrn for place in np.flatnonzero(fresh).tolist()])
        versions = np.where(outcome.effective, versions_of(table, outside), before).tolist()
        return {
            row.mrn: Acted(row.mrn, state, version, REFUSALS[refusal], former_state=former)
            for row, former, state, version, refusal in zip(
                rows, states.tolist(), outcome.state.tolist(), versions, outcome.refusal.tolist(), strict=True
            )
        }


@dataclass(slots=True)
class Fit:
    """The locked consignments that a command fits, and the results of the others."""

    rows: list[Row]
    states: Table
    results: dict[str, Acted]


def versions_of(states: Table, outside: Identity | None) -> NDArray[np.int64]:
    """Return the versions that the caller sees: filers and carriers see the public ones."""
    version = states.ints("version").values
    if outside is None:
        return version
    public_version = states.ints("public_version")
    return np.where(public_version.valid, public_version.values, version)


def _filtered(rows: list[Row], states: Table, mask: NDArray[np.bool_]) -> tuple[list[Row], Table]:
    if mask.all():
        return rows, states
    return [row for row, keeps in zip(rows, mask.tolist(), strict=True) if keeps], states.take(np.flatnonzero(mask))
